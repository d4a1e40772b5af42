"""The store, on real files: what goes in comes out, also after it was closed and opened again."""

from __future__ import annotations

import asyncio
import dataclasses
import stat
from pathlib import Path

import pytest

from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import StoreError
from taut.model.operation import (
    Approval,
    HistoryEntry,
    Operation,
    OperationKind,
    OperationState,
    Step,
    StepState,
)
from taut.model.plan import Action, InventoryItem, Phase
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef
from taut.store.records import AuditNote, Mark
from taut.store.store import Store

APP = AppKey("prod", "shop", "web")
OTHER = AppKey("prod", "", "infra")
WEB = ObjectRef("local", "apps", "Deployment", "shop", "web")
CONFIG = ObjectRef("local", "", "ConfigMap", "shop", "web")
SECRET_TEXT = b"correct-horse-battery-staple"


def operation(app: AppKey = APP, **changes: object) -> Operation:
    made = Operation(
        id=0,
        app=app,
        kind=OperationKind.SYNC,
        state=OperationState.RUNNING,
        revision="c0ffee",
        plan_hash="p1",
        started_at=1.5,
        deadline=600.5,
        initiated_by="anna",
        selected=(WEB,),
    )
    return dataclasses.replace(made, **changes)


def step(number: int, ref: ObjectRef, action: Action = Action.CREATE) -> Step:
    return Step(number, ref, action, Phase.SYNC, 0, "v1", run_key=f"run-{number}", desired_hash=f"h{number}")


def entry(number: int, app: AppKey = APP) -> HistoryEntry:
    return HistoryEntry(
        number, app, "sync", "Succeeded", "c0ffee", "Anna", "Raise it", "anna", 1.5, 2.5, "p1", (("create", str(WEB)),)
    )


@pytest.fixture
async def store(tmp_path: Path):
    opened = Store.open(tmp_path / "taut.db")
    yield opened
    await opened.close()


async def test_records_and_inventories_survive_a_restart(tmp_path: Path) -> None:
    record = AppRecord(key=str(APP), spec=b'{"values": 1}', revision="abc", closure=b"[1]", last_sync=5.25)
    item = InventoryItem(WEB, "apps/v1", "d", "o", "uid-1", 3, created_by_taut=True, extra={"a": "b"})
    first = Store.open(tmp_path / "taut.db")
    await first.put_app(record)
    await first.put_items(APP, [item, InventoryItem(CONFIG, "v1")])
    await first.drop_items(APP, [CONFIG])
    await first.put_items(OTHER, [InventoryItem(CONFIG, "v1")])
    await first.close()

    second = Store.open(tmp_path / "taut.db")
    assert await second.apps() == [record]
    assert await second.inventories() == {APP: {WEB: item}, OTHER: {CONFIG: InventoryItem(CONFIG, "v1")}}
    await second.drop_app(APP)
    assert await second.apps() == []
    assert APP in await second.inventories(), "an object is only forgotten by name"
    await second.close()


async def test_begin_stores_operation_steps_and_the_union_of_the_inventory(store: Store) -> None:
    known = InventoryItem(WEB, "apps/v1", "old", "owned", "uid-1")
    await store.put_items(APP, [known])
    steps = [step(1, WEB, Action.UPDATE), step(2, CONFIG)]
    number = await store.begin(
        operation(),
        steps,
        {2: SECRET_TEXT},
        [InventoryItem(WEB, "apps/v1", "new"), InventoryItem(CONFIG, "v1")],
        AuditNote("anna", "sync", str(APP)),
    )
    assert await store.running() == [(operation(id=number), steps)]
    assert await store.manifest(number, 2) == SECRET_TEXT
    assert await store.inventories() == {APP: {WEB: known, CONFIG: InventoryItem(CONFIG, "v1", pending=True)}}
    assert [e.action for e in await store.audit_entries()] == ["sync"]


async def test_an_inventory_takes_nothing_that_another_holds(store: Store) -> None:
    """Not by an operation, which is refused as a whole, nor by what is remembered; only what is given up changes hands."""
    mine, theirs = InventoryItem(WEB, "apps/v1"), InventoryItem(CONFIG, "v1", "d")
    for app in (APP, OTHER):
        await store.put_app(AppRecord(key=str(app)))
    await store.put_items(OTHER, [theirs])
    with pytest.raises(StoreError, match="belongs to the application prod/infra"):
        await store.begin(operation(), [step(1, WEB), step(2, CONFIG)], {}, [mine, InventoryItem(CONFIG, "v1")])
    await store.put_items(APP, [InventoryItem(CONFIG, "v1", "mine")])
    assert (await store.running(), await store.inventories()) == ([], {OTHER: {CONFIG: theirs}})
    number = await store.begin(
        operation(), [step(1, CONFIG)], {}, [InventoryItem(CONFIG, "v1")], taken_from={CONFIG: OTHER}
    )
    assert await store.inventories() == {APP: {CONFIG: InventoryItem(CONFIG, "v1", pending=True)}}
    await store.put_items(OTHER, [theirs])
    await store.mark(number, [Mark(1, StepState.DONE, item=InventoryItem(CONFIG, "v1", "d"))])
    assert await store.inventories() == {APP: {CONFIG: InventoryItem(CONFIG, "v1", "d")}}


