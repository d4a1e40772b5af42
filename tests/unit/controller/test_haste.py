from __future__ import annotations

from taut.controller.haste import PATIENCE, Haste


def overtaken(*moments: float) -> Haste:
    haste = Haste()
    for moment in moments:
        haste.ended(moment, since=moment - 1, overtaken=True)
    return haste


def test_as_a_rule_what_is_newer_takes_over_at_once() -> None:
    assert Haste().patience(100.0, 100.0) == 0
    assert overtaken(98.0, 99.0).patience(100.0, 100.0) == 0


def test_after_three_in_a_row_the_next_one_has_a_while() -> None:
    haste = overtaken(97.0, 98.0, 99.0)
    assert haste.patience(100.0, 100.0) == PATIENCE
    assert haste.patience(100.0, 105.0) == PATIENCE - 5
    assert haste.patience(100.0, 100.0 + PATIENCE) == 0, "a fix for what hangs does not wait for ever"


def test_commits_now_and_then_are_no_haste() -> None:
    assert overtaken(0.0, 50.0, 99.0).patience(100.0, 100.0) == 0


def test_one_that_was_carried_through_begins_the_count_anew() -> None:
    haste = overtaken(97.0, 98.0, 99.0)
    haste.ended(100.0, since=99.0, overtaken=False)
    assert haste.patience(101.0, 101.0) == 0


def test_one_whose_while_was_too_short_makes_the_next_one_longer() -> None:
    """A wave that takes half a minute is reached in the end, however often Git changes."""
    haste, now = overtaken(97.0, 98.0, 99.0), 100.0
    for while_ in (PATIENCE, 2 * PATIENCE, 4 * PATIENCE):
        assert haste.patience(now, now) == while_
        haste.ended(now + while_, since=now, overtaken=True)
        now += while_ + 1
    haste.ended(now + 30, since=now, overtaken=False)
    assert haste.patience(now + 31, now + 31) == 0
