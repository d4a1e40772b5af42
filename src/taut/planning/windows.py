"""Sync windows: when a sync may start. The rules are Argo CD's (deny beats allow, `manualSync`), the clock is the window's.

A window opens at each time of its cron expression in its time zone, and stays open for its duration in real time: a night
with a change of the clocks is not longer or shorter for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from taut.model.application import SyncWindow
from taut.model.durations import seconds
from taut.model.errors import BadInput, Where

# A verdict that does not change within so many openings and closings does not change as far as people care.
_MAX_STEPS = 500
_SHIFT_HOURS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a sync may start now, and why. `until` is the Unix time at which that changes; None when it does not."""

    open: bool
    reason: str = ""
    until: float | None = None


def is_open(windows: Sequence[SyncWindow], now: float, *, manual: bool = False) -> Verdict:
    """Whether a sync may start at `now` (Unix seconds); `manual` says that a person asked for it.

    Raises BadInput for a schedule, a duration or a time zone that cannot be read.
    """
    for window in windows:
        check_window(window)
    clocks = [_Clock(window, now) for window in windows]
    allowed, reason = _allowed(clocks, manual)
    for _ in range(_MAX_STEPS):
        at = min((b for clock in clocks if (b := clock.boundary()) is not None), default=None)
        if at is None:
            break
        for clock in clocks:
            clock.advance(at)
        if _allowed(clocks, manual)[0] is not allowed:
            return Verdict(allowed, reason, at)
    return Verdict(allowed, reason)


def check_window(window: SyncWindow) -> None:
    """Raise BadInput, naming the field, unless the window can be read."""
    _check(window.schedule, window.duration, window.time_zone)


@lru_cache(maxsize=1024)
def _check(schedule: str, duration: str, time_zone: str) -> None:
    try:
        if len(schedule.split()) != 5:
            raise CronSimError("it needs five fields: minute, hour, day of the month, month, day of the week")
        CronSim(schedule, datetime.now(UTC))
    except CronSimError as error:
        raise _bad("schedule", f"{schedule!r} is no cron expression: {error}", "write it like 0 22 * * 1-5") from None
    try:
        length = seconds(duration)
    except ValueError as error:
        raise _bad("duration", str(error), "write it like 30m or 8h") from None
    if length <= 0:
        raise _bad("duration", "the window is never open", "give it a duration, like 8h")
    try:
        ZoneInfo(time_zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise _bad("timeZone", f"{time_zone!r} is no known time zone", "write it like Europe/Berlin or UTC") from None


def _bad(field: str, what: str, advice: str) -> BadInput:
    return BadInput(what, where=Where(field=f"spec.sync.windows.{field}"), advice=advice)


class _Clock:
    """One window as time goes by, from one opening or closing to the next."""

    def __init__(self, window: SyncWindow, now: float) -> None:
        self.window = window
        self._length = seconds(window.duration)
        self._now = now
        self._last = _last_start(window, now)
        self._openings = CronSim(window.schedule, _local(window, now - _repeated(window, now)))
        self._next = self._following()

    def _following(self) -> float | None:
        return next((at for opening in self._openings if (at := opening.timestamp()) > self._now), None)

    @property
    def active(self) -> bool:
        """Whether the window is open."""
        return self._last is not None and self._now < self._last + self._length

    def boundary(self) -> float | None:
        """When it next opens or closes."""
        closing = self._last + self._length if self._last is not None else None
        return min((at for at in (closing, self._next) if at is not None and at > self._now), default=None)

    def advance(self, now: float) -> None:
        """Go on to `now`, which is not beyond the next boundary."""
        self._now = now
        if self._next is not None and self._next <= now:
            self._last, self._next = self._next, self._following()


def _allowed(clocks: Sequence[_Clock], manual: bool) -> tuple[bool, str]:
    """An open deny forbids; then an open allow permits; allows of which none is open forbid; else it is permitted."""
    denying = [c.window for c in clocks if c.window.kind == "deny" and c.active]
    if denying:
        return _unless_manual(denying, manual, f"a window forbids syncs now ({_text(denying[0])})")
    allows = [c for c in clocks if c.window.kind == "allow"]
    active = [c.window for c in allows if c.active]
    if active or not allows:
        return True, f"a window allows syncs now ({_text(active[0])})" if active else ""
    closed = [c.window for c in allows]
    return _unless_manual(closed, manual, f"no window allows syncs now (the first is {_text(closed[0])})")


def _unless_manual(windows: Sequence[SyncWindow], manual: bool, reason: str) -> tuple[bool, str]:
    if manual and all(w.manual_sync for w in windows):
        return True, f"{reason}, but a sync by hand may start"
    return False, reason


def _text(window: SyncWindow) -> str:
    return f"{window.schedule} for {window.duration}, {window.time_zone}"


def is_active(window: SyncWindow, now: float) -> bool:
    """Whether the window itself is open at `now`. Raises BadInput as `is_open` does."""
    check_window(window)
    return _Clock(window, now).active


def _local(window: SyncWindow, at: float) -> datetime:
    return datetime.fromtimestamp(at, ZoneInfo(window.time_zone))


def _last_start(window: SyncWindow, now: float) -> float | None:
    """The latest opening at or before `now`."""
    # The library looks for times before the given one; a second later makes an opening at this very moment count.
    openings = CronSim(window.schedule, _local(window, now + 1 + _repeated(window, now)), reverse=True)
    return next((at for opening in openings if (at := opening.timestamp()) <= now), None)


def _repeated(window: SyncWindow, now: float) -> float:
    """How far to look beyond `now` on a day on which the clocks change, 0 on all others.

    The library reckons in wall-clock time, which such a day goes through twice in part: what opened at the first 02:30 is
    not found from the second 02:10.
    """
    offsets = {_local(window, now + hours * 3600).utcoffset() for hours in (-_SHIFT_HOURS, 0, _SHIFT_HOURS)}
    return _SHIFT_HOURS * 3600 if len(offsets) > 1 else 0
