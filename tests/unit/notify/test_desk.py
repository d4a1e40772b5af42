"""The desk on a real store: from news to messages, through restarts, bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from taut.dialects.alerts import AlertBook
from taut.model.alerts import Trigger
from taut.model.errors import StoreError
from taut.model.status import AppStatus, HeldFor, SyncStatus
from taut.notify.addressed import decoded
from taut.notify.courier import CHANNEL
from taut.notify.desk import DRIFT, Desk, drift_posts
from taut.notify.facts import Fact
from taut.notify.messages import Message
from taut.store.store import Store
from unit.notify.facts_of import NOW, book, drift, healed, rule, status

HELD = status(sync=SyncStatus.OUT_OF_SYNC, held_for=(HeldFor("deletes-data", "deletes a claim"),))


class Time:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "taut.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Time:
    return Time()


async def desk(
    store: Store,
    clock: Time,
    known: AlertBook,
    *,
    grace: float = 0.0,
    apps: Sequence[str] | None = None,
    most: int = 100,
) -> Desk:
    """A desk as after a start."""
    made = Desk(
        store,
        lambda: known,
        lambda _: (),
        lambda key: apps is None or key in apps,
        clock=clock,
        grace=grace,
        most=most,
    )
    await made.load()
    return made


async def messages(store: Store) -> list[Message]:
    return [decoded(w.payload) for w in await store.waiting(CHANNEL)]


def states(found: Sequence[Message]) -> list[list[tuple[str, str]]]:
    return [[(n.phase.value, n.fact.field or n.fact.trigger.value) for n in m.notices] for m in found]


async def noticed(store: Store, **facts: Fact) -> None:
    """As whoever stores drift writes it."""
    await store.post(drift_posts(facts))


async def test_what_happens_within_a_window_is_one_message(store: Store, clock: Time) -> None:
    made = await desk(store, clock, book(rule(Trigger.DRIFT_FOUND, Trigger.HELD, group="30s")))
    await noticed(store, a=drift(), b=drift("spec.paused"))
    assert await made.round() == pytest.approx(30, abs=1)
    made.hear(HELD)
    clock.now += 20
    await noticed(store, c=healed())
    await made.round()
    assert await messages(store) == []
    clock.now += 10
    assert await made.round() is None
    found = await messages(store)
    assert states(found) == [
        [("firing", "spec.replicas"), ("firing", "spec.paused"), ("resolved", "spec.replicas"), ("firing", "held")]
    ]
    assert found[0].title == "shop/web: 3 alerts"


async def test_after_a_restart_it_goes_on_where_it_was(store: Store, clock: Time) -> None:
    rules = book(rule(Trigger.HELD, Trigger.DRIFT_FOUND, group="30s"))
    first = await desk(store, clock, rules)
    first.hear(HELD)
    await noticed(store, a=drift())
    await first.round()
    second = await desk(store, clock, rules)
    second.hear(HELD)
    clock.now += 40
    await second.round()
    assert states(await messages(store)) == [[("firing", "spec.replicas"), ("firing", "held")]]
    third = await desk(store, clock, rules)
    third.hear(status())
    await noticed(store, b=healed())
    clock.now += 1
    await third.round()
    clock.now += 40
    await third.round()
    assert states(await messages(store))[1:] == [[("resolved", "spec.replicas"), ("resolved", "held")]]
    assert await store.open_alerts() == {}


async def test_the_same_drift_is_told_once_however_often_it_is_read(store: Store, clock: Time) -> None:
    made = await desk(store, clock, book(rule(Trigger.DRIFT_FOUND, group="0s")))
    await noticed(store, a=drift())
    await made.round()
    await noticed(store, again=drift())
    await made.round()
    assert len(await messages(store)) == 1


async def test_in_the_first_minute_nothing_is_over(store: Store, clock: Time) -> None:
    rules = book(rule(Trigger.HELD, group="0s"))
    first = await desk(store, clock, rules)
    first.hear(HELD)
    await first.round()
    second = await desk(store, clock, rules, grace=60.0)
    second.hear(status())
    clock.now += 10
    assert await second.round() == pytest.approx(50, abs=1)
    assert states(await messages(store)) == [[("firing", "held")]]
    clock.now += 51
    await second.round()
    assert states(await messages(store))[1:] == [[("resolved", "held")]]


async def test_of_an_application_that_went_while_taut_was_away_the_end_is_told(store: Store, clock: Time) -> None:
    rules = book(rule(Trigger.HELD, group="0s"))
    first = await desk(store, clock, rules)
    first.hear(HELD)
    await first.round()
    second = await desk(store, clock, rules, grace=60.0, apps=())
    clock.now += 61
    await second.round()
    [_, end] = await messages(store)
    assert states([end]) == [[("resolved", "held")]]
    assert "The application is no more." in end.text


async def test_when_the_store_cannot_be_written_nothing_is_lost(
    store: Store, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await desk(store, clock, book(rule(Trigger.HELD, group="0s")))

    async def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    made.hear(HELD)
    with monkeypatch.context() as patch:
        patch.setattr(store, "post", full)
        with pytest.raises(StoreError):
            await made.round()
    assert made.open_alerts() == []
    await made.round()
    assert states(await messages(store)) == [[("firing", "held")]]


async def test_too_many_messages_are_let_go_of_and_it_says_so(
    store: Store, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    made = await desk(store, clock, book(rule(Trigger.HELD, group="0s")), most=3)

    def app(number: int, like: AppStatus) -> AppStatus:
        return msgspec.structs.replace(like, key=f"fleet/shop/a{number}", name=f"a{number}")

    for number in range(3):
        made.hear(app(number, HELD))
        await made.round()
        clock.now += 1
    made.hear(app(0, status()))
    await made.round()
    assert [m.ended for m in await messages(store)] == [False] * 3, "the end went first"
    made.hear(app(3, HELD))
    clock.now += 1
    await made.round()
    assert [m.notices[0].fact.about.name for m in await messages(store)] == ["a1", "a2", "a3"]
    assert made.dropped == 2
    assert "alerts were let go of: more than 3 wait" in caplog.text


async def test_what_an_older_taut_wrote_and_cannot_be_read_is_passed_over(store: Store, clock: Time) -> None:
    from taut.store.outbox import Post

    await store.post([Post(DRIFT, "k", "old", b'{"x": 1}')], {"key": b'{"x": 1}'})
    made = await desk(store, clock, book(rule(Trigger.HELD)))
    await made.round()
    assert await store.outbox_counts() == {}
