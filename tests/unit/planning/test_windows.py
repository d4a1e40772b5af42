"""Sync windows: allow, deny, by hand, time zones, and nights on which the clocks change."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.model.application import SyncWindow
from taut.model.errors import BadInput
from taut.planning.windows import is_active, is_open


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def window(schedule: str = "0 22 * * *", duration: str = "8h", kind: str = "allow", **more: Any) -> SyncWindow:
    return SyncWindow(schedule=schedule, duration=duration, kind=kind, **more)


NIGHT, BY_HAND = window(), window(manual_sync=True)
FREEZE = window("0 0 * * 6", "48h", "deny")
SOFT_FREEZE = window("0 0 * * 6", "48h", "deny", manual_sync=True)
# A Wednesday and a Saturday
NOON, MIDNIGHT = at("2026-07-01T12:00"), at("2026-07-01T23:00")
WEEKEND = at("2026-07-04T23:00")


@pytest.mark.parametrize(
    ("windows", "now", "manual", "verdict"),
    [
        ([], NOON, False, True),
        ([NIGHT], NOON, False, False),
        ([NIGHT], MIDNIGHT, False, True),
        ([NIGHT], NOON, True, False),
        ([BY_HAND], NOON, True, True),
        ([NIGHT, BY_HAND], NOON, True, False),
        ([FREEZE], NOON, False, True),
        ([FREEZE], WEEKEND, False, False),
        ([FREEZE], WEEKEND, True, False),
        ([SOFT_FREEZE], WEEKEND, True, True),
        ([SOFT_FREEZE], WEEKEND, False, False),
        ([SOFT_FREEZE, FREEZE], WEEKEND, True, False),
        ([NIGHT, FREEZE], WEEKEND, False, False),
        ([NIGHT, FREEZE], MIDNIGHT, False, True),
        ([NIGHT, FREEZE], NOON, False, False),
        ([NIGHT], at("2026-07-01T22:00"), False, True),
        ([NIGHT], at("2026-07-02T06:00"), False, False),
    ],
)
def test_who_may(windows: list[SyncWindow], now: float, manual: bool, verdict: bool) -> None:
    assert is_open(windows, now, manual=manual).open is verdict


@pytest.mark.parametrize(
    ("windows", "now", "until"),
    [
        ([NIGHT], NOON, at("2026-07-01T22:00")),
        ([NIGHT], MIDNIGHT, at("2026-07-02T06:00")),
        ([FREEZE], NOON, at("2026-07-04T00:00")),
        ([NIGHT, FREEZE], at("2026-07-03T23:30"), at("2026-07-04T00:00")),
        ([NIGHT, FREEZE], WEEKEND, at("2026-07-06T00:00")),
        ([window("* * * * *", "5m")], NOON, None),
        ([], NOON, None),
    ],
)
def test_until_when(windows: list[SyncWindow], now: float, until: float | None) -> None:
    assert is_open(windows, now).until == until


def test_why() -> None:
    assert "0 22 * * * for 8h, UTC" in is_open([NIGHT], NOON).reason
    assert "by hand" in is_open([BY_HAND], NOON, manual=True).reason


BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("schedule", "duration", "now", "active"),
    [
        # Summer and winter: ten o'clock stays ten o'clock.
        ("0 10 * * *", "1h", at("2026-07-01T08:30"), True),
        ("0 10 * * *", "1h", at("2026-12-01T09:30"), True),
        ("0 10 * * *", "1h", at("2026-12-01T08:30"), False),
        # 29 March: 02:00 to 03:00 does not exist; what would open then opens when it is over.
        ("30 2 * * *", "30m", at("2026-03-29T03:10", BERLIN), True),
        ("30 2 * * *", "30m", at("2026-03-29T01:50", BERLIN), False),
        # A window over that night is open for its duration in real time: until six, although only five hours on the clock.
        ("0 1 * * *", "4h", at("2026-03-29T05:50", BERLIN), True),
        ("0 1 * * *", "4h", at("2026-03-29T06:10", BERLIN), False),
        # 25 October: 02:00 to 03:00 comes twice; it opens at the first 02:30.
        ("30 2 * * *", "50m", at("2026-10-25T02:40", BERLIN), True),
        ("30 2 * * *", "50m", at("2026-10-25T02:10", BERLIN, fold=1), True),
        ("30 2 * * *", "50m", at("2026-10-25T02:40", BERLIN, fold=1), False),
        ("30 2 * * *", "50m", at("2026-10-25T02:10", BERLIN), False),
    ],
)
def test_time_zones(schedule: str, duration: str, now: float, active: bool) -> None:
    assert is_active(window(schedule, duration, time_zone=BERLIN), now) is active


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (window("often"), "schedule"),
        (window("0 0 31 2 *"), "schedule"),
        (window("0 0 0 * * *"), "schedule"),
        (window("@daily"), "schedule"),
        (window(duration="0s"), "duration"),
        (window(duration="long"), "duration"),
        (window(time_zone="Mars/Base"), "timeZone"),
        (window(time_zone="../../etc/passwd"), "timeZone"),
    ],
)
def test_what_cannot_be_read(broken: SyncWindow, field: str) -> None:
    with pytest.raises(BadInput, match=field):
        is_open([broken], NOON)


windows = st.lists(
    st.builds(
        window,
        st.sampled_from(["0 22 * * *", "30 2 * * *", "0 0 * * 6", "0 */6 * * *", "15 10 1 * *"]),
        st.sampled_from(["30m", "2h", "8h"]),
        st.sampled_from(["allow", "deny"]),
        time_zone=st.sampled_from(["UTC", BERLIN, "America/New_York"]),
    ),
    min_size=1,
    max_size=3,
)
moments = st.integers(int(at("2026-03-20T00:00")), int(at("2026-11-05T00:00")))


@settings(deadline=None)
@given(windows, moments)
def test_the_next_change_is_the_next_one(some: list[SyncWindow], now: int) -> None:
    verdict = is_open(some, now)
    if verdict.until is None:
        return
    assert verdict.until > now
    assert is_open(some, verdict.until).open is not verdict.open
    assert is_open(some, verdict.until - 1).open is verdict.open
