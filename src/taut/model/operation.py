"""Operations: a plan being carried out, as it is stored before the first write."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from taut.model.plan import Action, Phase
from taut.model.refs import AppKey, ObjectRef


class StepState(StrEnum):
    """How far one change is. SENT is stored before the request, DONE after its answer."""

    TODO = "todo"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"


class OperationState(StrEnum):
    """How far an operation is."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"


class OperationKind(StrEnum):
    """What an operation is for."""

    SYNC = "sync"
    HEAL = "heal"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of an operation. `manifest` is sealed JSON in the store; `uid` is the live object's, a deletion's precondition."""

    number: int
    ref: ObjectRef
    action: Action
    phase: Phase
    wave: int
    api_version: str
    hook: bool = False
    run_key: str = ""
    uid: str = ""
    desired_hash: str = ""
    state: StepState = StepState.TODO
    message: str = ""
    sent_at: float = 0.0
    group: int = 0
    """Steps of one group are sent together; a group starts when the one before it has settled."""
    hook_policies: tuple[str, ...] = ()
    """When a hook's object is removed: BeforeHookCreation, HookSucceeded, HookFailed."""
    origin: str = ""
    wait: bool = True
    """Whether the group waits until this object is healthy."""
    tracked: bool = True
    """False: the object does not enter the inventory (a namespace that was made for the application, and stays)."""
    replaces: str = ""
    """Of a hook: the uid of the object of an earlier run, which makes room for this one."""
    taken_from: str = ""
    """The application (its key) that gives the object up: its mark is no reason to leave the object alone."""

    @property
    def settled(self) -> bool:
        """Nothing more will be done for this step."""
        return self.state in (StepState.DONE, StepState.FAILED)


@dataclass(frozen=True, slots=True)
class Operation:
    """One run of one application. Times are Unix seconds, the deadline's of the steady clock; `selected` limits it to these objects
    (no hooks, no history)."""

    id: int
    app: AppKey
    kind: OperationKind
    state: OperationState
    revision: str
    plan_hash: str
    started_at: float
    deadline: float
    initiated_by: str
    finished_at: float = 0.0
    message: str = ""
    attempt: int = 1
    selected: tuple[ObjectRef, ...] = ()
    abort_requested: bool = False
    content_hash: str = ""
    """Of all desired objects: a newer content supersedes the operation."""
    author: str = ""
    commit_message: str = ""
    hook_revision: str = ""
    """The commit in the run keys of its hooks."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One finished operation, as `taut history` shows it."""

    id: int
    app: AppKey
    kind: str
    result: str
    revision: str
    author: str
    commit_message: str
    initiated_by: str
    started_at: float
    duration: float
    plan_hash: str
    changes: tuple[tuple[str, str], ...] = ()
    """(action, object) of every change that wrote."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody let a plan pass, by its hash."""

    app: AppKey
    plan_hash: str
    by: str
    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the hash-chained audit: `hash` covers the entry and `previous`."""

    number: int
    at: float
    actor: str
    action: str
    subject: str
    detail: str
    previous: str
    hash: str
    source: str = ""
