"""Tables that fit the terminal and stay whole in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from taut.cli.data import say, show_data
from taut.model.visible import one_line

__all__ = ["Cell", "Column", "console", "say", "show_data", "show_table", "table"]

type Cell = str | Text

_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Those with the highest `drop` are left out first where the terminal is narrow; 0 stays. `least` is the width that it
    may be cut down to; the last column takes what is left."""

    title: str
    drop: int = 0
    least: int = 0


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed: coloured on a terminal unless NO_COLOR is set, plain and as wide as needed in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 100_000
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table to standard output."""
    out = console()
    for line in table(columns, rows, out.width if out.is_terminal else None):
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


def show_rows(found: Any, output: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], empty: str) -> None:
    """What was found, in the form of `-o`; `empty` is said in the place of a table without rows."""
    if output != "table":
        show_data(found, output)
    elif rows:
        show_table(columns, rows)
    else:
        click.echo(one_line(empty))


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None) -> list[Text]:
    """The lines of a table. `width` None: nothing is cut or left out. Texts are made safe here; Text cells are taken as they are."""
    cells = [[cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row] for row in rows]
    widths = [max([cell_len(c.title), *(row[n].cell_len for row in cells)]) for n, c in enumerate(columns)]
    shown = list(range(len(columns)))
    if width is not None:
        shown = [n for n in shown if not columns[n].drop or any(row[n] for row in cells)]
        shown, widths = _fit(columns, widths, width, shown)
    header = [Text(columns[n].title, style="dim") for n in shown]
    return [_line(line, [widths[n] for n in shown]) for line in [header, *([row[n] for n in shown] for row in cells)]]


def _fit(columns: Sequence[Column], widths: list[int], width: int, shown: list[int]) -> tuple[list[int], list[int]]:
    """Leave out columns of `shown`, then cut those that may be cut, until a line fits."""

    least = [min(w, c.least) if c.least else w for w, c in zip(widths, columns, strict=True)]

    def excess(of: list[int]) -> int:
        return sum(of[n] for n in shown) + _GAP * (len(shown) - 1) - width

    for n in sorted((n for n in shown if columns[n].drop), key=lambda n: -columns[n].drop):
        if excess(least) <= 0:
            break
        shown.remove(n)
    fitted = list(widths)
    # The last column is cut first. On a terminal too narrow for even the least widths, a second round goes below them.
    for floor in (least, [1] * len(widths)):
        for n in reversed(shown):
            if columns[n].least and (over := excess(fitted)) > 0:
                fitted[n] = max(floor[n], fitted[n] - over)
    return shown, fitted


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for n, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        part = cell.copy()
        part.truncate(width, overflow="ellipsis")
        last = n == len(cells) - 1
        if not last:
            part.append(" " * (width - part.cell_len + _GAP))
        line.append_text(part)
    line.rstrip()
    return line
