"""Times as people read them."""

from __future__ import annotations

import pytest

from taut.model.times import unix_seconds
from taut.server.page.times import day, moment, span

NOW = unix_seconds("2026-01-02T03:04:05Z")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (1.42, "1.4 s"), (42, "42 s"), (60, "1 min"), (3599, "59 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_spans(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_a_moment_is_relative_and_exact() -> None:
    found = moment("2026-01-02T02:53:05Z", NOW)
    assert (found.ago, found.exact) == ("11 min", "2 Jan 2026, 02:53:05 UTC")
    assert moment("", NOW).iso == moment("yesterday", NOW).iso == ""
    assert moment("2026-01-02T03:05:05Z", NOW).ago == "0 s"


def test_days() -> None:
    assert [day(NOW - n * 86400, NOW) for n in (0, 1, 2)] == ["Today", "Yesterday", "31 Dec 2025"]
