"""The page of attacks says what is tested."""

from __future__ import annotations

from hostile.table import PAGE, text


def test_the_page_is_the_corpus() -> None:
    assert PAGE.read_text() == text(), "run `make docs`"
