"""From rendered manifests to objects with an identity: lists flattened, scopes and namespaces settled, no duplicates.

DESIGN.md, Semantics, "Normalising".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from taut.model.errors import BadInput, Where
from taut.model.live import KindInfo
from taut.model.manifests import Manifest
from taut.model.plan import Hold, HoldKind
from taut.model.refs import KindRef, ObjectRef
from taut.planning.hooks import Fate, parse_hook


class Kinds(Protocol):
    """What the target knows of kinds."""

    def __call__(self, kind: KindRef, /) -> KindInfo | None:
        """The kind as the target serves it; None when it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Normalised:
    """Objects whose identity is settled.

    `unsettled` are the objects of unknown scope, each under both of the identities it may have: they are held, not
    applied, and must not be taken for removed either.
    """

    manifests: tuple[Manifest, ...]
    unsettled: frozenset[ObjectRef] = frozenset()
    holds: tuple[Hold, ...] = ()
    warnings: tuple[str, ...] = ()


CRD: Final = KindRef("apiextensions.k8s.io", "CustomResourceDefinition")
_MAX_NESTING: Final = 5
# Deeper than any real object (schemas of CRDs reach about 80), and safe for everything that walks it after this.
_MAX_DEPTH: Final = 200


def normalise(manifests: Iterable[Manifest], *, cluster: str, namespace: str, kinds: Kinds) -> Normalised:
    """Settle scope and namespace of every manifest.

    `namespace` is the target's, for namespaced objects without one. Raises BadInput, naming file and line, for what is no
    object, for a `generateName` outside of hooks, and for two manifests of the same object.
    """
    flat = [m for manifest in manifests for m in _flattened(manifest, 0)]
    scopes = _declared_scopes(flat)
    settled: list[Manifest] = []
    unknown: list[Manifest] = []
    warnings: list[str] = []
    for manifest in flat:
        _check(manifest)
        namespaced = _scope(manifest, scopes, kinds)
        if namespaced is None:
            unknown.append(manifest)
        elif namespaced:
            settled.append(_with_namespace(manifest, manifest.namespace or _needed(namespace, manifest)))
        else:
            if manifest.namespace:
                warnings.append(f"{manifest} is cluster-scoped: its namespace is left out")
            settled.append(_with_namespace(manifest, ""))
    _refuse_duplicates(settled, cluster)
    refs = frozenset(ref for m in unknown for ref in _possible(m, cluster, namespace))
    return Normalised(tuple(settled), refs, _scope_holds(unknown, cluster), tuple(warnings))


def _flattened(manifest: Manifest, depth: int) -> Iterator[Manifest]:
    """The items of a `List` (or `RoleList`, …), any other object itself."""
    items = manifest.body.get("items")
    if not manifest.kind.endswith("List") or not isinstance(items, list):
        yield manifest
        return
    if depth >= _MAX_NESTING:
        raise _bad(manifest, f"lists are nested more than {_MAX_NESTING} times", "write the objects as documents")
    for item in items:
        if not isinstance(item, dict):
            raise _bad(manifest, "an item of the list is no object", "each item needs apiVersion, kind and metadata")
        yield from _flattened(Manifest(_typed(item, manifest), manifest.origin), depth + 1)


def _typed(item: dict[str, Any], parent: Manifest) -> dict[str, Any]:
    """Items of a typed list (`RoleList`) may leave out what the list says."""
    if parent.kind == "List" or "kind" in item:
        return item
    return {"apiVersion": parent.api_version, "kind": parent.kind.removesuffix("List"), **item}


def _bad(manifest: Manifest, what: str, advice: str, field: str = "") -> BadInput:
    origin = manifest.origin
    shown = str(manifest) if manifest.kind and manifest.name else ""
    where = Where(repository=origin.source, file=origin.file, line=origin.line, object=shown, field=field)
    return BadInput(what, where=where, advice=advice)


def _check(manifest: Manifest) -> None:
    """Refuse what has not the form of an object: everything after this relies on it."""
    for field in ("apiVersion", "kind"):
        if not isinstance(manifest.body.get(field), str) or not manifest.body[field]:
            raise _bad(
                manifest, f"{field} is missing", "every Kubernetes object has apiVersion, kind and metadata", field
            )
    metadata = manifest.body.get("metadata")
    if not isinstance(metadata, dict):
        raise _bad(manifest, f"{manifest.kind} has no metadata", "give it at least metadata.name", "metadata")
    for field in ("name", "namespace", "generateName"):
        if not isinstance(metadata.get(field, ""), (str, type(None))):
            raise _bad(manifest, f"metadata.{field} is no text", "put it in quotes", f"metadata.{field}")
    for field in ("labels", "annotations"):
        _check_texts(manifest, field, metadata.get(field))
    if not manifest.name:
        _check_generated(manifest)
    if _is_deeper(manifest.body, _MAX_DEPTH):
        raise _bad(manifest, f"it is nested more than {_MAX_DEPTH} levels deep", "no Kubernetes object needs that")


