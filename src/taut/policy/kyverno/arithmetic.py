"""Kyverno's arithmetic in JMESPath: on numbers, quantities and durations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from jmespath.functions import signature

from taut.policy.kyverno.errors import PolicyError
from taut.policy.quantities import duration, duration_text, quantity, quantity_text

_OPERAND: Any = {"types": ["string", "number"]}
_NUMBER, _QUANTITY, _DURATION = "number", "quantity", "duration"


@dataclass(frozen=True, slots=True)
class _Operand:
    kind: str
    value: Decimal
    text: str = ""


def _operand(value: Any, name: str) -> _Operand:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _Operand(_NUMBER, Decimal(str(value)))
    if isinstance(value, str):
        amount = quantity(value)
        if amount is not None:
            return _Operand(_QUANTITY, amount, value)
        span = duration(value)
        if span is not None:
            return _Operand(_DURATION, Decimal(span), value)
    raise PolicyError(f"{name}: {str(value)[:40]!r} is neither a number nor a quantity nor a duration")


def _pair(a: Any, b: Any, name: str) -> tuple[_Operand, _Operand]:
    """Two operands; `30m` beside a duration is half an hour, and else thirty thousandths."""
    first, second = _operand(a, name), _operand(b, name)
    kinds = {first.kind, second.kind}
    if kinds == {_QUANTITY, _DURATION}:
        first, second = (_as_duration(o) for o in (first, second))
    return first, second


def _as_duration(operand: _Operand) -> _Operand:
    span = duration(operand.text)
    return _Operand(_DURATION, Decimal(span), operand.text) if span is not None else operand


def _plain(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _result(kind: str, value: Decimal, like: str) -> Any:
    if kind == _NUMBER:
        return _plain(value)
    return quantity_text(value, like) if kind == _QUANTITY else duration_text(int(value))


def _alike(name: str, a: Any, b: Any, combine: Callable[[Decimal, Decimal], Decimal]) -> Any:
    """Of two operands of one kind, a value of that kind."""
    first, second = _pair(a, b, name)
    if first.kind != second.kind:
        raise PolicyError(f"{name}: a {first.kind} and a {second.kind} do not go together")
    return _result(first.kind, combine(first.value, second.value), first.text)


def _nonzero(name: str, operand: _Operand) -> Decimal:
    if operand.value == 0:
        raise PolicyError(f"{name}: division by zero")
    return operand.value


class Arithmetic:
    """The functions, for the class of all."""

    @signature(_OPERAND, _OPERAND)
    def _func_add(self, a: Any, b: Any) -> Any:
        return _alike("add", a, b, lambda x, y: x + y)

    @signature({"types": ["array"]})
    def _func_sum(self, values: list[Any]) -> Any:
        if not values:
            return 0
        total: Any = values[0]
        for value in values[1:]:
            total = _alike("sum", total, value, lambda x, y: x + y)
        return total

    @signature(_OPERAND, _OPERAND)
    def _func_subtract(self, a: Any, b: Any) -> Any:
        return _alike("subtract", a, b, lambda x, y: x - y)

    @signature(_OPERAND, _OPERAND)
    def _func_multiply(self, a: Any, b: Any) -> Any:
        first, second = _operand(a, "multiply"), _operand(b, "multiply")
        if _NUMBER not in {first.kind, second.kind}:
            raise PolicyError("multiply: one of the two has to be a number")
        typed = second if first.kind == _NUMBER else first
        return _result(typed.kind, first.value * second.value, typed.text)

    @signature(_OPERAND, _OPERAND)
    def _func_divide(self, a: Any, b: Any) -> Any:
        first, second = _pair(a, b, "divide")
        value = first.value / _nonzero("divide", second)
        if second.kind == _NUMBER:
            return _result(first.kind, value, first.text)
        if first.kind != second.kind:
            raise PolicyError(f"divide: a {first.kind} cannot be divided by a {second.kind}")
        return _plain(value)

    @signature(_OPERAND, _OPERAND)
    def _func_modulo(self, a: Any, b: Any) -> Any:
        _nonzero("modulo", _operand(b, "modulo"))
        return _alike("modulo", a, b, lambda x, y: x - (x / y).to_integral_value(ROUND_DOWN) * y)

    @signature({"types": ["number"]}, {"types": ["number"]})
    def _func_round(self, value: float, digits: float) -> Any:
        if digits < 0 or digits > 30:
            raise PolicyError("round: the number of digits has to be between 0 and 30")
        step = Decimal(1).scaleb(-int(digits))
        return _plain(Decimal(str(value)).quantize(step, ROUND_HALF_UP))
