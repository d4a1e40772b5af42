"""What taut remembers of objects in a target, and what a target can do."""

from __future__ import annotations

from dataclasses import dataclass, field

from taut.model.health import Health
from taut.model.refs import KindRef, ObjectRef

OWNER = "taut.dev/owner"
"""The annotation that names application and object: `<app key>|<object id>`. A copy under another name does not count."""
RUN_KEY = "taut.dev/run-key"
"""The annotation of a hook's object: which run made it."""
FIELD_MANAGER = "taut"


@dataclass(frozen=True, slots=True)
class LiveObject:
    """A small projection of an object in the target, kept from watches. Never holds spec, data or status.

    `owned_hash` is the hash of the field set (`fieldsV1`) of taut's own apply entry in managedFields, empty when there is none:
    the same hash means that nobody changed what taut declared. `owner` is the value of the OWNER annotation, already checked
    against the object's own identity (empty for copies). `ours_only_metadata` says that health was not derivable (metadata watch).
    """

    ref: ObjectRef
    api_version: str
    uid: str
    resource_version: str
    generation: int = 0
    owned_hash: str = ""
    owner: str = ""
    run_key: str = ""
    health: Health | None = None
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    owner_uids: tuple[str, ...] = ()
    created: float = 0.0
    protected: bool = False
    """It carries an annotation that forbids pruning."""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """A kind as the target serves it. `versions` are in the server's order of preference."""

    ref: KindRef
    plural: str
    namespaced: bool
    versions: tuple[str, ...]
    verbs: frozenset[str] = frozenset()

    @property
    def preferred(self) -> str:
        """The version the server prefers."""
        return self.versions[0]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a renderer is told about the target: `kube_version` like `v1.37.2`, api versions like `apps/v1`, `apps/v1/Deployment`."""

    kube_version: str = "v1.37.0"
    api_versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """Who owns a field in managedFields: manager, operation (Apply or Update), time (RFC 3339) and subresource."""

    manager: str
    operation: str = ""
    time: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to a write: the object afterwards (secret values still in it: never log), and who lost fields to taut."""

    live: LiveObject
    changed: bool
    lost: tuple[tuple[str, FieldOwner], ...] = field(default=())
