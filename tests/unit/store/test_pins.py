"""Which revisions are kept for applications, and what nobody keeps any more."""

from __future__ import annotations

import sqlite3

import pytest

from taut.store.pins import Pin, add_pins, all_pins, drop_pins, newest_pins, pins_of
from taut.store.schema import MIGRATIONS

ONE, TWO = "https://git.example.com/one", "https://git.example.com/two"


@pytest.fixture
def store() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statements in MIGRATIONS:
        for statement in statements:
            connection.execute(statement)
    return connection


def add(store: sqlite3.Connection, app: str, at: float, *pins: Pin, limit: int = 2) -> list[Pin]:
    return add_pins(store, app, pins, at, limit)


def test_as_many_deployments_as_the_history_has(store: sqlite3.Connection) -> None:
    assert add(store, "web", 1, (ONE, "a")) == []
    assert add(store, "web", 2, (ONE, "b")) == []
    assert add(store, "web", 3, (ONE, "c")) == [(ONE, "a")]
    assert pins_of(store, "web") == [(ONE, "b"), (ONE, "c")]
    assert newest_pins(store) == {"web": {(ONE, "c")}}


def test_what_another_one_keeps_stays(store: sqlite3.Connection) -> None:
    add(store, "other", 1, (ONE, "a"))
    add(store, "web", 1, (ONE, "a"))
    add(store, "web", 2, (ONE, "b"))
    assert add(store, "web", 3, (ONE, "c")) == []
    assert all_pins(store) == {(ONE, "a"), (ONE, "b"), (ONE, "c")}
    assert drop_pins(store, "other") == [(ONE, "a")]
    assert set(drop_pins(store, "web")) == {(ONE, "b"), (ONE, "c")}


def test_one_deployment_may_have_several_revisions_of_one_repository(store: sqlite3.Connection) -> None:
    """Two sources at two refs of one repository: both are what is deployed, also with a history of one."""
    assert add(store, "web", 1, (ONE, "a"), (ONE, "b"), (TWO, "x"), limit=1) == []
    assert newest_pins(store) == {"web": {(ONE, "a"), (ONE, "b"), (TWO, "x")}}
    assert set(add(store, "web", 2, (ONE, "a"), (ONE, "c"), limit=1)) == {(ONE, "b"), (TWO, "x")}


def test_going_back_makes_a_revision_the_newest(store: sqlite3.Connection) -> None:
    add(store, "web", 1, (ONE, "a"))
    add(store, "web", 2, (ONE, "b"))
    add(store, "web", 3, (ONE, "a"))
    assert newest_pins(store) == {"web": {(ONE, "a")}}
    assert add(store, "web", 4, (ONE, "c")) == [(ONE, "b")]
