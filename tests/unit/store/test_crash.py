"""Killed in the middle of writing: what was acknowledged is there, and every transaction is whole or absent."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taut.model.operation import StepState
from taut.store.store import Store

CHILD = """
import asyncio, sys
from pathlib import Path
from taut.model.operation import Operation, OperationKind, OperationState, Step, StepState
from taut.model.plan import Action, InventoryItem, Phase
from taut.model.refs import AppKey, ObjectRef
from taut.store.records import Mark
from taut.store.store import Store

async def one(store, number):
    app = AppKey("root", "", f"app-{number}")
    refs = [ObjectRef("local", "", "ConfigMap", "ns", f"{number}-{i}") for i in range(4)]
    operation = Operation(0, app, OperationKind.SYNC, OperationState.RUNNING, "r", "p", 1.0, 2.0, "test")
    steps = [Step(i, ref, Action.CREATE, Phase.SYNC, 0, "v1") for i, ref in enumerate(refs)]
    bodies = {i: b"{}" for i in range(4)}
    id = await store.begin(operation, steps, bodies, [InventoryItem(ref, "v1") for ref in refs])
    print("begun", number, flush=True)
    await store.mark(id, [Mark(i, StepState.DONE, uid="u", item=InventoryItem(ref, "v1", uid="u")) for i, ref in enumerate(refs)])
    print("marked", number, flush=True)

async def main():
    store = Store.open(Path(sys.argv[1]))
    for start in range(0, 1_000_000, 8):
        await asyncio.gather(*(one(store, start + n) for n in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [3, 40, 151])
async def test_kill_9_while_writing(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "taut.db"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.read().splitlines()
    child.wait()
    child.stdout.close()
    acknowledged = {"begun": set[str](), "marked": set[str]()}
    for line in told:
        word, _, number = line.strip().partition(" ")
        if number.isdigit():
            acknowledged[word].add(f"app-{number}")

    store = Store.open(path)
    running = {operation.app.name: (operation, steps) for operation, steps in await store.running()}
    inventories = {key.name: items for key, items in (await store.inventories()).items()}
    assert acknowledged["begun"]
    assert acknowledged["begun"] <= running.keys()
    assert running.keys() == inventories.keys()
    for name, (operation, steps) in running.items():
        states = {step.state for step in steps}
        assert len(steps) == len(inventories[name]) == 4
        assert len(states) == 1, "the marks of one call are one transaction"
        assert {item.pending for item in inventories[name].values()} == {states == {StepState.TODO}}
        assert await store.manifest(operation.id, 3) == b"{}"
        if name in acknowledged["marked"]:
            assert states == {StepState.DONE}
    await store.close()