async def test_what_is_left_of_an_application_that_is_gone_claims_nothing(store: Store) -> None:
    await store.put_items(OTHER, [InventoryItem(CONFIG, "v1")])
    await store.begin(operation(), [step(1, CONFIG)], {}, [InventoryItem(CONFIG, "v1")])
    assert set(await store.inventories()) == {APP, OTHER}


async def test_a_second_running_operation_is_refused_and_changes_nothing(store: Store) -> None:
    await store.begin(operation(), [step(1, WEB)], {}, [])
    with pytest.raises(StoreError, match="running operation"):
        await store.begin(operation(), [step(1, CONFIG)], {}, [InventoryItem(CONFIG, "v1")])
    assert len(await store.running()) == 1
    assert await store.inventories() == {}
    await store.begin(operation(OTHER), [], {}, [])


async def test_marks_move_steps_and_inventory_together(store: Store) -> None:
    await store.put_items(APP, [InventoryItem(CONFIG, "v1", uid="gone")])
    number = await store.begin(operation(), [step(1, WEB), step(2, CONFIG, Action.DELETE)], {}, [])
    await store.mark(number, [Mark(1, StepState.SENT, sent_at=7.5, uid="u"), Mark(2, StepState.SENT, sent_at=8.5)])
    done = InventoryItem(WEB, "apps/v1", "d", "o", "u")
    await store.mark(number, [Mark(1, StepState.DONE, "created", item=done), Mark(2, StepState.DONE, drop=True)])
    [(_, steps)] = await store.running()
    assert [(s.state, s.message, s.sent_at, s.uid) for s in steps] == [
        (StepState.DONE, "created", 7.5, "u"),
        (StepState.DONE, "", 8.5, ""),
    ]
    assert await store.inventories() == {APP: {WEB: done}}


async def test_a_mark_of_an_unknown_step_writes_nothing(store: Store) -> None:
    number = await store.begin(operation(), [step(1, WEB)], {}, [])
    with pytest.raises(StoreError, match="no step 9"):
        await store.mark(number, [Mark(1, StepState.SENT), Mark(9, StepState.SENT)])
    with pytest.raises(StoreError, match="no operation 77"):
        await store.mark(77, [Mark(1, StepState.SENT)])
    [(_, [only])] = await store.running()
    assert only.state is StepState.TODO


async def test_finish_ends_it_all_in_one_transaction(store: Store) -> None:
    await store.approve(Approval(APP, "p1", "anna", 1.0, "looks right"))
    await store.approve(Approval(APP, "p2", "anna", 1.0))
    number = await store.begin(operation(), [step(1, WEB)], {1: b"{}"}, [])
    running = await store.update_operation(number, message="wave 0", abort_requested=True)
    assert running.message == "wave 0"
    ended = dataclasses.replace(running, state=OperationState.SUCCEEDED, finished_at=9.0)
    record = AppRecord(key=str(APP), revision="c0ffee")
    await store.finish(ended, entry(0), record, ["p1"])
    assert await store.running() == []
    assert await store.history(APP) == [entry(number)]
    assert await store.apps() == [record]
    assert [a.plan_hash for a in await store.approvals(APP)] == ["p2"]
    assert await store.last_operations() == {APP: ended}
    with pytest.raises(StoreError, match="keeps no manifest"):
        await store.manifest(number, 1)


async def test_an_operation_that_still_runs_cannot_be_finished(store: Store) -> None:
    number = await store.begin(operation(), [step(1, WEB)], {}, [])
    with pytest.raises(StoreError, match="while it is running"):
        await store.finish(operation(id=number), entry(0), None)
    assert await store.history(APP) == []


async def test_history_is_newest_first_and_bounded(store: Store) -> None:
    numbers: list[int] = []
    for _ in range(5):
        number = await store.begin(operation(), [], {}, [])
        ended = operation(id=number, state=OperationState.SUCCEEDED)
        await store.finish(ended, entry(0), None, history_limit=3)
        numbers.append(number)
    assert [e.id for e in await store.history(APP)] == numbers[:1:-1]
    assert [e.id for e in await store.history(APP, limit=1)] == numbers[-1:]
    assert await store.history(OTHER) == []


