"""What the controller knows of one application while it runs. Only the event loop's tasks touch it."""

from __future__ import annotations

from dataclasses import dataclass, field

from taut.clients.kubernetes.client import CONFIDENTIAL
from taut.controller.carry_out import Run
from taut.controller.contention import Contention
from taut.controller.haste import Haste
from taut.controller.readers import Settled
from taut.model.application import Application
from taut.model.drift import DriftRecord
from taut.model.health import HealthStatus
from taut.model.live import LiveObject
from taut.model.operation import Approval
from taut.model.plan import Hold, InventoryItem, Plan
from taut.model.record import AppRecord
from taut.model.refs import AppKey, KindRef, ObjectRef
from taut.model.snapshot import Revision, Snapshot
from taut.model.status import Problem
from taut.planning.redact import Redactor
from taut.planning.wanted import Wanted
from taut.render.closure import Closure

JOB = KindRef("batch", "Job")


@dataclass(frozen=True)
class Desired:
    """What Git wants of one application at the moment: normalised, understood, and how it came to be."""

    objects: tuple[Wanted, ...]
    hooks: tuple[Wanted, ...]
    content_hash: str
    """Of all objects and hooks: the same hash, nothing new to plan."""
    hook_revision: str
    """The revision in the hooks' run keys: the commit that this content was found at first."""
    render_key: str
    closure: Closure
    snapshots: tuple[Snapshot, ...]
    warnings: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    unsettled: frozenset[ObjectRef] = frozenset()
    """Objects of unknown scope, under every identity they may have: not applied, and not taken for removed."""
    refs: frozenset[ObjectRef] = frozenset()
    """Of all objects, hooks not among them."""
    capabilities: bool = False
    """What the cluster can do is an input of the render."""
    unresolved: tuple[str, ...] = ()
    """Secrets whose values cannot be had now."""
    decryption: str = ""
    """Stands for the keys that encrypted inputs were opened with (`Rendered.decryption`)."""

    @property
    def revision(self) -> Revision:
        """The first source's revision: the one that people see."""
        return self.snapshots[0].revision


@dataclass(frozen=True, slots=True)
class Asked:
    """A sync that a person asked for."""

    by: str
    number: int = 0
    objects: frozenset[ObjectRef] = frozenset()
    prune: bool | None = None
    held: str = ""
    """The hash of the plan that was held when it was asked for: the wish goes on when that very plan is approved."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A search for what Git wants that failed. The same search fails the same way: it is not made again before something moves."""

    marks: int
    """How often the application had been marked: a newer mark is a reason to search again."""
    again: float
    """Seconds of the steady clock from which on it is worth another try although nothing moved."""
    closure: Closure | None = None
    """What the render had read until then; None when it was no render that failed."""


@dataclass(frozen=True, slots=True)
class PolicyResults:
    """What policies say of an application's objects in a cluster: how many results of each kind, and how many objects fail."""

    results: dict[str, int] = field(default_factory=dict[str, int])
    failing: int = 0


