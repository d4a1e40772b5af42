"""The parameters of a constraint against its template's schema (structural OpenAPI v3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from taut.documents import re2

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_DEEPEST = 50


def with_defaults(value: Any, schema: Any, depth: int = 0) -> Any:
    """A value with the schema's defaults where fields are missing."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        made = dict(value)
        for name, inner in (schema.get("properties") or {}).items():
            if name not in made and isinstance(inner, dict) and "default" in inner:
                made[name] = inner["default"]
            if name in made:
                made[name] = with_defaults(made[name], inner, depth + 1)
        return made
    if isinstance(value, list):
        return [with_defaults(v, schema.get("items"), depth + 1) for v in value]
    return value


def faults(value: Any, schema: Any, path: str = "spec.parameters", depth: int = 0) -> Iterator[str]:
    """What of a value is not as the schema says."""
    if not isinstance(schema, dict) or depth > _DEEPEST or (value is None and schema.get("nullable")):
        return
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield f"{path} has to be an integer or a text"
        return
    if kind in _TYPES and (not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
        yield f"{path} has to be of type {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path} has to be one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str) and isinstance(schema.get("pattern"), str) and not _fits(schema["pattern"], value):
        yield f"{path} does not match {schema['pattern']}"
    yield from _inner(value, schema, path, depth)


def _fits(pattern: str, value: str) -> bool:
    try:
        return re2.matches(pattern, value)
    except re2.ExpressionError:
        return False


def _inner(value: Any, schema: dict[str, Any], path: str, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from faults(each, schema.get("items"), f"{path}[{index}]", depth + 1)
    elif isinstance(value, dict):
        known = schema.get("properties") or {}
        for name in schema.get("required") or ():
            if name not in value:
                yield f"{path}.{name} is required"
        for name, each in value.items():
            if name in known:
                yield from faults(each, known[name], f"{path}.{name}", depth + 1)
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from faults(each, schema["additionalProperties"], f"{path}.{name}", depth + 1)
