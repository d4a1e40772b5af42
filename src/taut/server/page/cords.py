"""Drift in time: each application a cord that is straight while live is what Git says, and sags while it is not. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from taut.model.drift import DriftOutcome
from taut.model.shown import Shown
from taut.model.times import unix_seconds
from taut.model.visible import clean, one_line
from taut.server.page.rope import ADOPTED, MARKS, Mark
from taut.server.page.sentences import list_words, plural
from taut.server.page.times import clock, day, span
from taut.server.views import HIDDEN, DriftView

WIDTH = 1000
_LEVEL = 19
_LONGEST = 80
SPANS = {"24h": ("24 hours", 86400.0), "7d": ("7 days", 604800.0), "30d": ("30 days", 2592000.0)}
_OPEN = frozenset({DriftOutcome.OPEN.value, DriftOutcome.REPORTED.value, DriftOutcome.CONTESTED.value})


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a cord: straight, sag or fill, as an SVG path; `open` is still so."""

    kind: str
    path: str
    open: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """One application's cord, and what is said at its end."""

    app: str
    open: bool
    end: str
    cord: Sequence[Stretch]


@dataclass(frozen=True, slots=True)
class Told:
    """One drift as it is told. `times` counts how often the same was changed the same way."""

    record: DriftView
    at: str
    iso: str
    day: str
    mark: Mark
    who: str
    verb: str
    how: str
    before: str
    after: str
    end: str
    end_tone: str
    lasted: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Blame:
    """Somebody, how often they changed something, and by what."""

    who: str
    count: int
    share: int
    how: str


def began(record: DriftView) -> float:
    """When it was changed, or first noticed where nobody knows (Unix seconds)."""
    return unix_seconds(record.changed) or unix_seconds(record.noticed)


def is_open(record: DriftView) -> bool:
    """Whether live still is what somebody made it."""
    return record.outcome in _OPEN and not record.healed


def ended(record: DriftView, now: float) -> float:
    """When it was over; `now` while it is not, and where the end is not known its beginning."""
    return now if is_open(record) else unix_seconds(record.healed) or began(record)


def lanes(records: Sequence[DriftView], start: float, now: float) -> list[Lane]:
    """A cord for each application that drifted since `start`, those that still do first, the longest before the others."""
    by_app: dict[str, list[DriftView]] = {}
    for record in records:
        if ended(record, now) >= start:
            by_app.setdefault(record.app, []).append(record)
    made = [(_weight(found, now), _lane(app, found, start, now)) for app, found in by_app.items()]
    return [lane for _, lane in sorted(made, key=lambda pair: (pair[0], pair[1].app))]


def _weight(records: Sequence[DriftView], now: float) -> tuple[int, float]:
    still = [began(r) for r in records if is_open(r)]
    return (0, min(still)) if still else (1, -max(ended(r, now) for r in records))


def _lane(app: str, records: Sequence[DriftView], start: float, now: float) -> Lane:
    spans = _merged(sorted((max(began(r), start), ended(r, now), is_open(r)) for r in records))
    cord: list[Stretch] = []
    fills: list[Stretch] = []
    x = 0.0
    for begin, end, still in spans:
        x1 = max(x, min(float(WIDTH), _x(begin, start, now)))
        x2 = float(WIDTH) if still else max(x1 + 6, _x(end, start, now))
        x2 = min(x2, float(WIDTH))
        if x1 > x:
            cord.append(Stretch("straight", f"M{x:.0f} {_LEVEL}H{x1:.0f}"))
        curve = _open_curve(x1) if still else _sag(x1, x2, end - begin)
        fills.append(Stretch("fill", curve + (f"V{_LEVEL}z" if still else "z"), still))
        cord.append(Stretch("sag", curve, still))
        x = x2
    if x < WIDTH:
        cord.append(Stretch("straight", f"M{x:.0f} {_LEVEL}H{WIDTH}"))
    still = any(is_open(r) for r in records)
    return Lane(app, still, _end(records, now), [*fills, *cord])


def _x(at: float, start: float, now: float) -> float:
    return WIDTH * (at - start) / max(1.0, now - start)


def _merged(spans: Sequence[tuple[float, float, bool]]) -> list[tuple[float, float, bool]]:
    made: list[tuple[float, float, bool]] = []
    for begin, end, still in spans:
        if made and begin <= made[-1][1]:
            first, last, was = made[-1]
            made[-1] = (first, max(last, end), was or still)
        else:
            made.append((begin, end, still))
    return made


