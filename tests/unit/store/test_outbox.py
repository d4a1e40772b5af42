"""The outbox: in order, sealed, once, bounded; with what it tells of or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import StoreError
from taut.model.operation import Operation, OperationKind, OperationState
from taut.model.refs import AppKey, ObjectRef
from taut.store.outbox import Post
from taut.store.rotation import rotate_key
from taut.store.store import Store

APP = AppKey("root", "", "web")
RECORD = DriftRecord(
    id=0,
    app=APP,
    ref=ObjectRef("local", "", "ConfigMap", "shop", "cm"),
    path="data.a",
    desired="1",
    found="9",
    who="kubectl",
    operation="Update",
    changed_at=1.0,
    noticed_at=2.0,
    outcome=DriftOutcome.OPEN,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "taut.db")
    yield opened
    await opened.close()


def posts(*names: str, key: str = "ops", channel: str = "alert", worth: int = 1) -> list[Post]:
    return [Post(channel, key, name, f"payload of {name}".encode(), worth=worth) for name in names]


async def names(store: Store, channel: str = "alert") -> list[str]:
    return [w.name for w in await store.waiting(channel)]


async def test_of_each_key_the_oldest_is_next(store: Store) -> None:
    await store.post([*posts("a1", "a2"), *posts("b1", key="pager"), *posts("x", channel="commit-status")])
    heads = await store.outbox_heads("alert")
    assert [(h.key, h.name, h.payload) for h in heads] == [
        ("ops", "a1", b"payload of a1"),
        ("pager", "b1", b"payload of b1"),
    ]
    await store.put_off(heads[0].id, 1e12, "it does not answer")
    again = await store.outbox_heads("alert")
    assert [(h.name, h.tries, h.said) for h in again] == [("a1", 1, "it does not answer"), ("b1", 0, "")]
    await store.sent([heads[0].id])
    assert [h.name for h in await store.outbox_heads("alert")] == ["a2", "b1"]
    assert await store.outbox_counts() == {"alert": 2, "commit-status": 1}


async def test_a_message_that_is_written_twice_is_there_once(store: Store) -> None:
    await store.post(posts("a1"))
    await store.post(posts("a1", "a2"))
    assert await names(store) == ["a1", "a2"]


async def test_what_is_too_much_goes_ends_first_then_the_oldest(store: Store) -> None:
    await store.post([*posts("a1"), *posts("end1", worth=0), *posts("a2", "a3"), *posts("end2", worth=0)])
    await store.post(posts("other", channel="commit-status"))
    assert await store.trim_outbox("alert", 3) == 2
    assert await names(store) == ["a1", "a2", "a3"]
    assert await store.trim_outbox("alert", 2) == 1
    assert await names(store) == ["a2", "a3"]
    assert await store.trim_outbox("alert", 2) == 0
    assert await names(store, "commit-status") == ["other"]


async def test_nothing_of_it_is_in_the_file_as_it_is(store: Store, tmp_path: Path) -> None:
    await store.post(posts("a1"), {"k1": b"an open alert"})
    await store.close()
    everything = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.is_file())
    assert b"payload of" not in everything
    assert b"an open alert" not in everything


async def test_it_outlives_a_restart_and_another_key(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    store = Store.open(path)
    await store.post(posts("a1", "a2"), {"k1": b"one", "k2": b"two"})
    await store.close()
    assert rotate_key(path, by="ada") is True
    store = Store.open(path)
    assert [w.payload for w in await store.waiting("alert")] == [b"payload of a1", b"payload of a2"]
    assert await store.open_alerts() == {"k1": b"one", "k2": b"two"}
    await store.close()


async def test_drift_and_what_is_told_of_it_are_there_together_or_not_at_all(store: Store) -> None:
    def broken(_: Sequence[DriftRecord]) -> list[Post]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.add_drift([RECORD], broken)
    assert await store.drift() == []
    [added] = await store.add_drift([RECORD], lambda found: posts(*(f"found {r.id}" for r in found)))
    assert await names(store) == [f"found {added.id}"]
    await store.settle_drift([added.id], DriftOutcome.REVERTED, 3.0, "", posts("settled"))
    assert await names(store) == [f"found {added.id}", "settled"]


async def test_one_step_of_many_parts(store: Store) -> None:
    await store.post(posts("drift", channel="drift"), {"k1": b"one"})
    [drift] = await store.waiting("drift")
    await store.post(posts("notice"), {"k1": None, "k2": b"two"}, done=[drift.id])
    assert await names(store, "drift") == []
    assert await names(store) == ["notice"]
    assert await store.open_alerts() == {"k2": b"two"}
    [queued] = await store.queued(["alert", "drift"])
    assert (queued.channel, queued.key, queued.name, queued.tries) == ("alert", "ops", "notice", 0)


async def test_an_operation_and_what_is_told_of_it_are_there_together_or_not_at_all(store: Store) -> None:
    operation = Operation(0, APP, OperationKind.SYNC, OperationState.RUNNING, "r", "p", 1.0, 2.0, "test")
    number = await store.begin(operation, [], {}, [], posts=posts("begun", channel="commit-status"))
    with pytest.raises(StoreError):
        await store.begin(operation, [], {}, [], posts=posts("second", channel="commit-status"))
    assert await names(store, "commit-status") == ["begun"]
    ended = dataclasses.replace(operation, id=number, state=OperationState.SUCCEEDED)
    await store.finish(ended, None, None, posts=posts("ended", channel="commit-status"))
    assert await names(store, "commit-status") == ["begun", "ended"]
