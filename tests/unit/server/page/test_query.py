"""What a query finds, and what it says of words that it does not know."""

from __future__ import annotations

import random
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.memory_backend import WEB, status
from taut.model.health import HealthStatus
from taut.model.status import HeldFor, SyncStatus
from taut.model.times import rfc3339, unix_seconds
from taut.server.page.facts import Facts, Remembered, environment_of, facts_of
from taut.server.page.query import read_query

NOW = unix_seconds("2026-01-02T04:04:05Z")


def facts(**changes: Any) -> Facts:
    made = {"project": "shop", "cluster": "prod-eu", "labels": {"team": "web", "env": "production"}, **changes}
    return facts_of(status(WEB, **made))


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("", {}),
        ("web", {}),
        ("WEB prod", {}),
        ('"crashes on start"', {"message": "The new Pod crashes on start"}),
        ("project:shop", {}),
        ("cluster:prod", {}),
        ("cluster:*-eu", {}),
        ("cluster:edge,prod-eu", {}),
        ("env:production", {}),
        ("app:prod/shop/web", {}),
        ("label:team=web", {}),
        ("label:team=ops,web", {}),
        ("label:team", {}),
        ("health:deg", {"health": HealthStatus.DEGRADED}),
        ("health:degraded,missing", {"health": HealthStatus.MISSING}),
        ("state:failed", {"operation": "Failed"}),
        ("is:held", {"held_for": (HeldFor("x", "y"),), "health": HealthStatus.DEGRADED}),
        ("is:suspended", {"suspended": True}),
        ("is:urgent", {"drift": 1}),
        ("-is:suspended", {}),
        ("-cluster:edge", {}),
        ("-nothing", {}),
        ("sync:behind", {"sync": SyncStatus.OUT_OF_SYNC}),
        ("drift:yes", {"drift": 2}),
        ("drift:2", {"drift": 2}),
        ("drift:>1h", {"drift": 1, "drift_since": rfc3339(NOW - 3700)}),
        ("drift:<1h", {"drift": 1, "drift_since": rfc3339(NOW - 60)}),
        ("deployed:<24h", {}),
        ("deployed:>30m", {}),
    ],
)
def test_a_query_finds(query: str, changes: dict[str, Any]) -> None:
    read = read_query(query)
    assert not read.slips
    assert read.matches(facts(**changes), NOW)


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("api", {}),
        ("web api", {}),
        ("cluster:eu", {}),
        ("project:shopping", {}),
        ("label:team=ops", {}),
        ("label:owner", {}),
        ("health:degraded", {}),
        ("is:held", {}),
        ("-is:suspended", {"suspended": True}),
        ("drift:>1h", {}),
        ("drift:>1h", {"drift": 1, "drift_since": rfc3339(NOW - 60)}),
        ("deployed:<30m", {}),
        ("deployed:<30m", {"last_sync": ""}),
    ],
)
def test_a_query_leaves_out(query: str, changes: dict[str, Any]) -> None:
    read = read_query(query)
    assert not read.slips
    assert not read.matches(facts(**changes), NOW)


@pytest.mark.parametrize(
    ("query", "word", "nearest"),
    [
        ("web helth:degraded", "helth:degraded", "health:degraded"),
        ("health:degradet web", "health:degradet", "health:degraded"),
        ("is:suspendet", "is:suspendet", "is:suspended"),
        ("drift:long", "drift:long", "drift:>1h"),
        ("deployed:3", "deployed:3", "deployed:<24h"),
        ("zzzzz:1", "zzzzz:1", ""),
    ],
)
def test_a_word_that_is_none_is_named_and_left_out(query: str, word: str, nearest: str) -> None:
    read = read_query(query)
    assert [(s.word, s.nearest) for s in read.slips] == [(word, nearest)]
    assert read.matches(facts(), NOW)


def test_a_word_can_be_exchanged() -> None:
    read = read_query("web state:failed cluster:prod")
    assert read.text_with("state:held", "state") == "web cluster:prod state:held"
    assert read.text_with("", "state") == "web cluster:prod"
    assert [t.key for t in read.without("state").terms] == ["", "cluster"]


@given(st.text(alphabet=string.printable + "äß→\u202e", max_size=80))
def test_anything_can_be_typed(text: str) -> None:
    read_query(text).matches(facts(), NOW)


def test_a_long_query_ends() -> None:
    noise = "".join(random.Random(1).choices('a:*"-<>= ', k=200_000))
    assert len(read_query(noise).text) <= 500


def test_the_environment_is_a_label_or_the_cluster() -> None:
    assert environment_of(status(WEB, labels={"env": "a", "environment": "b"})) == "b"
    assert environment_of(status(WEB, labels={"env": "a"})) == "a"
    assert environment_of(status(WEB, cluster="edge")) == "edge"


def test_facts_are_worked_out_once_for_each_status() -> None:
    remembered, first = Remembered(), status(WEB)
    assert remembered.one(first) is remembered.one(first)
    changed = msgspec.structs.replace(first, suspended=True)
    assert remembered.one(changed).shown == "Suspended"
