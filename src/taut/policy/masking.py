"""Values of Secrets stay out of what policies say: by value, wherever in a text they turn up."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from taut.model.manifests import Body
from taut.model.verdict import Verdict

HIDDEN = "••••••"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SHORTEST = 3
"""Shorter values would hide every other word, and are told by their length anyway."""


def masked(verdict: Verdict, body: Body) -> Verdict:
    """A verdict on an object in which no value of a Secret is readable. What was found in one is not shown at all."""
    if body.get("kind") != "Secret" or body.get("apiVersion") not in {"v1", None}:
        return verdict
    return replace(hidden(verdict, _values(body)), found=HIDDEN if verdict.found else "")


def hidden(verdict: Verdict, values: Iterable[str]) -> Verdict:
    """A verdict in which none of these values is readable."""
    message, wanted, found = verdict.message, verdict.wanted, verdict.found
    for value in sorted(set(values), key=len, reverse=True):
        message, wanted, found = (text.replace(value, HIDDEN) for text in (message, wanted, found))
    return replace(verdict, message=message, wanted=wanted, found=found)


def secret_values(answer: Any) -> Iterator[str]:
    """Every value of the Secrets in what the target answered: one object, several, or a list as the API gives it."""
    if isinstance(answer, list):
        for item in answer:
            yield from secret_values(item)
    elif isinstance(answer, dict):
        kind, items = answer.get("kind"), answer.get("items")
        if kind == "Secret":
            yield from _values(answer)
        elif isinstance(items, list):
            for item in items:
                yield from secret_values(
                    {"kind": "Secret", **item} if kind == "SecretList" and isinstance(item, dict) else item
                )


def without_origin(verdict: Verdict, body: Body, secret: Iterable[Sequence[str]]) -> Verdict:
    """A verdict in which nothing is readable that came out of an encrypted file. `secret` are the keys on the way to such fields, positions in lists left out."""
    places = [tuple(path) for path in secret]
    if not places:
        return verdict
    values = [text for path in places for leaf in _at(body, path) for text in _forms(leaf)]
    touched = any(verdict.path.startswith(".".join(path)) for path in places)
    return replace(hidden(verdict, values), found=HIDDEN) if touched and verdict.found else hidden(verdict, values)


def _at(value: Any, path: Sequence[str]) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield from _leaves(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield str(value)
    elif isinstance(value, dict):
        yield from _at(value.get(path[0]), path[1:])


def _forms(text: str) -> Iterator[str]:
    for part in (text, *text.splitlines(), *text.split()):
        if len(part) >= _SHORTEST:
            yield part


def _values(body: Body) -> Iterator[str]:
    """Every value, encoded and plain, whole and by its lines."""
    for text in (*_leaves(body.get("data")), *_leaves(body.get("stringData"))):
        for form in (text, _decoded(text)):
            for part in (form, *form.splitlines(), *form.split()):
                if len(part) >= _SHORTEST:
                    yield part
    metadata = body.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    annotation = annotations.get(_LAST_APPLIED) if isinstance(annotations, dict) else None
    if isinstance(annotation, str):
        yield annotation


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
