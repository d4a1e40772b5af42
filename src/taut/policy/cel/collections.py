"""Lists and regular expressions beyond the standard library (Kubernetes' CEL library, `lists`, `regex`)."""

from __future__ import annotations

import itertools
from typing import Any

from taut.documents import re2
from taut.policy.cel.errors import CelError
from taut.policy.cel.functions import ANY, Function

_RENAMED = {"indexOf": "indexOfAny", "lastIndexOf": "lastIndexOfAny"}


def renamed(name: str) -> str:
    """The engine has these for texts only, and a name can be declared once."""
    return _RENAMED.get(name, name)


def _ordered(values: list[Any]) -> list[Any]:
    kinds = {bool if isinstance(v, bool) else float if isinstance(v, int | float) else type(v) for v in values}
    if len(kinds) > 1 or kinds & {dict, list, type(None)}:
        raise CelError("no such overload")
    return values


def _extreme(pick: Any, name: str) -> Any:
    def find(values: list[Any]) -> Any:
        if not values:
            raise CelError(f"{name} called on empty list")
        return pick(_ordered(values))

    return find


def _is_sorted(values: list[Any]) -> bool:
    _ordered(values)
    return all(a <= b for a, b in itertools.pairwise(values))


def _sum(values: list[Any]) -> Any:
    if any(isinstance(v, dict | list | str | bytes | bool) for v in values):
        raise CelError("no such overload")
    if not values:
        return 0
    total = values[0]
    for value in values[1:]:
        total += value
    return total


def _same(a: Any, b: Any) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _index(value: Any, wanted: Any) -> int:
    if isinstance(value, str):
        return value.find(_text(wanted))
    return next((i for i, v in enumerate(value) if _same(v, wanted)), -1)


def _index_from(value: str, wanted: str, start: int) -> int:
    if not 0 <= start <= len(value):
        raise CelError(f"index out of range: {start}")
    return value.find(wanted, start)


def _last_index(value: Any, wanted: Any) -> int:
    if isinstance(value, str):
        return value.rfind(_text(wanted))
    return next((i for i in range(len(value) - 1, -1, -1) if _same(value[i], wanted)), -1)


def _last_index_to(value: str, wanted: str, end: int) -> int:
    if not 0 <= end <= len(value):
        raise CelError(f"index out of range: {end}")
    return value.rfind(wanted, 0, end + len(wanted))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise CelError("no such overload")
    return value


def _find(value: str, wanted: str) -> str:
    found = _find_all(value, wanted)
    return found[0] if found else ""


def _find_all(value: str, wanted: str, most: int = -1) -> list[str]:
    try:
        found = re2.found(wanted, value)
    except re2.ExpressionError as error:
        raise CelError(str(error)) from None
    return found if most < 0 else found[:most]


def _escape_key(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")


FUNCTIONS = (
    Function("isSorted", ("l",), _is_sorted, member=True, result="b"),
    Function("sum", ("l",), _sum, member=True),
    Function("min", ("l",), _extreme(min, "min"), member=True),
    Function("max", ("l",), _extreme(max, "max"), member=True),
    Function("indexOfAny", ("sl", ANY), _index, member=True, result="i"),
    Function("indexOfAny", ("s", "s", "i"), _index_from, member=True, result="i"),
    Function("lastIndexOfAny", ("sl", ANY), _last_index, member=True, result="i"),
    Function("lastIndexOfAny", ("s", "s", "i"), _last_index_to, member=True, result="i"),
    Function("find", ("s", "s"), _find, member=True, result="s"),
    Function("findAll", ("s", "s"), _find_all, member=True),
    Function("findAll", ("s", "s", "i"), _find_all, member=True),
    Function("jsonpatch.escapeKey", ("s",), _escape_key, result="s"),
)