def _sag(x1: float, x2: float, seconds: float) -> str:
    """The longer it lasted, the deeper it hangs: a second is seen, a day does not leave the picture."""
    depth = 2 * min(17.0, 6 + 2 * math.log10(max(1.0, seconds)))
    return f"M{x1:.0f} {_LEVEL}Q{(x1 + x2) / 2:.0f} {_LEVEL + depth:.0f} {x2:.0f} {_LEVEL}"


def _open_curve(x1: float) -> str:
    run = WIDTH - x1
    return f"M{x1:.0f} {_LEVEL}C{x1 + run * 0.3:.0f} 36 {x1 + run * 0.6:.0f} 37 {WIDTH} 34"


def _end(records: Sequence[DriftView], now: float) -> str:
    still = [r for r in records if is_open(r)]
    if still:
        return f"{span(now - min(map(began, still)), whole=True)}, still open"
    outcomes = Counter(r.outcome for r in records)
    return list_words([f"{count} {outcome}" for outcome, count in outcomes.most_common()])


def tell(records: Sequence[DriftView], now: float) -> list[Told]:
    """The records, newest first; what was changed again and again in the same way is told once, with how often."""
    found: dict[tuple[str, ...], Told] = {}
    for record in sorted(records, key=began, reverse=True):
        same = (record.app, record.object.text, record.path, author(record), record.outcome)
        key = (*same, str(record.id)) if is_open(record) else same
        if key in found:
            found[key] = replace(found[key], times=found[key].times + 1)
        else:
            found[key] = _told(record, now)
    return list(found.values())


def author(record: DriftView) -> str:
    """The person where that is known, else the program that wrote."""
    return one_line(record.user or record.who) or "somebody"


def _told(record: DriftView, now: float) -> Told:
    at = began(record)
    seconds = max(0.0, ended(record, now) - at)
    # The records have whole seconds.
    lasted = span(seconds, whole=True) if seconds >= 1 else "under 1 s"
    still = is_open(record)
    end, tone = _OUTCOMES.get(record.outcome, (record.outcome.capitalize(), "mute"))
    mark = (
        MARKS[Shown.DRIFTED] if still else ADOPTED if record.outcome == DriftOutcome.ADOPTED else MARKS[Shown.HEALTHY]
    )
    return Told(
        record=record,
        at=clock(at),
        iso=record.changed or record.noticed,
        day=day(at, now),
        mark=mark,
        who=author(record),
        verb="deleted" if record.missing else "changed",
        how=f"with {one_line(record.who).replace('kubectl-', 'kubectl ')}" if record.user and record.who else "",
        before="••••••" if record.secret else _value(record.desired),
        after="gone" if record.missing else HIDDEN if record.secret else _value(record.found),
        end=end,
        end_tone=tone,
        lasted=lasted if still or record.healed else "",
    )


_OUTCOMES = {
    "open": ("Open", "warn"),
    "reported": ("Left as it is", "warn"),
    "contested": ("Contested", "warn"),
    "healed": ("Healed", "good"),
    "reverted": ("Put back", "good"),
    "adopted": ("Adopted", "run"),
}


def _value(value: object) -> str:
    if value is None:
        return "not set"
    text = clean(value if isinstance(value, str) else msgspec.json.encode(value).decode())
    lines = text.count("\n")
    if lines:
        return plural(lines + 1, "line")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def blame(records: Sequence[DriftView]) -> list[Blame]:
    """Who changed how much, the most first."""
    counts = Counter(author(r) for r in records)
    most = max(counts.values(), default=1)
    return [Blame(who, count, round(100 * count / most), _ways(records, who)) for who, count in counts.most_common(8)]


def _ways(records: Sequence[DriftView], who: str) -> str:
    mine = [r for r in records if author(r) == who]
    fields = Counter((r.object.text, r.path) for r in mine)
    if len(mine) > 2 and len(fields) == 1:
        return "the same field each time: ignore it, or own it in Git"
    tools = Counter(one_line(r.who) for r in mine if r.user)
    said = list_words([tool for tool, _ in tools.most_common()])
    return said or list_words(sorted({r.path or "whole objects" for r in mine}), 2)
