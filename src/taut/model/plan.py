"""Plans: what would be done, as reviewers see it and approve it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from taut.model.manifests import Manifest, content_hash
from taut.model.refs import AppKey, ObjectRef


class Action(StrEnum):
    """What a change does. ADOPT is an update of an object that exists and that no application owns yet."""

    CREATE = "create"
    UPDATE = "update"
    ADOPT = "adopt"
    RECREATE = "recreate"
    DELETE = "delete"
    RELEASE = "release"
    """The object leaves the inventory and stays in the target (protected, or orphaned by policy)."""
    UNCHANGED = "unchanged"


WRITES = frozenset({Action.CREATE, Action.UPDATE, Action.ADOPT, Action.RECREATE, Action.DELETE})


class Phase(StrEnum):
    """The phases of an operation, in order; DELETE phases are of an application's deletion only, FAIL runs when one failed."""

    PRE_SYNC = "PreSync"
    SYNC = "Sync"
    POST_SYNC = "PostSync"
    SYNC_FAIL = "SyncFail"
    PRE_DELETE = "PreDelete"
    DELETE = "Delete"
    POST_DELETE = "PostDelete"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field: its path as people write it (`spec.template.spec.containers[name=web].image`), before and after.

    A missing side is None with `*_set` False. Secret values are replaced by text such as `•••••• differs` before they get here; `digest_*`
    then hold a keyed HMAC, so that two changes can be told apart. `owner` is the manager that loses the field.
    """

    path: str
    before: Any = None
    after: Any = None
    before_set: bool = True
    after_set: bool = True
    secret: bool = False
    digest_before: str = ""
    digest_after: str = ""
    owner: str = ""


@dataclass(frozen=True)
class Change:
    """One object's part of a plan.

    `desired` is what will be applied (None for a deletion). `hash` covers target, object, action, desired content and the live values that are
    overwritten or deleted; never a resource version, a time, a commit or a default (DESIGN.md, rule 5).
    """

    ref: ObjectRef
    action: Action
    desired: Manifest | None = None
    fields: tuple[FieldChange, ...] = ()
    phase: Phase = Phase.SYNC
    wave: int = 0
    reason: str = ""
    certain: bool = True
    """False: the projection only suspects a difference; a server-side dry-run has not confirmed it."""
    uid: str = ""
    """Of the live object; the precondition of a deletion. Not part of the hash."""
    live_hash: str = ""
    """Of the live content that a deletion or recreation destroys (HMAC where secret); part of the hash."""
    desired_hash: str = ""
    """Content hash of `desired` (kept when a plan is stored without its manifests)."""
    origin: str = ""
    hook: bool = False
    """An object that runs in its phase; `run_key` names the run (of a revision, so it is not part of the hash)."""
    run_key: str = ""

    @property
    def hash(self) -> str:
        """sha256 (hex) over what a reviewer approves."""
        return content_hash(
            [
                *self.ref,
                self.action.value,
                self.desired_hash or (self.desired.hash if self.desired else ""),
                self.live_hash,
                [
                    [f.path, f.digest_before or f.before, f.before_set, f.digest_after or f.after, f.after_set]
                    for f in self.fields
                ],
            ]
        )


class HoldKind(StrEnum):
    """Why a plan waits for a person."""

    EMPTY = "empty-render"
    SHARE = "delete-share"
    DATA = "deletes-data"
    NAMESPACE = "deletes-namespace"
    CRD = "deletes-crd"
    RECREATE = "recreates"
    REBUILT = "rebuilt-inventory"
    OWNED = "owned-by-another"
    SCOPE = "unknown-scope"
    ROOT_SHARE = "root-delete-share"
    RANDOM = "random-output"
    POLICY = "policy"
    SECRET = "secret-unresolved"  # noqa: S105 (no password)


@dataclass(frozen=True, slots=True)
class Hold:
    """A guard that stopped a plan. `approvable` is False where no approval helps (an object owned by another application, a policy)."""

    kind: HoldKind
    message: str
    refs: tuple[ObjectRef, ...] = ()
    approvable: bool = True

    @property
    def stops(self) -> bool:
        """Whether the plan waits as a whole.

        A hold that no approval lifts (another application's object, a kind nobody knows) concerns its objects alone: they are not in
        the plan, and everything else goes on. What a policy denies is in the plan, and stops it.
        """
        return self.approvable or self.kind is HoldKind.POLICY


@dataclass(frozen=True)
class Plan:
    """All changes of one application at one moment, in order (phase, wave, kind, name); UNCHANGED ones included."""

    app: AppKey
    changes: tuple[Change, ...]
    holds: tuple[Hold, ...] = ()
    warnings: tuple[str, ...] = ()
    revision: str = ""
    """Shown, not hashed."""

    @property
    def hash(self) -> str:
        """sha256 (hex) of the hashes of all changes that do something, in order."""
        return content_hash([c.hash for c in self.changes if c.action is not Action.UNCHANGED])

    @property
    def writes(self) -> tuple[Change, ...]:
        """The changes that write to the target."""
        return tuple(c for c in self.changes if c.action in WRITES)

    def with_holds(self, *holds: Hold) -> Plan:
        """The same plan with more holds."""
        return replace(self, holds=self.holds + holds)


@dataclass(frozen=True, slots=True)
class InventoryItem:
    """What taut remembers of an object that it applied.

    `desired_hash` is the content hash of what was applied last and `owned_hash` the hash of taut's own field set right after: both the same as now
    means unchanged, with no request. `api_version` is the one applied last.
    """

    ref: ObjectRef
    api_version: str
    desired_hash: str = ""
    owned_hash: str = ""
    uid: str = ""
    wave: int = 0
    created_by_taut: bool = False
    hook: bool = False
    pending: bool = False
    """Intended by an operation that has not confirmed it yet."""
    extra: dict[str, str] = field(default_factory=dict)
