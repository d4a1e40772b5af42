"""When two different texts are the same value: what the API server writes in another form than people do.

Quantities follow `k8s.io/apimachinery` resource.Quantity, durations Go's time.Duration. Whether a field *is* one cannot be told
from its text, so outside of the fields known to be quantities an equal number is a suspicion, never a certainty.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from enum import Enum
from fractions import Fraction
from typing import Any, Final

from taut.planning.fields import Path


class Sameness(Enum):
    """How sure it is that two values are one: DOUBTFUL is for the server to say."""

    SAME = "same"
    DOUBTFUL = "doubtful"
    DIFFERENT = "different"


_QUANTITY = re.compile(
    r"^([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
)
_BINARY = {unit: 1024 ** (n + 1) for n, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def quantity(value: Any) -> Fraction | None:
    """A Kubernetes quantity as a number (`1Gi`, `500m`, `1e3`, 2); None when `value` is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _QUANTITY.match(str(value))
    if match is None:
        return None
    number, suffix = Fraction(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * Fraction(10) ** _DECIMAL[suffix]
    return number * Fraction(10) ** int(suffix[1:])


_DURATION_PART = re.compile(r"([0-9]{1,20}(?:\.[0-9]{0,20})?)(ns|us|µs|μs|ms|s|m|h)")
_DURATION_UNIT = {
    "ns": Fraction(1),
    "us": Fraction(1000),
    "µs": Fraction(1000),
    "μs": Fraction(1000),
    "ms": Fraction(10**6),
    "s": Fraction(10**9),
    "m": Fraction(60 * 10**9),
    "h": Fraction(3600 * 10**9),
}


def duration(value: Any) -> Fraction | None:
    """A Go duration in nanoseconds (`60s` and `1m0s` are equal); None when `value` is none."""
    if not isinstance(value, str):
        return None
    text = value[1:] if value[:1] in "+-" else value
    if text == "0":
        return Fraction(0)
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        return None
    total = sum((Fraction(n) * _DURATION_UNIT[u] for n, u in parts), Fraction(0))
    return -total if value[:1] == "-" else total


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) < 20 or value[10:11] not in "Tt":
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    return when if when.tzinfo else None


def base64_bytes(value: Any) -> bytes | None:
    """The bytes of a base64 text as Go's decoder reads it (line breaks are skipped); None when `value` is none."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return None


# Fields of built-in kinds whose values (or whose map's values) are quantities.
_QUANTITY_MAPS = frozenset({"limits", "requests", "hard", "capacity", "allocatable", "podFixed", "allocatedResources"})
_LIMIT_RANGE_MAPS = frozenset({"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"})
_QUANTITY_FIELDS = frozenset({"sizeLimit", "divisor", "averageValue"})
_BYTES_FIELDS = frozenset({"caBundle"})
_BYTES_MAPS = frozenset({("Secret", "f:data"), ("ConfigMap", "f:binaryData")})


def is_bytes(kind: str, path: Path) -> bool:
    """Whether a built-in kind keeps base64 text at `path`."""
    return path[-1][2:] in _BYTES_FIELDS or (len(path) == 2 and (kind, path[0]) in _BYTES_MAPS)


def _is_quantity(kind: str, path: Path) -> bool:
    names = [element[2:] for element in path if element[:2] == "f:"]
    if not names:
        return False
    parent = names[-2] if len(names) > 1 else ""
    return (
        names[-1] in _QUANTITY_FIELDS
        or parent in _QUANTITY_MAPS
        or (kind == "LimitRange" and parent in _LIMIT_RANGE_MAPS)
        or (kind == "HorizontalPodAutoscaler" and names[-2:] == ["target", "value"])
    )


def same_type(a: Any, b: Any) -> bool:
    """Whether two scalars may be compared with `==`: Python takes True for 1, JSON does not."""
    return isinstance(a, bool) == isinstance(b, bool)


_PLAIN_KINDS: Final = frozenset({"ConfigMap", "Secret"})


def compare_scalars(desired: Any, live: Any, *, kind: str, path: Path, built_in: bool) -> Sameness:
    """Compare two scalars at `path` of an object of `kind`; `built_in` says that its schema is Kubernetes' own."""
    if same_type(desired, live) and desired == live:
        return Sameness.SAME
    if built_in and is_bytes(kind, path):
        decoded = base64_bytes(desired)
        return Sameness.SAME if decoded is not None and decoded == base64_bytes(live) else Sameness.DIFFERENT
    if built_in and (kind in _PLAIN_KINDS or path[:1] == ("f:metadata",)):
        return Sameness.DIFFERENT
    if built_in and _is_quantity(kind, path):
        amount = quantity(desired)
        return Sameness.SAME if amount is not None and amount == quantity(live) else Sameness.DIFFERENT
    return Sameness.DOUBTFUL if _may_be_same(desired, live) else Sameness.DIFFERENT


def _may_be_same(desired: Any, live: Any) -> bool:
    for read in (quantity, duration, _instant):
        value = read(desired)
        if value is not None and value == read(live):
            return True
    return str(desired).strip().lower() == str(live).strip().lower()