async def test_drift_is_added_filtered_and_settled(store: Store) -> None:
    record = DriftRecord(0, APP, WEB, "spec.replicas", 3, 5, "kubectl", "Update", 1.0, 2.0, DriftOutcome.OPEN)
    one, two = await store.add_drift([record, dataclasses.replace(record, app=OTHER, desired={"a": [1]})])
    assert one.id != two.id
    await store.settle_drift([one.id], DriftOutcome.HEALED, 3.5, "")
    assert await store.drift() == [two, dataclasses.replace(one, outcome=DriftOutcome.HEALED, healed_at=3.5)]
    assert await store.drift(open_only=True) == [two]
    assert [d.id for d in await store.drift(APP)] == [one.id]
    assert await store.drift(APP, open_only=True) == []


async def test_approvals_can_be_revoked_and_go_with_their_application(store: Store) -> None:
    await store.approve(Approval(APP, "p1", "anna", 1.0), AuditNote("anna", "approve", str(APP), "p1"))
    await store.approve(Approval(OTHER, "p2", "ben", 2.0))
    assert {a.plan_hash for a in await store.approvals()} == {"p1", "p2"}
    await store.revoke(APP, ["p1"])
    await store.drop_app(OTHER)
    assert await store.approvals() == []


async def test_events_are_newest_first(store: Store) -> None:
    await store.add_event(APP, 1.0, "sync", "started")
    await store.add_event(OTHER, 2.0, "drift", "replicas 3 → 5", "Deployment shop/web")
    assert [(e.app, e.kind, e.object) for e in await store.events()] == [
        (str(OTHER), "drift", "Deployment shop/web"),
        (str(APP), "sync", ""),
    ]
    assert [e.message for e in await store.events(APP)] == ["started"]
    assert len(await store.events(limit=1)) == 1


async def test_hooks_that_ran_are_remembered(store: Store) -> None:
    assert not await store.ran("k")
    await store.record_run("k", "Succeeded")
    assert await store.ran("k")
    assert await store.run_result("k") == "Succeeded"


async def test_two_thousand_applications_come_back_whole(store: Store) -> None:
    keys = [AppKey("prod", "bench", f"app-{n}") for n in range(2000)]
    kinds = ("Deployment", "Service", "ConfigMap", "Ingress")

    def items(key: AppKey) -> list[InventoryItem]:
        return [InventoryItem(ObjectRef("local", "", kind, "bench", key.name), "v1", uid=key.name) for kind in kinds]

    await asyncio.gather(*(store.put_items(key, items(key)) for key in keys))
    await asyncio.gather(*(store.put_app(AppRecord(key=str(key), spec=b"{}")) for key in keys))
    found = await store.inventories()
    assert found.keys() == set(keys)
    assert all(list(found[key].values()) == sorted(items(key), key=lambda i: i.ref) for key in keys)
    assert len(await store.apps()) == 2000


async def test_nothing_of_a_secret_is_readable_on_disk(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "taut.db")
    await store.put_app(AppRecord(key=str(APP), spec=SECRET_TEXT, closure=SECRET_TEXT))
    await store.begin(operation(), [step(1, WEB)], {1: SECRET_TEXT}, [])
    store.blob_put(SECRET_TEXT.decode(), SECRET_TEXT * 3)
    assert store.blob_get(SECRET_TEXT.decode()) == SECRET_TEXT * 3
    while_open = [p.read_bytes() for p in tmp_path.iterdir()]
    await store.close()
    assert not any(SECRET_TEXT in data for data in while_open + [p.read_bytes() for p in tmp_path.iterdir()])
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


async def test_macs_tell_equality_by_key(tmp_path: Path) -> None:
    one, two = Store.open(tmp_path / "a.db"), Store.open(tmp_path / "b.db")
    assert one.mac(b"x") == one.mac(b"x") != one.mac(b"y")
    assert one.mac(b"x") != two.mac(b"x")
    await one.close()
    await two.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "taut.db")
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.apps()
    assert store.blob_get("x") is None


async def test_a_secret_is_kept_sealed(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "taut.db")
    assert await store.kept_secret("key") is None
    await store.keep_secret("key", SECRET_TEXT)
    await store.keep_secret("other", b"\x00\xff")
    await store.close()
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert SECRET_TEXT not in kept
    store = Store.open(tmp_path / "taut.db")
    assert await store.kept_secret("key") == SECRET_TEXT
    assert await store.kept_secret("other") == b"\x00\xff"
    moved = await store.noted("secret key")
    await store.note("secret other", moved)
    with pytest.raises(StoreError):
        await store.kept_secret("other")
    await store.keep_secret("key", None)
    assert await store.kept_secret("key") is None
    await store.close()
