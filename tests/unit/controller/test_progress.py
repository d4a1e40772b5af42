"""How operations go on, as a table of step states and what is live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taut.controller.progress import Finish, Hold, Send, hooks_to_clear, next_move, settle_deletion, settle_hook
from taut.model.health import Health, HealthStatus
from taut.model.live import LiveObject
from taut.model.operation import Step, StepState
from taut.model.plan import Action, Phase
from taut.model.refs import ObjectRef


def ref(name: str) -> ObjectRef:
    return ObjectRef("c", "apps", "Deployment", "ns", name)


def step(number: int, name: str, group: int = 0, state: StepState = StepState.TODO, **more: object) -> Step:
    base = Step(number, ref(name), Action.CREATE, Phase.SYNC, 0, "apps/v1", group=group, state=state)
    return replace(base, **more)


def live(name: str, status: HealthStatus = HealthStatus.HEALTHY, uid: str = "u", **more: object) -> LiveObject:
    base = LiveObject(ref(name), "apps/v1", uid, "1", health=Health(status))
    return replace(base, **more)


def look(*objects: LiveObject):
    table = {o.ref: o for o in objects}
    return table.get


def names(move: object) -> list[str]:
    assert isinstance(move, Send)
    return [s.ref.name for s in move.steps]


def test_the_first_group_is_sent_whole() -> None:
    steps = [step(0, "a"), step(1, "b"), step(2, "c", group=1)]
    assert names(next_move(steps, look(), 0)) == ["a", "b"]


def test_a_group_waits_for_the_health_of_the_one_before() -> None:
    steps = [step(0, "a", state=StepState.DONE), step(1, "b", group=1)]
    assert isinstance(next_move(steps, look(live("a", HealthStatus.PROGRESSING)), 0), Hold)
    assert names(next_move(steps, look(live("a")), 0)) == ["b"]


def test_the_last_group_waits_too_and_then_it_is_finished() -> None:
    steps = [step(0, "a", state=StepState.DONE)]
    assert isinstance(next_move(steps, look(live("a", HealthStatus.PROGRESSING)), 0), Hold)
    assert next_move(steps, look(live("a")), 0) == Finish()


def test_no_wait_where_the_step_does_not_ask_for_it() -> None:
    steps = [step(0, "a", state=StepState.DONE, wait=False)]
    assert next_move(steps, look(live("a", HealthStatus.PROGRESSING)), 0) == Finish()


def test_degraded_has_a_grace_and_then_fails() -> None:
    steps = [step(0, "a", state=StepState.DONE, sent_at=100.0)]
    sick = look(live("a", HealthStatus.DEGRADED))
    early = next_move(steps, sick, 101.0)
    assert isinstance(early, Hold)
    assert early.waits[0].recheck > 0
    late = next_move(steps, sick, 120.0)
    assert isinstance(late, Finish)
    assert late.failures


def test_a_failure_stops_later_groups_but_not_what_is_in_flight() -> None:
    steps = [
        step(0, "a", state=StepState.FAILED, message="no"),
        step(1, "b", state=StepState.SENT),
        step(2, "c", group=1),
    ]
    assert isinstance(next_move(steps, look(), 0), Hold)
    steps[1] = replace(steps[1], state=StepState.DONE, wait=False)
    move = next_move(steps, look(), 0)
    assert isinstance(move, Finish)
    assert move.failures == (f"{ref('a')}: no",)


def test_failure_hooks_run_only_after_a_failure() -> None:
    hook = step(1, "h", group=9, hook=True, phase=Phase.SYNC_FAIL)
    good = [step(0, "a", state=StepState.DONE, wait=False), hook]
    assert next_move(good, look(), 0) == Finish()
    bad = [step(0, "a", state=StepState.FAILED, message="no"), hook]
    assert names(next_move(bad, look(), 0)) == ["h"]
    bad[1] = replace(hook, state=StepState.DONE)
    move = next_move(bad, look(), 0)
    assert isinstance(move, Finish)
    assert move.failures


def test_finalizers_that_hang_are_named() -> None:
    gone = step(0, "a", state=StepState.SENT, action=Action.DELETE, uid="u", sent_at=0.0)
    stuck = live("a", deleting=True, finalizers=("example.com/wait",))
    move = next_move([gone], look(stuck), 100.0)
    assert isinstance(move, Hold)
    assert "example.com/wait" in move.waits[0].message


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (None, StepState.DONE),
        (live("a", uid="other"), StepState.DONE),
        (live("a", uid="u", deleting=True), StepState.SENT),
    ],
)
def test_a_deletion_is_done_when_that_very_object_is_gone(seen: LiveObject | None, expected: StepState) -> None:
    gone = step(0, "a", state=StepState.SENT, action=Action.DELETE, uid="u")
    assert settle_deletion(gone, seen).state is expected


@pytest.mark.parametrize(
    ("uid", "seen", "recorded", "expected"),
    [
        ("", None, None, StepState.SENT),
        ("", live("a", run_key="other"), None, StepState.SENT),
        ("", live("a", run_key="k", status=HealthStatus.HEALTHY), None, StepState.DONE),
        ("", live("a", run_key="k", status=HealthStatus.PROGRESSING), None, StepState.SENT),
        ("", live("a", run_key="k", status=HealthStatus.DEGRADED), None, StepState.FAILED),
        ("", live("a", run_key="k", uid="earlier", status=HealthStatus.DEGRADED), None, StepState.SENT),
        ("u", None, None, StepState.FAILED),
        ("u", None, "failed", StepState.FAILED),
        ("u", None, "done", StepState.DONE),
        ("u", live("a", run_key="k", uid="other"), "done", StepState.DONE),
    ],
)
def test_hooks_are_told_by_their_run_key(
    uid: str, seen: LiveObject | None, recorded: str | None, expected: StepState
) -> None:
    hook = step(0, "a", state=StepState.SENT, hook=True, run_key="k", uid=uid, replaces="earlier")
    assert settle_hook(hook, seen, recorded).state is expected


def test_a_hooks_object_is_removed_when_its_whole_phase_is_over() -> None:
    account = step(0, "a", state=StepState.DONE, hook=True, phase=Phase.PRE_SYNC, hook_policies=("HookSucceeded",))
    job = step(1, "j", group=1, state=StepState.SENT, hook=True, phase=Phase.PRE_SYNC, hook_policies=("HookSucceeded",))
    after = step(2, "z", group=2)
    steps = [account, job, after]
    assert hooks_to_clear(steps, next_move(steps, look(), 0)) == []
    steps[1] = replace(job, state=StepState.DONE)
    assert hooks_to_clear(steps, next_move(steps, look(), 0)) == steps[:2]
    steps[1] = replace(job, state=StepState.FAILED)
    assert hooks_to_clear(steps, Finish(("no",))) == [account]


def test_an_operation_that_failed_as_a_whole_only_runs_what_is_for_failures() -> None:
    hook = step(2, "h", group=9, hook=True, phase=Phase.SYNC_FAIL)
    steps = [step(0, "a", state=StepState.DONE), step(1, "b", group=1), hook]
    assert names(next_move(steps, look(live("a")), 0, failure="timed out")) == ["h"]
    assert next_move(steps[:2], look(live("a")), 0, failure="timed out") == Finish(("timed out",))


def test_what_vanishes_while_taut_waits_for_it_is_a_failure() -> None:
    move = next_move([step(0, "a", state=StepState.DONE)], look(), 0)
    assert isinstance(move, Finish)
    assert "deleted" in move.failures[0]
    assert next_move([step(0, "a", state=StepState.DONE, action=Action.UNCHANGED)], look(), 0) == Finish()
