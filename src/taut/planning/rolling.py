"""Workloads that are rolled when a Secret changes: a note of what it holds goes into the template of their Pods.

A Deployment, StatefulSet or DaemonSet asks for it by the annotation `taut.dev/roll-on-secrets: "true"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from taut.model.manifests import Manifest, canonical

ASKED: Final = "taut.dev/roll-on-secrets"
NOTE: Final = "taut.dev/secrets"
_NONE: Final[Mapping[tuple[str, str], str]] = {}
_KINDS: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def rolled(
    manifests: tuple[Manifest, ...], mac: Callable[[bytes], str], made: Mapping[tuple[str, str], str] = _NONE
) -> tuple[Manifest, ...]:
    """The manifests; workloads that ask for it carry a keyed hash (`mac`) of the Secrets beside them that their Pods use.

    `made` holds keyed hashes, by namespace and name, of Secrets that the cluster will make of what is beside them.
    """
    asking = [m for m in manifests if m.kind in _KINDS and m.annotations.get(ASKED) == "true"]
    if not asking:
        return manifests
    secrets: dict[tuple[str, str], list[Any]] = {place: [digest] for place, digest in made.items()}
    for m in manifests:
        if m.kind == "Secret" and m.api_version == "v1":
            secrets[m.namespace, m.name] = [m.body.get(part) for part in ("data", "stringData")]
    return tuple(_noted(m, secrets, mac) if m in asking else m for m in manifests)


def _noted(manifest: Manifest, secrets: Mapping[tuple[str, str], list[Any]], mac: Callable[[bytes], str]) -> Manifest:
    template: Any = (manifest.body.get("spec") or {}).get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return manifest
    used = sorted({name for name in _names(template["spec"]) if (manifest.namespace, name) in secrets})
    if not used:
        return manifest
    found = [[n, *secrets[manifest.namespace, n]] for n in used]
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), NOTE: mac(canonical(found))[:32]}
    inner = {**template, "metadata": {**metadata, "annotations": annotations}}
    return Manifest({**manifest.body, "spec": {**manifest.body["spec"], "template": inner}}, manifest.origin)


def _names(pod: Mapping[str, Any]) -> Iterator[str]:
    """The Secrets that a Pod's spec names: in variables, volumes and projected ones. Malformed parts name none."""
    for container in (*_list(pod.get("containers")), *_list(pod.get("initContainers"))):
        for entry in _list(container.get("envFrom")):
            yield from _name(entry.get("secretRef"))
        for entry in _list(container.get("env")):
            source = entry.get("valueFrom")
            yield from _name(source.get("secretKeyRef") if isinstance(source, dict) else None)
    for volume in _list(pod.get("volumes")):
        yield from _name(volume.get("secret"), "secretName")
        projected = volume.get("projected")
        for source in _list(projected.get("sources")) if isinstance(projected, dict) else ():
            yield from _name(source.get("secret"))


def _name(ref: Any, field: str = "name") -> Iterator[str]:
    if isinstance(ref, dict) and isinstance(ref.get(field), str):
        yield ref[field]


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
