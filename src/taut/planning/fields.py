"""Who owns which field: `metadata.managedFields` as the API server keeps it for server-side apply.

A path is a tuple of elements in the server's own notation (structured-merge-diff's `fieldsV1`): `f:name` a field or map
key, `k:{"name":"web"}` a list element by its merge key, `v:"x"` an element of a set, `i:3` an element by position.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import orjson

from taut.model.live import FIELD_MANAGER, FieldOwner

type Path = tuple[str, ...]
type Entries = Sequence[Mapping[str, Any]]
"""The value of `metadata.managedFields`."""


_DEEPEST = 500
"""Deeper than the API server's own kinds by far; an object of somebody's own kind may be nested without end."""
_LONGEST_INDEX = 10


class Missing:
    """The type of MISSING: there is no value at a path (None is a value)."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing()


@lru_cache(maxsize=8192)
def _element(text: str) -> str | None:
    """A path element with its key in canonical order, so that equal elements are equal texts; None when it has not the form of one."""
    kind, rest = text[:2], text[2:]
    if kind == "f:":
        return text
    if kind == "i:":
        return text if rest.isascii() and rest.isdigit() and len(rest) < _LONGEST_INDEX else None
    if kind not in {"k:", "v:"}:
        return None
    try:
        value = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None
    if kind == "v:":
        return text
    return "k:" + key_text(value) if isinstance(value, dict) and value else None


def key_text(key: Mapping[str, Any]) -> str:
    """A list element's merge key in canonical form, as it stands after `k:`."""
    return orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


