"""Label selectors as kubectl writes them: `a=b,c!=d,e,!f,g in (h,i)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from taut.model.errors import BadInput

type Match = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9./_-]*[A-Za-z0-9])?"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s+\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")
_COMMA = re.compile(r",(?![^(]*\))")


def parse_selector(text: str) -> Match:
    """A function that tells whether labels match. Raises BadInput, naming the part that cannot be read."""
    parts = [part.strip() for part in _COMMA.split(text) if part.strip()]
    tests = [_requirement(part) for part in parts]
    return lambda labels: all(test(labels) for test in tests)


def _requirement(part: str) -> Match:
    if found := _SET.match(part):
        key, word = found[1], found[3]
        values = frozenset(value.strip() for value in found[4].split(","))
        if word == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(part):
        key, sign, value = found[1], found[3], found[4]
        if sign == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(part):
        absent, key = bool(found[1]), found[2]
        return lambda labels: (key in labels) is not absent
    raise BadInput(
        f"{part!r} is no label selector",
        advice="write it like `team=web`, `team!=web`, `team in (web,ops)`, `team` or `!team`",
    )
