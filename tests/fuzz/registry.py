"""Everything of taut that reads what strangers wrote, each as a function of bytes that also holds the promises of its result.

A parser here may raise `TautError` and nothing else; what it says fits on a terminal. Each has words that its input is made of (for Hypothesis
and for the coverage-guided driver) and some inputs that are right.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from taut.model.errors import TautError


@dataclass(frozen=True)
class Parser:
    """One parser: what it is called, what it does with bytes, the words of its language, and inputs that are right."""

    name: str
    run: Callable[[bytes], object]
    words: tuple[str, ...] = ()
    right: tuple[bytes, ...] = ()


PARSERS: dict[str, Parser] = {}


def parser(
    words: str = "", *, right: tuple[bytes | str, ...] = ()
) -> Callable[[Callable[[bytes], object]], Callable[..., object]]:
    """Register a function under its own name. `words` are parted by ¦."""

    def register(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        good = tuple(r.encode() if isinstance(r, str) else r for r in right)
        PARSERS[run.__name__] = Parser(run.__name__, run, tuple(filter(None, words.split("¦"))), good)
        return run

    return register


def hold(name: str, data: bytes) -> None:
    """Run one parser on one input. Whatever comes out that is no TautError, or would play with a terminal, is a fault."""
    try:
        PARSERS[name].run(data)
    except TautError as error:
        _presentable(error)


def _presentable(error: TautError) -> None:
    said = f"{error.what}{error.where}{error.advice}"
    assert error.what, "an error that says nothing"
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in said), repr(said)
    assert not any(c in said for c in "\u202e\u2066\u2069"), repr(said)
    assert "Traceback" not in said


def text_of(data: bytes) -> str:
    """The input as text: every byte counts."""
    return data.decode("utf-8", "replace")


def value_of(data: bytes) -> Any:
    """The input as JSON; None for what is none."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def bodies_of(data: bytes) -> Iterator[dict[str, Any]]:
    """The input's JSON objects: it, or those in its list."""
    value = value_of(data)
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item


@cache
def scratch() -> Path:
    """A folder for parsers that want a file."""
    return Path(tempfile.mkdtemp(prefix="taut-fuzz-"))