@dataclass(frozen=True)
class FieldSet:
    """A set of paths. A path is in the set when the manager owns it itself, not merely something below it."""

    paths: frozenset[Path] = frozenset()

    @classmethod
    def parse(cls, fields_v1: object) -> FieldSet:
        """Read an entry's `fieldsV1`. Anything that has not its form is passed over: the server alone writes it."""
        return cls(frozenset(_walk(fields_v1, ())) if isinstance(fields_v1, Mapping) else frozenset())

    def to_json(self) -> dict[str, Any]:
        """The `fieldsV1` of this set; `parse` reverses it."""
        tree: dict[str, Any] = {}
        for path in sorted(self.paths):
            node = tree
            for element in path:
                node = node.setdefault(element, {})
            node["."] = {}
        return _folded(tree)

    def __contains__(self, path: Path) -> bool:
        return path in self.paths

    def __iter__(self) -> Iterator[Path]:
        return iter(sorted(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def __or__(self, other: FieldSet) -> FieldSet:
        return FieldSet(self.paths | other.paths)

    def __sub__(self, other: FieldSet) -> FieldSet:
        return FieldSet(self.paths - other.paths)

    def __and__(self, other: FieldSet) -> FieldSet:
        return FieldSet(self.paths & other.paths)

    @cached_property
    def inner(self) -> frozenset[Path]:
        """Every path that has something of the set below it."""
        return frozenset(path[:n] for path in self.paths for n in range(1, len(path)))

    @cached_property
    def leaves(self) -> frozenset[Path]:
        """The members that have no member below them: values, atomic lists, and empty maps."""
        return self.paths - self.inner

    def owns(self, path: Path) -> bool:
        """Whether the value at `path` is the manager's: a member, or inside one that is owned as a whole (atomic)."""
        return path in self.paths or any(path[:n] in self.leaves for n in range(1, len(path)))

    def touches(self, path: Path) -> bool:
        """Whether the manager owns `path` or anything below it."""
        return self.owns(path) or path in self.inner


def _walk(node: Mapping[str, Any], at: Path) -> Iterator[Path]:
    for raw, below in node.items():
        if raw == "." or not isinstance(below, Mapping):
            continue
        element = _element(raw)
        if element is None:
            continue
        path = (*at, element)
        if not below or "." in below or len(path) >= _DEEPEST:
            yield path
        if len(path) < _DEEPEST:
            yield from _walk(below, path)


def _folded(tree: dict[str, Any]) -> dict[str, Any]:
    """`{"a": {".": {}}}` is written `{"a": {}}`."""
    return {k: ({} if v == {".": {}} else _folded(v)) if k != "." else {} for k, v in tree.items()}


def managed_fields(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`metadata.managedFields` of an object; empty when there are none."""
    metadata = body.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _own_entry(entries: Entries, manager: str) -> Mapping[str, Any] | None:
    for entry in entries:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry
    return None


def owned_hash(entries: Entries, manager: str = FIELD_MANAGER) -> str:
    """sha256 (hex) of the manager's own Apply entry, "" when there is none (techniques: drift without a comparison).

    The entry's time and API version are no part of it: only which fields are owned.
    """
    entry = _own_entry(entries, manager)
    if entry is None:
        return ""
    return hashlib.sha256(orjson.dumps(entry.get("fieldsV1") or {}, option=orjson.OPT_SORT_KEYS)).hexdigest()


def owned_fields(entries: Entries, manager: str = FIELD_MANAGER) -> FieldSet:
    """The fields of the manager's own Apply entry; empty when there is none."""
    entry = _own_entry(entries, manager)
    return FieldSet.parse(entry.get("fieldsV1")) if entry else FieldSet()


def _owner(entry: Mapping[str, Any]) -> FieldOwner:
    return FieldOwner(
        manager=str(entry.get("manager", "")),
        operation=str(entry.get("operation", "")),
        time=str(entry.get("time") or ""),
        subresource=str(entry.get("subresource") or ""),
    )


type OwnerSets = Sequence[tuple[FieldOwner, FieldSet]]


def read_owners(entries: Entries) -> OwnerSets:
    """Every entry's owner and fields, read once for many questions."""
    return [(_owner(e), FieldSet.parse(e.get("fieldsV1"))) for e in entries]


def owners_at(owners: OwnerSets, path: Path) -> list[FieldOwner]:
    """Every manager that owns `path`, the latest first; when none owns it itself, those that own something below it."""
    found = [o for o, s in owners if s.owns(path)] or [o for o, s in owners if path in s.inner]
    return sorted(found, key=lambda o: o.time, reverse=True)


def owners_of(entries: Entries, path: Path) -> list[FieldOwner]:
    """`owners_at` for a single question."""
    return owners_at(read_owners(entries), path)


def fields_of_managers(entries: Entries, managers: Iterable[str]) -> FieldSet:
    """The union of what these managers own, in whichever way and subresource."""
    wanted = frozenset(managers)
    sets = [FieldSet.parse(e.get("fieldsV1")) for e in entries if e.get("manager") in wanted]
    return FieldSet(frozenset[Path]().union(*(s.paths for s in sets)))


def lost_fields(before: Entries, after: Entries, manager: str = FIELD_MANAGER) -> list[tuple[str, FieldOwner]]:
    """What others owned before a write and `manager` owns after it alone: (path as people write it, who lost it)."""
    owned = owned_fields(after, manager)
    still: dict[tuple[str, str, str], FieldSet] = {}
    for entry in after:
        identity = _identity(entry)
        still[identity] = still.get(identity, FieldSet()) | FieldSet.parse(entry.get("fieldsV1"))
    lost: list[tuple[str, FieldOwner]] = []
    for entry in before:
        if _identity(entry) == (manager, "Apply", ""):
            continue
        gone = FieldSet.parse(entry.get("fieldsV1")) - still.get(_identity(entry), FieldSet())
        lost += [(human(path), _owner(entry)) for path in sorted(gone.leaves) if owned.owns(path)]
    return lost


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return (str(entry.get("manager", "")), str(entry.get("operation", "")), str(entry.get("subresource") or ""))


# Managers whose place taut takes: tools that write what a repository or a person declared. Controllers that own fields
# for their own purposes (autoscalers, kube-controller-manager, cert-manager's injector) are not among them.
_PREDECESSORS = frozenset(
    {
        "argocd-application-controller",
        "argocd-controller",
        "before-first-apply",
        "flux",
        "flux-client-side-apply",
        "helm",
        "helm-controller",
        "kubectl",
        "kustomize-controller",
    }
)
# `kubectl rollout restart` writes an annotation that Git never has; taking it over would remove it: another restart.
_NOT_PREDECESSORS = frozenset({"kubectl-rollout"})


def is_predecessor(entry: Mapping[str, Any]) -> bool:
    """Whether taut takes over what this entry's manager declared. Subresources (status, scale) never."""
    manager = str(entry.get("manager", ""))
    if entry.get("subresource") or manager in _NOT_PREDECESSORS:
        return False
    return manager in _PREDECESSORS or manager.startswith("kubectl-")


def absorb(entries: Entries, api_version: str, manager: str = FIELD_MANAGER) -> list[dict[str, Any]] | None:
    """managedFields with the entries of taut's predecessors folded into its Apply entry; None when there are none.

    The API server does not do this itself (it is kubectl that migrates its own entries), so without it a field that an
    earlier tool set and Git no longer has would stay for ever. kubectl's last-applied annotation is taken over with the
    rest: the next apply does not contain it, and drops it. `api_version` is the one taut is about to apply. Meant for
    the first apply of an object only: what people add later to fields that Git does not declare is theirs.
    """
    taken = [e for e in entries if is_predecessor(e)]
    if not taken:
        return None
    own = _own_entry(entries, manager)
    kept = [dict(e) for e in entries if not is_predecessor(e) and e is not own]
    sources = [*([own] if own else []), *taken]
    fields = FieldSet()
    for entry in sources:
        fields |= FieldSet.parse(entry.get("fieldsV1"))
    versions = {str(e.get("apiVersion", "")) for e in sources}
    merged: dict[str, Any] = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": versions.pop() if len(versions) == 1 else api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields.to_json(),
    }
    times = [str(e["time"]) for e in sources if e.get("time")]
    if times:
        merged["time"] = max(times)
    return [merged, *kept]


LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

_PLAIN_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]*$")


def human(path: Path) -> str:
    """A path as people write it: `spec.containers[name=web].image`, `metadata.labels[app.kubernetes.io/name]`."""
    text = ""
    for element in path:
        kind, rest = element[:2], element[2:]
        if kind == "k:":
            pairs = orjson.loads(rest)
            text += "[" + ",".join(f"{k}={_plain(v)}" for k, v in pairs.items()) + "]"
        elif kind == "v:":
            text += f"[{_plain(orjson.loads(rest))}]"
        elif kind == "i:" or not _PLAIN_NAME.match(rest):
            text += f"[{rest}]"
        else:
            text += f".{rest}" if text else rest
    return text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


# What the API server puts into a merge key where the element leaves it out (`protocol` of ports).
KEY_DEFAULTS: Final[Mapping[str, Any]] = {"protocol": "TCP"}


def get(body: Any, path: Path) -> Any:
    """The value at `path` in a JSON value, MISSING when there is none."""
    value: Any = body
    for element in path:
        value = _step(value, element[:2], element[2:])
        if value is MISSING:
            return MISSING
    return value


def _step(value: Any, kind: str, rest: str) -> Any:
    if kind == "f:":
        return value.get(rest, MISSING) if isinstance(value, dict) else MISSING
    if not isinstance(value, list):
        return MISSING
    if kind == "i:":
        index = int(rest)
        return value[index] if 0 <= index < len(value) else MISSING
    wanted = orjson.loads(rest)
    if kind == "v:":
        return next((v for v in value if v == wanted and type(v) is type(wanted)), MISSING)
    return next((v for v in value if isinstance(v, dict) and _has_key(v, wanted)), MISSING)


def _has_key(element: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
    return all(element.get(name, KEY_DEFAULTS.get(name, MISSING)) == value for name, value in key.items())
