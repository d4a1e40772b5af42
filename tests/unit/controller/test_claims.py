"""Which application keeps an object that several inventories hold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from taut.controller.carry_out import Run
from taut.controller.claims import Taken, rightful, touches
from taut.controller.fleet import Fleet
from taut.controller.queue import WorkQueue
from taut.controller.state import AppState, Desired, Failed
from taut.model.application import Application, ApplicationSpec
from taut.model.live import LiveObject
from taut.model.operation import Operation, OperationKind, OperationState, Step, StepState
from taut.model.plan import Action, InventoryItem, Phase
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import Problem
from taut.render.closure import Closure

REF = ObjectRef("local", "", "ConfigMap", "shop", "web")
A, B, C = (AppKey("prod", "", name) for name in "abc")


def state(key: AppKey, *, pending: bool = True, operation: int = 0, step: StepState = StepState.SENT) -> AppState:
    """An application that holds REF, with a running operation that makes it when `operation` is its number."""
    made = AppState(app=Application(key=key, spec=ApplicationSpec()), record=AppRecord(key=str(key)))
    made.items[REF] = InventoryItem(REF, "v1", pending=pending)
    if operation:
        running = Operation(operation, key, OperationKind.SYNC, OperationState.RUNNING, "", "", 0, 0, "taut")
        steps = [Step(0, REF, Action.CREATE, Phase.SYNC, 0, "v1", state=step)]
        cluster: Any = None  # nothing is sent
        made.run = Run(running, steps, cluster, {}, lambda _: None, lambda _: None)
    return made


def carrying(key: AppKey) -> LiveObject:
    return LiveObject(REF, "v1", "uid", "1", owner=f"{key}|{REF.id}")


def test_the_mark_decides() -> None:
    both = [state(A, pending=False), state(B, operation=9)]
    assert rightful(REF, both, carrying(B)).key == B
    assert rightful(REF, both, carrying(A)).key == A


@pytest.mark.parametrize("live", [None, carrying(C)], ids=["nothing is there", "another's mark"])
def test_without_one_of_their_marks_who_confirmed_it_then_the_older_operation(live: LiveObject | None) -> None:
    assert rightful(REF, [state(A), state(B, pending=False)], live).key == B
    assert rightful(REF, [state(A, operation=8), state(B, operation=7)], live).key == B
    assert rightful(REF, [state(B), state(A)], live).key == A, "the same at every start"


def test_what_may_be_under_way() -> None:
    assert touches(state(A, operation=1), REF)
    assert not touches(state(A, operation=1, step=StepState.TODO), REF)
    assert not touches(state(A, operation=1, step=StepState.DONE), REF)
    assert not touches(state(A), REF)


OTHER = ObjectRef("local", "", "ConfigMap", "shop", "other")


def fleet_of(*states: AppState) -> Fleet:
    store: Any = None  # nothing is stored
    fleet = Fleet(store, WorkQueue(), {})
    for each in states:
        fleet.add(each)
    return fleet


def test_a_claim_takes_all_or_nothing() -> None:
    a, b = (
        state(A, pending=False),
        AppState(app=Application(key=B, spec=ApplicationSpec()), record=AppRecord(key=str(B))),
    )
    fleet = fleet_of(a, b)
    wanted = [InventoryItem(OTHER, "v1", pending=True), InventoryItem(REF, "v1", pending=True)]
    with pytest.raises(Taken, match="belongs to the application prod/a"):
        fleet.claim(b, wanted, {})
    with pytest.raises(Taken):
        fleet.claim(b, wanted, {REF: A})  # as it was when it was planned; now it is wanted again
    assert (fleet.owner(REF), fleet.owner(OTHER), set(a.items), set(b.items)) == (A, None, {REF}, set())


def test_what_is_given_up_changes_hands_and_comes_back_when_that_could_not_be_stored() -> None:
    a, b = (
        state(A, pending=False),
        AppState(app=Application(key=B, spec=ApplicationSpec()), record=AppRecord(key=str(B))),
    )
    a.removed = True
    fleet, item = fleet_of(a, b), a.items[REF]
    claim = fleet.claim(b, [InventoryItem(OTHER, "v1", pending=True), InventoryItem(REF, "v1", pending=True)], {REF: A})
    assert (fleet.owner(REF), fleet.owner(OTHER), a.items, set(b.items)) == (B, B, {}, {REF, OTHER})
    fleet.put_item(a, item)
    assert a.items == {}, "who gave it up learns nothing of it any more"
    fleet.unclaim(b, claim)
    assert (fleet.owner(REF), fleet.owner(OTHER), a.items, b.items) == (A, None, {REF: item}, {})


def test_nothing_changes_hands_while_its_owner_writes_it() -> None:
    a, b = state(A, operation=1), AppState(app=Application(key=B, spec=ApplicationSpec()), record=AppRecord(key=str(B)))
    a.removed = True
    fleet = fleet_of(a, b)
    assert not fleet.gives_up(A, REF)
    with pytest.raises(Taken):
        fleet.claim(b, [InventoryItem(REF, "v1", pending=True)], {REF: A})
    a.run = None
    assert fleet.gives_up(A, REF)


def wanting(key: AppKey, *refs: ObjectRef) -> AppState:
    """An application that is known to want these objects, and has none."""
    made = AppState(app=Application(key=key, spec=ApplicationSpec()), record=AppRecord(key=str(key)), stale=False)
    made.desired = Desired((), (), "", "", "", Closure(), (), refs=frozenset(refs))
    return made


def test_what_an_application_wants_is_known_or_not() -> None:
    fleet = fleet_of(a := wanting(A), b := wanting(B, REF))
    assert not fleet.unclear(A, REF), "it gives it up"
    assert not fleet.unclear(B, REF), "it wants it"
    a.stale, b.desired = True, None
    assert fleet.unclear(A, REF), "the last commit was not looked at yet"
    assert fleet.unclear(B, REF)
    a.removed = True
    assert not fleet.unclear(A, REF)
    assert not fleet.unclear(C, REF), "its root is none of this taut's"
    fleet.allowed_projects = {C.root: ("*",)}
    assert fleet.unclear(C, REF), "its root was not read yet"
    fleet.known_roots = frozenset({C.root})
    assert not fleet.unclear(C, REF)


def test_deletions_wait_for_who_was_not_looked_at_since_the_commit_whatever_was_wrong_before() -> None:
    fleet = fleet_of(a := wanting(A), b := wanting(B))
    here = {b.app.spec.target.cluster}
    assert fleet.undecided(a, here) is None
    b.problems = (Problem("it was broken", "", "", "render"),)
    b.failed = Failed(b.marks, math.inf)
    b.stale = True
    assert fleet.undecided(a, here) is None, "its look was in vain, and will be until something moves"
    b.mark_stale()
    assert fleet.undecided(a, here) == B
    b.app = Application(key=B, spec=ApplicationSpec(project="unknown"))
    assert fleet.undecided(a, here) is None, "nothing is written for it at all"


def test_who_lends_something_is_told_when_the_claim_is_closed() -> None:
    fleet = fleet_of(a := state(A, pending=False), b := wanting(B, REF))
    a.removed = True
    claim = fleet.claim(b, [InventoryItem(REF, "v1", pending=True)], {REF: A})
    assert fleet.lends(a)
    fleet.claimed(claim)
    assert not fleet.lends(a)
