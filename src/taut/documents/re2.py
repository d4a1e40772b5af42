"""Regular expressions of strangers: RE2, as Go and CEL have them. It takes no longer than the text is, whatever the expression."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

_LONGEST = 2_000
_here = threading.local()


class ExpressionError(Exception):
    """An expression that cannot be read."""


def matches(pattern: str, text: str) -> bool:
    """Whether an expression fits anywhere in a text. Raises ExpressionError."""
    return bool(_value("t.matches(p)", pattern, text))


def replaced(pattern: str, text: str, replacement: str) -> str:
    """A text with every fit replaced; `\\1` in the replacement is the first group. Raises ExpressionError."""
    return str(_value("regex.replace(t, p, r)", pattern, text, replacement))


def found(pattern: str, text: str) -> list[str]:
    """All fits, as they stand in the text. Raises ExpressionError."""
    return list(_value("regex.extractAll(t, p)", uncaptured(pattern), text))


def _value(expression: str, pattern: str, text: str, replacement: str = "") -> Any:
    if len(pattern) > _LONGEST:
        raise ExpressionError(f"a regular expression is longer than {_LONGEST} characters")
    value = _program(expression).eval(data={"t": text, "p": pattern, "r": replacement})
    if value.type().name() == "ERROR":
        reason = str(value.plain_value()).rpartition("regular expression: ")[2]
        raise ExpressionError(f"the regular expression {pattern[:200]!r} cannot be read: {reason[:200]}")
    return value.plain_value()


def _program(expression: str) -> Any:
    known: dict[str, Any] | None = getattr(_here, "programs", None)
    if known is None:
        known = _here.programs = {}
    if expression not in known:
        from cel_expr_python import cel

        names = "\n".join(f"- name: {n}\n  version: latest" for n in ("regex", "optional"))
        config = cel.NewEnvConfigFromYaml(f"name: re2\nextensions:\n{names}\n")
        variables: dict[str, Any] = dict.fromkeys(("t", "p", "r"), cel.Type.STRING)
        known[expression] = cel.NewEnv(config=config, variables=variables).compile(expression)
    return known[expression]


@lru_cache(maxsize=1024)
def uncaptured(pattern: str) -> str:
    """The expression with groups that capture nothing: the engine gives the group where there is one, and the whole is wanted."""
    out: list[str] = []
    at, inside = 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            out.append(pattern[at : at + 2])
            at += 2
            continue
        if inside:
            inside = char != "]"
        elif char == "[":
            inside = True
            if pattern[at + 1 : at + 2] in {"]", "^"}:
                step = 3 if pattern[at + 1 : at + 3] == "^]" else 2
                out.append(pattern[at : at + step])
                at += step
                continue
        elif char == "(" and pattern[at + 1 : at + 2] != "?":
            char = "(?:"
        elif pattern.startswith(("(?P<", "(?<"), at):
            end = pattern.find(">", at)
            out.append("(?:")
            at = end + 1 if end > 0 else len(pattern)
            continue
        out.append(char)
        at += 1
    return "".join(out)
