"""The one diff engine: what an apply of Git's version would change, and the exact difference that a dry-run shows.

`compare` is the projection: it compares what Git sets with the live object by value, knows what the API server defaults and
normalises, and says of each difference whether it is certain. `confirm` is the answer of the server itself, for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taut.model.live import FIELD_MANAGER
from taut.model.manifests import Body
from taut.model.plan import FieldChange
from taut.planning.fields import (
    LAST_APPLIED,
    MISSING,
    Entries,
    FieldSet,
    OwnerSets,
    Path,
    absorb,
    get,
    human,
    managed_fields,
    owned_fields,
    owners_at,
    read_owners,
)
from taut.planning.ignore import NOTHING, ResolvedIgnore
from taut.planning.lists import ListKeys, ListKind, ListType, index
from taut.planning.locate import without
from taut.planning.prepare import canonical_body
from taut.planning.redact import DIFFERS, HIDDEN, Redactor
from taut.planning.values import Sameness, compare_scalars, same_type


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fields that differ. `certain` is False when one of them is only suspected: a dry-run decides (`confirm`)."""

    changes: tuple[FieldChange, ...] = ()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs, not redacted: never to be shown or kept as it is. A missing side is MISSING."""

    path: Path
    before: Any
    after: Any
    certain: bool


# Of the metadata only these are a matter of Git; the rest is identity, or the server's.
_METADATA: Final = ("labels", "annotations", "finalizers", "ownerReferences")
# Kinds without defaults, which next to nothing mutates on its way in: what differs there differs.
_PLAIN_KINDS: Final = frozenset({"ConfigMap", "Secret"})
# Maps whose members have no default: what leaves them is gone.
_FREE_MAPS: Final = frozenset(
    {"labels", "annotations", "matchLabels", "nodeSelector", "data", "binaryData", "stringData", "parameters"}
)
_METADATA_MAPS: Final = frozenset({("f:metadata", "f:labels"), ("f:metadata", "f:annotations")})
# Maps that the server leaves out when they are empty (Go's `omitempty` on a map or a struct without pointer).
_DROPPED_WHEN_EMPTY: Final = frozenset({*_FREE_MAPS, "resources", "limits", "requests", "updateStrategy", "strategy"})
# Maps of Kubernetes' own kinds that are one value (`x-kubernetes-map-type: atomic`).
_ATOMIC_MAPS: Final = frozenset(
    {"selector", "labelSelector", "podSelector", "namespaceSelector", "objectSelector", "nodeSelector", "fieldRef"}
    | {"resourceFieldRef", "secretKeyRef", "configMapKeyRef", "dataSource", "roleRef", "scaleTargetRef"}
)
# What the server adds to elements of lists that are one value, in Kubernetes' own kinds.
_ELEMENT_DEFAULTS: Final[Mapping[str, Any]] = {
    "protocol": "TCP",
    "scope": "*",
    "volumeMode": "Filesystem",
    "apiGroup": "rbac.authorization.k8s.io",
    "defaultMode": 420,
    "selectPolicy": "Max",
    "status": {"phase": "Pending"},
    "creationTimestamp": None,
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "expirationSeconds": 3600,
}


def compared(body: Body) -> Body:
    """The part of an object that is compared: no identity, no status, and of the metadata what people write."""
    metadata = body.get("metadata") or {}
    kept = {k: metadata[k] for k in _METADATA if k in metadata}
    if isinstance(kept.get("annotations"), dict):
        kept["annotations"] = {k: v for k, v in kept["annotations"].items() if k != LAST_APPLIED}
    rest = {k: v for k, v in body.items() if k not in ("apiVersion", "kind", "metadata", "status")}
    return {"metadata": kept, **rest} if kept else rest


def effective_fields(entries: Entries, api_version: str) -> Entries:
    """managedFields as they are when taut applies: its predecessors' entries count as its own until it has one."""
    return entries if len(owned_fields(entries)) else (absorb(entries, api_version) or entries)


def compare(
    desired: Body,
    live: Body,
    *,
    redact: Redactor,
    entries: Entries | None = None,
    ignore: ResolvedIgnore = NOTHING,
    keys: ListKeys | None = None,
    unchanged_since_apply: bool = False,
) -> Comparison:
    """What applying `desired` would change in `live`.

    A field that taut owns and `desired` no longer sets is a change, too. `entries` are the live managedFields (default:
    those in `live`). `unchanged_since_apply` says that `desired` is what taut applied last: then what taut still owns is
    as it was left, whatever the server or a webhook made of it. Raises BadInput (see `prepare.canonical_body`).
    """
    found = managed_fields(live) if entries is None else entries
    differences = project(
        desired, live, entries=found, ignore=ignore, keys=keys, unchanged_since_apply=unchanged_since_apply
    )
    return _comparison(differences, live, found, redact)


