"""Five heals of one field within ten minutes, also over a restart and with a clock that was set."""

from __future__ import annotations

from taut.controller.contention import HEALS, WINDOW, Contention
from taut.model.refs import ObjectRef

A = ObjectRef("c", "", "ConfigMap", "ns", "a")
B = ObjectRef("c", "", "ConfigMap", "ns", "b")


def test_five_heals_of_one_field_within_the_window() -> None:
    seen = Contention()
    assert [seen.healed(A, "data.x", 100.0 * n) for n in range(HEALS)] == [False] * (HEALS - 1) + [True]
    assert seen.left(A, "data.x", 400.0) == WINDOW
    assert seen.left(A, "data.y", 400.0) == seen.left(B, "data.x", 400.0) == 0
    assert seen.all_left(401.0, [(A, "data.x")]) == {A: WINDOW - 1}
    assert bool(seen)
    assert seen.all_left(400.0 + WINDOW, []) == {}
    assert not seen


def test_heals_of_several_fields_or_long_ago_do_not_count_together() -> None:
    seen = Contention()
    assert not any(seen.healed(A, f"data.{n}", float(n)) for n in range(HEALS))
    assert not any(seen.healed(B, "data.x", WINDOW * n) for n in range(HEALS))


def test_a_restart_recalls_what_was_counted() -> None:
    seen = Contention()
    seen.recall([(A, "data.x", 50.0)] * (HEALS - 1), now=1000.0)
    assert not seen
    assert seen.healed(A, "data.x", 1001.0)
    again = Contention()
    again.recall([(A, "data.x", 50.0)] * HEALS, now=1000.0)
    assert again.left(A, "data.x", 1000.0) == WINDOW - 50


def test_heals_that_seem_to_lie_ahead_happened_before_the_clock_was_set_back() -> None:
    seen = Contention()
    seen.recall([(A, "data.x", -3600.0)] * HEALS, now=1000.0)
    assert seen.left(A, "data.x", 1000.0) == WINDOW


def test_an_object_is_left_alone_only_while_nothing_else_of_it_drifts() -> None:
    seen = Contention()
    for n in range(HEALS):
        seen.healed(A, "data.x", float(n))
    assert seen.all_left(10.0, []) == seen.all_left(10.0, [(A, "data.x"), (B, "data.x")]) == {A: WINDOW - 6}
    assert seen.all_left(10.0, [(A, "data.x"), (A, "data.y")]) == {}, "an apply writes the whole object"
    assert seen.left(A, "data.x", 10.0) == WINDOW - 6