@dataclass(slots=True, eq=False)
class AppState:
    """One application, told apart by being itself. `removed` says that Git no longer declares it, and it is being taken down."""

    app: Application
    record: AppRecord
    items: dict[ObjectRef, InventoryItem] = field(default_factory=dict[ObjectRef, InventoryItem])
    desired: Desired | None = None
    plan: Plan | None = None
    """The plan that waits (held, or not allowed to start); None when there is nothing to do."""
    holds: tuple[Hold, ...] = ()
    told_holds: tuple[str, ...] | None = None
    """Which of them are in the timeline; None: it was not looked at since taut started."""
    run: Run | None = None
    problems: tuple[Problem, ...] = ()
    """Why it is not known what Git wants now; the last good answer is used meanwhile. `all_problems` is what people see."""
    step_problems: tuple[Problem, ...] = ()
    """What the last step stumbled over; the next one that gets through clears it."""
    dependency_problems: tuple[Problem, ...] = ()
    """A dependency that nobody can mean, or a circle of them."""
    document_problems: tuple[Problem, ...] = ()
    """What is wrong with the application's own document; the last good one is used meanwhile."""
    source_problems: tuple[Problem, ...] = ()
    """Sources that did not answer when they were looked at last; what was fetched before is used meanwhile."""
    target_problems: tuple[Problem, ...] = ()
    """The cluster is away; what it told last is what taut knows."""
    stale: bool = True
    """Something that Git wants could have changed since `desired` was found."""
    failed: Failed | None = None
    away: int = 0
    """How many steps in a row could not be taken because of the target."""
    judged: Desired | None = None
    """What Git wanted when its inputs were last found to be the same as at the heads of its sources."""
    settled: Settled | None = None
    """What it was when `readers.Readers` took it in."""
    marks: int = 0
    """How often it was marked stale: what moves while it is looked for must be looked for again."""
    warnings: tuple[str, ...] = ()
    waiting: str = ""
    """Why nothing is done although something differs: a dependency, a window, a suspension, a pause between tries."""
    operation_state: str = ""
    operation_message: str = ""
    asked: Asked | None = None
    removed: bool = False
    removal_sure: bool = False
    """Its root was read since taut started, and does not declare it: until then a removal that was under way waits."""
    kept: frozenset[ObjectRef] = frozenset()
    """What an application that is taken down keeps until somebody else has it, or it is known that nobody wants it."""
    removal_hold: Hold | None = None
    """Too many applications of the root went at once: taking this one down asks first."""
    drift: dict[tuple[ObjectRef, str], DriftRecord] = field(default_factory=dict[tuple[ObjectRef, str], DriftRecord])
    approvals: tuple[Approval, ...] = ()
    recreate: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """Objects whose update was refused because a field is immutable, for the present content."""
    contention: Contention = field(default_factory=Contention)
    """Objects that are not healed for a while, because somebody keeps changing them."""
    completed: dict[ObjectRef, LiveObject] = field(default_factory=dict[ObjectRef, LiveObject])
    """Jobs that were seen to complete, as they were then; the inventory may not say so yet."""
    ended: dict[ObjectRef, LiveObject] = field(default_factory=dict[ObjectRef, LiveObject])
    """Jobs of hooks as they were seen to end, well or not: they may be removed in the same moment."""
    ran: frozenset[str] = frozenset()
    """Keys of hook runs of the present content that have ended."""
    handled: int = 0
    heavy: bool = False
    """Its last run took long: the next one waits behind others of that kind, not before small ones."""
    haste: Haste = field(default_factory=Haste)
    in_sync: bool = False
    """The last look found no difference."""
    out_of_sync: frozenset[ObjectRef] = frozenset()
    attended: frozenset[ObjectRef] = frozenset()
    """Objects of which every change is heard, because they are not as taut left them."""
    asks_stores: bool = False
    """Whether it has documents that taut makes Secrets of: policies judge those when they are understood, for they are in no plan."""
    policy_results: dict[str, PolicyResults] = field(default_factory=dict[str, PolicyResults])
    """Of the last scan of what runs, by cluster."""

    @property
    def key(self) -> AppKey:
        """Its identity."""
        return self.app.key

    def mark_stale(self) -> None:
        """Git may want something else from now on."""
        self.stale = True
        self.marks += 1

    @property
    def secrets(self) -> frozenset[ObjectRef]:
        """The core Secrets in its inventory."""
        return frozenset(ref for ref in self.items if (ref.group, ref.kind) == ("", "Secret"))

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong, each thing once: first what others wait for."""
        wanting = (*self.document_problems, *self.dependency_problems, *self.problems, *self.source_problems)
        every = {p.what: p for p in reversed((*wanting, *self.step_problems, *self.target_problems))}
        return tuple(reversed(every.values()))

    @property
    def suspended(self) -> bool:
        """By the document or by a person."""
        return self.app.spec.suspended or bool(self.record.suspended_by)

    def note_end(self, seen: LiveObject) -> None:
        """A Job may be removed in the moment it completes (a time to live of 0): the event alone tells that it did."""
        if seen.ref.kind_ref != JOB or seen.health is None:
            return
        if seen.health.status is HealthStatus.HEALTHY:
            self.completed[seen.ref] = seen
        if seen.run_key and seen.health.status in (HealthStatus.HEALTHY, HealthStatus.DEGRADED):
            self.ended[seen.ref] = seen

    @property
    def only_hands_over(self) -> bool:
        """Whether it is taken down but for what others are about to take: nobody need wait for that."""
        return self.removed and self.run is None and bool(self.kept) and self.kept >= self.items.keys()

    def lives_in(self, namespace: str) -> bool:
        """Whether it has, or wants, objects in this namespace."""
        refs = self.desired.refs if self.desired is not None else ()
        return self.app.spec.target.namespace == namespace or any(ref.namespace == namespace for ref in refs)


def redactor_of(state: AppState, redactor: Redactor) -> Redactor:
    """What hides secret values of this application's objects: those of encrypted files too, wherever they came to."""
    if state.desired is None or not state.desired.decryption:
        return redactor
    return redactor.marking(w.manifest for w in (*state.desired.objects, *state.desired.hooks))


def confide(state: AppState) -> None:
    """From here on, in this task, errors of clusters quote nothing if objects of this application hold decrypted values."""
    desired = state.desired
    CONFIDENTIAL.set(
        desired is not None
        and bool(desired.decryption)
        and any(w.manifest.origin.secret for w in (*desired.objects, *desired.hooks))
    )