def project(
    desired: Body,
    live: Body,
    *,
    entries: Entries,
    ignore: ResolvedIgnore = NOTHING,
    keys: ListKeys | None = None,
    unchanged_since_apply: bool = False,
) -> list[Difference]:
    """The differences behind `compare`, with field paths and plain values."""
    effective = effective_fields(entries, str(desired.get("apiVersion", "")))
    walk = _Projection(
        kind=str(desired.get("kind", "")),
        keys=keys or ListKeys.of(desired, entries),
        owned=owned_fields(effective),
        entries=effective,
        ignore=ignore,
        settled=unchanged_since_apply,
    )
    wanted, actual = (without(compared(b), ignore.paths) for b in (canonical_body(desired), canonical_body(live)))
    return [*walk.maps(wanted, actual, ()), *walk.removals(wanted, actual)]


def unowned(desired: Body, entries: Entries, ignore: ResolvedIgnore = NOTHING) -> tuple[Path, ...]:
    """Values that Git sets and taut does not own: somebody else wrote them last, even if the value is the same now.

    Without ownership a later removal from Git would leave them behind, so they are worth an apply.
    """
    owned = owned_fields(entries)
    wanted = without(compared(canonical_body(desired)), ignore.paths)
    keys = ListKeys.of(desired, entries)
    return tuple(p for p in _values(wanted, (), keys) if not _owns(owned, p, keys.built_in))


def _owns(fields: FieldSet, path: Path, built_in: bool) -> bool:
    """`FieldSet.owns`, except that an empty map of free names (`annotations: {}`) owns nothing that comes into it."""
    if path in fields:
        return True
    for n in range(1, len(path)):
        if path[:n] in fields.leaves:
            name = path[n - 1][2:]
            is_free = built_in and name in _FREE_MAPS and name not in _ATOMIC_MAPS
            return not (is_free or path[:n] in _METADATA_MAPS)
    return False


