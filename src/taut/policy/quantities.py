"""Quantities and durations, as Kubernetes (resource.Quantity) and Go (time.ParseDuration) read them."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d{1,4})?$")
_FACTORS = {
    "": Decimal(1),
    **{s + "i": Decimal(1024) ** n for n, s in enumerate("KMGTPE", 1)},
    **{s: Decimal(1000) ** n for n, s in enumerate("kMGTPE", 1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}
_LONGEST = 200
_DURATION = re.compile(r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$")
_PIECE = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def quantity(text: str) -> Decimal | None:
    """A quantity's value; None for other text."""
    found = _QUANTITY.match(text) if len(text) <= _LONGEST else None
    if not found:
        return None
    number, suffix = found[1], found[2] or ""
    try:
        factor = _FACTORS[suffix] if suffix in _FACTORS else Decimal("1" + suffix)
        return Decimal(number) * factor
    except InvalidOperation:
        return None


def duration(text: str) -> int | None:
    """A duration in nanoseconds (`1h30m`; a bare `0` is one as well); None for other text."""
    if text in {"0", "+0", "-0"}:
        return 0
    if len(text) > _LONGEST or not _DURATION.match(text):
        return None
    total = sum(Decimal(n) * _NANOSECONDS[unit] for n, unit in _PIECE.findall(text))
    return -int(total) if text.startswith("-") else int(total)


def duration_text(nanoseconds: int) -> str:
    """A duration as Go prints it: `1h30m0s`, `1.5s`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-" if nanoseconds < 0 else ""), abs(nanoseconds)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if rest < size * 1_000 and rest < _NANOSECONDS["s"]:
            return f"{sign}{_plain(Decimal(rest) / size)}{unit}"
    hours, rest = divmod(rest, _NANOSECONDS["h"])
    minutes, rest = divmod(rest, _NANOSECONDS["m"])
    text = f"{_plain(Decimal(rest) / _NANOSECONDS['s'])}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


_BINARY, _DECIMAL = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), ("", "k", "M", "G", "T", "P", "E")


def quantity_text(value: Decimal, like: str = "") -> str:
    """A quantity in canonical form (resource.Quantity's String), with the kind of suffix that the quantity `like` has."""
    if like.endswith("i") and value == value.to_integral_value() and abs(value) >= 1024:
        number, step = int(value), 0
        while number % 1024 == 0 and step < len(_BINARY) - 1:
            number, step = number // 1024, step + 1
        return f"{number}{_BINARY[step]}"
    if value == value.to_integral_value():
        number, step = int(value), 0
        while number and number % 1000 == 0 and step < len(_DECIMAL) - 1:
            number, step = number // 1000, step + 1
        return f"{number}{_DECIMAL[step]}"
    for suffix, size in (("m", 3), ("u", 6), ("n", 9)):
        scaled = value.scaleb(size)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{int(value.scaleb(9).to_integral_value(rounding='ROUND_CEILING'))}n"
