"""Connections by what they trust, and answers that are read to a bound: what the clients over HTTP have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Self

import aiohttp


class Sessions:
    """Open sessions by whom they trust, and as whom they come. Close it, or use it as an async context manager."""

    def __init__(self) -> None:
        self._sessions: dict[Hashable, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    def _opened(self, key: Hashable, make: Callable[[], aiohttp.ClientSession]) -> aiohttp.ClientSession:
        """The session of a key, made where there is none. Raises what `make` raises."""
        session = self._sessions.get(key)
        if session is None or session.closed:
            session = self._sessions[key] = make()
        return session


class TooLargeError(Exception):
    """The answer has more bytes than were allowed."""


async def read_bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body, at most `most` bytes after decompression. Raises TooLargeError for more."""
    if response.content_length is not None and response.content_length > most:
        raise TooLargeError
    data = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        data += chunk
        if len(data) > most:
            raise TooLargeError
    return bytes(data)
