"""Which mapping or list a comment in YAML belongs to: its path is the additional data that the comment is encrypted with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_NOWHERE = 1 << 30
"""The column of brackets: no comment is indented as they are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a block mapping, an item of a block list, or something in brackets: where it begins, and the path of what it stands in."""

    start: int
    line: int
    column: int
    path: tuple[str, ...]


def entries(node: Any, path: tuple[str, ...] = ()) -> Iterator[Entry]:
    """All entries of a document, in its order. Positions in lists are not part of a path."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            yield Entry(key.start_mark.index, key.start_mark.line, key.start_mark.column, path)
            yield from entries(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for value in node.value:
            yield Entry(value.start_mark.index, value.start_mark.line, node.start_mark.column, path)
            yield from entries(value, path)
    elif isinstance(node, yaml.CollectionNode):
        yield Entry(node.start_mark.index, node.start_mark.line, _NOWHERE, path)


def owner(text: str, at: int, listed: Sequence[Entry]) -> tuple[str, ...]:
    """The path of a comment whose `#` is at a place, as yaml.v3 (which sops reads with) gives comments to nodes.

    Behind a value or a key it goes with that (behind brackets, with what is in them); on a line of its own with what follows; indented further
    than what follows, with the block that ends there.
    """
    line_start = text.rfind("\n", 0, at) + 1
    column = at - line_start
    index = bisect_left(listed, at, key=lambda e: e.start)
    after = listed[index] if index < len(listed) else None
    if text[line_start:at].strip() and index:
        return listed[index - 1].path
    if column <= (after.column if after is not None else 0):
        return after.path if after is not None else ()
    ended = [e for e in reversed(listed[:index]) if e.column <= column]
    return ended[0].path if ended else ()
