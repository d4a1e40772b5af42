"""The order of events, and what is news."""

from __future__ import annotations

from dataclasses import replace

import pytest

from taut.model.live import LiveObject
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.memory import Event, Memory
from taut.targets.kubernetes.projection import Foreign

KIND = KindRef("", "ConfigMap")
REF = ObjectRef("local", "", "ConfigMap", "shop", "web")


def live(version: int, *, uid: str = "u1", hash: str = "h", owner: str = "root/app|x") -> LiveObject:
    return LiveObject(REF, "v1", uid, str(version), owned_hash=hash, owner=owner)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def memory(told: list[Event]) -> Memory:
    made = Memory("local", told.append)
    made.open(KIND, "v1")
    return made


def test_only_the_resource_version_is_no_news(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, live(1))
    memory.observe(REF, live(2))
    assert len(told) == 1
    assert memory.get(REF) == live(2)
    memory.observe(REF, live(3, hash="other"))
    assert told[1] == Event(REF, live(2), live(3, hash="other"))


def test_what_is_older_never_replaces_what_is_newer(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, live(10))
    memory.observe(REF, live(9, hash="old"))
    assert memory.get(REF) == live(10)
    assert len(told) == 1


def test_ten_is_later_than_nine(memory: Memory) -> None:
    memory.observe(REF, live(9))
    memory.observe(REF, live(10, hash="new"))
    assert memory.get(REF) == live(10, hash="new")


@pytest.mark.parametrize("answer_first", [True, False])
def test_an_own_write_is_no_news_whichever_comes_first(memory: Memory, told: list[Event], answer_first: bool) -> None:
    memory.observe(REF, live(1), quiet=True)
    with memory.writing(REF) as answered:
        if not answer_first:
            memory.observe(REF, live(2, hash="mine"))
        answered(live(2, hash="mine"))
    if answer_first:
        memory.observe(REF, live(2, hash="mine"))
    assert told == []
    assert memory.get(REF) == live(2, hash="mine")


def test_what_somebody_else_did_during_a_write_is_news(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, live(1), quiet=True)
    with memory.writing(REF) as answered:
        memory.observe(REF, live(2, hash="mine"))
        memory.observe(REF, live(3, hash="theirs"))
        answered(live(2, hash="mine"))
    assert told == [Event(REF, live(2, hash="mine"), live(3, hash="theirs"))]


def test_a_deletion_during_a_write_is_news_and_leaves_no_ghost(memory: Memory, told: list[Event]) -> None:
    with memory.writing(REF) as answered:
        memory.observe(REF, live(2))
        memory.remove(REF, "u1")
        answered(live(2))
    assert memory.get(REF) is None
    assert told == [Event(REF, live(2), None)]


def test_a_write_that_failed_hides_nothing(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, live(1), quiet=True)

    def fail() -> None:
        with memory.writing(REF):
            memory.observe(REF, live(2, hash="theirs"))
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert told == [Event(REF, live(1), live(2, hash="theirs"))]


def test_two_writes_at_once_end_as_one(memory: Memory, told: list[Event]) -> None:
    with memory.writing(REF) as first, memory.writing(REF) as second:
        memory.observe(REF, live(2, hash="a"))
        first(live(2, hash="a"))
        memory.observe(REF, live(3, hash="b"))
        second(live(3, hash="b"))
    assert told == []


def test_the_deletion_of_a_former_object_does_not_touch_its_successor(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, live(5, uid="u2"), quiet=True)
    memory.remove(REF, "u1")
    assert memory.get(REF) == live(5, uid="u2")
    assert told == []


def test_a_list_forgets_what_it_did_not_have_but_not_what_was_written_since(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, live(5), quiet=True)
    memory.sweep(KIND, "", set(), "4")
    assert memory.get(REF) == live(5)
    memory.sweep(KIND, "", {("shop", "web")}, "9")
    assert memory.get(REF) == live(5)
    memory.sweep(KIND, "other", set(), "9")
    assert memory.get(REF) == live(5)
    memory.sweep(KIND, "", set(), "9")
    assert memory.get(REF) is None
    assert told == [Event(REF, live(5), None)]


def test_applications_own_what_they_marked(memory: Memory) -> None:
    memory.observe(REF, live(1))
    assert [o.ref for o in memory.owned_by("root/app")] == [REF]
    assert list(memory.foreign("shop")) == []
    memory.observe(REF, live(2, owner="root/other|x"))
    assert memory.owned_by("root/app") == []
    assert [o.ref for o in memory.owned_by("root/other")] == [REF]
    memory.observe(REF, Foreign("u1"))
    assert memory.apps() == frozenset()
    assert [o.ref for o in memory.foreign("shop")] == [REF]
    memory.remove(REF, "u1")
    assert list(memory.foreign("shop")) == []


def test_foreign_objects_are_news_when_they_come_and_go(memory: Memory, told: list[Event]) -> None:
    memory.observe(REF, Foreign("u1", "owner"))
    memory.observe(REF, Foreign("u1", "owner"))
    memory.remove(REF, "u1")
    assert [(e.old is None, e.new is None) for e in told] == [(True, False), (False, True)]
    assert told[0].new == LiveObject(REF, "v1", "u1", "", owner_uids=("owner",))


def test_kinds_that_are_not_watched_are_not_remembered(memory: Memory, told: list[Event]) -> None:
    other = replace(live(1), ref=REF._replace(kind="Secret"))
    memory.observe(other.ref, other)
    with memory.writing(other.ref) as answered:
        answered(other)
    assert memory.get(other.ref) is None
    assert told == []


def test_a_listeners_mistake_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Event) -> None:
        raise ValueError("a mistake")

    memory = Memory("local", fail)
    memory.open(KIND, "v1")
    memory.observe(REF, live(1))
    assert memory.get(REF) == live(1)
    assert "a listener failed" in caplog.text
