"""What kind of list a list is: a map by keys, a set, or one value (atomic).

The API server's managedFields show it for every list that somebody owns (`k:{…}`, `v:…`, or the list itself as a leaf). For
lists nobody owns yet, a table holds the list types of Kubernetes' own kinds (`x-kubernetes-list-type` of its OpenAPI schema).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import orjson

from taut.planning.fields import KEY_DEFAULTS, MISSING, Entries, FieldSet, Path, key_text


class ListKind(Enum):
    """How a list merges."""

    MAP = "map"
    SET = "set"
    ATOMIC = "atomic"
    UNKNOWN = "unknown"
    """Treated as atomic; a difference is only a suspicion."""


@dataclass(frozen=True, slots=True)
class ListType:
    """A list's kind; `keys` are the members that tell elements of a MAP apart."""

    kind: ListKind
    keys: tuple[str, ...] = ()


ATOMIC: Final = ListType(ListKind.ATOMIC)
SET: Final = ListType(ListKind.SET)
UNKNOWN: Final = ListType(ListKind.UNKNOWN)


def _by(*keys: str) -> ListType:
    return ListType(ListKind.MAP, keys)


# By the field's name, for kinds that Kubernetes itself defines. Lists that are not here are atomic there.
_KNOWN: Final[Mapping[str, ListType]] = {
    "containers": _by("name"),
    "initContainers": _by("name"),
    "ephemeralContainers": _by("name"),
    "env": _by("name"),
    "volumes": _by("name"),
    "volumeMounts": _by("mountPath"),
    "volumeDevices": _by("devicePath"),
    "hostAliases": _by("ip"),
    "topologySpreadConstraints": _by("topologyKey", "whenUnsatisfiable"),
    "schedulingGates": _by("name"),
    "resourceClaims": _by("name"),
    "conditions": _by("type"),
    "ownerReferences": _by("uid"),
    "finalizers": SET,
}
_KNOWN_BY_KIND: Final[Mapping[tuple[str, str], ListType]] = {
    ("Service", "ports"): _by("port", "protocol"),
    ("ServiceAccount", "secrets"): _by("name"),
    ("ServiceAccount", "imagePullSecrets"): ATOMIC,
    ("MutatingWebhookConfiguration", "webhooks"): _by("name"),
    ("ValidatingWebhookConfiguration", "webhooks"): _by("name"),
    ("MutatingWebhookConfiguration", "matchConditions"): _by("name"),
    ("ValidatingWebhookConfiguration", "matchConditions"): _by("name"),
    ("ValidatingAdmissionPolicy", "matchConditions"): _by("name"),
    ("ValidatingAdmissionPolicy", "variables"): _by("name"),
}
_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})

# The order of these lists has a meaning although they merge by key: later environment variables see earlier ones.
ORDERED: Final = frozenset({"initContainers", "env"})

_BUILT_IN_GROUPS: Final = frozenset(
    {"", "apps", "autoscaling", "batch", "policy"}
    | {
        f"{name}.k8s.io"
        for name in [
            "admissionregistration",
            "apiextensions",
            "apiregistration",
            "authentication",
            "authorization",
            "certificates",
            "coordination",
            "discovery",
            "events",
            "flowcontrol.apiserver",
            "networking",
            "node",
            "rbac.authorization",
            "resource",
            "scheduling",
            "storage",
            "storagemigration",
        ]
    }
)


def is_built_in(api_version: str) -> bool:
    """Whether the kind's schema is Kubernetes' own: the core, `apps`, …, and the API server's own groups below `k8s.io`."""
    group, slash, _ = api_version.partition("/")
    return (group if slash else "") in _BUILT_IN_GROUPS


def shape(path: Path) -> Path:
    """A path with all list elements alike: the address of a field in the schema."""
    return tuple(e if e.startswith("f:") else "*" for e in path)


@dataclass(frozen=True)
class ListKeys:
    """The list types of one object."""

    kind: str = ""
    built_in: bool = False
    learned: Mapping[Path, ListType] = field(default_factory=dict)

    @classmethod
    def of(cls, body: Mapping[str, Any], entries: Entries = ()) -> ListKeys:
        """The list types of `body`, learned from its managedFields and, for built-in kinds, from the table."""
        return cls(str(body.get("kind", "")), is_built_in(str(body.get("apiVersion", ""))), _learn(entries))

    def type_of(self, path: Path) -> ListType:
        """The type of the list at `path`."""
        learned = self.learned.get(shape(path))
        if learned is not None:
            return learned
        if not self.built_in or not path:
            return SET if path == ("f:metadata", "f:finalizers") else UNKNOWN
        name = path[-1][2:]
        names = [e[2:] for e in path if e.startswith("f:")]
        by_kind = _KNOWN_BY_KIND.get((self.kind, name))
        if by_kind is not None:
            return by_kind
        if name == "ports" and len(names) > 1 and names[-2] in _CONTAINERS:
            return _by("containerPort", "protocol")
        if name == "imagePullSecrets":
            return _by("name")
        return _KNOWN.get(name, ATOMIC)

    def is_ordered(self, path: Path) -> bool:
        """Whether the order of the keyed list at `path` has a meaning."""
        return self.built_in and path[-1][2:] in ORDERED


def _learn(entries: Entries) -> dict[Path, ListType]:
    learned: dict[Path, ListType] = {}
    for entry in entries:
        for path in FieldSet.parse(entry.get("fieldsV1")).paths:
            for n, element in enumerate(path):
                if element.startswith("k:"):
                    learned[shape(path[:n])] = ListType(ListKind.MAP, tuple(orjson.loads(element[2:])))
                elif element.startswith("v:"):
                    learned[shape(path[:n])] = SET
    return learned


def element_key(element: Any, keys: tuple[str, ...]) -> str | None:
    """The path element `k:{…}` of a list's element, None when it lacks a key."""
    if not isinstance(element, dict):
        return None
    found = {k: element.get(k, KEY_DEFAULTS.get(k, MISSING)) for k in keys}
    return None if any(v is MISSING for v in found.values()) else "k:" + key_text(found)


def index(elements: Sequence[Any], kind: ListType) -> dict[str, Any] | None:
    """A MAP or SET list as path element → element, in order; None when it does not have that form (or repeats a key)."""
    indexed: dict[str, Any] = {}
    for element in elements:
        if kind.kind is ListKind.SET:
            key = None if isinstance(element, (dict, list)) else "v:" + orjson.dumps(element).decode()
        else:
            key = element_key(element, kind.keys)
        if key is None or key in indexed:
            return None
        indexed[key] = element
    return indexed
