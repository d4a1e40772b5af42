"""What a worker and its parent say to each other: length-prefixed messages over two pipes."""

from __future__ import annotations

import os
import struct

import msgspec

from taut.prison.walls import Held

HEADER = struct.Struct(">Q")
NURSERY_BYTES = 1 << 16
"""The largest message between taut and the nursery."""


class Hello(msgspec.Struct, frozen=True):
    """The first word of a worker: the prison that it is in."""

    held: Held


def read_frame(descriptor: int) -> bytes | None:
    """The next message; None at the end of the stream."""
    header = _read(descriptor, HEADER.size)
    return None if header is None else _read(descriptor, HEADER.unpack(header)[0])


def write_frame(descriptor: int, data: bytes) -> None:
    """Send a message."""
    view = memoryview(HEADER.pack(len(data)) + data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
