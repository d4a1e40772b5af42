"""What a sync window may say: a cron expression and a time zone. Read by the same library as the clock of windows (`taut.planning`)."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

_LONGEST = 200
_SOME_DAY = datetime(2025, 1, 1, tzinfo=UTC)


def cron_fault(expression: str) -> str:
    """Why `expression` is no cron expression; empty when it is one."""
    if len(expression) > _LONGEST:
        return f"{expression[:40]!r}… is longer than {_LONGEST} characters"
    try:
        CronSim(expression, _SOME_DAY)
    except CronSimError as error:
        fields = len(expression.split())
        if fields != 5:
            return f"{expression!r} has {fields} fields; cron has five: minute, hour, day of month, month, day of week"
        return f"{expression!r} is no cron expression: {error}"
    return ""


def zone_fault(name: str) -> str:
    """Why `name` is no time zone; empty when it is one."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return f"there is no time zone {name!r}"
    return ""
