"""Times: Unix seconds inside, RFC 3339 in UTC outside."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC, empty for 0 (it never happened)."""
    if not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unix_seconds(text: str | None) -> float:
    """An RFC 3339 time as Unix seconds; 0 when there is none, or it is no time."""
    if not text:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
