"""What the process takes from the system, bounded before it takes it."""

from __future__ import annotations

import asyncio.sslproto
import ctypes

_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8
"""Names of glibc's <malloc.h>."""
_ARENAS = 2
_TRIM_BYTES = 256 * 1024
_TLS_BUFFER = 64 * 1024


def bound() -> None:
    """Called once, before threads are started.

    glibc gives each thread a heap of its own, and keeps what was used at a peak: two heaps are enough for threads that wait for Git and for
    the store, and what is free at their end goes back. asyncio gives each TLS connection 256 KiB to read into; requests to an API server
    need a quarter of it. Where there is no glibc, its part is left out.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
    asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER
