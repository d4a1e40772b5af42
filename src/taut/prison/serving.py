"""The life of a worker, from inside: into its prison, then one job after the other until nobody speaks to it any more."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from taut.prison import walls
from taut.prison.frames import Hello, read_frame, write_frame

type Ask = Callable[[bytes], bytes]
"""Says something to the parent in the middle of a job, and waits for its answer."""


class ParentGoneError(BaseException):
    """Nobody answers any more: the worker ends. No `Exception`, so that nothing that guards a job against what it runs catches it."""


def serve(arguments: list[str], work: Callable[[bytes, walls.Held, Ask], bytes]) -> int:
    """Enter the prison that `arguments[0]` (JSON) describes, and have `work` answer each message. Returns the exit code."""
    prison = msgspec.json.decode(arguments[0].encode(), type=walls.Prison)
    incoming, outgoing = os.dup(0), os.dup(1)
    silence = os.open("/dev/null", os.O_RDWR)
    os.dup2(silence, 0)
    os.dup2(2, 1)
    held = walls.enter(prison)
    write_frame(outgoing, msgspec.msgpack.encode(Hello(held)))

    def ask(question: bytes) -> bytes:
        write_frame(outgoing, question)
        answer = read_frame(incoming)
        if answer is None:
            raise ParentGoneError
        return answer

    try:
        while (frame := read_frame(incoming)) is not None:
            write_frame(outgoing, work(frame, held, ask))
    except ParentGoneError:
        return 0
    return 0


def packed(message: object) -> bytes:
    """A message in msgpack; integers that do not fit 64 bit are floats, as kubectl reads them."""
    try:
        return msgspec.msgpack.encode(message)
    except OverflowError:
        return msgspec.msgpack.encode(_within_64_bit(msgspec.to_builtins(message, builtin_types=(bytes,))))


def _within_64_bit(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _within_64_bit(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_within_64_bit(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    return value
