"""Sync windows: when a sync may start. The rules are Argo CD's (deny beats allow, `manualSync`), the clock is the window's.

A window opens at each time of its cron expression in its time zone, and stays open for its duration in real time: a night
with a change of the clocks is not longer or shorter for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from taut.model.application import SyncWindow
from taut.model.durations import seconds
from taut.model.errors import BadInput, Where

# A verdict that does not change within so many openings and closings does not change as far as people care.
_MAX_STEPS = 200
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
    allowed, reason = _allowed(windows, now, manual)
    if not windows:
        return Verdict(open=True)
    at: float | None = now
    for _ in range(_MAX_STEPS):
        at = min((b for w in windows if (b := _next_boundary(w, at)) is not None), default=None)
        if at is None:
            break
        if _allowed(windows, at, manual)[0] is not allowed:
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
    except (ValueError, OSError):
        raise _bad("timeZone", f"{time_zone!r} is no known time zone", "write it like Europe/Berlin or UTC") from None


def _bad(field: str, what: str, advice: str) -> BadInput:
    return BadInput(what, where=Where(field=f"spec.sync.windows.{field}"), advice=advice)


def _allowed(windows: Sequence[SyncWindow], now: float, manual: bool) -> tuple[bool, str]:
    """An open deny forbids; then an open allow permits; allows of which none is open forbid; else it is permitted."""
    denying = [w for w in windows if w.kind == "deny" and is_active(w, now)]
    if denying:
        return _unless_manual(denying, manual, f"a window forbids syncs now ({_text(denying[0])})")
    allows = [w for w in windows if w.kind == "allow"]
    active = [w for w in allows if is_active(w, now)]
    if active or not allows:
        return True, f"a window allows syncs now ({_text(active[0])})" if active else ""
    return _unless_manual(allows, manual, f"no window allows syncs now (the first is {_text(allows[0])})")


def _unless_manual(windows: Sequence[SyncWindow], manual: bool, reason: str) -> tuple[bool, str]:
    if manual and all(w.manual_sync for w in windows):
        return True, f"{reason}, but a sync by hand may start"
    return False, reason


def _text(window: SyncWindow) -> str:
    return f"{window.schedule} for {window.duration}, {window.time_zone}"


def is_active(window: SyncWindow, now: float) -> bool:
    """Whether the window itself is open at `now`."""
    start = _last_start(window, now)
    return start is not None and now < start + seconds(window.duration)


def _local(window: SyncWindow, at: float) -> datetime:
    return datetime.fromtimestamp(at, ZoneInfo(window.time_zone))


def _last_start(window: SyncWindow, now: float) -> float | None:
    """The latest opening at or before `now`."""
    # The library looks for times before the given one; a second later makes an opening at this very moment count.
    openings = CronSim(window.schedule, _local(window, now + 1 + _repeated(window, now)), reverse=True)
    return next((at for opening in openings if (at := opening.timestamp()) <= now), None)


def _next_boundary(window: SyncWindow, now: float) -> float | None:
    """The next time after `now` at which the window opens or closes."""
    openings = CronSim(window.schedule, _local(window, now - _repeated(window, now)))
    following = next((at for opening in openings if (at := opening.timestamp()) > now), None)
    start = _last_start(window, now)
    closing = start + seconds(window.duration) if start is not None else None
    return min((t for t in (following, closing) if t is not None and t > now), default=None)


def _repeated(window: SyncWindow, now: float) -> float:
    """How far to look beyond `now` on a day on which the clocks change, 0 on all others.

    The library reckons in wall-clock time, which such a day goes through twice in part: what opened at the first 02:30 is
    not found from the second 02:10.
    """
    offsets = {_local(window, now + hours * 3600).utcoffset() for hours in (-_SHIFT_HOURS, 0, _SHIFT_HOURS)}
    return _SHIFT_HOURS * 3600 if len(offsets) > 1 else 0
