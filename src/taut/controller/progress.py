"""How an operation goes on: pure, derived each time from its stored steps and what is live, so that a restart needs no code of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from taut.model.health import HealthStatus
from taut.model.live import LiveObject
from taut.model.operation import Step, StepState
from taut.model.plan import Action, Phase
from taut.model.refs import ObjectRef

type Look = Callable[[ObjectRef], LiveObject | None]

DEGRADED_GRACE = 10.0
"""Seconds that an object may be Degraded after taut wrote it: its controller may not have seen the new version yet."""


@dataclass(frozen=True, slots=True)
class Wait:
    """One object that a group waits for. `failed` says that waiting will not help; `recheck` is when to look again (seconds, 0: on its next event)."""

    step: Step
    message: str
    failed: bool = False
    recheck: float = 0.0


UNKNOWN_END = "its object was removed before taut saw how it ended"
_ORDER = {phase: n for n, phase in enumerate(Phase)}


@dataclass(frozen=True, slots=True)
class Send:
    """These steps are to be sent now."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """The group waits for these."""

    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do; `failures` is empty when all went well."""

    failures: tuple[str, ...] = ()


type Move = Send | Hold | Finish


def next_move(steps: Sequence[Step], look: Look, now: float, *, failure: str = "") -> Move:
    """What to do next for an operation with these steps (in any state), at `now` (seconds of the clock that `sent_at` is of).

    `failure`: the operation failed as a whole (its time is over): only what runs after a failure is left to do.
    """
    normal = [s for s in steps if s.phase is not Phase.SYNC_FAIL]
    after_failure = [s for s in steps if s.phase is Phase.SYNC_FAIL]
    if failure:
        return _after_failure(after_failure, look, now, (failure,))
    current = _current_group(normal)
    waits = _waits(current, look, now)
    failures = [f"{s.ref}: {s.message}" for s in normal if s.state is StepState.FAILED]
    failures += [f"{w.step.ref} {w.message}" for w in waits if w.failed]
    in_flight = [w for w in waits if not w.failed and w.step.state is StepState.SENT]
    if failures:
        if in_flight:
            return Hold(tuple(in_flight))
        return _after_failure(after_failure, look, now, tuple(failures))
    todo = [s for s in current if s.state is StepState.TODO]
    if todo:
        return Send(tuple(todo))
    if waits:
        return Hold(tuple(waits))
    following = _following(normal, current)
    return Send(tuple(following)) if following else Finish()


def _after_failure(hooks: list[Step], look: Look, now: float, failures: tuple[str, ...]) -> Move:
    current = _current_group(hooks)
    todo = [s for s in current if s.state is StepState.TODO]
    if todo:
        return Send(tuple(todo))
    waits = [w for w in _waits(current, look, now) if not w.failed]
    if waits:
        return Hold(tuple(waits))
    following = _following(hooks, current)
    if following:
        return Send(tuple(following))
    broken = tuple(f"{s.ref} (after the failure): {s.message}" for s in hooks if s.state is StepState.FAILED)
    return Finish(failures + broken)


def _current_group(steps: Sequence[Step]) -> list[Step]:
    """The last group in which something was begun; the first group when nothing was."""
    if not steps:
        return []
    begun = [s.group for s in steps if s.state is not StepState.TODO]
    number = max(begun) if begun else min(s.group for s in steps)
    return [s for s in steps if s.group == number]


def _following(steps: Sequence[Step], current: Sequence[Step]) -> list[Step]:
    after = [s for s in steps if current and s.group > current[0].group]
    number = min((s.group for s in after), default=0)
    return [s for s in after if s.group == number]


def _waits(steps: Sequence[Step], look: Look, now: float) -> list[Wait]:
    found = (_wait(s, look(s.ref), now) for s in steps)
    return [w for w in found if w is not None]


