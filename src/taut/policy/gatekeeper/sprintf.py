"""`sprintf` as OPA has it: Go's verbs, and its marks for arguments that are missing, too many or of the wrong type."""

from __future__ import annotations

import re
from typing import Any

import orjson

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d{1,3})?(?:\.(?P<precision>\d{1,3}))?(?P<verb>[a-zA-Z%])?")
_KINDS = {
    "v": None,
    "s": str,
    "q": str,
    "d": int,
    "x": None,
    "X": None,
    "t": bool,
    "f": float,
    "e": float,
    "g": float,
    "T": None,
}


def sprintf(template: str, values: list[Any]) -> str:
    """The text with its values put in. Never raises for what they are."""
    used = 0

    def put(found: re.Match[str]) -> str:
        nonlocal used
        verb = found["verb"]
        if verb == "%":
            return "%"
        if verb is None:
            return "%!(NOVERB)"
        if used >= len(values):
            return f"%!{verb}(MISSING)"
        used += 1
        return _formatted(values[used - 1], found)

    text = _VERB.sub(put, template)
    if used < len(values):
        rest = ", ".join(f"{_type(v)}={_plain(v)}" for v in values[used:])
        text += f"%!(EXTRA {rest})"
    return text


def _formatted(value: Any, found: re.Match[str]) -> str:
    verb = found["verb"]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match verb:
        case "v":
            text = _plain(value)
        case "s":
            text = _plain(value) if not number and not isinstance(value, bool) else _bad(verb, value)
        case "q":
            text = orjson.dumps(value).decode() if isinstance(value, str) else _bad(verb, value)
        case "d":
            whole = number and float(value).is_integer()
            text = format(int(value), "+d" if "+" in found["flags"] else "d") if whole else _bad(verb, value)
        case "f" | "F" | "e" | "g":
            text = format(float(value), f".{found['precision'] or 6}{verb}") if number else _bad(verb, value)
        case "t":
            text = _plain(value) if isinstance(value, bool) else _bad(verb, value)
        case "x" | "X":
            text = (
                _hex(value, verb) if isinstance(value, int | str) and not isinstance(value, bool) else _bad(verb, value)
            )
        case "T":
            text = _type(value)
        case _:
            text = _bad(verb, value)
    width = int(found["width"] or 0)
    if "-" in found["flags"]:
        return text.ljust(width)
    return text.rjust(width, "0" if "0" in found["flags"] and number else " ")


def _hex(value: Any, verb: str) -> str:
    text = format(value, "x") if isinstance(value, int) else value.encode().hex()
    return text.upper() if verb == "X" else text


def _bad(verb: str, value: Any) -> str:
    return f"%!{verb}({_type(value)}={_plain(value)})"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "int"
    return "float64" if isinstance(value, float) else "string"


def _plain(value: Any) -> str:
    """A value as OPA prints it: texts bare at the top, everything else as its term."""
    return value if isinstance(value, str) else _term(value)


def _term(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case str():
            return orjson.dumps(value).decode()
        case list() | tuple():
            return "[" + ", ".join(_term(v) for v in value) + "]"
        case set() | frozenset():
            return "{" + ", ".join(sorted(_term(v) for v in value)) + "}" if value else "set()"
        case dict():
            pairs = ", ".join(f"{_term(k)}: {_term(v)}" for k, v in sorted(value.items(), key=lambda p: str(p[0])))
            return "{" + pairs + "}"
        case _:
            return str(value)
