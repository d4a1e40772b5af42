"""Rendered objects brought into one form: lists flattened, and everything that cannot be applied said with its place. Pure.

Scopes and default namespaces need the target's discovery, and are decided in planning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taut.model.errors import RenderError, Where
from taut.model.manifests import Body, Manifest, Origin

_HOOKS = ("argocd.argoproj.io/hook", "helm.sh/hook", "taut.dev/hook")
_MAX_DEPTH = 8


def normalise(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Flatten lists and check every object.

    Raises RenderError for an object without apiVersion, kind or name (generateName counts in hooks), for one with metadata that is no
    mapping, and for an object that comes twice, naming both places.
    """
    result: list[Manifest] = []
    seen: dict[tuple[str, str, str, str], Manifest] = {}
    for manifest in manifests:
        for one in flatten(manifest):
            _check(one)
            if one.name:
                identity = (one.group, one.kind, one.namespace, one.name)
                if identity in seen:
                    raise RenderError(
                        f"{one} is declared twice, the first time in {place(seen[identity].origin)}",
                        where=where(one.origin),
                        advice="remove one of them",
                    )
                seen[identity] = one
            result.append(one)
    return tuple(result)


def flatten(manifest: Manifest, depth: int = 0) -> Iterator[Manifest]:
    """The object itself, or what a List (`kind: List`, `kind: DeploymentList` with `items`) holds."""
    body = manifest.body
    items = body.get("items")
    if not (str(body.get("kind", "")).endswith("List") and isinstance(items, list) and "spec" not in body):
        yield manifest
        return
    if depth > _MAX_DEPTH:
        raise RenderError("lists are nested too deeply", where=where(manifest.origin))
    kind, version = str(body["kind"]).removesuffix("List"), body.get("apiVersion")
    for item in items:
        if not isinstance(item, dict):
            raise RenderError("an item of a list is no object", where=where(manifest.origin))
        yield from flatten(Manifest(_typed(item, kind, version), manifest.origin), depth + 1)


def _typed(item: Body, kind: str, version: object) -> Body:
    """Items of a typed list may leave out what the list says."""
    if not kind or (item.get("kind") and item.get("apiVersion")):
        return item
    return {
        "apiVersion": item.get("apiVersion") or version,
        "kind": item.get("kind") or kind,
        **{k: v for k, v in item.items() if v is not None},
    }


def is_hook(manifest: Manifest) -> bool:
    """Whether the object is run, not kept."""
    return any(annotation in manifest.annotations for annotation in _HOOKS)


def _check(manifest: Manifest) -> None:
    body = manifest.body
    for field in ("apiVersion", "kind"):
        if not isinstance(body.get(field), str) or not body[field]:
            raise RenderError(
                f"an object has no {field}",
                where=where(manifest.origin),
                advice="every object needs apiVersion, kind and metadata.name",
            )
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        raise RenderError(
            f"the {manifest.kind} has no metadata", where=where(manifest.origin), advice="give it a metadata.name"
        )
    for field in ("labels", "annotations"):
        value = metadata.get(field)
        if value is not None and not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
            wrong = next((k for k, v in value.items() if not isinstance(v, str)), "") if isinstance(value, dict) else ""
            raise RenderError(
                f"metadata.{field}{f'[{wrong!r}]' if wrong else ''} of {manifest} must be text",
                where=where(manifest.origin),
                advice="put it in quotes",
            )
    name, generate = metadata.get("name"), metadata.get("generateName")
    if name is not None and not isinstance(name, str):
        raise RenderError(
            f"the name of a {manifest.kind} must be text, not {name!r}",
            where=where(manifest.origin),
            advice="put it in quotes",
        )
    if not name and not (generate and is_hook(manifest)):
        advice = (
            "generateName works in hooks only: elsewhere every sync would make another"
            if generate
            else "give it a metadata.name"
        )
        raise RenderError(f"a {manifest.kind} has no name", where=where(manifest.origin), advice=advice)


def where(origin: Origin) -> Where:
    """An origin as the place of an error."""
    return Where(repository=origin.source, file=origin.file, line=origin.line)


def place(origin: Origin) -> str:
    """An origin in one word."""
    return origin.place or "an unknown place"
