"""What the API says: JSON structs, and how they come from the model. Secret values are redacted here once more, whoever made the plan.

Names are camelCase in JSON, times RFC 3339 in UTC (empty when it never happened).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taut.model.drift import DriftRecord
from taut.model.health import HealthStatus
from taut.model.operation import AuditEntry, HistoryEntry, Step, StepState
from taut.model.plan import Action, Change, FieldChange, Plan
from taut.model.refs import ObjectRef
from taut.model.status import AppStatus, HeldFor, ObjectStatus, Problem, SyncStatus
from taut.model.times import rfc3339
from taut.store.records import Event

HIDDEN = "•••••• differs"
"""What stands for a secret value that differs."""
_LONGEST = 8192
"""Longer texts are cut in a view: a plan is for reading."""


class View(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The base of all that the API returns besides the model's own structs."""


class ErrorView(View, frozen=True):
    """An error: a problem of RFC 9457 (`title`, `status`, `detail`), and what the command line tells. `code` is the exit code of a command that ends with it."""

    what: str
    where: str = ""
    advice: str = ""
    code: int = 1
    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""


class ObjectView(View, frozen=True):
    """An object's identity; `name` as in `kubectl`, `text` as taut prints it (`Deployment shop/web`)."""

    text: str
    cluster: str
    group: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, ref: ObjectRef) -> ObjectView:
        """From an object's identity."""
        return cls(
            text=str(ref), cluster=ref.cluster, group=ref.group, kind=ref.kind, namespace=ref.namespace, name=ref.name
        )


class TreeNode(View, frozen=True):
    """One object of the tree below an application, down to Pods. `parent` is the `id` of another node, empty at the top.

    `id` is `<group>/<kind>:<namespace>/<name>`. `sync` is None for objects that others made (ReplicaSets, Pods).
    """

    id: str
    group: str
    kind: str
    namespace: str
    name: str
    parent: str = ""
    sync: SyncStatus | None = None
    health: HealthStatus | None = None
    message: str = ""
    created: str = ""


class FieldView(View, frozen=True):
    """One field that changes. A side that is not there has `*Set` false. `owner` is the field manager that loses it."""

    path: str
    before: Any = None
    after: Any = None
    before_set: bool = True
    after_set: bool = True
    secret: bool = False
    owner: str = ""

    @classmethod
    def of(cls, change: FieldChange) -> FieldView:
        """From a plan's field."""
        hidden = change.secret
        return cls(
            path=change.path,
            before=_hidden(change.before_set) if hidden else _short(change.before),
            after=_hidden(change.after_set) if hidden else _short(change.after),
            before_set=change.before_set,
            after_set=change.after_set,
            secret=hidden,
            owner=change.owner,
        )


class ChangeView(View, frozen=True):
    """One object that a plan changes."""

    object: ObjectView
    action: Action
    hash: str
    phase: str = ""
    wave: int = 0
    reason: str = ""
    certain: bool = True
    fields: tuple[FieldView, ...] = ()
    origin: str = ""

    @classmethod
    def of(cls, change: Change) -> ChangeView:
        """From a plan's change."""
        return cls(
            object=ObjectView.of(change.ref),
            action=change.action,
            hash=change.hash,
            phase=change.phase.value,
            wave=change.wave,
            reason=change.reason,
            certain=change.certain,
            fields=tuple(FieldView.of(f) for f in change.fields),
            origin=change.origin,
        )


