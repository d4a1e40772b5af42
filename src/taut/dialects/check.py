"""Checks a JSON value against a struct of the model and finds every fault, where msgspec stops at the first.

msgspec stays the judge: a value is good exactly when `msgspec.convert` takes it (a test holds the two together).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from taut.dialects.problems import Finding, field_name, one_of

_NAMES: dict[type, str] = {
    inspect.StrType: "text",
    inspect.IntType: "an integer",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
    inspect.ListType: "a list",
    inspect.VarTupleType: "a list",
}
_JSON_NAMES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    dict: "a mapping",
    list: "a list",
    type(None): "null",
}


def check[T](value: Any, kind: type[T]) -> tuple[T | None, list[Finding]]:
    """`value` as a `kind`, or None and all that is wrong with it, with paths in the document's own field names."""
    try:
        return msgspec.convert(value, kind), []
    except msgspec.ValidationError as error:
        findings = list(_check(value, _type_info(kind)))
        return None, findings or [Finding((), str(error))]


@functools.cache
def _type_info(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _check(value: Any, kind: inspect.Type) -> Iterator[Finding]:
    match kind:
        case inspect.Metadata():
            yield from _check(value, kind.type)
        case inspect.StructType():
            yield from _check_struct(value, kind)
        case inspect.UnionType():
            yield from _check_union(value, kind)
        case inspect.DictType():
            yield from _check_mapping(value, kind)
        case inspect.VarTupleType() | inspect.ListType():
            yield from _check_list(value, kind)
        case inspect.EnumType():
            yield from _check_choice(value, [member.value for member in kind.cls])
        case inspect.LiteralType():
            yield from _check_choice(value, list(kind.values))
        case inspect.StrType() | inspect.IntType() | inspect.FloatType():
            yield from _check_plain(value, kind)
        case inspect.AnyType():
            return
        case _:
            if not _fits(value, kind):
                yield _wrong_type(value, kind)


def _check_struct(value: Any, kind: inspect.StructType) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong_type(value, kind)
        return
    fields = {f.encode_name: f for f in kind.fields}
    for key, item in value.items():
        if key in fields:
            yield from (finding.under(key) for finding in _check(item, fields[key].type))
        elif kind.forbid_unknown_fields:
            yield Finding((key,), f"there is no field {key!r} here", _advice(key, list(fields)))
    for name, known in fields.items():
        if known.required and name not in value:
            yield Finding((), f"the field {name!r} is missing", f"add {name}")


def _advice(word: str, known: list[str]) -> str:
    close = one_of(word, known)
    return close if close.startswith("did") or len(known) <= 12 else f"the fields are {', '.join(known)}"


def _check_union(value: Any, kind: inspect.UnionType) -> Iterator[Finding]:
    fitting = [choice for choice in kind.types if _fits(value, choice)]
    if not fitting:
        expected = " or ".join(
            dict.fromkeys(_name(choice) for choice in kind.types if not isinstance(choice, inspect.NoneType))
        )
        quote = isinstance(value, bool | int | float) and any(
            isinstance(choice, inspect.StrType) for choice in kind.types
        )
        yield Finding((), f"{_json_name(value)} cannot stand here", _quoting(value) if quote else f"write {expected}")
    else:
        yield from _check(value, fitting[0])


def _check_mapping(value: Any, kind: inspect.DictType) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield _wrong_type(value, kind)
        return
    for key, item in value.items():
        yield from (finding.under(key) for finding in _check(item, kind.value_type))


def _check_list(value: Any, kind: inspect.VarTupleType | inspect.ListType) -> Iterator[Finding]:
    if not isinstance(value, list):
        yield _wrong_type(value, kind)
        return
    least, most = kind.min_length, kind.max_length
    if least is not None and len(value) < least:
        yield Finding((), "the list is empty" if not value else f"the list has fewer than {least}", "add one")
    elif most is not None and len(value) > most:
        yield Finding((), f"the list has {len(value)} elements, more than {most}", f"write {most} at most")
    for number, item in enumerate(value):
        yield from (finding.under(number) for finding in _check(item, kind.item_type))


def _check_choice(value: Any, allowed: list[Any]) -> Iterator[Finding]:
    if value not in allowed or isinstance(value, bool):
        yield Finding((), f"{_shown(value)} is not allowed here", one_of(str(value), map(str, allowed)))


def _check_plain(value: Any, kind: inspect.StrType | inspect.IntType | inspect.FloatType) -> Iterator[Finding]:
    if not _fits(value, kind):
        yield _wrong_type(value, kind)
    elif isinstance(kind, inspect.StrType):
        yield from _check_text(value, kind)
    else:
        low, high = kind.ge, kind.le
        if (low is not None and value < low) or (high is not None and value > high):
            span = f"from {low:g} to {high:g}" if low is not None and high is not None else f"at least {low:g}"
            span = span if low is not None else f"at most {high:g}"
            yield Finding((), f"{_shown(value)} is out of range", f"write a number {span}")


def _check_text(value: str, kind: inspect.StrType) -> Iterator[Finding]:
    if kind.min_length is not None and len(value) < kind.min_length:
        yield Finding(
            (), "this is empty" if not value else "this is too short", f"write at least {kind.min_length} characters"
        )
    elif kind.max_length is not None and len(value) > kind.max_length:
        yield Finding((), f"this has {len(value)} characters", f"write at most {kind.max_length}")
    elif kind.pattern is not None and not re.search(kind.pattern, value):
        advice = _pattern_advice(value, kind.pattern)
        what = f"{_shown(value)} is not allowed here" if advice else f"{_shown(value)} does not match {kind.pattern}"
        yield Finding((), what, advice)


def _pattern_advice(value: str, pattern: str) -> str:
    choices = re.fullmatch(r"\^\(([a-z|]+)\)\$(?:\(\?!\\n\))?", pattern)
    if choices:
        return one_of(value, choices[1].split("|"))
    if "ms|s|m|h" in pattern:
        return "write a duration such as 30s, 5m or 1h30m"
    return (
        "use lower-case letters, digits and -, and begin and end with a letter or digit"
        if "[-a-z0-9]" in pattern
        else ""
    )


def _fits(value: Any, kind: inspect.Type) -> bool:
    """Whether the JSON type of `value` is the one of `kind`."""
    match kind:
        case inspect.Metadata():
            return _fits(value, kind.type)
        case inspect.AnyType():
            return True
        case inspect.UnionType():
            return any(_fits(value, choice) for choice in kind.types)
        case inspect.StrType() | inspect.EnumType() | inspect.LiteralType():
            return isinstance(value, str)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.NoneType():
            return value is None
        case inspect.DictType() | inspect.StructType():
            return isinstance(value, dict)
        case _:
            return isinstance(value, list)


def _wrong_type(value: Any, kind: inspect.Type) -> Finding:
    quote = isinstance(kind, inspect.StrType) and isinstance(value, bool | int | float)
    advice = _quoting(value) if quote else f"write {_name(kind)}"
    return Finding((), f"{_json_name(value)} cannot stand here", advice)


def _quoting(value: Any) -> str:
    return "quote it: YAML reads y, yes, on as true, and n, no, off as false" if isinstance(value, bool) else "quote it"


def _name(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        return _name(kind.type)
    return _NAMES.get(type(kind), "text")


def _json_name(value: Any) -> str:
    name = _JSON_NAMES.get(type(value), "this")
    return f"{name} ({value})" if isinstance(value, bool | int | float) else name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def described(finding: Finding) -> str:
    """A finding in one line, for logs and tests."""
    advice = f" ({finding.advice})" if finding.advice else ""
    return f"{field_name(finding.path)}: {finding.what}{advice}"
