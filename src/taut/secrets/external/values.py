"""What is done to values between a store and a Secret: parts of JSON, encodings, names of keys."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from taut.documents.re2 import ExpressionError, replaced
from taut.secrets.external.documents import MergeRewrite, RegexpRewrite
from taut.secrets.external.errors import NoValueError, SecretError

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}\Z")
_OTHER = re.compile(r"[^-._a-zA-Z0-9]")
_GROUP = re.compile(r"\$(?:(\d)|\{(\d)\})")


def part(data: bytes, name: str, what: str) -> bytes:
    """A part of a JSON value, by a path such as `a.b.0.c` (a key that is called so wins; `\\.` is a dot in a key). All of it without a name.

    Raises NoValueError when there is none. `what` names the value in errors.
    """
    return picked(_json(data, what), name, what) if name else data


def picked(value: Any, name: str, what: str) -> bytes:
    """The same of a decoded value."""
    if isinstance(value, dict) and name in value:
        return text_of(value[name])
    for step in (s.replace("\0", ".") for s in name.replace("\\.", "\0").split(".")):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise NoValueError(f"{what} has no property {name!r}", advice="correct remoteRef.property")
    return text_of(value)


def entries(data: bytes, name: str, what: str) -> dict[str, bytes]:
    """The entries of a JSON object (or of the part of that name). Raises SecretError for another value."""
    value = _json(part(data, name, what), what)
    if not isinstance(value, dict):
        raise SecretError(f"{what} is no JSON object", advice="take it with data instead of dataFrom.extract")
    return {str(key): text_of(item) for key, item in value.items()}


def text_of(value: Any) -> bytes:
    """A JSON value as it stands in a Secret: texts as they are, others as JSON."""
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _json(data: bytes, what: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise SecretError(f"{what} is no JSON, so it has no properties", advice="leave property out") from None


def decoded(data: bytes, strategy: str, what: str) -> bytes:
    """A value by its `decodingStrategy`: None, Base64, Base64URL or Auto (which takes it as it is where it is neither)."""
    if strategy in {"None", ""}:
        return data
    if strategy not in {"Base64", "Base64URL", "Auto"}:
        raise SecretError(f"the decodingStrategy {strategy!r} is not known", advice="None, Base64, Base64URL or Auto")
    for name in ("Base64", "Base64URL") if strategy == "Auto" else (strategy,):
        try:
            return base64.b64decode(data, altchars=b"-_" if name == "Base64URL" else None, validate=True)
        except (binascii.Error, ValueError):
            continue
    if strategy == "Auto":
        return data
    raise SecretError(f"{what} is not {strategy}", advice="correct decodingStrategy")


def converted(key: str, strategy: str) -> str:
    """A key by its `conversionStrategy`: characters that a Secret's key cannot have become `_` (Default), or `_U0041_` (Unicode)."""
    if strategy == "Unicode":
        return _OTHER.sub(lambda found: f"_U{ord(found[0]):04X}_", key)
    return _OTHER.sub("_", key) if strategy == "Default" else key


def checked_keys(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """The entries, if all keys may be a Secret's. Raises SecretError."""
    for key in data:
        if not _KEY.match(key):
            raise SecretError(
                f"{key[:100]!r} cannot be a key of a Secret",
                advice="rename it with rewrite, or take letters, digits, '-', '_' and '.'",
            )
    return dict(data)


def renamed(data: Mapping[str, bytes], rule: RegexpRewrite) -> dict[str, bytes]:
    """The entries with every match in their keys replaced. Raises SecretError for what is no expression."""
    target = _GROUP.sub(lambda found: "\\" + (found[1] or found[2]), rule.target.replace("\\", "\\\\"))
    try:
        return {replaced(rule.source, key, target): value for key, value in data.items()}
    except ExpressionError as error:
        raise SecretError(str(error), advice="correct dataFrom.rewrite") from None


def merged(data: Mapping[str, bytes], rule: MergeRewrite) -> dict[str, bytes]:
    """The values, which are JSON objects, as one: the last by `priority`, then by name, wins. Raises SecretError for two that disagree."""
    order = [k for k in sorted(data) if k not in rule.priority] + [k for k in rule.priority if k in data]
    found: dict[str, Any] = {}
    for key in order:
        value = _json(data[key], f"the value of {key}")
        if not isinstance(value, dict):
            raise SecretError(f"the value of {key} is no JSON object", advice="correct dataFrom.rewrite")
        twice = found.keys() & value.keys()
        if twice and rule.conflict_policy != "Ignore" and key not in rule.priority:
            what = f"{sorted(twice)[0]!r} is in several values"
            raise SecretError(what, advice="set conflictPolicy: Ignore, or a priority")
        found |= value
    if rule.strategy == "JSON":
        if not rule.into:
            raise SecretError("rewrite.merge with the strategy JSON needs into", advice="name a key")
        return {rule.into: orjson.dumps(found, option=orjson.OPT_SORT_KEYS)}
    return {str(key): text_of(value) for key, value in found.items()}


def hosts_of(patterns: Sequence[str], host: str) -> bool:
    """Whether a host is among those that may be asked (globs)."""
    import fnmatch

    return any(fnmatch.fnmatchcase(host.lower(), p.lower()) for p in patterns)
