"""An operation that runs, wave by wave. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taut.model.operation import StepState
from taut.model.plan import Phase
from taut.model.shown import Shown
from taut.server.page.rope import MARKS, TODO, Mark
from taut.server.page.sentences import plural
from taut.server.page.times import span
from taut.server.views import OperationView, StepView

_SHOWN = 6
_PHASES = {Phase.PRE_SYNC: "Before", Phase.POST_SYNC: "After", Phase.SYNC_FAIL: "After a failure"}
_MARKS: dict[StepState, Mark] = {
    StepState.TODO: TODO,
    StepState.SENT: MARKS[Shown.DEPLOYING],
    StepState.DONE: MARKS[Shown.HEALTHY],
    StepState.FAILED: MARKS[Shown.FAILED],
}


@dataclass(frozen=True, slots=True)
class Wave:
    """Steps that belong together. `state` is done, now or todo; `more` are left out of `steps`."""

    title: str
    state: str
    mark: Mark
    meta: str
    steps: Sequence[tuple[Mark, str]]
    more: int = 0


def waves_of(operation: OperationView) -> list[Wave]:
    """The waves in their order. The first that is not settled is the one that is under way."""
    parts: dict[tuple[str, int], list[StepView]] = {}
    for step in operation.steps:
        parts.setdefault((step.phase, step.wave), []).append(step)
    waves: list[Wave] = []
    before = True
    for (phase, number), steps in parts.items():
        settled = sum(s.state in (StepState.DONE, StepState.FAILED) for s in steps)
        failed = any(s.state is StepState.FAILED for s in steps)
        done = settled == len(steps)
        state = "done" if done else "now" if before else "todo"
        before = before and done
        mark = _MARKS[
            StepState.FAILED if failed else {"done": StepState.DONE, "now": StepState.SENT}.get(state, StepState.TODO)
        ]
        meta = {"todo": "not started", "done": plural(len(steps), "object")}.get(
            state, f"{settled} of {len(steps)} done"
        )
        listed = sorted(steps, key=lambda s: s.state is StepState.DONE)[:_SHOWN]
        shown = [(_MARKS[s.state], f"{s.object.kind} {s.object.name}") for s in listed]
        waves.append(Wave(_title(phase, number), state, mark, meta, shown, len(steps) - len(shown)))
    return waves


def _title(phase: str, number: int) -> str:
    word = _PHASES.get(Phase(phase), "") if phase in Phase else ""
    if phase in (Phase.PRE_DELETE, Phase.DELETE, Phase.POST_DELETE):
        word = "Deletion"
    return f"{word}, wave {number}" if word else f"Wave {number}"


def operation_title(operation: OperationView) -> str:
    """`Sync`, `Heal`, `Deletion`."""
    return {"sync": "Sync", "heal": "Heal", "delete": "Deletion"}.get(operation.kind, operation.kind)


def remaining(operation: OperationView) -> str:
    """How long it may still take; empty when its time is up."""
    return span(operation.remaining, whole=True) if operation.remaining > 0 else ""
