"""Durations as people and Go write them."""

from __future__ import annotations

import re

_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_LONGEST_TEXT, _LONGEST = 100, 100 * 366 * 24 * 3600.0
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Read `1h30m`, `5s`, `250ms`. Raises ValueError for anything else, and for more than a hundred years."""
    parts = _PART.findall(text) if len(text) <= _LONGEST_TEXT else []
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(f"{text[:_LONGEST_TEXT]!r} is no duration; write it like 30s, 5m or 1h30m")
    found = sum(float(n) * _UNIT[u] for n, u in parts)
    if found > _LONGEST:
        raise ValueError(f"{text!r} is more than a hundred years; write it like 30s, 5m or 1h30m")
    return found
