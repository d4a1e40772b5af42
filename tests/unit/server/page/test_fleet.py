"""Groups, order, counts and pages of the fleet."""

from __future__ import annotations

import time

import pytest

from support import shop
from support.memory_backend import WEB, status
from taut.model.health import HealthStatus
from taut.model.shown import Shown
from taut.server.page.facts import Facts, facts_of
from taut.server.page.fleet import Board, Wish, board, read_cursor, write_cursor
from taut.server.page.fleet_page import addressed, read_wish, strip, tiles, whole_counts
from taut.server.page.query import read_query
from taut.server.page.rope import MARKS, rope_of
from taut.server.page.rows import Rows, row
from taut.server.page.sentences import fleet_lede, row_sentence
from taut.server.page.times import moment

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def fleet() -> list[Facts]:
    return [facts_of(s) for s in shop.statuses(NOW).values()]


def look(fleet: list[Facts], query: str = "", **wish: str) -> Board:
    return board(fleet, Wish(read_query(query), **wish), NOW)


def names(found: Board) -> list[str]:
    return [f.status.key for group in found.groups for f in group.rows]


def test_what_needs_someone_comes_first_and_the_worst_before_it(fleet: list[Facts]) -> None:
    found = look(fleet)
    assert [(g.title, g.total, g.urgent) for g in found.groups] == [
        ("Needs someone", 10, 10),
        ("Under way", 3, 0),
        ("Quiet", 29, 0),
    ]
    ranks = [f.shown.rank for g in found.groups[:1] for f in g.rows]
    assert ranks == sorted(ranks)
    assert found.known == found.total == len(shop.TOLD)


def test_counts_are_of_everything_that_is_asked_for_whatever_state(fleet: list[Facts]) -> None:
    found = look(fleet, "project:storefront state:degraded")
    assert found.total == 1
    assert found.counts[Shown.DEGRADED] == 1
    assert found.counts[Shown.HEALTHY] == sum(
        1 for f in fleet if f.status.project == "storefront" and f.shown is Shown.HEALTHY
    )
    assert set(found.counts) == set(Shown)


@pytest.mark.parametrize("group", ["attention", "project", "cluster", "environment", "none", "label:team", "label:no"])
@pytest.mark.parametrize("sort", ["worst", "name", "changed"])
def test_pages_hold_everything_once_in_every_order(fleet: list[Facts], group: str, sort: str) -> None:
    whole = names(look(fleet, group=group, sort=sort))
    assert sorted(whole) == sorted(f.status.key for f in fleet)
    seen: list[str] = []
    cursor = ""
    while True:
        wish = Wish(read_query(""), group=group, sort=sort, after=read_cursor(cursor))
        found = board(fleet, wish, NOW, page=5)
        assert found.first == len(seen) + 1
        seen += names(found)
        assert all(g.total >= len(g.rows) for g in found.groups)
        cursor = found.next
        if not cursor:
            break
    assert seen == whole


def test_a_page_goes_on_where_the_one_before_ended_although_its_last_row_went(fleet: list[Facts]) -> None:
    first = board(fleet, Wish(read_query(""), sort="name"), NOW, page=5)
    last = names(first)[-1]
    rest = [f for f in fleet if f.status.key != last]
    second = board(rest, Wish(read_query(""), sort="name", after=read_cursor(first.next)), NOW, page=5)
    assert names(second) == names(board(fleet, Wish(read_query(""), sort="name"), NOW))[5:10]


@pytest.mark.parametrize("text", ["", "%%%", "bm90IGpzb24", "WzEsW11d", write_cursor(("a", 1, "b"))])
def test_a_cursor_that_is_none_is_the_beginning(fleet: list[Facts], text: str) -> None:
    found = board(fleet, Wish(read_query(""), after=read_cursor(text)), NOW)
    assert found.first == 1


def test_an_address_says_what_is_asked_for() -> None:
    asked = {"q": "web", "group": "label:team", "sort": "name", "as": "tiles"}
    assert addressed(read_wish(asked)) == asked
    assert addressed(read_wish({"group": "moon", "sort": "never"})) == {"q": "", "group": "", "sort": "", "as": ""}


def test_the_strip_shows_every_state_and_fills_the_line(fleet: list[Facts]) -> None:
    pieces = strip(whole_counts(fleet))
    assert len(pieces) == 9
    assert pieces[-1]["x"] + pieces[-1]["width"] <= 1000
    assert all(p["width"] >= 1 for p in strip({**dict.fromkeys(Shown, 0), Shown.FAILED: 1, Shown.HEALTHY: 100_000}))
    assert strip(dict.fromkeys(Shown, 0)) == []


def test_many_quiet_tiles_become_marks() -> None:
    many = [facts_of(s) for s in shop.many(400, NOW).values()]
    [group] = board(many, Wish(read_query(""), group="none", tiles=True), NOW).groups
    parts = tiles(group)
    assert len(parts.dots) + len(parts.loud) == 400
    assert not parts.quiet
    assert all(t.say for t in parts.loud)


def test_ropes_and_marks_differ_in_shape_and_word(fleet: list[Facts]) -> None:
    assert len({m.symbol for m in MARKS.values()}) == len({m.word for m in MARKS.values()}) == len(Shown)
    ropes = {rope_of(f.status).symbol for f in fleet}
    assert ropes == {"r-taut", "r-slack", "r-ahead", "r-knot", "r-broken", "r-unseen"}


def test_the_fleet_in_a_sentence(fleet: list[Facts]) -> None:
    bold, rest = fleet_lede(whole_counts(fleet))
    assert bold == "10 of 42 applications need someone:"
    assert rest.startswith(
        "one failed, three are degraded, three wait for a decision, two drifted and one is out of sight."
    )
    assert fleet_lede({**dict.fromkeys(Shown, 0), Shown.HEALTHY: 1})[0] == "Nothing needs anyone: 1 application."
    assert fleet_lede({**dict.fromkeys(Shown, 0), Shown.HELD: 1})[0] == "1 of 1 application needs someone:"


def test_a_row_says_one_thing(fleet: list[Facts]) -> None:
    said = {f.status.name: row_sentence(f) for f in fleet}
    assert said["ledger"] == "Quota of 24 Pods in namespace ledger is used up"
    assert said["cart"].startswith("18 objects") or said["cart"].startswith("spec.replicas")
    assert all(0 < len(text) <= 110 and not text.endswith(".") for text in said.values())


def test_a_large_fleet_is_the_same_page() -> None:
    many = [facts_of(s) for s in shop.many(5000, time.time()).values()]
    found = board(many, Wish(read_query("")), time.time())
    assert found.known == 5000
    assert found.shown == 200
    assert sum(g.total for g in found.groups) <= 5000


def test_a_row_shows_what_strangers_wrote_and_runs_none_of_it() -> None:
    evil = '"><script>alert(1)</script>'
    made = status(
        WEB._replace(name=evil),
        project=evil,
        cluster=evil,
        message=evil,
        health=HealthStatus.DEGRADED,
        commit_message=evil,
        desired_revision=evil,
        labels={"env": evil},
        last_sync=evil,
    )
    html = str(row(facts_of(made), moment(made.last_sync, NOW)))
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5
    rows = Rows()
    facts = facts_of(made)
    assert rows.html(facts, NOW) is rows.html(facts, NOW)
    assert rows.html(facts_of(status(WEB)), NOW) != rows.html(facts_of(status(WEB, drift=1)), NOW)
