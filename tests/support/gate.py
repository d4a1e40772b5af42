"""A gate before a server: TCP is passed on while it is open, and nobody comes through while it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field


@dataclass
class Gate:
    """`port` is where it listens, the same after it was closed and opened again. Use it in one event loop."""

    target: int
    port: int = 0
    _server: asyncio.Server | None = None
    _passing: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def open(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Cut all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._passing):
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._passing |= {writer, back}
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            self._passing -= {writer, back}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def gate_to(port: int) -> AsyncGenerator[Gate]:
    """An open gate to a port of this machine."""
    gate = Gate(port)
    await gate.open()
    try:
        yield gate
    finally:
        gate.close()