def _is_deeper(body: Any, levels: int) -> bool:
    """Whether maps and lists are nested deeper; level by level, because a recursion would itself go too deep."""
    layer = [body]
    for _ in range(levels + 1):
        inner = (value for node in layer for value in (node.values() if isinstance(node, dict) else node))
        layer = [value for value in inner if isinstance(value, (dict, list))]
        if not layer:
            return False
    return True


def _check_texts(manifest: Manifest, field: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise _bad(manifest, f"metadata.{field} is no map", "write name: value pairs", f"metadata.{field}")
    for name, text in value.items():
        if not isinstance(text, (str, type(None))):
            raise _bad(manifest, f"metadata.{field} {name!r} is no text", "put it in quotes", f"metadata.{field}")


def _check_generated(manifest: Manifest) -> None:
    if not manifest.metadata.get("generateName"):
        raise _bad(manifest, f"{manifest.kind} has no name", "give it metadata.name", "metadata.name")
    if parse_hook(manifest)[0] is Fate.NORMAL:
        raise _bad(
            manifest,
            f"{manifest.kind} has only a generateName",
            "each sync would make another one; give it a name, or make it a hook",
            "metadata.generateName",
        )


def _declared_scopes(manifests: Iterable[Manifest]) -> Mapping[KindRef, bool]:
    """Kinds that come with these manifests, by their CustomResourceDefinitions: whether they are namespaced."""
    scopes: dict[KindRef, bool] = {}
    for manifest in manifests:
        spec = manifest.body.get("spec")
        if (manifest.group, manifest.kind) == CRD and isinstance(spec, dict) and isinstance(spec.get("names"), dict):
            kind = KindRef(str(spec.get("group", "")), str(spec["names"].get("kind", "")))
            scopes[kind] = spec.get("scope") != "Cluster"
    return scopes


def _scope(manifest: Manifest, declared: Mapping[KindRef, bool], kinds: Kinds) -> bool | None:
    """Whether the kind is namespaced; None when nobody knows. What the commit declares counts before what is there."""
    kind = KindRef(manifest.group, manifest.kind)
    if kind in declared:
        return declared[kind]
    info = kinds(kind)
    return info.namespaced if info else None


def _needed(namespace: str, manifest: Manifest) -> str:
    if not namespace:
        raise _bad(
            manifest,
            f"{manifest.kind} {manifest.name or manifest.metadata.get('generateName')} has no namespace",
            "give it one, or give the application's target a namespace",
            "metadata.namespace",
        )
    return namespace


def _with_namespace(manifest: Manifest, namespace: str) -> Manifest:
    if manifest.metadata.get("namespace", "") == namespace:
        return manifest
    rest = {k: v for k, v in manifest.metadata.items() if k != "namespace"}
    metadata = {**rest, "namespace": namespace} if namespace else rest
    return Manifest({**manifest.body, "metadata": metadata}, manifest.origin)


def _refuse_duplicates(manifests: Iterable[Manifest], cluster: str) -> None:
    seen: dict[ObjectRef, Manifest] = {}
    for manifest in manifests:
        if not manifest.name:
            continue
        first = seen.setdefault(manifest.ref(cluster), manifest)
        if first is not manifest:
            raise _bad(
                manifest, f"{manifest} is declared twice", f"it is also in {_place(first)}; remove one of the two"
            )


def _place(manifest: Manifest) -> str:
    origin = manifest.origin
    return str(Where(repository=origin.source, file=origin.file, line=origin.line)) or "the same render"


def _possible(manifest: Manifest, cluster: str, namespace: str) -> Iterator[ObjectRef]:
    yield ObjectRef(cluster, manifest.group, manifest.kind, "", manifest.name)
    for candidate in {manifest.namespace, namespace} - {""}:
        yield ObjectRef(cluster, manifest.group, manifest.kind, candidate, manifest.name)


def _scope_holds(unknown: Iterable[Manifest], cluster: str) -> tuple[Hold, ...]:
    by_kind: dict[str, list[ObjectRef]] = {}
    for manifest in unknown:
        ref = manifest.ref(cluster)
        by_kind.setdefault(str(ref.kind_ref), []).append(ref)
    unknown_kind = "the cluster does not know the kind {}, and no CustomResourceDefinition for it comes along"
    return tuple(
        Hold(HoldKind.SCOPE, unknown_kind.format(kind), tuple(refs), approvable=False)
        for kind, refs in sorted(by_kind.items())
    )
