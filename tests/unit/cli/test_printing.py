"""Tables fit, and texts of others cannot play with the terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from taut.cli.printing import Column, table
from taut.model.visible import clean, one_line

COLUMNS = (
    Column("NAME", least=6),
    Column("STATE"),
    Column("WHEN", drop=2),
    Column("WHO", drop=1),
    Column("WHAT", least=8),
)
ROWS = [
    ["a-rather-long-name", "Failed", "3m", "anna", "the image does not exist in the registry"],
    ["b", "Healthy", "12d", "ben", ""],
]


def lines(width: int | None) -> list[str]:
    return [line.plain for line in table(COLUMNS, ROWS, width)]


def test_without_a_width_nothing_is_cut() -> None:
    assert lines(None) == [
        "NAME                STATE    WHEN  WHO   WHAT",
        "a-rather-long-name  Failed   3m    anna  the image does not exist in the registry",
        "b                   Healthy  12d   ben",
    ]


def test_the_message_is_cut_before_columns_go() -> None:
    assert lines(60) == [
        "NAME                STATE    WHEN  WHO   WHAT",
        "a-rather-long-name  Failed   3m    anna  the image does not…",
        "b                   Healthy  12d   ben",
    ]


def test_then_columns_go_and_names_are_cut() -> None:
    assert lines(26) == [
        "NAME     STATE    WHAT",
        "a-rath…  Failed   the ima…",
        "b        Healthy",
    ]


@pytest.mark.parametrize("width", range(16, 120, 5))
def test_lines_never_exceed_the_width(width: int) -> None:
    assert all(cell_len(line) <= width for line in lines(width))


def test_empty_columns_are_left_out_on_a_terminal_only() -> None:
    rows = [[name, state, "", who, what] for name, state, _, who, what in ROWS]
    assert "WHEN" in table(COLUMNS, rows, None)[0].plain
    assert "WHEN" not in table(COLUMNS, rows, 200)[0].plain


def test_wide_characters_are_measured() -> None:
    rows = [["名前が長い", "x", "", "", ""], ["b", "y", "", "", ""]]
    first, second = [line.plain for line in table(COLUMNS, rows, None)][1:]
    assert cell_len(first.partition("x")[0]) == cell_len(second.partition("y")[0])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ümläut → ✓", "plain ümläut → ✓"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("over\rwritten\x08", "over\\rwritten\\x08"),
        ("\x9b1m", "\\x9b1m"),
        ("safe\u202etxt.exe", "safe\\u202etxt.exe"),
    ],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_one_line_is_one_line() -> None:
    assert one_line("a\n  b\tc\x1b") == "a b c\\x1b"