def _wait(step: Step, live: LiveObject | None, now: float) -> Wait | None:
    if step.state is StepState.SENT:
        return _wait_sent(step, live, now)
    if step.state is not StepState.DONE or not step.wait or step.hook or step.action not in _HEALTH_MATTERS:
        return None
    if live is None:
        # Waiting does not bring it back; the next try does. An object that taut did not write is the next plan's matter.
        gone = Wait(step, "was deleted while taut was waiting for it", failed=True)
        return None if step.action is Action.UNCHANGED else gone
    return _wait_health(step, live, now)


_HEALTH_MATTERS = frozenset({Action.CREATE, Action.UPDATE, Action.ADOPT, Action.RECREATE, Action.UNCHANGED})


def _wait_health(step: Step, live: LiveObject, now: float) -> Wait | None:
    health = live.health
    if health is None or health.status in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED):
        return None
    message = f"is {health.status.value}" + (f": {health.message}" if health.message else "")
    if health.status is HealthStatus.DEGRADED:
        left = step.sent_at + DEGRADED_GRACE - now
        return Wait(step, message, failed=left <= 0, recheck=max(left, 0.0))
    return Wait(step, message)


def _wait_sent(step: Step, live: LiveObject | None, now: float) -> Wait:
    if step.action in (Action.DELETE, Action.RECREATE) and live is not None and live.uid == step.uid:
        if live.deleting and live.finalizers:
            return Wait(step, f"is being deleted, and waits for its finalizers: {', '.join(live.finalizers)}")
        return Wait(step, "is being deleted")
    if step.hook:
        state = live.health.message if live is not None and live.health else ""
        return Wait(step, "hook is running" + (f": {state}" if state else ""))
    return Wait(step, f"is tried again: {step.message}" if step.message else "was sent; the answer is not known yet")


def settle_hook(step: Step, live: LiveObject | None, result: str | None = None) -> Step:
    """What a hook that was sent has come to: still SENT, DONE, or FAILED. A hook whose kind has no end is done when it exists.

    `result` is how this run ended as far as it was recorded; an object that is gone without a record counts as failed,
    for nobody knows what it did.
    """
    if live is None or live.run_key != step.run_key or live.uid == step.replaces:
        if not step.uid or (live is not None and live.uid == step.uid):
            return step
        if result == StepState.DONE:
            return replace(step, state=StepState.DONE, message="ended, and its object was removed")
        return replace(step, state=StepState.FAILED, message=UNKNOWN_END)
    status = live.health.status if live.health else HealthStatus.HEALTHY
    if status is HealthStatus.HEALTHY:
        return replace(step, state=StepState.DONE, message=live.health.message if live.health else "", uid=live.uid)
    if status is HealthStatus.DEGRADED:
        reason = live.health.message if live.health and live.health.message else "the hook failed"
        return replace(step, state=StepState.FAILED, message=reason, uid=live.uid)
    return replace(step, uid=live.uid)


def settle_deletion(step: Step, live: LiveObject | None) -> Step:
    """DONE once the object that was to be deleted is gone (another object under its name does not count)."""
    if live is None or live.uid != step.uid:
        return replace(step, state=StepState.DONE)
    return step


def hooks_to_clear(steps: Sequence[Step], move: Move) -> list[Step]:
    """The hooks whose object goes now, by their own delete policies: when their whole phase is over, as Helm does it.

    Not earlier: what a hook leaves (an account, a role) may be there for the next hook of the phase.
    """
    now = _phase_of(move)
    over = [s for s in steps if s.hook and (now is None or _ORDER[s.phase] < now)]
    return [s for s in over if _ends_with.get(s.state) in s.hook_policies]


_ends_with = {StepState.DONE: "HookSucceeded", StepState.FAILED: "HookFailed"}


def _phase_of(move: Move) -> int | None:
    match move:
        case Send(steps):
            return min(_ORDER[s.phase] for s in steps)
        case Hold(waits):
            return min(_ORDER[w.step.phase] for w in waits)
        case Finish():
            return None
