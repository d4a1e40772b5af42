"""Preconditions and deny conditions (Kyverno, engine/variables/operator)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import orjson

from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.scalars import as_text, fits
from taut.policy.kyverno.wildcard import has_wildcard, matches
from taut.policy.quantities import duration, quantity

_SECOND = 1_000_000_000


def hold(conditions: Any, resolve: Callable[[Any], Any]) -> tuple[bool, str]:
    """Whether conditions (`any`/`all`, or a list of which all must hold) do, and the message of the one that decided.

    `resolve` substitutes variables; a condition is resolved when it is reached. Raises PolicyError for what is no condition.
    """
    if not conditions:
        return True, ""
    if isinstance(conditions, dict):
        return _any_all(conditions, resolve)
    if not isinstance(conditions, list):
        raise PolicyError("conditions have to be a list, or a mapping of any and all")
    if any(isinstance(c, dict) and ({"any", "all"} & c.keys()) for c in conditions):
        results = [_any_all(c, resolve) for c in conditions]
        return all(r for r, _ in results), next((m for _, m in results if m), "")
    results = [_one(c, resolve) for c in conditions]
    return all(r for r, _ in results), next((m for _, m in results if m), "")


def _any_all(conditions: dict[str, Any], resolve: Callable[[Any], Any]) -> tuple[bool, str]:
    message = ""
    some, every = conditions.get("any") or [], conditions.get("all") or []
    for condition in some:
        good, said = _one(condition, resolve)
        message = said if good and said else message
        if good:
            break
    else:
        if some:
            return False, ""
    for condition in every:
        good, said = _one(condition, resolve)
        message = message or said
        if not good:
            return False, ""
    return True, message


def _one(condition: Any, resolve: Callable[[Any], Any]) -> tuple[bool, str]:
    if not isinstance(condition, dict):
        raise PolicyError("a condition has to be a mapping of key, operator and value")
    key, value = resolve(condition.get("key")), resolve(condition.get("value"))
    return evaluate(key, str(condition.get("operator") or ""), value), str(condition.get("message") or "")


def evaluate(key: Any, operator: str, value: Any) -> bool:
    """One condition. Raises PolicyError for an unknown operator."""
    handler = _HANDLERS.get(operator.lower())
    if handler is None:
        raise PolicyError(f"there is no operator {operator!r}")
    return handler(key, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> Decimal | None:
    if _is_number(value):
        return Decimal(str(value))
    return quantity(value) if isinstance(value, str) else None


def _equals(key: Any, value: Any) -> bool:
    if isinstance(key, bool) or isinstance(value, bool):
        return isinstance(key, bool) and isinstance(value, bool) and key == value
    if _is_number(key):
        return _number_equals(key, value)
    if isinstance(key, str):
        return _text_equals(key, value)
    return key == value


def _number_equals(key: float, value: Any) -> bool:
    if _is_number(value):
        return key == value
    if isinstance(value, str):
        span = duration(value)
        if span is not None and value != "0":
            return key * _SECOND == span
        try:
            return float(value) == key
        except ValueError:
            return False
    return False


def _text_equals(key: str, value: Any) -> bool:
    if isinstance(value, str):
        first, second = duration(key), duration(value)
        if first is not None and second is not None:
            return first == second
        has, wanted = quantity(key), quantity(value)
        if has is not None and wanted is not None:
            return has == wanted
        return matches(value, key)
    if _is_number(value):
        span = duration(key)
        if span is not None and key != "0":
            return span == value * _SECOND
        has = quantity(key)
        return has is not None and has == Decimal(str(value))
    return False


def _values(value: Any) -> list[Any] | None:
    """What a value lists: a list, JSON of one, or itself; None for what lists nothing."""
    match value:
        case list():
            return value
        case str():
            try:
                parsed = orjson.loads(value)
            except orjson.JSONDecodeError:
                return [value]
            return parsed if isinstance(parsed, list) else [value]
        case bool() | int() | float():
            return [value]
        case dict():
            return list(value)
        case _:
            return None


def _in(one: Any, values: Iterable[Any]) -> bool:
    text = as_text(one)
    for value in values:
        if text is None:
            if one == value:
                return True
            continue
        other = as_text(value)
        if other is not None and (matches(other, text) or (has_wildcard(text) and matches(text, other))):
            return True
    return False


def _set(test: Callable[[list[bool]], bool]) -> Callable[[Any, Any], bool]:
    """An operator over sets. Where there is no key, or no list to look in, it does not hold."""

    def evaluate(key: Any, value: Any) -> bool:
        keys = key if isinstance(key, list) else [] if key is None else [key]
        if isinstance(value, str) and keys and _is_range(value):
            return test([fits(k, value) for k in keys])
        values = _values(value)
        if key is None or values is None:
            return False
        return test([_in(k, values) for k in keys])

    return evaluate


def _is_range(value: str) -> bool:
    head, dash, tail = value.partition("-")
    return bool(dash) and quantity(head.rstrip("!")) is not None and quantity(tail) is not None


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def evaluate(key: Any, value: Any) -> bool:
        pair = _comparable(key, value)
        return pair is not None and compare(*pair)

    return evaluate


def _comparable(key: Any, value: Any) -> tuple[Any, Any] | None:
    if isinstance(key, str) and isinstance(value, str):
        first, second = duration(key), duration(value)
        if first is not None and second is not None:
            return first, second
    spans = _span(key), _span(value)
    if (isinstance(key, str) or isinstance(value, str)) and None not in spans and not _both_numbers(key, value):
        return spans
    first, second = _number(key), _number(value)
    if first is not None and second is not None:
        return first, second
    if isinstance(key, str) and isinstance(value, str):
        versions = _version(key), _version(value)
        if versions[0] is not None and versions[1] is not None:
            return versions
    return None


def _both_numbers(key: Any, value: Any) -> bool:
    return _number(key) is not None and _number(value) is not None


def _version(text: str) -> Any:
    import semver

    try:
        return semver.Version.parse(text.removeprefix("v"), optional_minor_and_patch=True)
    except ValueError:
        return None


def _span(value: Any) -> int | None:
    """A duration; bare numbers are seconds."""
    if _is_number(value):
        return int(value * _SECOND)
    if isinstance(value, str):
        found = duration(value)
        if found is not None:
            return found
        try:
            return int(float(value) * _SECOND)
        except (ValueError, OverflowError):
            return None
    return None


def _lasting(compare: Callable[[int, int], bool]) -> Callable[[Any, Any], bool]:
    def evaluate(key: Any, value: Any) -> bool:
        first, second = _span(key), _span(value)
        return first is not None and second is not None and compare(first, second)

    return evaluate


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "greaterthanorequals": lambda a, b: a >= b,
    "greaterthan": lambda a, b: a > b,
    "lessthanorequals": lambda a, b: a <= b,
    "lessthan": lambda a, b: a < b,
}
_HANDLERS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": _equals,
    "equal": _equals,
    "notequals": lambda k, v: not _equals(k, v),
    "notequal": lambda k, v: not _equals(k, v),
    "in": _set(all),
    "anyin": _set(any),
    "allin": _set(all),
    "notin": _set(lambda found: not all(found) if found else True),
    "anynotin": _set(lambda found: not all(found)),
    "allnotin": _set(lambda found: not any(found)),
    **{name: _ordered(compare) for name, compare in _COMPARISONS.items()},
    **{"duration" + name: _lasting(compare) for name, compare in _COMPARISONS.items()},
}
