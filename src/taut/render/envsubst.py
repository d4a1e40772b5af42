"""The expansion that Flux's substitution does: `${name}` and bash's functions on it. Pure.

The rules are those of github.com/fluxcd/pkg/envsubst, checked against its documented cases: `$$` gives `$`; `${name:=text}`,
`${name:-text}` and `${name=text}` give a default when the value is empty; `${name:?text}`, `${name:+text}` act as plain defaults too;
`^ ^^ , ,,` change case, `# ## % %%` cut, `/ // /# /%` replace, `:from:length` slices, `${#name}` counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from taut.render.wildcard import Token, literal, prefixes

NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_WORD = re.compile(r"\w+")
_DEFAULTS = (":=", ":-", ":?", ":+")
_MAX_NESTING = 32


class SubstitutionError(ValueError):
    """A text cannot be expanded; the message says why, and never holds a value."""


def expand(text: str, variables: Mapping[str, str], *, strict: bool) -> str:
    """`text` with every variable in its place.

    An unknown variable without a default is empty, or with `strict` raises SubstitutionError, as does what is malformed.
    """
    return _Expander(text, variables, strict).all()


class _Expander:
    def __init__(self, text: str, variables: Mapping[str, str], strict: bool) -> None:
        self._text = text
        self._at = 0
        self._variables = variables
        self._strict = strict
        self._nesting = 0

    def all(self) -> str:
        parts: list[str] = []
        while self._at < len(self._text):
            dollar = self._text.find("$", self._at)
            if dollar < 0:
                parts.append(self._text[self._at :])
                break
            parts.append(self._text[self._at : dollar])
            self._at = dollar
            if self._starts("$$"):
                parts.append("$")
                self._at += 2
            elif self._starts("${"):
                parts.append(self._expression())
            else:
                parts.append("$")
                self._at += 1
        return "".join(parts)

    def _starts(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _accept(self, *texts: str) -> str:
        for text in texts:
            if self._starts(text):
                self._at += len(text)
                return text
        return ""

    def _expression(self) -> str:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise SubstitutionError("the expressions are nested too deeply")
        self._at += 2
        value = self._length() if self._accept("#") else self._variable()
        if not self._accept("}"):
            raise SubstitutionError("an expression has no closing brace")
        self._nesting -= 1
        return value

    def _name(self) -> str:
        found = _WORD.match(self._text, self._at)
        if not found:
            raise SubstitutionError(f"after '${{' a name is expected, not {self._text[self._at : self._at + 10]!r}")
        self._at = found.end()
        return found[0]

    def _value(self, name: str) -> str:
        if name not in self._variables and self._strict:
            raise SubstitutionError(f"the variable {name} is not set")
        return self._variables.get(name, "")

    def _length(self) -> str:
        return str(len(self._value(self._name()).encode()))

    def _variable(self) -> str:
        name = self._name()
        if self._accept(*_DEFAULTS, "="):
            default = self._until("}")
            return self._variables.get(name) or default
        value = self._value(name)
        if case := self._accept("^^", "^", ",,", ","):
            return _cased(value, case)
        if cut := self._accept("##", "#", "%%", "%"):
            return _cut(value, self._until("}"), cut)
        if replace := self._accept("//", "/#", "/%", "/"):
            pattern = self._until("/", escapes=True)
            if not self._accept("/"):
                raise SubstitutionError("a replacement has no second '/'")
            return _replaced(value, pattern, self._until("}", escapes=True), replace)
        if self._accept(":"):
            start = self._until(":}")
            length = self._until("}") if self._accept(":") else None
            return _slice(value, start, length)
        return value

    def _until(self, ends: str, *, escapes: bool = False) -> str:
        """The text up to one of `ends`, with the expressions in it expanded."""
        parts: list[str] = []
        while self._at < len(self._text) and self._text[self._at] not in ends:
            if self._starts("${"):
                parts.append(self._expression())
            elif escapes and (self._starts("\\/") or self._starts("\\\\") or self._starts("$$")):
                parts.append(self._text[self._at + 1])
                self._at += 2
            else:
                parts.append(self._text[self._at])
                self._at += 1
        return "".join(parts)


def _cased(value: str, how: str) -> str:
    change = str.upper if "^" in how else str.lower
    return change(value) if len(how) == 2 else change(value[:1]) + value[1:]


def _cut(value: str, pattern: str, how: str) -> str:
    """Cut the shortest or longest beginning (`#`) or end (`%`) that matches a shell pattern and is not empty."""
    from_end = "%" in how
    text = value[::-1] if from_end else value
    tokens = [
        Token(_any, many=True) if c == "*" else Token(_any) if c == "?" else literal(c)
        for c in (pattern[::-1] if from_end else pattern)
    ]
    lengths = [n for n in prefixes(tokens, text) if n]
    if not lengths:
        return value
    rest = text[lengths[-1] if len(how) == 2 else lengths[0] :]
    return rest[::-1] if from_end else rest


def _any(_: str) -> bool:
    return True


def _replaced(value: str, pattern: str, new: str, how: str) -> str:
    if how == "//":
        return value.replace(pattern, new)
    if how == "/#":
        return new + value[len(pattern) :] if value.startswith(pattern) else value
    if how == "/%":
        return value[: len(value) - len(pattern)] + new if value.endswith(pattern) else value
    return value.replace(pattern, new, 1)


def _slice(value: str, start: str, length: str | None) -> str:
    """bash's substring; a number that cannot be read leaves the value as it is."""
    try:
        first = int(start)
        count = None if length is None else int(length)
    except ValueError:
        return value
    first = max(0, len(value) + first) if first < 0 else first
    if count is None:
        return value[first:]
    end = len(value) + count if count < 0 else first + count
    return value[first:end] if end > first else ""
