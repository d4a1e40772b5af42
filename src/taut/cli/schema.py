"""`taut schema`: the JSON Schemas of taut's documents, for editors and for checks elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import click

from taut.cli.data import say, show_data
from taut.dialects.problems import one_of
from taut.dialects.schemas import SCHEMAS, file_name
from taut.dialects.schemas import schema as schema_of
from taut.model.errors import BadInput


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [kind for kind in SCHEMAS if kind.lower().startswith(incomplete.lower())]


@click.command()
@click.argument("kind", required=False, shell_complete=_complete)
@click.option(
    "-o",
    "form",
    type=click.Choice(["json", "yaml"]),
    default="json",
    show_default=True,
    help="How the schema is printed.",
)
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file a kind into this folder instead.",
)
def schema(kind: str | None, form: str, folder: Path | None) -> None:
    """Print the JSON Schema (draft 2020-12) of KIND: Application, Project, or Config (the file of `taut run`).

    Without KIND: all of them, by their kind. An editor that knows them completes documents and marks faults while you type.
    """
    kinds = [_known(kind)] if kind else list(SCHEMAS)
    if folder is not None:
        for name in kinds:
            say(f"Wrote {_write(folder, name)}.")
    elif kind:
        show_data(schema_of(kinds[0]), form)
    else:
        show_data({name: schema_of(name) for name in kinds}, form)


def _known(kind: str) -> str:
    for name in SCHEMAS:
        if name.lower() == kind.lower():
            return name
    raise BadInput(f"there is no kind {kind!r}", advice=one_of(kind, SCHEMAS))


def _write(folder: Path, kind: str) -> Path:
    path = folder / file_name(kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None
    return path
