"""Values inside of values: JSON as Go writes it, properties (gjson's paths) and results (JSONPath)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from taut.documents import re2
from taut.secrets.external.errors import ProviderError

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = re.compile("[<>&\u2028\u2029]")
_STEP = re.compile(
    r"\.\.|\.?\*|\[\*\]|\.?([A-Za-z_][\w-]*)|\[(-?\d+)\]|\[(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\]"
)
_DEEPEST, _LONGEST_PATH, _MOST = 100, 1000, 10_000


def go_json(value: Any, *, html: bool = True) -> bytes:
    """JSON as Go's encoder writes maps: keys sorted, no spaces; with `html`, what HTML reads is escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return (_ESCAPED.sub(lambda m: _ESCAPES[m[0]], text) if html else text).encode(errors="surrogatepass")


def as_bytes(value: Any) -> bytes:
    """A JSON value as the value of a Secret: text as it is, numbers without exponents, the rest as JSON, null as nothing."""
    match value:
        case None:
            return b""
        case str():
            return value.encode(errors="surrogatepass")
        case bool():
            return b"true" if value else b"false"
        case int():
            return str(value).encode()
        case float():
            return _float(value).encode()
        case _:
            return go_json(value)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parsed(data: bytes) -> Any:
    """A value as JSON. Raises ProviderError when it is none; its text is not told."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ProviderError("the value is no JSON", "leave `property` out, or store a JSON object there") from None


def parsed_map(data: bytes) -> dict[str, bytes]:
    """The members of a value that is a JSON object. Raises ProviderError for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ProviderError("the value is no JSON object, so it has no keys to extract", "read it with `data` instead")
    return {str(k): as_bytes(v) for k, v in value.items()}


def property_of(value: Any, path: str) -> bytes:
    """The property of a JSON value: a key that is called so, or else a path. Raises ProviderError when there is none."""
    if isinstance(value, dict) and path in value:
        return as_bytes(value[path])
    found, inner = gjson(value, path)
    if not found:
        raise ProviderError(f"there is no property {path}", "correct `property`, or write it into the store")
    return as_bytes(inner)


def gjson(value: Any, path: str) -> tuple[bool, Any]:
    """What gjson's path finds: keys, indexes, `#`, wildcards and escapes. Raises ProviderError for queries, modifiers and multipaths."""
    if len(path) > _LONGEST_PATH:
        raise ProviderError(f"the property is longer than {_LONGEST_PATH} characters")
    if path[:1] in {"@", "{", "[", "!"} or "|" in path or "#(" in path:
        raise ProviderError(f"the property {path} is a query, which is not supported", "name keys and indexes")
    return _walk(value, _steps(path))


def _steps(path: str) -> list[tuple[str, bool]]:
    """The steps of a path, each with whether it holds wildcards (`*`, `?`)."""
    steps: list[tuple[str, bool]] = []
    text, wild, at = "", False, 0
    while at < len(path):
        c = path[at]
        if c == "\\" and at + 1 < len(path):
            at += 1
            text += f"\\{path[at]}" if path[at] in "*?" else path[at]
        elif c == ".":
            steps.append((text, wild))
            text, wild = "", False
        else:
            wild = wild or c in "*?"
            text += c
        at += 1
    return [*steps, (text, wild)]


def _walk(value: Any, steps: list[tuple[str, bool]]) -> tuple[bool, Any]:
    for number, (step, wild) in enumerate(steps):
        if isinstance(value, dict):
            key = next((k for k in value if _fits(step, str(k))), None) if wild else step.replace("\\", "")
            if key is None or key not in value:
                return False, None
            value = value[key]
        elif isinstance(value, list):
            if step == "#":
                rest = steps[number + 1 :]
                return True, [v for ok, v in (_walk(item, rest) for item in value) if ok] if rest else len(value)
            if not step.isascii() or not step.isdigit() or len(step) > 9 or int(step) >= len(value):
                return False, None
            value = value[int(step)]
        else:
            return False, None
    return True, value


def _fits(pattern: str, text: str) -> bool:
    """Whether a pattern of `*` and `?` fits, in time that the text's length alone bounds. Raises ProviderError for one that is too long."""
    parts, at = ["(?s)^"], 0
    while at < len(pattern):
        c = pattern[at]
        if c == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append({"*": ".*", "?": "."}.get(c) or re.escape(c))
        at += 1
    try:
        return re2.matches("".join([*parts, "$"]), text)
    except re2.ExpressionError as error:
        raise ProviderError(f"the property cannot be looked for: {error}") from None


def json_path(value: Any, path: str, shown: str = "") -> Any:
    """What a JSONPath finds; with wildcards a list. `shown` is told in its place (it may hold what is secret). Raises ProviderError when there is nothing, and for filters and slices."""
    if len(path) > _LONGEST_PATH:
        raise ProviderError(f"the jsonPath is longer than {_LONGEST_PATH} characters")
    shown = shown or path
    rest = path.removeprefix("$")
    found, many, at, deep = [value], False, 0, False
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            raise ProviderError(f"the jsonPath {shown} is not supported", "name keys, indexes, `*` and `..`")
        at = step.end()
        if len(found) > _MOST:
            raise ProviderError(f"the jsonPath {shown} finds more than {_MOST} values", "name keys")
        if step[0] == "..":
            found, many, deep = list(islice((v for f in found for v in _all(f, 0)), _MOST + 1)), True, True
            continue
        many = many or "*" in step[0]
        found = [v for f in found for v in _next(f, step)]
        if not found and not (many or deep):
            raise ProviderError(f"the answer has nothing at {shown}", "correct result.jsonPath")
    return found if many else found[0]


def _next(value: Any, step: re.Match[str]) -> Iterator[Any]:
    name = next((g for g in (step[1], step[3], step[4]) if g is not None), None)
    if "*" in step[0] and name is None:
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    elif name is not None:
        name = re.sub(r"\\(.)", r"\1", name)
        if isinstance(value, dict) and name in value:
            yield value[name]
    elif (
        step[2] is not None
        and isinstance(value, list)
        and len(step[2]) < 10
        and -len(value) <= int(step[2]) < len(value)
    ):
        yield value[int(step[2])]


def _all(value: Any, depth: int) -> Iterator[Any]:
    yield value
    if depth < _DEEPEST:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for item in inner:
            yield from _all(item, depth + 1)
