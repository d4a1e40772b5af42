"""Kyverno's functions on points in time (RFC 3339, and Go's layouts)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from jmespath.functions import signature

from taut.policy.kyverno.errors import PolicyError
from taut.policy.quantities import duration, duration_text

_TEXT: Any = {"types": ["string"]}
_LAYOUT = {
    "2006": "%Y", "01": "%m", "02": "%d", "15": "%H", "03": "%I", "04": "%M", "05": "%S", "06": "%y",
    "January": "%B", "Jan": "%b", "Monday": "%A", "Mon": "%a", "PM": "%p", "MST": "%Z",
    "Z07:00": "%z", "-07:00": "%z", "-0700": "%z", "Z0700": "%z", ".000000": ".%f", ".000": ".%f", "_2": "%d",
}  # fmt: skip
_STEPS = re.compile("|".join(re.escape(k) for k in sorted(_LAYOUT, key=len, reverse=True)))


def moment(text: str) -> datetime:
    """A point in time in RFC 3339. Raises PolicyError for other text."""
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        raise PolicyError(f"{text[:40]!r} is no time in RFC 3339") from None
    if found.tzinfo is None:
        raise PolicyError(f"{text[:40]!r} has no time zone")
    return found


def _read(layout: str, text: str) -> datetime:
    if not layout:
        return moment(text)
    try:
        found = datetime.strptime(
            text.replace("Z", "+0000") if "Z07" in layout else text, _STEPS.sub(lambda m: _LAYOUT[m[0]], layout)
        )
    except ValueError:
        raise PolicyError(f"{text[:40]!r} is not written as the layout {layout!r} says") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def written(value: datetime) -> str:
    """RFC 3339, with `Z` for UTC and no fraction that is zero."""
    text = value.isoformat(timespec="microseconds" if value.microsecond else "seconds")
    return re.sub(r"\+00:00$", "Z", text)


def _span(text: str) -> timedelta:
    found = duration(text)
    if found is None:
        raise PolicyError(f"{text[:40]!r} is no duration")
    return timedelta(microseconds=found / 1000)


def _nanoseconds(span: timedelta) -> int:
    return (span.days * 86_400 + span.seconds) * 1_000_000_000 + span.microseconds * 1_000


class Moments:
    """The functions, for the class of all."""

    @signature(_TEXT, _TEXT, _TEXT)
    def _func_time_since(self, layout: str, start: str, end: str) -> str:
        until = _read(layout, end) if end else datetime.now(UTC)
        return duration_text(_nanoseconds(until - _read(layout, start)))

    @signature()
    def _func_time_now(self) -> str:
        return written(datetime.now(UTC).replace(microsecond=0))

    @signature()
    def _func_time_now_utc(self) -> str:
        return written(datetime.now(UTC).replace(microsecond=0))

    @signature(_TEXT, _TEXT)
    def _func_time_add(self, start: str, span: str) -> str:
        return written(moment(start) + _span(span))

    @signature(_TEXT, _TEXT)
    def _func_time_parse(self, layout: str, text: str) -> str:
        if layout.isdigit() or layout == "":
            return written(moment(text))
        return written(_read(layout, text))

    @signature(_TEXT)
    def _func_time_to_cron(self, text: str) -> str:
        at = moment(text).astimezone(UTC)
        return f"{at.minute} {at.hour} {at.day} {at.month} {at.isoweekday() % 7}"

    @signature(_TEXT)
    def _func_time_utc(self, text: str) -> str:
        return written(moment(text).astimezone(UTC))

    @signature(_TEXT, _TEXT)
    def _func_time_diff(self, start: str, end: str) -> str:
        return duration_text(_nanoseconds(moment(end) - moment(start)))

    @signature(_TEXT, _TEXT)
    def _func_time_before(self, a: str, b: str) -> bool:
        return moment(a) < moment(b)

    @signature(_TEXT, _TEXT)
    def _func_time_after(self, a: str, b: str) -> bool:
        return moment(a) > moment(b)

    @signature(_TEXT, _TEXT, _TEXT)
    def _func_time_between(self, at: str, start: str, end: str) -> bool:
        return moment(start) < moment(at) < moment(end)

    @signature(_TEXT, _TEXT)
    def _func_time_truncate(self, at: str, span: str) -> str:
        step = duration(span)
        value: Any = moment(at)
        if not step or step < 0:
            return written(value)
        since = _nanoseconds(value - datetime(1, 1, 1, tzinfo=UTC))
        return written(value - timedelta(microseconds=since % step / 1000))
