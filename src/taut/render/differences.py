"""Where two JSON values differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def differing_paths(one: Any, two: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of the leaves at which the values differ; the empty path when they differ as a whole."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            inner = f"{path}.{key}" if path else str(key)
            if key in one and key in two:
                yield from differing_paths(one[key], two[key], inner)
            else:
                yield inner
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for number, (a, b) in enumerate(zip(one, two, strict=True)):
            yield from differing_paths(a, b, f"{path}[{number}]")
    elif one != two:
        yield path
