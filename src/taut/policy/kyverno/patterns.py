"""An object against a pattern with anchors (Kyverno, engine/validate): pass, fail with a path, or not applicable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from taut.policy.kyverno.scalars import fits
from taut.policy.kyverno.wildcard import has_wildcard, matches

_ANCHOR = re.compile(r"^(?P<kind>[+<=X^]?)\((?P<key>.+)\)$", re.DOTALL)
CONDITION, GLOBAL, EQUALITY, NEGATION, EXISTENCE, ADDITION = "", "<", "=", "X", "^", "+"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why an object is not as the pattern says. `skip`: an anchor says that the pattern is not about it."""

    path: str
    message: str
    skip: bool = False
    everything: bool = False
    found: Any = None
    wanted: Any = None


def anchor_of(key: str) -> tuple[str, str] | None:
    """An anchor's kind and key; None for a plain key."""
    found = _ANCHOR.match(key)
    return (found["kind"], found["key"]) if found else None


def match(resource: Any, pattern: Any) -> Mismatch | None:
    """The first mismatch of an object and a pattern; None when it is as the pattern says."""
    return _element(resource, pattern, "/")


def _element(resource: Any, pattern: Any, path: str) -> Mismatch | None:
    if isinstance(pattern, dict):
        if not isinstance(resource, dict):
            return Mismatch(path, "the pattern has a mapping here, and the object has none", found=resource)
        return _map(resource, pattern, path)
    if isinstance(pattern, list):
        if not isinstance(resource, list):
            return Mismatch(path, "the pattern has a list here, and the object has none", found=resource)
        return _list(resource, pattern, path)
    values = resource if isinstance(resource, list) else [resource]
    for value in values:
        if not fits(value, pattern):
            return Mismatch(path, "the value is not as the pattern says", found=value, wanted=pattern)
    return None


def _map(resource: dict[str, Any], pattern: dict[str, Any], path: str) -> Mismatch | None:
    pattern = _expanded(resource, pattern)
    anchors = {key: anchor for key in pattern if (anchor := anchor_of(key)) is not None}
    for key in sorted(anchors):
        kind, name = anchors[key]
        found = _anchored(resource, kind, name, pattern[key], f"{path}{name}/")
        if found is not None:
            return found
    plain = [key for key in pattern if key not in anchors]
    # What holds an anchor comes first: it may tell that the pattern is not about this object.
    for key in sorted(plain, key=lambda k: not _has_anchor(pattern[k])):
        found = _plain(resource, key, pattern[key], f"{path}{key}/")
        if found is not None:
            return found
    return None


def _plain(resource: dict[str, Any], key: str, pattern: Any, path: str) -> Mismatch | None:
    if pattern == "*":
        if resource.get(key) is None:
            return Mismatch(path, "the field is missing", wanted="*")
        return None
    return _element(resource.get(key), pattern, path)


def _anchored(resource: dict[str, Any], kind: str, name: str, pattern: Any, path: str) -> Mismatch | None:
    present = name in resource
    match kind:
        case "":
            inner = _element(resource[name], pattern, path) if present else Mismatch(path, "the field is missing")
            return _skipped(inner, everything=False)
        case "<":
            return _skipped(_element(resource[name], pattern, path), everything=True) if present else None
        case "=":
            return _element(resource[name], pattern, path) if present else None
        case "X":
            return (
                Mismatch(path, "the field is not allowed", found=resource[name], wanted="absent") if present else None
            )
        case "^":
            return _exists(resource[name], pattern, path) if present else None
        case _:
            return None


def _skipped(inner: Mismatch | None, *, everything: bool) -> Mismatch | None:
    if inner is None:
        return None
    return Mismatch(inner.path, inner.message, True, everything, inner.found, inner.wanted)


def _exists(value: Any, pattern: Any, path: str) -> Mismatch | None:
    if not isinstance(value, list) or not isinstance(pattern, list) or not pattern:
        return Mismatch(path, "an existence anchor is about lists", found=value)
    for wanted in pattern:
        if not any(_element(each, wanted, path) is None for each in value):
            return Mismatch(path, "no element is as the pattern says")
    return None


def _list(resource: list[Any], pattern: list[Any], path: str) -> Mismatch | None:
    if not pattern:
        return Mismatch(path, "the pattern has an empty list here")
    first = pattern[0]
    if isinstance(first, dict):
        return _each(resource, pattern, path)
    if isinstance(first, list):
        if len(resource) < len(pattern):
            return Mismatch(path, "the list is shorter than the pattern's")
        pairs = enumerate(zip(resource, pattern, strict=False))
        return next((m for i, (r, p) in pairs if (m := _element(r, p, f"{path}{i}/")) is not None), None)
    return _scalars(resource, pattern, path)


def _scalars(resource: list[Any], pattern: list[Any], path: str) -> Mismatch | None:
    for index, value in enumerate(resource):
        if not fits(value, pattern[0]):
            return Mismatch(f"{path}{index}/", "the value is not as the pattern says", found=value, wanted=pattern[0])
    return None


def _each(resource: list[Any], pattern: list[Any], path: str) -> Mismatch | None:
    """A pattern of maps holds for every element; those that an anchor leaves out do not count, unless that are all."""
    applied, skipped = 0, None
    for index, value in enumerate(resource):
        found = _element(value, pattern[0], f"{path}{index}/")
        if found is None:
            applied += 1
        elif not found.skip:
            return found
        elif skipped is None:
            skipped = found
    return skipped if not applied else None


def _has_anchor(pattern: Any) -> bool:
    if isinstance(pattern, dict):
        return any(anchor_of(k) is not None or _has_anchor(v) for k, v in pattern.items())
    return isinstance(pattern, list) and any(_has_anchor(v) for v in pattern)


def _expanded(resource: dict[str, Any], pattern: dict[str, Any]) -> dict[str, Any]:
    """Wildcards in keys of labels and annotations stand for the keys that the object has."""
    names = {"metadata", "(metadata)", "=(metadata)"} & pattern.keys()
    if not names:
        return pattern
    metadata = resource.get("metadata")
    result = dict(pattern)
    for name in names:
        inner = pattern[name]
        if isinstance(inner, dict):
            result[name] = {k: _keys(metadata, k, v) for k, v in inner.items()}
    return result


def _keys(metadata: Any, key: str, value: Any) -> Any:
    anchor = anchor_of(key)
    name = anchor[1] if anchor else key
    if name not in {"labels", "annotations"} or not isinstance(value, dict):
        return value
    known = metadata.get(name) if isinstance(metadata, dict) else None
    return dict(_expansion(value, known if isinstance(known, dict) else {}))


def _expansion(pattern: dict[str, Any], known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in pattern.items():
        anchor = anchor_of(key)
        name = anchor[1] if anchor else key
        found = next((k for k in known if matches(name, k)), None) if has_wildcard(name) else None
        if found is None:
            yield key, value
        else:
            yield (f"{anchor[0]}({found})" if anchor else found), value
