"""Quantities and semantic versions (Kubernetes' CEL library, `quantity` and `semver`)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from taut.policy.cel.errors import CelError
from taut.policy.cel.functions import Function, of_kind, tagged
from taut.policy.quantities import quantity

_NANO = Decimal("1e-9")
_MOST = 200
_LIMIT = 2**63


def _quantity(text: str) -> dict[str, Any]:
    value = quantity(text)
    if value is None:
        raise CelError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    return _of(value)


def _of(value: Decimal) -> dict[str, Any]:
    return tagged("quantity", value=format(value.normalize(), "f"))


def _number(value: Any) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    return Decimal(of_kind(value, "quantity")["value"])


def _is_integer(value: Any) -> bool:
    number = _number(value)
    return number == number.to_integral_value() and -_LIMIT <= number < _LIMIT


def _as_integer(value: Any) -> int:
    if not _is_integer(value):
        raise CelError("cannot convert value to integer")
    return int(_number(value))


def _sign(value: Any) -> int:
    number = _number(value)
    return (number > 0) - (number < 0)


def _quantize(value: Decimal) -> Decimal:
    return value if value == value.quantize(_NANO) else value.quantize(_NANO)


_SEMVER = re.compile(
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$"
)


def _normal(text: str) -> str:
    """`v1.2` as `1.2.0`, leading zeros gone (semver with normalisation, Kubernetes 1.33)."""
    head = re.match(r"^v?([0-9.]*)(.*)$", text.strip())
    numbers = [str(int(n)) if n.isdigit() else n for n in (head[1] if head else "").split(".")]
    return ".".join(([*numbers, "0", "0"])[: max(3, len(numbers))]) + (head[2] if head else "")


def _version(text: str, normalise: bool = False) -> dict[str, Any]:
    text = _normal(text) if normalise else text
    found = _SEMVER.match(text) if len(text) <= _MOST else None
    if not found:
        raise CelError("the text is no semantic version")
    return tagged("semver", major=int(found[1]), minor=int(found[2]), patch=int(found[3]), pre=found[4] or "")


def _is_version(text: str, normalise: bool = False) -> bool:
    try:
        _version(text, normalise)
    except CelError:
        return False
    return True


def _order(version: dict[str, Any]) -> tuple[Any, ...]:
    """Precedence (semver.org, item 11)."""
    numbers = (version["major"], version["minor"], version["patch"])
    if not version["pre"]:
        return (*numbers, 1, ())
    parts = tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in version["pre"].split("."))
    return (*numbers, 0, parts)


def _compare(a: Any, b: Any) -> int:
    of_kind(a, "quantity", "semver")
    if a.get("value") is None:
        of_kind(b, "semver")
        left, right = _order(a), _order(b)
        return (left > right) - (left < right)
    first, second = _number(a), _number(b)
    return (first > second) - (first < second)


def _part(name: str) -> Function:
    return Function(name, ("m",), lambda v: of_kind(v, "semver")[name], member=True, result="i")


FUNCTIONS = (
    Function("quantity", ("s",), _quantity),
    Function("isQuantity", ("s",), lambda t: quantity(t) is not None, result="b"),
    Function("isInteger", ("m",), _is_integer, member=True, result="b"),
    Function("asInteger", ("m",), _as_integer, member=True, result="i"),
    Function("asApproximateFloat", ("m",), lambda v: float(_number(v)), member=True, result="d"),
    Function("sign", ("m",), _sign, member=True, result="i"),
    Function("add", ("m", "mi"), lambda a, b: _of(_quantize(_number(a) + _number(b))), member=True),
    Function("sub", ("m", "mi"), lambda a, b: _of(_quantize(_number(a) - _number(b))), member=True),
    Function("isLessThan", ("m", "m"), lambda a, b: _compare(a, b) < 0, member=True, result="b"),
    Function("isGreaterThan", ("m", "m"), lambda a, b: _compare(a, b) > 0, member=True, result="b"),
    Function("compareTo", ("m", "m"), _compare, member=True, result="i"),
    Function("semver", ("s",), _version),
    Function("semver", ("s", "b"), _version),
    Function("isSemver", ("s",), _is_version, result="b"),
    Function("isSemver", ("s", "b"), _is_version, result="b"),
    _part("major"),
    _part("minor"),
    _part("patch"),
)
