"""What a sync window's cron expression may say: five fields (minute, hour, day of month, month, day of week), names, steps, `@daily`."""

from __future__ import annotations

import zoneinfo

_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = {
    name: n
    for n, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
_DAYS = {name: n for n, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)


def cron_fault(expression: str) -> str:
    """Why `expression` is no cron expression; empty when it is one."""
    fields = _WORDS.get(expression.strip().lower(), expression).split()
    if len(fields) != len(_FIELDS):
        return f"{expression!r} has {len(fields)} fields; cron has five: minute, hour, day of month, month, day of week"
    try:
        for text, rule in zip(fields, _FIELDS, strict=True):
            _check_field(text.lower(), *rule)
    except ValueError as error:
        return str(error)
    return ""


def zone_fault(name: str) -> str:
    """Why `name` is no time zone; empty when it is one."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"there is no time zone {name!r}"
    return ""


def _check_field(text: str, name: str, low: int, high: int, words: dict[str, int]) -> None:
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and not (step.isascii() and step.isdigit() and len(step) < 4 and int(step) > 0):
            raise ValueError(f"{part!r} is no {name}: a step is a number above 0")
        _check_span(span, name, low, high, words)


def _check_span(text: str, name: str, low: int, high: int, words: dict[str, int]) -> None:
    if text in {"*", "?"}:
        return
    first, dash, last = text.partition("-")
    begin = _number(first, name, low, high, words)
    if dash and _number(last, name, low, high, words) < begin:
        raise ValueError(f"{text!r} is no range of {name}s: it ends before it begins")


def _number(text: str, name: str, low: int, high: int, words: dict[str, int]) -> int:
    number = words.get(text, int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1)
    if not low <= number <= high:
        raise ValueError(f"{text!r} is no {name} (from {low} to {high})")
    return number
