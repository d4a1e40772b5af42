"""Times as people read them: how long ago, and exactly when one looks closer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from taut.model.times import unix_seconds

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Moment:
    """One time: for machines, exact, and how long ago. All empty when it never happened."""

    iso: str = ""
    exact: str = ""
    ago: str = ""


def moment(text: str, now: float) -> Moment:
    """An RFC 3339 time, seen from `now` (Unix seconds); an empty Moment for no time."""
    seconds = unix_seconds(text)
    if not seconds:
        return Moment()
    return Moment(text, exact(seconds), span(max(0.0, now - seconds), whole=True))


def exact(seconds: float) -> str:
    """`23 Nov 2026, 10:20:05 UTC`."""
    then = datetime.fromtimestamp(seconds, UTC)
    return f"{then.day} {then:%b %Y, %H:%M:%S} UTC"


def clock(seconds: float) -> str:
    """`10:20`, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M}"


def day(seconds: float, now: float) -> str:
    """`Today`, `Yesterday`, or `21 Nov 2026`, in UTC."""
    then, today = datetime.fromtimestamp(seconds, UTC).date(), datetime.fromtimestamp(now, UTC).date()
    days = (today - then).days
    if days in (0, 1):
        return ("Today", "Yesterday")[days]
    return f"{then.day} {then:%b %Y}"


def span(seconds: float, *, whole: bool = False) -> str:
    """How long something lasted: `1.4 s`, `36 min`, `3 h`, `2 d`. With `whole` seconds have no fraction."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s" if whole or seconds >= 10 else f"{seconds:.1f} s"
