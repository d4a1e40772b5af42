"""The verdicts of `make bench-targets`: what is met, what is missed, what was not measured."""

from __future__ import annotations

import copy
from typing import Any

from bench.chart import growth
from bench.report import comparison, table
from bench.targets import table as verdict_table
from bench.targets import verdicts

GOOD: dict[str, dict[str, float]] = {
    "floor": {"seconds": 16.0, "cpu": 7.2},
    "cold": {"seconds": 20.0, "cpu": 14.0, "peak": 250.0},
    "rest": {"seconds": 60.0, "cpu": 0.05, "requests": 0.0},
    "commit": {"seconds": 0.2, "cpu": 0.1, "requests": 2.0, "writes": 1.0},
    "commit, first": {"seconds": 0.25, "cpu": 0.12, "requests": 2.0, "writes": 1.0},
    "drift": {"seconds": 0.1, "records": 5.0},
    "memory": {"resident": 120.0},
    "restart": {"seconds": 3.0, "renders": 0.0, "writes": 0.0},
}


def result(kind: str, count: int, **changed: dict[str, float]) -> dict[str, Any]:
    scenarios = copy.deepcopy(GOOD)
    for scenario, numbers in changed.items():
        scenarios[scenario] |= numbers
    return {"kind": kind, "applications": count, "objects": 4 * count, "scenarios": scenarios}


def everything() -> list[dict[str, Any]]:
    return [*(result("kustomize", n) for n in (100, 500, 1000, 2000)), result("helm", 2000)]


def missed(results: list[dict[str, Any]]) -> set[str]:
    return {v.what for v in verdicts(results) if not v.met}


def test_everything_is_met() -> None:
    assert missed(everything()) == set()
    assert all("met" in line for line in verdict_table(verdicts(everything()))[2:])


def test_each_figure_can_miss_its_target() -> None:
    for scenario, name, value, what in (
        ("cold", "seconds", 23.0, "cold sync, 500: time"),
        ("cold", "cpu", 15.0, "cold sync, 500: CPU"),
        ("commit", "seconds", 0.31, "one commit, 500: live after"),
        ("commit", "cpu", 0.16, "one commit, 500: CPU"),
        ("commit", "requests", 9.0, "one commit, 500: requests"),
        ("commit", "writes", 2.0, "one commit, 500: writes"),
        ("rest", "cpu", 0.11, "60 s at rest, 500: CPU"),
        ("rest", "requests", 1.0, "60 s at rest, 500: requests"),
        ("drift", "seconds", 0.21, "a change by hand, 500: healed after"),
        ("drift", "records", 4.0, "a change by hand, 500: records missing"),
        ("memory", "resident", 131.0, "memory at rest, 500"),
    ):
        results = everything()
        results[1] = result("kustomize", 500, **{scenario: {name: value}})
        found = missed(results)
        assert len(found) == 1, found
        assert found.pop().startswith(what)


def test_the_largest_size_has_targets_of_its_own() -> None:
    for scenario, name, value in (
        ("restart", "seconds", 4.1),
        ("restart", "renders", 1.0),
        ("restart", "writes", 1.0),
        ("memory", "resident", 251.0),
    ):
        results = everything()
        results[3] = result("kustomize", 2000, **{scenario: {name: value}})
        assert len(missed(results)) == 1
    results = everything()
    results[4] = result("helm", 2000, cold={"peak": 301.0})
    assert missed(results) == {"memory at its peak, 2,000 of the Helm set"}


def test_growth_is_held_between_the_smallest_and_the_largest() -> None:
    results = everything()
    results[0] = result("kustomize", 100, commit={"seconds": 0.1})
    assert missed(results) == {"one commit: latency at 2,000, as a multiple of that at 100"}


def test_a_slower_machine_has_more_time_but_not_more_requests() -> None:
    slow = {"floor": {"seconds": 32.0, "cpu": 14.4}, "cold": {"seconds": 44.0, "cpu": 28.0}}
    results = everything()
    results[1] = result("kustomize", 500, **slow, commit={"seconds": 0.5, "cpu": 0.29}, drift={"seconds": 0.39})
    assert missed(results) == set()
    results[1] = result("kustomize", 500, **slow, commit={"requests": 9.0})
    assert missed(results) == {"one commit, 500: requests"}


def test_what_was_not_measured_is_not_met() -> None:
    assert {v.what for v in verdicts([])} == missed([]) != set()
    assert "memory at rest, 2,000" in missed([result("kustomize", 500)])


def test_a_table_has_a_column_a_size_and_tells_the_growth() -> None:
    head, _, first, *_ = table([result("kustomize", 2000), result("kustomize", 100)])
    assert [c.strip() for c in head.split("|")[1:-1]] == [
        "kustomize",
        "100 applications",
        "2,000 applications",
        "2,000 / 100",
    ]
    assert [c.strip() for c in first.split("|")[1:-1]] == ["floor: time", "16.0 s", "16.0 s", "1.00"]


def test_two_results_side_by_side() -> None:
    lines = comparison([result("kustomize", 100)], [result("kustomize", 100, commit={"cpu": 0.2}), result("helm", 100)])
    [cpu] = [line for line in lines if "one commit: CPU" in line]
    assert [c.strip() for c in cpu.split("|")[1:-1]] == ["kustomize 100: one commit: CPU", "0.10 s", "0.20 s", "2.00"]
    assert not any("helm" in line for line in lines)


def test_the_chart_has_a_point_for_each_size_and_figure() -> None:
    svg = growth(everything())
    assert svg.count("<circle") == 2 * 4
    assert ">2,000</text>" in svg
    assert growth([]).count("<circle") == 0


def test_a_short_rest_is_no_minute() -> None:
    results = everything()
    results[1] = result("kustomize", 500, rest={"seconds": 5.0})
    assert missed(results) == {"60 s at rest, 500: CPU", "60 s at rest, 500: requests"}
