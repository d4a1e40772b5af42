"""`taut health`: the health of objects in a file, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import msgspec
from rich.text import Text

from taut.cli.data import show_data
from taut.cli.options import output
from taut.cli.printing import Column, show_table
from taut.cli.words import health_state
from taut.documents.yaml import Document, load_documents
from taut.health.assess import assess
from taut.model.errors import BadInput, Where
from taut.model.health import HealthStatus

_COLUMNS = (Column("KIND"), Column("NAME"), Column("HEALTH"), Column("MESSAGE", least=20))


class Assessed(msgspec.Struct, frozen=True, rename="camel"):
    """One object and its health (a contract with scripts)."""

    api_version: str
    kind: str
    name: str
    status: HealthStatus
    message: str


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    type=click.File("rb"),
    multiple=True,
    required=True,
    metavar="FILE",
    help="A YAML or JSON file of objects as `kubectl get -o yaml` prints them; - is standard input. May be repeated.",
)
@output
def health(files: tuple[BinaryIO, ...], output: str) -> None:
    """Tell the health of objects in a file, without a cluster.

    A file may hold several documents, and lists of objects. The rules are those of a running taut.
    """
    found = [assessed for file in files for assessed in assess_file(file.read(), _name(file))]
    if output != "table":
        show_data(found, output)
        return
    rows = [(a.kind, a.name, Text(a.status.value, style=health_state(a.status).style), a.message) for a in found]
    show_table(_COLUMNS, rows)


def assess_file(data: bytes, file: str) -> list[Assessed]:
    """The health of every object in a file, in its order. Raises BadInput with file and line for what is no object."""
    return [_assessed(body) for document in load_documents(data, file=file) for body in _objects(document, file)]


def _assessed(body: dict[str, Any]) -> Assessed:
    verdict = assess(body)
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return Assessed(body["apiVersion"], body["kind"], str(name or ""), verdict.status, verdict.message)


def _objects(document: Document, file: str) -> Iterator[dict[str, Any]]:
    """The objects of a document: itself, or the items of a `List`."""
    body = document.body
    if isinstance(body, dict) and body.get("kind") == "List" and isinstance(body.get("items"), list):
        for item in body["items"]:
            yield _checked(item, "an item of this list", document, file)
        return
    yield _checked(body, "this document", document, file)


def _checked(body: Any, what: str, document: Document, file: str) -> dict[str, Any]:
    place = Where(file=file, line=document.line)
    if not isinstance(body, dict):
        raise BadInput(
            f"{what} is no Kubernetes object", where=place, advice="an object has apiVersion, kind and metadata"
        )
    for field in ("apiVersion", "kind"):
        if not isinstance(body.get(field), str) or not body[field]:
            raise BadInput(f"{what} has no {field}", where=place, advice="an object has apiVersion, kind and metadata")
    return body


def _name(file: BinaryIO) -> str:
    name = getattr(file, "name", "")
    return "standard input" if name in {"<stdin>", "-", 0, ""} else str(name)
