"""Results as text: one table of all sizes, how each figure grows, and two results side by side. Pure: dictionaries in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

type Result = Mapping[str, Any]
"""One size of one set, as `Measured.as_json` gives it."""

ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("floor: time", "floor", "seconds", "s"),
    ("floor: CPU", "floor", "cpu", "s"),
    ("cold sync: time", "cold", "seconds", "s"),
    ("cold sync: CPU", "cold", "cpu", "s"),
    ("cold sync: CPU of the control plane", "cold", "plane_cpu", "s"),
    ("cold sync: requests", "cold", "requests", ""),
    ("cold sync: writes", "cold", "writes", ""),
    ("cold sync: peak memory, pages of a fork counted once", "cold", "peak", "MiB"),
    ("60 s at rest: CPU", "rest", "cpu", "s"),
    ("60 s at rest: requests", "rest", "requests", ""),
    ("one commit: live after", "commit", "seconds", "s"),
    ("one commit: CPU", "commit", "cpu", "s"),
    ("one commit: requests", "commit", "requests", ""),
    ("one commit: writes", "commit", "writes", ""),
    ("one commit: renders", "commit", "renders", ""),
    ("the first commit after a rest: live after", "commit, first", "seconds", "s"),
    ("the first commit after a rest: CPU", "commit, first", "cpu", "s"),
    ("a base of 50: live after", "base of 50", "seconds", "s"),
    ("a base of 50: CPU", "base of 50", "cpu", "s"),
    ("a base of 50: writes", "base of 50", "writes", ""),
    ("a base of 50: renders", "base of 50", "renders", ""),
    ("a change by hand: healed after", "drift", "seconds", "s"),
    ("a change by hand: requests", "drift", "requests", ""),
    ("memory at rest", "memory", "resident", "MiB"),
    ("memory at rest, pages of a fork counted once", "memory", "held", "MiB"),
    ("restart in sync: time", "restart", "seconds", "s"),
    ("restart in sync: CPU", "restart", "cpu", "s"),
    ("restart in sync: renders", "restart", "renders", ""),
    ("restart in sync: writes", "restart", "writes", ""),
)
"""What is shown: its name, the scenario, the number in it, the unit."""


def number(result: Result, scenario: str, name: str) -> float | None:
    """One figure; None when it was not measured."""
    found = result["scenarios"].get(scenario, {}).get(name)
    return None if found is None else float(found)


def shown(value: float | None, unit: str) -> str:
    """A figure for people."""
    if value is None:
        return "–"
    if unit == "s":
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value:.0f} {unit}".strip()


def table(results: Sequence[Result]) -> list[str]:
    """One Markdown table a set: a row a figure, a column a size, and at last what the largest size costs of the smallest one's."""
    lines: list[str] = []
    for kind in dict.fromkeys(r["kind"] for r in results):
        lines += _one_set(kind, sorted((r for r in results if r["kind"] == kind), key=lambda r: r["applications"]))
    return lines


def _one_set(kind: str, sizes: Sequence[Result]) -> list[str]:
    heads = [f"{r['applications']:,} applications" for r in sizes]
    several = len(sizes) > 1
    growth = [f"{sizes[-1]['applications']:,} / {sizes[0]['applications']:,}"] if several else []
    rows = [[kind, *heads, *growth]]
    for title, scenario, name, unit in ROWS:
        values = [number(r, scenario, name) for r in sizes]
        if all(v is None for v in values):
            continue
        ratio = [f"{values[-1] / values[0]:.2f}" if values[0] and values[-1] is not None else ""] if several else []
        rows.append([title, *(shown(v, unit) for v in values), *ratio])
    return [*markdown(rows), ""]


def comparison(old: Sequence[Result], new: Sequence[Result]) -> list[str]:
    """Every figure that both have: before, after, and the ratio."""
    rows = [["figure", "before", "after", "ratio"]]
    for after in new:
        before = next(
            (r for r in old if (r["kind"], r["applications"]) == (after["kind"], after["applications"])), None
        )
        if before is None:
            continue
        for title, scenario, name, unit in ROWS:
            was, now = number(before, scenario, name), number(after, scenario, name)
            if was is None or now is None:
                continue
            ratio = f"{now / was:.2f}" if was else ("1.00" if now == was else "∞")
            what = f"{after['kind']} {after['applications']:,}: {title}"
            rows.append([what, shown(was, unit), shown(now, unit), ratio])
    return markdown(rows)


def markdown(rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; the first row is its head."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in lines) for n in range(len(lines[0]))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines
    ]
    return [text[0], "| " + " | ".join("-" * width for width in widths) + " |", *text[1:]]
