"""How one value is held against one pattern (Kyverno, engine/pattern): operators, ranges, durations, quantities, wildcards."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from taut.policy.kyverno.wildcard import matches
from taut.policy.quantities import duration, quantity

_NUMBER = r"[-+]?\d+(?:\.\d+)?[A-Za-z]*"
_RANGE = re.compile(rf"^({_NUMBER})-({_NUMBER})$")
_NOT_RANGE = re.compile(rf"^({_NUMBER})!-({_NUMBER})$")
_OPERATORS = (">=", "<=", ">", "<", "!")


def fits(value: Any, pattern: Any) -> bool:
    """Whether a value is as a leaf of a pattern wants it."""
    match pattern:
        case bool():
            return isinstance(value, bool) and value == pattern
        case int() | float():
            return _number_fits(value, pattern)
        case None:
            return value is None or (isinstance(value, str | bool | int | float) and not value)
        case str():
            return _text_fits(value, pattern)
        case dict():
            return isinstance(value, dict)
        case _:
            return False


def _number_fits(value: Any, pattern: float) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return value == pattern
    if isinstance(value, str):
        try:
            return float(value) == pattern
        except ValueError:
            return False
    return False


def _text_fits(value: Any, pattern: str) -> bool:
    if value == pattern:
        return True
    return any(all(_one(value, part) for part in option) for option in _parsed(pattern))


type _Part = tuple[str, str, str]
"""An operator and its operands: the second is of ranges only."""


@lru_cache(maxsize=8192)
def _parsed(pattern: str) -> tuple[tuple[_Part, ...], ...]:
    """Alternatives (`|`) of things that must all hold (`&`)."""
    return tuple(tuple(_part(p.strip()) for p in option.strip().split("&")) for option in pattern.split("|"))


def _part(text: str) -> _Part:
    if found := _RANGE.match(text):
        return ("-", found[1], found[2])
    if found := _NOT_RANGE.match(text):
        return ("!-", found[1], found[2])
    if len(text) >= 2:
        for operator in _OPERATORS:
            if text.startswith(operator):
                return (operator, text[len(operator) :].strip(), "")
    return ("", text, "")


def _one(value: Any, part: _Part) -> bool:
    operator, first, second = part
    if operator == "-":
        return holds(value, ">=", first) and holds(value, "<=", second)
    if operator == "!-":
        return holds(value, "<", first) or holds(value, ">", second)
    return holds(value, operator, first)


def as_text(value: Any) -> str | None:
    """A scalar as Kyverno writes it into a text; None for what is no scalar."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case _:
            return None


def holds(value: Any, operator: str, operand: str) -> bool:
    """Whether `value operator operand`: as durations if both are, or as quantities if both are, or as texts."""
    text = as_text(value)
    if text is None:
        return False
    wanted = duration(operand)
    if wanted is not None and isinstance(value, str):
        found = duration(value)
        if found is not None and _compare(found, operator, wanted):
            return True
    amount = quantity(operand)
    if amount is not None:
        has = quantity(text)
        if has is not None and _compare(has, operator, amount):
            return True
    if operator == "":
        return matches(operand, text)
    return operator == "!" and not matches(operand, text)


def _compare(a: Any, operator: str, b: Any) -> bool:
    match operator:
        case "":
            return a == b
        case "!":
            return a != b
        case ">":
            return a > b
        case "<":
            return a < b
        case ">=":
            return a >= b
        case _:
            return a <= b
