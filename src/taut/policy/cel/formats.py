"""Named formats (Kubernetes' CEL library, `format`): each tells what is wrong with a text."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from taut.policy.cel.errors import CelError
from taut.policy.cel.functions import Function, of_kind, tagged
from taut.policy.cel.network import FUNCTIONS as _NETWORK

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"


def _matches(expression: str, longest: int, what: str) -> Callable[[str], list[str]]:
    known = re.compile(expression)

    def test(text: str) -> list[str]:
        faults = [] if known.fullmatch(text) else [what]
        return faults + ([f"must be no more than {longest} characters"] if len(text) > longest else [])

    return test


_dns_label = _matches(_LABEL, 63, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character")  # fmt: skip
_dns_name = _matches(rf"{_LABEL}(?:\.{_LABEL})*", 253, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character")  # fmt: skip
_dns_1035 = _matches(r"[a-z](?:[-a-z0-9]*[a-z0-9])?", 63, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character")  # fmt: skip
_part = _matches(_QUALIFIED, 63, "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character")  # fmt: skip


def _prefixed(test: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """A name that the API server may complete (generateName): one that ends in a dash."""
    return lambda text: test(text[:-1] + "a" if text.endswith("-") else text)


def _qualified(text: str) -> list[str]:
    prefix, slash, name = text.rpartition("/")
    if slash and "/" not in prefix:
        return _dns_name(prefix) + _part(name)
    return _part(text) if not slash else ["a qualified name has at most one '/'"]


def _label_value(text: str) -> list[str]:
    return _part(text) if text else []


def _uri(text: str) -> list[str]:
    known = next(f for f in _NETWORK if f.name == "isURL")
    return [] if known.implementation(text) else ["the text is no URL"]


def _parsed(parse: Callable[[str], Any], what: str) -> Callable[[str], list[str]]:
    def test(text: str) -> list[str]:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return [what]
        return []

    return test


def _moment(text: str) -> None:
    if "T" not in text.upper():
        raise ValueError
    datetime.fromisoformat(text)


FORMATS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": _dns_label,
    "dns1123Subdomain": _dns_name,
    "dns1035Label": _dns_1035,
    "qualifiedName": _qualified,
    "dns1123LabelPrefix": _prefixed(_dns_label),
    "dns1123SubdomainPrefix": _prefixed(_dns_name),
    "dns1035LabelPrefix": _prefixed(_dns_1035),
    "labelValue": _label_value,
    "uri": _uri,
    "uuid": _parsed(
        lambda t: uuid.UUID(t) if re.fullmatch(r"[0-9a-fA-F-]{36}", t) else uuid.UUID(""),
        "does not match the UUID format",
    ),
    "byte": _parsed(lambda t: base64.b64decode(t, validate=True), "invalid base64"),
    "date": _parsed(
        lambda t: date.fromisoformat(t) if re.fullmatch(r"\d{4}-\d\d-\d\d", t) else date.fromisoformat(""),
        "invalid date",
    ),
    "datetime": _parsed(_moment, "invalid datetime"),
}


def _named(name: str) -> list[dict[str, Any]]:
    return [tagged("format", name=name)] if name in FORMATS else []


def _validate(value: Any, text: str) -> list[list[str]]:
    name = of_kind(value, "format")["name"]
    if name not in FORMATS:
        raise CelError(f"there is no format {name}")
    faults = FORMATS[name](text)
    return [faults] if faults else []


FUNCTIONS = (
    Function("format.named", ("s",), _named, optional=True),
    Function("validate", ("m", "s"), _validate, member=True, optional=True),
    *(Function(f"format.{name}", (), lambda name=name: tagged("format", name=name)) for name in FORMATS),
)