class PlanView(View, frozen=True):
    """A plan as people review it: what does something is listed, what is unchanged is counted."""

    app: str
    hash: str
    revision: str = ""
    changes: tuple[ChangeView, ...] = ()
    unchanged: int = 0
    held_for: tuple[HeldFor, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> PlanView:
        """From a plan."""
        doing = [c for c in plan.changes if c.action is not Action.UNCHANGED]
        return cls(
            app=str(plan.app),
            hash=plan.hash,
            revision=plan.revision,
            changes=tuple(ChangeView.of(c) for c in doing),
            unchanged=len(plan.changes) - len(doing),
            held_for=tuple(
                HeldFor(h.kind.value, h.message, tuple(str(r) for r in h.refs), h.approvable) for h in plan.holds
            ),
            warnings=plan.warnings,
        )


class RootView(View, frozen=True):
    """A root: where applications are declared. `problems` are what is wrong with it or with documents in it."""

    name: str
    git: str
    ref: str = ""
    path: str = ""
    revision: str = ""
    applications: int = 0
    problems: tuple[Problem, ...] = ()


class Details(View, frozen=True):
    """An application with its objects."""

    status: AppStatus
    objects: tuple[ObjectStatus, ...] = ()


class SyncRequest(View, frozen=True, forbid_unknown_fields=True):
    """A sync that a person asks for. `objects` are texts `KIND/NAME`, `KIND.GROUP/NAME` or `KIND NAMESPACE/NAME`; empty: all of it."""

    objects: tuple[str, ...] = ()
    prune: bool | None = None
    """Whether what Git no longer has is deleted this time; without it, the application's policy says so."""
    dry_run: bool = False
    by: str = ""


class SyncAnswer(View, frozen=True):
    """What came of the request: a sentence, and its number. It is carried out when a status says `handled >= request`.

    With `dry_run` nothing is asked of the target but an answer, `request` is 0 and `plan` says what would be done.
    """

    message: str
    request: int = 0
    plan: PlanView | None = None


class Said(View, frozen=True):
    """A sentence for the person who asked for something."""

    message: str


class Gone(View, frozen=True):
    """An application is no more (its objects were deleted or released)."""

    key: str


class HistoryView(View, frozen=True):
    """One finished operation."""

    id: int
    kind: str
    result: str
    revision: str
    author: str
    commit_message: str
    initiated_by: str
    started: str
    duration: float
    plan_hash: str
    changes: tuple[tuple[str, str], ...]
    message: str

    @classmethod
    def of(cls, entry: HistoryEntry) -> HistoryView:
        """From the store's entry."""
        return cls(
            id=entry.id,
            kind=entry.kind,
            result=entry.result,
            revision=entry.revision,
            author=entry.author,
            commit_message=entry.commit_message,
            initiated_by=entry.initiated_by,
            started=rfc3339(entry.started_at),
            duration=round(entry.duration, 3),
            plan_hash=entry.plan_hash,
            changes=entry.changes,
            message=entry.message,
        )


class StepView(View, frozen=True):
    """One change of an operation that runs. Steps of one `group` are sent together; `state` is todo, sent, done or failed."""

    object: ObjectView
    action: Action
    phase: str
    wave: int
    group: int
    state: StepState
    hook: bool = False
    message: str = ""

    @classmethod
    def of(cls, step: Step) -> StepView:
        """From the operation's step."""
        return cls(
            object=ObjectView.of(step.ref),
            action=step.action,
            phase=step.phase.value,
            wave=step.wave,
            group=step.group,
            state=step.state,
            hook=step.hook,
            message=step.message,
        )


class OperationView(View, frozen=True):
    """The operation that runs. `waiting` says what for, `remaining` how many seconds it may still take."""

    id: int
    kind: str
    revision: str
    initiated_by: str
    started: str
    waiting: str
    remaining: float
    attempt: int
    steps: tuple[StepView, ...] = ()


class ImageView(View, frozen=True):
    """An image that an application's desired objects name."""

    object: str
    container: str
    image: str


class LogView(View, frozen=True):
    """The last lines of one container's log. `containers` are all that the Pod has; each line begins with its time (RFC 3339)."""

    container: str
    containers: tuple[str, ...]
    lines: tuple[str, ...]


class DriftView(View, frozen=True):
    """One field, or a whole object when `path` is empty, that somebody changed."""

    id: int
    app: str
    object: ObjectView
    path: str
    desired: Any
    found: Any
    missing: bool
    secret: bool
    who: str
    operation: str
    user: str
    changed: str
    noticed: str
    outcome: str
    healed: str
    reason: str

    @classmethod
    def of(cls, record: DriftRecord) -> DriftView:
        """From the store's record."""
        return cls(
            id=record.id,
            app=str(record.app),
            object=ObjectView.of(record.ref),
            path=record.path,
            desired=HIDDEN if record.secret else _short(record.desired),
            found=HIDDEN if record.secret else _short(record.found),
            missing=record.missing,
            secret=record.secret,
            who=record.who,
            operation=record.operation,
            user=record.user,
            changed=rfc3339(record.changed_at),
            noticed=rfc3339(record.noticed_at),
            outcome=record.outcome.value,
            healed=rfc3339(record.healed_at),
            reason=record.reason,
        )


class Orphan(View, frozen=True):
    """An object in a managed namespace that nobody declares."""

    cluster: str
    group: str
    kind: str
    namespace: str
    name: str
    created: str = ""


class EventView(View, frozen=True):
    """One line of the timeline."""

    id: int
    app: str
    at: str
    kind: str
    message: str
    object: str

    @classmethod
    def of(cls, event: Event) -> EventView:
        """From the store's event."""
        return cls(
            id=event.id,
            app=event.app,
            at=rfc3339(event.at),
            kind=event.kind,
            message=event.message,
            object=event.object,
        )


class AuditView(View, frozen=True):
    """One line of the audit."""

    number: int
    at: str
    actor: str
    action: str
    subject: str
    detail: str
    hash: str
    source: str = ""
    """From where, and how they signed in."""

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditView:
        """From the store's entry."""
        return cls(
            number=entry.number,
            at=rfc3339(entry.at),
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            detail=entry.detail,
            hash=entry.hash,
            source=entry.source,
        )


class Sample(View, frozen=True):
    """One value of a metric, with its labels."""

    value: float
    labels: dict[str, str] = {}


class Metric(View, frozen=True):
    """A metric that the controller counts. `name` without the prefix `taut_`; `kind` is counter or gauge."""

    name: str
    help: str
    kind: str
    samples: Sequence[Sample]


def _hidden(there: bool) -> str | None:
    return HIDDEN if there else None


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}… ({len(value)} characters)"
    return value
