"""Which kinds and fields the target of `taut check` has: read from a file, or asked of the target itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taut.model.errors import BadInput, TargetError, Where

if TYPE_CHECKING:
    from taut.clients.kubernetes.client import KubernetesClient
    from taut.policy.builtin import Schemas

_V3 = "/openapi/v3"
_SUFFIXES = frozenset({".json", ".yaml", ".yml"})


@dataclass(frozen=True)
class Target:
    """What the options say. With none of them it is the Kubernetes version that taut knows."""

    openapi: tuple[Path, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None

    def schemas(self) -> Schemas | None:
        """The kinds and fields; None: those that came with taut. Raises BadInput for files that are no OpenAPI, TargetError when the target does not answer."""
        if self.openapi:
            return _of_files(self.openapi)
        if self.kubeconfig or self.context:
            return asyncio.run(_of_target(self.kubeconfig, self.context))
        return None


def for_target(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which target is meant, passed as `target`."""

    @click.option(
        "--openapi",
        multiple=True,
        type=click.Path(exists=True, path_type=Path),
        metavar="PATH",
        help="The target's OpenAPI: files, or folders of them (kubectl get --raw /openapi/v2).",
    )
    @click.option(
        "--kubeconfig",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Ask this cluster for its OpenAPI.",
    )
    @click.option("--context", help="The context in the kubeconfig.")
    @wraps(command)
    def with_target(
        *args: Any, openapi: tuple[Path, ...], kubeconfig: Path | None, context: str | None, **more: Any
    ) -> Any:
        return command(*args, target=Target(openapi, kubeconfig, context), **more)

    return with_target


def _of_files(paths: tuple[Path, ...]) -> Schemas:
    from taut.documents.yaml import Limits, load_documents
    from taut.policy.builtin import read_openapi

    limits = Limits(bytes=64 * 2**20, nodes=5_000_000)
    documents: list[dict[str, Any]] = []
    for file in (f for path in paths for f in _files(path)):
        try:
            found = [d.body for d in load_documents(file.read_bytes(), file=str(file), limits=limits)]
        except OSError as error:
            raise BadInput(f"the file cannot be read: {error.strerror}", where=Where(file=str(file))) from None
        documents += [d for d in found if isinstance(d, dict)]
    schemas = read_openapi(documents)
    if not schemas.kinds:
        raise BadInput(
            "there is no kind of Kubernetes in these OpenAPI documents",
            where=Where(file=", ".join(map(str, paths))),
            advice="write one with `kubectl get --raw /openapi/v2`",
        )
    return schemas


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
    else:
        yield path


async def _of_target(kubeconfig: Path | None, context: str | None) -> Schemas:
    from taut.clients.kubernetes.client import KubernetesClient
    from taut.clients.kubernetes.config import load_config

    async with KubernetesClient(load_config(kubeconfig, context)) as client:
        return await ask(client)


async def ask(client: KubernetesClient) -> Schemas:
    """All that a target serves. Raises TargetError when it does not answer.

    A part that is not served (an aggregated API that is away) is left out, and the rest is not taken for all there is.
    """
    from taut.policy.builtin import read_openapi

    version, index = await asyncio.gather(client.request("GET", "/version"), client.request("GET", _V3))
    paths: dict[str, Any] = index.get("paths") or {}
    asked = [p for p in sorted(paths) if p == "api/v1" or p.startswith("apis/")]
    answers = await asyncio.gather(*(client.request("GET", f"{_V3}/{p}") for p in asked), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, TargetError):
            raise answer
    documents = [a for a in answers if isinstance(a, dict)]
    return read_openapi(documents, version=str(version.get("gitVersion") or ""), whole=len(documents) == len(answers))
