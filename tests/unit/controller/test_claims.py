"""Which application keeps an object that several inventories hold."""

from __future__ import annotations

from typing import Any

import pytest

from taut.controller.carry_out import Run
from taut.controller.claims import rightful, touches
from taut.controller.state import AppState
from taut.model.application import Application, ApplicationSpec
from taut.model.live import LiveObject
from taut.model.operation import Operation, OperationKind, OperationState, Step, StepState
from taut.model.plan import Action, InventoryItem, Phase
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef

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
