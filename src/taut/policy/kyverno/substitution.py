"""Variables in policies: `{{ query }}` and `$(path)` (Kyverno, engine/variables)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from taut.policy.kyverno.errors import NotResolvedError, PolicyError
from taut.policy.kyverno.patterns import anchor_of

_VARIABLE = re.compile(r"(?<!\\)\{\{(?:\{[^{}]*\}|[^{}])*\}\}")
_ESCAPED = re.compile(r"\\(\{\{(?:\{[^{}]*\}|[^{}])*\}\})")
_REFERENCE = re.compile(r"(?<!\\)\$\((\.?[^\s()]*)\)")
_ESCAPED_REFERENCE = re.compile(r"\\(\$\([^\s()]*\))")
_OPERATORS = (">=", "<=", ">", "<", "!")
_ROUNDS = 50
_LONGEST = 1_000_000

type Resolver = Callable[[str], Any]
"""A query to its value; raises NotResolvedError when it leads to nothing."""


def has_variables(value: Any) -> bool:
    """Whether there is anything to substitute, anywhere in a value."""
    match value:
        case str():
            return "{{" in value or "$(" in value
        case dict():
            return any(has_variables(k) or has_variables(v) for k, v in value.items())
        case list():
            return any(has_variables(v) for v in value)
        case _:
            return False


def substituted(value: Any, resolve: Resolver, *, nothing: bool = False) -> Any:
    """A value with all variables put in. `nothing`: what leads to nothing is null, as in conditions. Raises PolicyError."""
    return _Substitution(value, resolve, nothing).run()


class _Substitution:
    def __init__(self, root: Any, resolve: Resolver, nothing: bool) -> None:
        self._root = root
        self._resolve = resolve
        self._nothing = nothing

    def run(self) -> Any:
        return self._value(self._root, ())

    def _value(self, value: Any, path: tuple[str, ...]) -> Any:
        match value:
            case dict():
                return {self._key(k, path): self._value(v, (*path, k)) for k, v in value.items()}
            case list():
                return [self._value(v, (*path, str(i))) for i, v in enumerate(value)]
            case str():
                text = self._references(value, path) if "$(" in value else value
                return self._text(text, path) if isinstance(text, str) and "{{" in text else text
            case _:
                return value

    def _key(self, key: str, path: tuple[str, ...]) -> str:
        if "{{" not in key:
            return key
        found = self._text(key, path)
        if not isinstance(found, str):
            raise PolicyError(f"the key {key!r} has to be a text, and is none")
        return found

    def _text(self, text: str, path: tuple[str, ...]) -> Any:
        for _ in range(_ROUNDS):
            found = list(_VARIABLE.finditer(text))
            if not found:
                break
            if len(found) == 1 and found[0].group() == text:
                value = self._query(text, path)
                if not isinstance(value, str) or "{{" not in value:
                    return value
                text = value
                continue
            text = _VARIABLE.sub(lambda m: self._written(m.group(), path), text)
            if len(text) > _LONGEST:
                raise PolicyError("a text grows without end when its variables are put in")
        return _ESCAPED.sub(r"\1", text)

    def _written(self, variable: str, path: tuple[str, ...]) -> str:
        value = self._query(variable, path)
        if isinstance(value, str):
            return value
        return orjson.dumps(value).decode()

    def _query(self, variable: str, path: tuple[str, ...]) -> Any:
        query = variable[2:-2].strip()
        if "@" in query and re.match(r"^@(?![\w(])", query):
            query = query.replace("@", "request.object." + _query_path(path), 1)
        try:
            return self._resolve(query)
        except NotResolvedError:
            if self._nothing:
                return None
            raise

    def _references(self, text: str, path: tuple[str, ...]) -> Any:
        """`$(./../other)`: the value at another place of the same pattern."""
        found = list(_REFERENCE.finditer(text))
        if len(found) == 1 and found[0].group() == text:
            return self._referred(found[0][1], path)
        done = _REFERENCE.sub(lambda m: _plain(self._referred(m[1], path)), text)
        return _ESCAPED_REFERENCE.sub(r"\1", done)

    def _referred(self, reference: str, path: tuple[str, ...]) -> Any:
        operator = next((o for o in _OPERATORS if reference.startswith(o)), "")
        plain = [(anchor_of(p) or ("", p))[1] for p in path]
        where = reference.removeprefix(operator)
        base = "/" if where.startswith("/") else "/" + "/".join(plain)
        steps = [s for s in posixpath.normpath(posixpath.join(base, where)).split("/") if s]
        value = _at(self._root, steps)
        if isinstance(value, dict | list):
            raise PolicyError(f"the reference $({reference[:100]}) leads to something that is no scalar")
        value = self._value(value, path) if isinstance(value, str) and "{{" in value else value
        return f"{operator}{_plain(value)}" if operator else value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _at(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            key = next((k for k in value if k == step or (anchor_of(k) or ("", ""))[1] == step), None)
            if key is None:
                raise PolicyError(f"a reference leads to nothing at {step!r}")
            value = value[key]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise PolicyError(f"a reference leads to nothing at {step!r}")
    return value


def _query_path(path: Sequence[str]) -> str:
    """A place of a pattern as a query in the object: anchors gone, indexes in brackets."""
    text = ""
    for step in path:
        name = (anchor_of(step) or ("", step))[1]
        if name.isdigit():
            text += f"[{name}]"
        else:
            text += ("." if text else "") + (
                name if re.fullmatch(r"[A-Za-z_]\w*", name) else orjson.dumps(name).decode()
            )
    return text
