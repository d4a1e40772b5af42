"""Drift in time and in words."""

from __future__ import annotations

import re

import pytest

from support.shop_backend import CART, METRICS, drifts, operation
from taut.server.page.cords import SPANS, blame, lanes, tell
from taut.server.page.waves import waves_of
from taut.server.page.wide_pages import drift_lede
from taut.server.views import DriftView

NOW = 1_790_000_000.0
RECORDS = [DriftView.of(r) for r in drifts(NOW)]


def test_what_is_open_comes_first_the_longest_before() -> None:
    found = lanes(RECORDS, NOW - 86400, NOW)
    assert [lane.app.rpartition("/")[2] for lane in found] == [
        "edge-gateway",
        "cart",
        "chat",
        "metrics",
        "billing",
        "catalog",
    ]
    assert [lane.end for lane in found[:2]] == ["1 d, still open", "3 h, still open"]
    assert found[3].end == "7 healed"
    assert [lane.open for lane in found] == [True, True, False, False, False, False]


@pytest.mark.parametrize("span", SPANS)
def test_cords_fill_the_line_and_stay_in_it(span: str) -> None:
    for lane in lanes(RECORDS, NOW - SPANS[span][1], NOW):
        x = 0.0
        for stretch in lane.cord:
            if stretch.kind == "fill":
                continue
            numbers = [float(n) for n in re.findall(r"[\d.]+", stretch.path)]
            assert numbers[0] == x
            x = numbers[-1] if stretch.kind == "straight" else numbers[-2]
            assert 0 <= x <= 1000
            assert all(n <= 1000 for n in numbers)
        assert x == 1000


def test_repeats_are_told_once_with_their_number() -> None:
    told = tell(RECORDS, NOW)
    [metrics] = [t for t in told if t.record.app == str(METRICS)]
    assert (metrics.times, metrics.who, metrics.before, metrics.after) == (
        7,
        "metrics-operator",
        "184 lines",
        "186 lines",
    )
    assert sum(t.times for t in told) == len(RECORDS)
    [cart] = [t for t in told if t.record.app == str(CART)]
    assert (cart.who, cart.how, cart.end, cart.lasted) == ("tlw", "with kubectl scale", "Left as it is", "3 h")


def test_a_secret_and_a_deletion_are_told_without_values() -> None:
    text = repr(tell(RECORDS, NOW))
    assert "hunter" not in text
    [gone] = [t for t in tell(RECORDS, NOW) if t.record.missing]
    assert (gone.verb, gone.after) == ("deleted", "gone")


def test_blame_counts_who_did_how_much() -> None:
    first, *rest = blame(RECORDS)
    assert (first.who, first.count, first.share) == ("metrics-operator", 7, 100)
    assert "ignore it, or own it in Git" in first.how
    assert {b.who: b.how for b in rest}["priya"] == "kubectl-scale and kubectl-edit"
    assert sum(b.count for b in (first, *rest)) == len(RECORDS)


def test_the_drift_in_a_sentence() -> None:
    told = tell(RECORDS, NOW)
    assert drift_lede(RECORDS, told, "24 hours")[0] == "2 applications differ from Git."
    assert drift_lede([], [], "24 hours") == ("Live is what Git says.", "")


def test_waves_of_an_operation() -> None:
    waves = waves_of(operation(NOW))
    assert [(w.title, w.state) for w in waves] == [
        ("Wave 0", "done"),
        ("Wave 1", "done"),
        ("Wave 2", "done"),
        ("Wave 3", "now"),
        ("Wave 4", "todo"),
    ]
    assert (len(waves[0].steps), waves[0].more) == (6, 1)
    assert waves[3].meta == "1 of 2 done"
