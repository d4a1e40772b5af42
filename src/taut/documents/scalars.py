"""What a plain scalar means to kubectl: YAML 1.1 as sigs.k8s.io/yaml reads it, turned into JSON.

The rules are those of go.yaml.in/yaml/v2's `resolve` and of sigs.k8s.io/yaml's conversion: dates and base-60 numbers stay strings,
a leading zero is octal when it can be, floats without a fraction become integers, integers beyond 64 bit become floats.
"""

from __future__ import annotations

import math
import re
import struct

type Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO](?P<oct>[0-7]+)|0(?P<old>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DOT_FLOAT = re.compile(r"\.(?:[0-9]+(?:_[0-9]+)*)(?:[eE][-+]?[0-9]+)?")
_BASES = (("dec", 10), ("old", 8), ("hex", 16), ("oct", 8), ("bin", 2))
_LONGEST = 400
"""A longer run of digits is text: no integer or float of Go is as long, and reading it would cost quadratic time."""


def resolve(text: str) -> Scalar:
    """The value of an untagged plain scalar, an integer or a float as it is written (see `json_number`). Infinities and NaN are returned as floats: JSON has none, the caller refuses them."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        return float(text) if _DOT_FLOAT.fullmatch(text) and len(text) < _LONGEST else text
    if first not in "+-0123456789" or len(text) > _LONGEST:
        return text
    plain = text.replace("_", "")
    integer = _integer(plain)
    if integer is not None and -(2**63) <= integer < 2**64:
        return integer
    return float(plain) if _FLOAT.fullmatch(plain) and _finite(plain) else text


def json_number(number: float) -> int | float:
    """A number as JSON readers in Go's ecosystem see it: integral floats are integers, integers beyond 64 bit are floats."""
    if isinstance(number, bool):
        return number
    if isinstance(number, int):
        return number if -(2**63) <= number < 2**63 else float(number)
    if math.isfinite(number) and number.is_integer() and -(2**63) <= number < 2**63:
        return int(number)
    return number


def key_text(value: Scalar) -> str | None:
    """A mapping key as text (`true`, `420`, `1.5`, `7e+06`), the way sigs.k8s.io/yaml writes it; None when it cannot be a key."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value < 2**63 else None
    return None if value is None else _float_key(value)


def _float_key(value: float) -> str:
    """Go's `strconv.FormatFloat(value, 'g', -1, 32)`: the shortest text that gives the same 32-bit float."""
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if not math.isfinite(single):
        return ".nan" if math.isnan(single) else ".inf" if single > 0 else "-.inf"
    texts = (f"{single:.{digits}e}" for digits in range(9))
    text = next(text for text in texts if struct.pack("f", float(text)) == struct.pack("f", single))
    mantissa, _, power = text.partition("e")
    exponent = int(power)
    if not -4 <= exponent < 6:
        return text
    digits = len(mantissa.lstrip("-").replace(".", ""))
    return f"{single:.{max(0, digits - 1 - exponent)}f}"


def _integer(plain: str) -> int | None:
    found = _INTEGER.fullmatch(plain)
    if not found:
        return None
    for name, base in _BASES:
        digits = found[name]
        if digits is not None:
            return -int(digits, base) if found["sign"] == "-" else int(digits, base)
    return None


def _finite(text: str) -> bool:
    return math.isfinite(float(text))
