"""Reading, changing and removing what lies at a path, without touching the original."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taut.planning.fields import MISSING, Path, get
from taut.planning.lists import ListKeys, ListKind, element_key, index


def keyed(body: Any, steps: Sequence[str | int], keys: ListKeys) -> Path:
    """A path of names and positions (of a JSON pointer or jq) as a field path, with merge keys where the list has them."""
    path: Path = ()
    value = body
    for step in steps:
        if isinstance(value, list):
            position = int(step) if str(step).isascii() and str(step).isdigit() else -1
            element = value[position] if 0 <= position < len(value) else MISSING
            path, value = (*path, _element(element, position, path, keys)), element
        else:
            path, value = (*path, f"f:{step}"), value.get(str(step), MISSING) if isinstance(value, dict) else MISSING
    return path


def _element(element: Any, position: int, path: Path, keys: ListKeys) -> str:
    kind = keys.type_of(path)
    if kind.kind is ListKind.MAP:
        return element_key(element, kind.keys) or f"i:{position}"
    if kind.kind is ListKind.SET and element is not MISSING:
        return next(iter(index([element], kind) or {}), f"i:{position}")
    return f"i:{position}"


def is_atomic_inside(path: Path) -> bool:
    """Whether `path` leads through an element of a list that is one value."""
    return any(element.startswith("i:") for element in path)


def changed(body: Any, path: Path, value: Any) -> Any:
    """A copy of `body` with `value` at `path` (MISSING removes it). What lies beside the path is shared, not copied.

    Missing maps on the way are made; a missing list element ends it: there is nothing to change.
    """
    if not path:
        return value
    element, rest = path[0], path[1:]
    if element.startswith("f:"):
        return _changed_map(body, element[2:], rest, value)
    if not isinstance(body, list):
        return body
    found = get(body, (element,))
    if found is MISSING:
        return body
    at = int(element[2:]) if element.startswith("i:") else next(n for n, item in enumerate(body) if item is found)
    new = changed(found, rest, value)
    return [*body[:at], *([] if new is MISSING else [new]), *body[at + 1 :]]


def _changed_map(body: Any, name: str, rest: Path, value: Any) -> Any:
    if not isinstance(body, dict):
        if value is MISSING or body is not MISSING:
            return body
        body = {}
    below = body.get(name, MISSING)
    if rest and below is MISSING and value is MISSING:
        return body
    new = changed(below, rest, value)
    if new is MISSING:
        return {k: v for k, v in body.items() if k != name}
    return {**body, name: new}


def without(body: Any, paths: Iterable[Path]) -> Any:
    """A copy of `body` without what lies at these paths. List positions refer to the list as it was."""
    for path in sorted(paths, reverse=True, key=_by_position):
        if path:
            body = changed(body, path, MISSING)
    return body


def _by_position(path: Path) -> tuple[tuple[str, int, str], ...]:
    return tuple((e[:2], int(e[2:]), "") if e.startswith("i:") else (e[:2], 0, e[2:]) for e in path)
