"""YAML out: block style, one stable form, and nothing that a YAML 1.1 or 1.2 reader would take for something else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taut.model.errors import BadInput

_PLAIN = re.compile(r"[A-Za-z_/.$][A-Za-z0-9_/.$@%+=~^(); \-:]*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "undefined"])
_NUMBER_LIKE = re.compile(r"[-+]?\.?[0-9].*|[-+]?\.(inf|nan)", re.IGNORECASE)
_BLOCK = re.compile(r"[\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MAX_DEPTH = 400


def emit(value: Any) -> str:
    """`value` (JSON types) as one YAML document without a marker. Raises BadInput for what JSON does not have."""
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes) and value:
        return "\n".join(_block(value, 0, 0)) + "\n"
    return _scalar(value, 2) + "\n"


def _block(value: Any, indent: int, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise BadInput(f"nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        yield from _mapping(value, indent, depth)
    else:
        yield from _sequence(value, indent, depth)


def _mapping(value: Mapping[Any, Any], indent: int, depth: int) -> Iterator[str]:
    pad = " " * indent
    for key, item in value.items():
        if not isinstance(key, str):
            raise BadInput(f"{key!r} is no key: keys are text")
        head = f"{pad}{_one_line(key)}:"
        if _is_block(item):
            yield head
            inner = indent if isinstance(item, Sequence) else indent + 2
            yield from _block(item, inner, depth + 1)
        else:
            yield f"{head} {_scalar(item, indent + 2)}"


def _sequence(value: Sequence[Any], indent: int, depth: int) -> Iterator[str]:
    pad = " " * indent
    for item in value:
        if not _is_block(item):
            yield f"{pad}- {_scalar(item, indent + 2)}"
            continue
        lines = _block(item, indent + 2, depth + 1)
        yield f"{pad}- {next(lines)[indent + 2 :]}"
        yield from lines


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _scalar(value: Any, indent: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(str(value), indent)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    raise BadInput(f"a {type(value).__name__} cannot be written as YAML")


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise BadInput(f"{value} is a number that JSON does not have")
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}.0e{power}" if exponent and "." not in mantissa else text


def _text(text: str, indent: int) -> str:
    if "\n" in text and _BLOCK.fullmatch(text) and text.strip("\n ") and not text.startswith("\n"):
        return _literal(text, indent)
    return _one_line(text)


def _literal(text: str, indent: int) -> str:
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    chomp = "-" if ends == 0 else "" if ends == 1 else "+"
    indicator = "2" if body[0] in " \t" else ""
    pad = " " * indent
    lines = [pad + line if line else "" for line in body.split("\n")]
    lines += [""] * (ends - 1)
    return f"|{indicator}{chomp}\n" + "\n".join(lines)


def _one_line(text: str) -> str:
    return text if _is_plain(text) else f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if _BLOCK.fullmatch(char):
        return char
    code = ord(char)
    if 0xD800 <= code < 0xE000:
        raise BadInput("half of a surrogate pair is no text")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_plain(text: str) -> bool:
    if not _PLAIN.fullmatch(text) or text.lower() in _WORDS or _NUMBER_LIKE.fullmatch(text):
        return False
    return ": " not in text and not text.endswith((" ", ":")) and not text.startswith("...") and text not in {"=", "<<"}
