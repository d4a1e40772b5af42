"""Whether an operation may start now: a pure decision over named questions, so that a test can list its cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from taut.model.application import SyncMode, SyncPolicy
from taut.model.durations import seconds
from taut.model.operation import OperationKind
from taut.model.plan import WRITES, Action, Change, HoldKind, Plan
from taut.model.refs import ObjectRef

JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Start:
    """Start an operation of this kind with these changes."""

    kind: OperationKind
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class NotNow:
    """Something differs and nothing is started: why, and when to look again (seconds; 0: when something happens)."""

    why: str
    recheck: float = 0.0
    held: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Live is what Git says, as far as taut may write."""


type Decision = Start | NotNow | Nothing


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision rests on."""

    policy: SyncPolicy
    now: float
    """Of a clock that nobody sets."""
    fresh: bool
    """Git's content differs from what was synced completely last."""
    asked: bool = False
    asked_objects: frozenset[ObjectRef] = frozenset()
    asked_prune: bool | None = None
    suspended: bool = False
    removed: bool = False
    drifted: frozenset[ObjectRef] = frozenset()
    """Objects that Git wants as it did at the last sync, and somebody changed."""
    held: str = ""
    """The first hold that no approval lets pass."""
    dependency: str = ""
    window_closed: str = ""
    window_recheck: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    failure: str = ""
    stopped: str = ""
    """Somebody aborted the last try of this content."""
    contested: Mapping[ObjectRef, float] = field(default_factory=dict)
    """Objects that somebody keeps changing, and for how many seconds more they are not healed."""


def decide(plan: Plan, facts: Facts) -> Decision:
    """Start, wait, or nothing to do. A person's wish passes a manual mode, pauses and contention; never a hold, a suspension or report-only.

    While new content waits (for an approval, a dependency, its next try), what was synced before is kept: drift from it is healed, but for objects
    that a policy denies.
    """
    decision = _decide(plan, facts)
    keeps = facts.policy.mode is SyncMode.AUTOMATIC and facts.policy.heal and not facts.window_closed
    paused = facts.failures and _pause_left(facts) > 0
    if isinstance(decision, NotNow) and facts.fresh and keeps and not (facts.suspended or facts.removed or paused):
        denied = [hold for hold in plan.holds if hold.kind is HoldKind.POLICY]
        if any(not hold.refs for hold in denied):  # nobody could be asked
            return decision
        refused = {ref for hold in denied for ref in hold.refs}
        drifted = tuple(c for c in plan.changes if c.ref in facts.drifted and c.ref not in refused)
        healing = _heal(drifted, facts) if drifted else decision
        return healing if isinstance(healing, Start) else decision
    return decision


def _decide(plan: Plan, facts: Facts) -> Decision:
    changes = _wanted(plan, facts)
    if not changes and not facts.removed:
        return Nothing()
    tried = not facts.fresh or facts.failures or facts.stopped
    if tried and not facts.removed and all(c.action is Action.RELEASE for c in changes):
        return Nothing()
    if facts.suspended:
        return NotNow("suspended: nothing is written until it is resumed")
    if facts.policy.mode is SyncMode.REPORT and not facts.removed:
        return NotNow("report-only: differences are shown and nothing is written")
    if facts.held:
        return NotNow(facts.held, held=True)
    if facts.window_closed:
        return NotNow(facts.window_closed, recheck=facts.window_recheck)
    if facts.dependency:
        return NotNow(facts.dependency)
    if not facts.asked:
        pause = _pause(facts)
        if pause is not None:
            return pause
        if not facts.fresh and not facts.removed:
            return _heal(changes, facts)
    return Start(_kind(facts), changes)


def _heal(changes: tuple[Change, ...], facts: Facts) -> Decision:
    """Heal what is not fought over; the rest waits."""
    calm = tuple(c for c in changes if facts.contested.get(c.ref, 0.0) <= 0)
    if calm:
        return Start(OperationKind.HEAL, calm)
    left = min(facts.contested[c.ref] for c in changes)
    return NotNow("contested: somebody keeps changing what taut heals; taut backs off", recheck=left)


def _kind(facts: Facts) -> OperationKind:
    if facts.removed:
        return OperationKind.DELETE
    return OperationKind.SYNC if facts.fresh or facts.asked else OperationKind.HEAL


def _wanted(plan: Plan, facts: Facts) -> tuple[Change, ...]:
    """The changes that taut would carry out: of the asked objects only, and without deletions where pruning is off."""
    prune = facts.policy.prune if facts.asked_prune is None else facts.asked_prune
    wanted: Iterable[Change] = (c for c in plan.changes if c.action in WRITES or c.action is Action.RELEASE)
    if facts.asked_objects:
        wanted = (c for c in wanted if c.ref in facts.asked_objects)
    if not prune and not facts.removed:
        wanted = (c for c in wanted if c.action not in (Action.DELETE, Action.RELEASE))
    return tuple(wanted)


def _pause(facts: Facts) -> NotNow | None:
    policy = facts.policy
    if facts.removed:
        return _between_tries(facts)
    if policy.mode is SyncMode.MANUAL:
        return NotNow("differs from Git; waits for: taut sync")
    if not facts.fresh and not policy.heal:
        return NotNow("drifted; self-heal is off, waits for: taut sync")
    return _between_tries(facts)


def _between_tries(facts: Facts) -> NotNow | None:
    if facts.stopped:
        return NotNow(f"{facts.stopped}; waits for a new commit or: taut sync")
    if not facts.failures:
        return None
    limit = facts.policy.retry.limit
    if 0 <= limit < facts.failures:
        return NotNow(f"{facts.failure}; tried {facts.failures} times, waits for a new commit or: taut sync")
    left = _pause_left(facts)
    return NotNow(f"{facts.failure}; next try in {left:.0f} s", recheck=left) if left > 0 else None


def _pause_left(facts: Facts) -> float:
    """Seconds until the next try. A pause that is longer than any that was set comes from a clock that went back: it is over."""
    left = facts.retry_at - facts.now
    return left if 0 < left <= next_try(facts.policy, facts.failures, 1.0) + 1 else 0.0


def next_try(policy: SyncPolicy, failures: int, spread: float = 0.0) -> float:
    """Seconds until the try after `failures` failed ones (exponential, capped). `spread`, from 0 to 1, makes it up to a tenth
    longer: applications that failed together are not tried again in the same moment.
    """
    backoff = policy.retry.backoff
    most = seconds(backoff.max_duration)
    try:
        wait = min(seconds(backoff.duration) * backoff.factor ** max(failures - 1, 0), most)
    except OverflowError:
        wait = most
    return wait * (1 + JITTER * spread)