def _values(value: Any, path: Path, keys: ListKeys) -> Iterator[Path]:
    """The paths of all values that are not empty; a list that is one value is one."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _values(below, (*path, f"f:{name}"), keys)
    elif isinstance(value, list):
        kind = keys.type_of(path)
        elements = index(value, kind) if kind.kind in (ListKind.MAP, ListKind.SET) else None
        if elements is None:
            yield from [path] if value else []
            return
        for element, below in elements.items():
            yield from _values(below, (*path, element), keys)
    elif value is not None:
        yield path


def confirm(
    live: Body, dry_run: Body, *, redact: Redactor, ignore: ResolvedIgnore = NOTHING
) -> tuple[FieldChange, ...]:
    """The exact difference between the live object and the server's answer to a dry-run of the apply.

    Metadata that the server keeps, and status, do not count. Nothing differs: there is nothing to do, whatever the
    projection suspected (a webhook or a conversion rewrote the value).
    """
    entries, answered = managed_fields(live), managed_fields(dry_run)
    keys = ListKeys.of(live, [*entries, *answered])
    before, after = (without(compared(b), ignore.paths) for b in (live, dry_run))
    found = list(_exact(before, after, (), keys))
    if _version(live) != _version(dry_run):
        # Somebody (a controller, mostly) wrote between the two reads: only what is taut's comes from this apply.
        ours = (owned_fields(entries), owned_fields(answered))
        found = [d for d in found if any(_owns(f, d.path, keys.built_in) or d.path in f.inner for f in ours)]
    return _comparison(found, live, entries, redact).changes


def _version(body: Body) -> object:
    metadata = body.get("metadata")
    return metadata.get("resourceVersion") if isinstance(metadata, dict) else None


def exact_changes(before: Body, after: Body, *, redact: Redactor) -> tuple[FieldChange, ...]:
    """The difference between two desired versions of an object (a rendered diff): no defaults, no owners."""
    keys = ListKeys.of(after)
    one, two = (compared(canonical_body(b)) for b in (before, after))
    return _comparison(list(_exact(one, two, (), keys)), after, [], redact).changes


def _comparison(findings: list[Difference], live: Body, entries: Entries, redact: Redactor) -> Comparison:
    owners = read_owners(entries)
    changes = [field_change(f, live=live, owners=owners, redact=redact) for f in findings]
    changes.sort(key=lambda c: c.path)
    return Comparison(tuple(changes), all(f.certain for f in findings))


def field_change(difference: Difference, *, live: Body, owners: OwnerSets, redact: Redactor) -> FieldChange:
    """One difference as it is shown and hashed; MISSING sides are unset, secret values only told apart."""
    path, before, after = difference.path, difference.before, difference.after
    others = [o.manager for o in owners_at(owners, path) if o.manager != FIELD_MANAGER]
    secret = redact.hides(live, path)
    return FieldChange(
        path=human(path),
        before=_shown(before, HIDDEN, secret),
        after=_shown(after, HIDDEN if before is MISSING else DIFFERS, secret),
        before_set=before is not MISSING,
        after_set=after is not MISSING,
        secret=secret,
        digest_before=redact.digest(before) if secret else "",
        digest_after=redact.digest(after) if secret else "",
        owner=others[0] if others else "",
    )


def _shown(value: Any, hidden: str, secret: bool) -> Any:
    if value is MISSING:
        return None
    return hidden if secret else value


@dataclass(frozen=True)
class _Projection:
    """One comparison under way: what is known of the object besides the two bodies."""

    kind: str
    keys: ListKeys
    owned: FieldSet
    entries: Entries
    ignore: ResolvedIgnore
    settled: bool
    _others: list[FieldSet] = field(default_factory=list)

    def maps(self, desired: Mapping[str, Any], live: Any, path: Path, *, atomic: bool = False) -> Iterator[Difference]:
        """Compare the members that `desired` sets; in an atomic value also those that only `live` has."""
        there = live if isinstance(live, dict) else {}
        for name, value in desired.items():
            yield from self.value(value, there.get(name, MISSING), (*path, f"f:{name}"), atomic=atomic)
        if atomic:
            for name in there.keys() - desired.keys():
                if not self._is_element_default(name, there[name]):
                    yield from self._differ((*path, f"f:{name}"), there[name], MISSING, certain=False)

    def value(self, desired: Any, live: Any, path: Path, *, atomic: bool = False) -> Iterator[Difference]:
        """Compare two values of any kind."""
        if desired is None:
            if live is not MISSING and live is not None:
                yield from self._differ(path, live, MISSING, certain=False)
        elif live is MISSING or live is None:
            yield from self._absent(desired, live, path)
        elif isinstance(desired, dict) and isinstance(live, dict):
            yield from self.maps(desired, live, path, atomic=atomic or self._is_atomic_map(desired, path))
        elif isinstance(desired, list) and isinstance(live, list):
            yield from self._lists(desired, live, path, atomic=atomic)
        elif isinstance(desired, (dict, list)) or isinstance(live, (dict, list)):
            yield from self._differ(path, live, desired)
        else:
            same = compare_scalars(desired, live, kind=self.kind, path=path, built_in=self.keys.built_in)
            if same is not Sameness.SAME:
                yield from self._differ(path, live, desired, certain=same is Sameness.DIFFERENT)

    def _is_atomic_map(self, desired: Mapping[str, Any], path: Path) -> bool:
        """Whether a map is replaced as a whole: the schema is known to say so, or somebody owns it as one field.

        An empty map is one field, too, without being atomic.
        """
        if self.keys.built_in and path[-1][2:] in _ATOMIC_MAPS | _FREE_MAPS:
            return path[-1][2:] in _ATOMIC_MAPS
        owned_whole = path in self.owned.leaves or any(path in fields.leaves for fields in self._other_sets())
        return bool(desired) and owned_whole

    def _absent(self, desired: Any, live: Any, path: Path) -> Iterator[Difference]:
        """Git sets something that is not there."""
        empty = desired in ({}, [], "", False, 0)
        if empty and (path in self.owned or self._dropped_when_empty(desired, path)):
            return
        if isinstance(desired, dict) and desired:
            yield from self.maps(desired, MISSING, path)
        else:
            free = len(path) > 1 and path[-2][2:] in _FREE_MAPS
            yield from self._differ(path, live, desired, certain=free or not empty)

    def _dropped_when_empty(self, desired: Any, path: Path) -> bool:
        if not self.keys.built_in:
            return path[:1] == ("f:metadata",)
        return isinstance(desired, list) or (isinstance(desired, dict) and path[-1][2:] in _DROPPED_WHEN_EMPTY)

    def _lists(self, desired: list[Any], live: list[Any], path: Path, *, atomic: bool) -> Iterator[Difference]:
        kind = self.keys.type_of(path)
        if not atomic and kind.kind in (ListKind.MAP, ListKind.SET):
            wanted, there = index(desired, kind), index(live, kind)
            if wanted is not None and there is not None:
                yield from self._keyed(wanted, there, path)
                return
        yield from self._atomic(desired, live, path, sure=kind.kind is not ListKind.UNKNOWN)

    def _keyed(self, wanted: dict[str, Any], there: dict[str, Any], path: Path) -> Iterator[Difference]:
        for element, value in wanted.items():
            at = (*path, element)
            if element not in there:
                yield from self._differ(at, MISSING, value)
            elif isinstance(value, dict):
                yield from self.maps(value, there[element], at)
        if self.keys.is_ordered(path):
            yield from _order(wanted, there, path, after_all=False)

    def _atomic(self, desired: list[Any], live: list[Any], path: Path, *, sure: bool) -> Iterator[Difference]:
        if len(desired) != len(live):
            yield from self._differ(path, live, desired, certain=sure)
            return
        for n, (want, has) in enumerate(zip(desired, live, strict=True)):
            for found in self.value(want, has, (*path, f"i:{n}"), atomic=True):
                yield found if sure else Difference(found.path, found.before, found.after, certain=False)

    def _is_element_default(self, name: str, value: Any) -> bool:
        return self.keys.built_in and name in _ELEMENT_DEFAULTS and _ELEMENT_DEFAULTS[name] == value

    def _differ(self, path: Path, before: Any, after: Any, *, certain: bool = True) -> Iterator[Difference]:
        """A difference, unless it is what the server made of taut's own value.

        What taut owns has been changed by nobody since its last apply. Either Git changed, or the server (a webhook, a
        normalisation) stores the value in its own way: only a dry-run tells the two apart.
        """
        if _owns(self.owned, path, self.keys.built_in):
            if self.settled:
                return
            certain = certain and self.kind in _PLAIN_KINDS and self.keys.built_in
        yield Difference(path, before, after, certain)

    def removals(self, desired: Body, live: Body) -> Iterator[Difference]:
        """Fields that taut owns, that are still there, and that Git no longer sets: an apply takes them away."""
        taken: set[Path] = set()
        for path in sorted(self.owned.paths, key=len):
            if any(path[:n] in taken for n in range(1, len(path))) or self.ignore.covers(path):
                continue
            if get(desired, path) is not MISSING:
                continue
            before = get(live, path)
            if before is MISSING or self._stays(path, before):
                continue
            taken.add(path)
            yield Difference(path, before, MISSING, self._is_sure_removal(path))

    def _stays(self, path: Path, before: Any) -> bool:
        """A map goes with its members; a member of a list goes whole; what another manager owns too stays."""
        is_inner_map = isinstance(before, dict) and path in self.owned.inner and path[-1].startswith("f:")
        return is_inner_map or any(fields.owns(path) for fields in self._other_sets())

    def _other_sets(self) -> list[FieldSet]:
        if not self._others:
            self._others.extend(
                FieldSet.parse(e.get("fieldsV1"))
                for e in self.entries
                if not (e.get("manager") == FIELD_MANAGER and e.get("operation") == "Apply")
            )
        return self._others

    def _is_sure_removal(self, path: Path) -> bool:
        """Whether nothing comes in its place: the server fills in defaults for most fields of a spec."""
        if any(fields.touches(path) for fields in self._other_sets()):
            return False
        return not path[-1].startswith("f:") or (len(path) > 1 and path[-2][2:] in _FREE_MAPS)


def _order(wanted: Mapping[str, Any], there: Mapping[str, Any], path: Path, *, after_all: bool) -> Iterator[Difference]:
    """The order of the elements that both sides have, where it has a meaning. `after_all`: the server itself said so."""
    want, has = [k for k in wanted if k in there], [k for k in there if k in wanted]
    if want != has:
        names = [[human((k,)).strip("[]") for k in side] for side in (has, want)]
        yield Difference((*path, "f:(order)"), names[0], names[1], certain=after_all)


def _exact(before: Any, after: Any, path: Path, keys: ListKeys) -> Iterator[Difference]:
    """Every difference between two values, in both directions; lists by key where they have one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            at = (*path, f"f:{name}")
            yield from _exact(before.get(name, MISSING), after.get(name, MISSING), at, keys)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _exact_lists(before, after, path, keys)
    elif isinstance(before, dict) and before and after is MISSING and not path[-1].startswith("k:"):
        for name, value in before.items():
            yield from _exact(value, MISSING, (*path, f"f:{name}"), keys)
    elif isinstance(after, dict) and after and before is MISSING and not path[-1].startswith("k:"):
        for name, value in after.items():
            yield from _exact(MISSING, value, (*path, f"f:{name}"), keys)
    elif before is not after and (not same_type(before, after) or before != after):
        yield Difference(path, before, after, certain=True)


def _exact_lists(before: list[Any], after: list[Any], path: Path, keys: ListKeys) -> Iterator[Difference]:
    kind: ListType = keys.type_of(path)
    if kind.kind in (ListKind.MAP, ListKind.SET):
        one, two = index(before, kind), index(after, kind)
        if one is not None and two is not None:
            for element in [*one, *(k for k in two if k not in one)]:
                yield from _exact(one.get(element, MISSING), two.get(element, MISSING), (*path, element), keys)
            if keys.is_ordered(path):
                yield from _order(two, one, path, after_all=True)
            return
    if len(before) == len(after):
        for n, (was, is_) in enumerate(zip(before, after, strict=True)):
            yield from _exact(was, is_, (*path, f"i:{n}"), keys)
    else:
        yield Difference(path, before, after, certain=True)
