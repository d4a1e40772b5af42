"""JSON patches (RFC 6902), as Kyverno applies them: parents of an addition that are missing are made, and what is gone need not be removed."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any


class PatchError(Exception):
    """An operation that is wrong, or cannot be done."""


def patched(document: dict[str, Any], patch: Sequence[Any]) -> dict[str, Any]:
    """A document with a patch applied; the arguments stay as they are. Raises PatchError when an operation is wrong or cannot be done."""
    result: Any = copy.deepcopy(document)
    for operation in patch:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError("an operation of a JSON patch has to be a mapping with a path")
        result = _applied(result, operation)
    if not isinstance(result, dict):
        raise PatchError("a JSON patch left no object")
    return result


def _applied(document: Any, operation: dict[str, Any]) -> Any:
    path, value = operation["path"], operation.get("value")
    match operation.get("op"):
        case "add":
            return _add(document, path, copy.deepcopy(value))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            return _replace(document, path, copy.deepcopy(value))
        case "test":
            if _get(document, path) != value:
                raise PatchError(f"the JSON patch tests {path}, and the value differs")
            return document
        case "copy":
            return _add(document, path, copy.deepcopy(_get(document, str(operation.get("from")))))
        case "move":
            moved = _get(document, str(operation.get("from")))
            return _add(_remove(document, str(operation.get("from"))), path, moved)
        case other:
            raise PatchError(f"a JSON patch has no operation {other!r}")


def _steps(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise PatchError(f"the path {path!r} of a JSON patch has to begin with /")
    return [s.replace("~1", "/").replace("~0", "~") for s in path[1:].split("/")]


def _get(document: Any, path: str) -> Any:
    value = document
    for step in _steps(path):
        value = _child(value, step, path)
    return value


def _child(value: Any, step: str, path: str) -> Any:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list):
        index = _index(value, step, path)
        if index < len(value):
            return value[index]
    raise PatchError(f"the JSON patch leads to nothing at {path}")


def _index(value: list[Any], step: str, path: str) -> int:
    if step == "-":
        return len(value)
    if step.lstrip("-").isdigit():
        index = int(step)
        if -len(value) <= index <= len(value):
            return index if index >= 0 else len(value) + index
        if index == -1:
            return 0
    raise PatchError(f"the JSON patch leads to nothing at {path}")


def _parent(document: Any, path: str) -> tuple[Any, str]:
    steps = _steps(path)
    value = document
    for step in steps[:-1]:
        value = _child(value, step, path)
    return value, steps[-1]


def _add(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    steps = _steps(path)
    parent = document
    for step, following in itertools.pairwise(steps):
        parent = _made(parent, step, following, path)
    step = steps[-1]
    if isinstance(parent, dict):
        parent[step] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, step, path), value)
    else:
        raise PatchError(f"the JSON patch leads to nothing at {path}")
    return document


def _made(parent: Any, step: str, following: str, path: str) -> Any:
    """A child, made where there is none: a list if the next step is an index."""
    empty: Any = [] if following == "-" or following.lstrip("-").isdigit() else {}
    if isinstance(parent, dict):
        if parent.get(step) is None:
            parent[step] = empty
        return parent[step]
    if isinstance(parent, list):
        index = len(parent) - 1 if step == "-1" and parent else 0 if step == "-1" else _index(parent, step, path)
        if index == len(parent):
            parent.append(empty)
        return parent[index]
    raise PatchError(f"the JSON patch leads to nothing at {path}")


def _replace(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, step = _parent(document, path)
    parent[_index(parent, step, path) if isinstance(parent, list) else step] = value
    return document


def _remove(document: Any, path: str) -> Any:
    try:
        _get(document, path)
    except PatchError:
        return document
    parent, step = _parent(document, path)
    del parent[_index(parent, step, path) if isinstance(parent, list) else step]
    return document
