"""What has to be reached, and whether it was. Pure: results in, verdicts out.

Seconds and CPU seconds are of one machine: there the floor of 500 applications took 16 s and 7.2 s of CPU. On another machine they are
stretched by what its own floor took in the same run; counts and memory are not. The peers' seconds are as they were measured there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.report import Result, markdown, number, shown

_FLOOR_SECONDS, _FLOOR_CPU = 16.0, 7.2
_SIZE, _LARGEST, _SMALLEST = 500, 2000, 100
_REST = 60.0
SIZES = {"kustomize": (_SMALLEST, _SIZE, _LARGEST), "helm": (_LARGEST,)}
"""What has to be measured for all verdicts."""


@dataclass(frozen=True)
class Verdict:
    """One target: what it is about, what Flux and Argo CD do, what is allowed, what was measured (None: it was not)."""

    what: str
    flux: str
    argo: str
    limit: float
    measured: float | None
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it was measured, and is within the limit."""
        return self.measured is not None and self.measured <= self.limit


def verdicts(results: Sequence[Result]) -> list[Verdict]:
    """All targets."""
    found = {(r["kind"], r["applications"]): r for r in results}
    middle = found.get(("kustomize", _SIZE))
    if middle is None:
        return [Verdict(f"{_SIZE} kustomize applications were measured", "", "", 1, None)]
    slower = (number(middle, "floor", "seconds") or 0) / _FLOOR_SECONDS
    busier = (number(middle, "floor", "cpu") or 0) / _FLOOR_CPU
    large, small = found.get(("kustomize", _LARGEST)), found.get(("kustomize", _SMALLEST))
    return [
        *_cold(middle),
        *(v for r in results if r["kind"] == "kustomize" for v in _commit(r, slower, busier)),
        *_rest(middle, busier),
        Verdict(
            "a change by hand, 500: healed after",
            "10 min",
            "0.3 s",
            0.2 * slower,
            number(middle, "drift", "seconds"),
            "s",
        ),
        Verdict("a change by hand, 500: records missing", "", "", 0, _missing_records(middle)),
        *_memory(middle, large, found.get(("helm", _LARGEST))),
        *_restart(large, slower),
        *_growth(small, large),
    ]


def _cold(middle: Result) -> Iterator[Verdict]:
    for name, factor, unit, flux, argo in (
        ("seconds", 1.4, "time", "16 ×", "10 ×"),
        ("cpu", 2.0, "CPU", "51 ×", "26 ×"),
    ):
        floor, measured = number(middle, "floor", name), number(middle, "cold", name)
        ratio = measured / floor if floor and measured is not None else None
        yield Verdict(f"cold sync, 500: {unit}, as a multiple of the floor's", flux, argo, factor, ratio, "×")


def _commit(result: Result, slower: float, busier: float) -> Iterator[Verdict]:
    size = f"{result['applications']:,}"
    # The peers were measured at 500: in brackets Argo CD with path annotations that somebody keeps by hand.
    peers = result["applications"] == _SIZE
    rows = (
        ("live after", "seconds", 0.3 * slower, "s", "3 to 232 s", "up to 22 s (0.4 s)"),
        ("CPU", "cpu", 0.15 * busier, "s", "393 s", "22 s"),
        ("requests", "requests", 8.0, "", "14,018", "1,026 (25)"),
        ("writes", "writes", 1.0, "", "8,819", "1,014 (15)"),
    )
    for title, name, limit, unit, flux, argo in rows:
        measured = number(result, "commit", name)
        yield Verdict(
            f"one commit, {size}: {title}", flux if peers else "", argo if peers else "", limit, measured, unit
        )
    first = number(result, "commit, first", "seconds")
    yield Verdict(f"one commit after a rest, {size}: live after", "", "", 0.3 * slower, first, "s")


def _rest(middle: Result, busier: float) -> Iterator[Verdict]:
    long = (number(middle, "rest", "seconds") or 0) >= _REST
    cpu, requests = (number(middle, "rest", name) if long else None for name in ("cpu", "requests"))
    yield Verdict("60 s at rest, 500: CPU", "0.1 s", "1.4 s", 0.1 * busier, cpu, "s")
    yield Verdict("60 s at rest, 500: requests", "0 to 2", "50", 0, requests)


def _missing_records(middle: Result) -> float | None:
    records = number(middle, "drift", "records")
    return None if records is None else max(0.0, 5 - records)


def _memory(middle: Result, large: Result | None, helm: Result | None) -> Iterator[Verdict]:
    yield Verdict("memory at rest, 500", "248 MB", "623 MB", 130, number(middle, "memory", "resident"), "MiB")
    at_rest = number(large, "memory", "resident") if large else None
    yield Verdict("memory at rest, 2,000", "", "", 250, at_rest, "MiB")
    peak = number(helm, "cold", "peak") if helm else None
    yield Verdict("memory at its peak, 2,000 of the Helm set", "", "", 300, peak, "MiB")


def _restart(large: Result | None, slower: float) -> Iterator[Verdict]:
    for name, limit, unit in (("seconds", 4.0 * slower, "s"), ("renders", 0, ""), ("writes", 0, "")):
        title = "time" if name == "seconds" else name
        yield Verdict(
            f"restart in sync, 2,000: {title}", "", "", limit, number(large, "restart", name) if large else None, unit
        )


def _growth(small: Result | None, large: Result | None) -> Iterator[Verdict]:
    for name, title in (("seconds", "latency"), ("cpu", "CPU")):
        few = number(small, "commit", name) if small else None
        many = number(large, "commit", name) if large else None
        ratio = many / few if few and many is not None else None
        yield Verdict(f"one commit: {title} at 2,000, as a multiple of that at 100", "", "", 1.5, ratio, "×")


def table(found: Iterable[Verdict]) -> list[str]:
    """The verdicts as a Markdown table."""
    rows = [["what", "Flux 2.9", "Argo CD 3.5", "taut must reach", "taut", ""]]
    rows += [
        [v.what, v.flux, v.argo, _limit(v), _figure(v.measured, v.unit), "met" if v.met else "MISSED"] for v in found
    ]
    return markdown(rows)


def _limit(verdict: Verdict) -> str:
    return _figure(verdict.limit, verdict.unit)


def _figure(value: float | None, unit: str) -> str:
    return f"{value:.2f} ×" if unit == "×" and value is not None else shown(value, unit)
