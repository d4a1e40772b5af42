"""`taut render`: what a folder of the working copy renders to, before any commit. The same engine as the controller's."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import click
import orjson

from taut.cli.options import decrypting
from taut.controller.decryption import of_person
from taut.documents.yaml import dump_all, load_one
from taut.model.application import HelmOptions, HelmParameter, Renderer, Source
from taut.model.errors import BadInput, TautError, Where
from taut.model.live import Capabilities
from taut.render.decryption import MARK, hidden
from taut.render.engine import Rendered, RenderEngine, RenderJob, RenderSource
from taut.render.protocols import Decrypter, Opened
from taut.render.reach import normal
from taut.render.values import merge
from taut.render.worktree import snapshot

_DEFAULT_NAME = "release"


@click.command("render")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--kube-version", metavar="VERSION", help="The Kubernetes version that charts are told, such as v1.37.0.")
@click.option(
    "--api-versions",
    "-a",
    multiple=True,
    metavar="LIST",
    help="API versions that charts are told beside the usual ones; commas separate, repeatable.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="YAML documents, or one JSON list.",
)
@click.option(
    "--values",
    "-f",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A values file for a chart; later ones win.",
)
@click.option(
    "--set", "parameters", multiple=True, metavar="NAME=VALUE", help="A single value for a chart, as with helm --set."
)
@click.option(
    "--name", help="The application's name, which charts use as the release name. Default: the folder's name."
)
@click.option("--namespace", "-n", default="default", show_default=True, help="The target's namespace.")
@click.option(
    "--renderer",
    type=click.Choice([r.value for r in Renderer]),
    default=Renderer.AUTO.value,
    show_default=True,
    help="Which renderer reads PATH.",
)
@click.option(
    "--kustomize", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The kustomize program to use."
)
@decrypting
def render(
    *,
    path: Path,
    kube_version: str | None,
    api_versions: tuple[str, ...],
    output: str,
    values: tuple[Path, ...],
    parameters: tuple[str, ...],
    name: str | None,
    namespace: str,
    renderer: str,
    kustomize: Path | None,
    decrypt: bool,
    keys: tuple[Path, ...],
) -> None:
    """Render PATH, a folder or file of the working copy, and print the objects.

    Where SOPS files are among the inputs, their values, and all that Secrets hold, are printed as ••••••. The repository that PATH is in is what it may refer to; without one, the current folder. Exit codes: 0 done, 1 it does not render,
    2 bad input.
    """
    root, inside = _split(path)
    decrypter = of_person(keys) if decrypt else None
    opened: list[Opened] = []
    options = (
        HelmOptions(values=_values(values, decrypter, opened), parameters=tuple(_parameter(p) for p in parameters))
        if values or parameters
        else None
    )
    source = Source(path=inside or ".", renderer=Renderer(renderer), helm_options=options)
    capabilities = Capabilities(
        kube_version or Capabilities().kube_version, tuple(v for text in api_versions for v in text.split(",") if v)
    )
    job = RenderJob(
        name or _name(path),
        namespace,
        (RenderSource(source, snapshot(root)),),
        capabilities=capabilities,
        decrypter=decrypter,
        keep_encrypted=not decrypt,
        opened=tuple(opened),
    )
    rendered = asyncio.run(_render(job, kustomize))
    for warning in rendered.warnings:
        click.echo(f"warning: {warning}", err=True)
    _print(_bodies(rendered), output)


async def _render(job: RenderJob, kustomize: Path | None) -> Rendered:
    async with RenderEngine(kustomize=kustomize, workers=1) as engine:
        return await engine.render(job)


def _bodies(rendered: Rendered) -> list[dict[str, Any]]:
    """The objects, without a value of an encrypted file."""
    if not rendered.decryption:
        return [m.body for m in rendered.manifests]
    paths: dict[str, set[str]] = {}
    for found in rendered.decrypted:
        paths.setdefault(found.object, set()).add(found.path)
    return [hidden(m, paths.get(m.ref("").id, ())) for m in rendered.manifests]


def _print(bodies: list[dict[str, Any]], output: str) -> None:
    if output == "json":
        click.echo(orjson.dumps(bodies, option=orjson.OPT_INDENT_2).decode())
    elif bodies:
        click.echo(dump_all(bodies), nl=False)


def _split(path: Path) -> tuple[Path, str]:
    """The folder that PATH may refer to, and PATH in it: the Git working copy, else the current folder, else PATH itself."""
    full = path.resolve()
    start = full if full.is_dir() else full.parent
    repository = next((p for p in (start, *start.parents) if (p / ".git").exists()), None)
    here = Path.cwd().resolve()
    root = repository or (here if start.is_relative_to(here) else start)
    return root, normal(full.relative_to(root).as_posix())


def _name(path: Path) -> str:
    """A release name made of the folder's name."""
    full = path.resolve()
    text = re.sub(r"[^a-z0-9-]+", "-", (full.name if full.is_dir() else full.stem).lower()).strip("-")[:53].strip("-")
    return text or _DEFAULT_NAME


def _values(files: tuple[Path, ...], decrypter: Decrypter | None, opened: list[Opened]) -> dict[str, Any]:
    """The values of files together; what was encrypted among them goes to `opened`."""
    result: dict[str, Any] = {}
    for file in files:
        data = file.read_bytes()
        try:
            found = decrypter.open(data, file.name) if decrypter is not None and MARK in data else None
        except TautError as error:
            error.where = Where(file=str(file))
            raise
        if found is not None:
            opened.append(found)
            data = found.text
        body = load_one(data, file=str(file))
        if body is not None and not isinstance(body, dict):
            raise BadInput("values must be a mapping", where=Where(file=str(file)))
        result = merge(result, body or {})
    return result


def _parameter(text: str) -> HelmParameter:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadInput(f"--set takes NAME=VALUE, not {text!r}")
    return HelmParameter(name=name, value=value)
