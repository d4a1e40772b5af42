"""Identities: of an object, of a kind, of an application."""

from __future__ import annotations

from typing import NamedTuple


class KindRef(NamedTuple):
    """A kind without its version: a new API version is the same kind. The core group is the empty string."""

    group: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


class ObjectRef(NamedTuple):
    """An object's identity: (cluster, group, kind, namespace, name), *without* the version.

    `namespace` is empty for a cluster-scoped object, `cluster` is a name from taut's configuration.
    """

    cluster: str
    group: str
    kind: str
    namespace: str
    name: str

    @property
    def kind_ref(self) -> KindRef:
        """The kind this object is of."""
        return KindRef(self.group, self.kind)

    @property
    def id(self) -> str:
        """The stable text form without the cluster, `<group>/<kind>:<namespace>/<name>`; `parse_object_id` reverses it."""
        return f"{self.group}/{self.kind}:{self.namespace}/{self.name}"

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        kind = f"{self.kind}.{self.group}" if self.group else self.kind
        return f"{kind} {name}"


def parse_object_id(text: str, cluster: str) -> ObjectRef | None:
    """Read `<group>/<kind>:<namespace>/<name>`; None when `text` is not of that form. Names may hold colons (RBAC)."""
    kind_part, colon, name_part = text.partition(":")
    group, slash, kind = kind_part.partition("/")
    namespace, slash2, name = name_part.partition("/")
    if not (colon and slash and slash2 and kind and name):
        return None
    return ObjectRef(cluster, group, kind, namespace, name)


class AppKey(NamedTuple):
    """An application's identity: (root, namespace, name). The namespace may be empty."""

    root: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.root}/{self.namespace}/{self.name}" if self.namespace else f"{self.root}/{self.name}"


def parse_app_key(text: str) -> AppKey | None:
    """Read the text form of an application's key (`root/name` or `root/namespace/name`); None when it is neither."""
    parts = text.split("/")
    if len(parts) == 2 and all(parts):
        return AppKey(parts[0], "", parts[1])
    if len(parts) == 3 and all(parts):
        return AppKey(*parts)
    return None
