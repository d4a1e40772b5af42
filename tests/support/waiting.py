"""Waiting for facts in tests that are not asynchronous."""

from __future__ import annotations

import time
from collections.abc import Callable


def until[T](fact: Callable[[], T | None], what: str = "", seconds: float = 60.0) -> T:
    """Wait until `fact` gives something true, and return it. Fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = fact()
        if value:
            return value
        assert time.monotonic() < deadline, f"it never happened: {what or fact}"
        time.sleep(0.05)
