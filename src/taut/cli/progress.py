"""How far a long work is, on a terminal: a line on standard error that is gone when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

_PATIENCE = 2.0


@asynccontextmanager
async def progress(total: int, what: str = "judged") -> AsyncGenerator[Callable[[int], None]]:
    """Within it, call with how many more are done. Nothing is said in a pipe, nor in the first two seconds."""
    start, done, shown = time.monotonic(), 0, False

    def more(number: int) -> None:
        nonlocal done, shown
        done += number
        if sys.stderr.isatty() and time.monotonic() - start > _PATIENCE and done < total:
            sys.stderr.write(f"\r{done:,} of {total:,} {what}")
            sys.stderr.flush()
            shown = True

    try:
        yield more
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
