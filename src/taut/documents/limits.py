"""How much of a document is read, and what a read document is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taut.model.errors import BadInput, Where


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost. A repository is hostile input: nothing is read past these.

    `bytes` is the file's size, `depth` how far mappings and sequences nest, `documents` how many there are in a file,
    `nodes` how many values the file holds, and `expansion` how many of those may come from aliases (`*name`).
    """

    bytes: int = 16 * 1024 * 1024
    depth: int = 200
    documents: int = 20_000
    nodes: int = 2_000_000
    expansion: int = 100_000


@dataclass(frozen=True, slots=True)
class Document:
    """One document that is not empty: its JSON value, the line of its first token, and its number in the file from 0."""

    body: Any
    line: int
    index: int


def bad(what: str, file: str, line: int, advice: str = "") -> BadInput:
    """The error for a place in a file."""
    return BadInput(what, where=Where(file=file, line=line), advice=advice)
