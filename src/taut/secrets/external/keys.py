"""Keys of the Secret: rewritten, converted, checked; and values, decoded."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from taut.secrets.external.asking import TemplateError, Templates, run
from taut.secrets.external.documents import Conversion, Decoding, Find, RemoteRef, Rewrite, RewriteMerge
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.values import as_bytes, go_json

_LONGEST = 253
_REPLACE = "{{ regexReplaceAll .source .value .target }}"


async def rewritten(steps: tuple[Rewrite, ...], values: dict[str, bytes], templates: Templates) -> dict[str, bytes]:
    """Values under the keys that the steps make, one after the other. Raises ProviderError that says which step fails."""
    for number, step in enumerate(steps):
        try:
            values = await _step(step, values, templates)
        except TemplateError as error:
            raise ProviderError(f"rewrite[{number}] fails: {error}") from None
        except ProviderError as error:
            raise ProviderError(f"rewrite[{number}] fails: {error}", error.advice) from None
    return values


async def _step(step: Rewrite, values: dict[str, bytes], templates: Templates) -> dict[str, bytes]:
    if step.merge is not None:
        return _merged(step.merge, values)
    order = sorted(values)
    if step.regexp is not None:
        # The engine of the templates is Go's own, so the expressions mean what they mean in Go.
        shared = {"source": step.regexp.source.encode(), "target": step.regexp.target.encode()}
        text = _REPLACE
    elif step.transform is not None:
        shared, text = {}, step.transform.template
    else:
        return values
    made = await run(
        templates, [(text, i) for i in range(len(order))], [{**shared, "value": key.encode()} for key in order]
    )
    return _without_collision(zip((m.decode(errors="replace") for m in made), order, strict=True), values)


def _without_collision(pairs: Any, values: dict[str, bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key, old in pairs:
        if key in found and found[key] != values[old]:
            raise ProviderError(f"two values would be called {key}", "make the keys differ")
        found[key] = values[old]
    return found


def _merged(step: RewriteMerge, values: dict[str, bytes]) -> dict[str, bytes]:
    order = [*sorted(k for k in values if k not in step.priority), *step.priority]
    merged: dict[str, Any] = {}
    for key in order:
        if key not in values:
            if step.priority_policy == "IgnoreNotFound":
                continue
            raise ProviderError(f"there is no key {key}, which priority names")
        try:
            inner = json.loads(values[key])
        except (ValueError, RecursionError):
            inner = None
        if not isinstance(inner, dict):
            raise ProviderError(f"the value of {key} is no JSON object")
        both = sorted(merged.keys() & inner.keys())
        if both and step.conflict_policy == "Error":
            raise ProviderError(f"several values have the keys {', '.join(both)}", "set conflictPolicy to Ignore")
        merged |= inner
    if step.strategy == "JSON":
        return {**values, step.into: go_json(merged, html=False)}
    return {k: as_bytes(v) for k, v in merged.items()}


def converted(strategy: Conversion, values: dict[str, bytes]) -> dict[str, bytes]:
    """Keys that a Secret can have. Raises ProviderError when two become one."""
    found: dict[str, bytes] = {}
    for key, value in values.items():
        new = "".join(c if _fine(c) else "_" if strategy == "Default" else f"_U{ord(c):04x}_" for c in key)
        if new in found:
            raise ProviderError(f"two keys become {new}", "use conversionStrategy Unicode, or rewrite")
        found[new] = value
    return found


def _fine(c: str) -> bool:
    return c.isascii() and (c.isalnum() or c in "-._")


def check_keys(values: dict[str, bytes]) -> dict[str, bytes]:
    """The same values, without an empty key. Raises ProviderError for a key that no Secret can have."""
    for key in values:
        if key and not is_key(key):
            raise ProviderError(
                f"no Secret can have a key {key[:_LONGEST]!r}",
                "rewrite it to letters, digits, -, _ and . (at most 253)",
            )
    return {k: v for k, v in values.items() if k}


def is_key(key: str) -> bool:
    """Whether a Secret can have such a key."""
    return 0 < len(key) <= _LONGEST and all(_fine(c) for c in key)


def fetched(ref: RemoteRef | Find, value: bytes) -> bytes:
    """A value as a reference wants it: decoded, and without null bytes where it says so. Raises ProviderError."""
    value = decoded(ref.decoding_strategy, value)
    if ref.null_byte_policy == "Fail" and b"\0" in value:
        raise ProviderError("the value holds null bytes, and nullBytePolicy is Fail", "store it as text")
    return value


def decoded(strategy: Decoding, value: bytes) -> bytes:
    """A value, decoded. Raises ProviderError when it is not encoded so."""
    match strategy:
        case "None":
            return value
        case "Base64":
            return _base64(value, url=False)
        case "Base64URL":
            return _base64(value, url=True)
        case "Auto":
            for url in (False, True):
                try:
                    return _base64(value, url=url)
                except ProviderError:
                    continue
            return value


def _base64(value: bytes, *, url: bool) -> bytes:
    # Go's decoders pass over line breaks.
    text = value.replace(b"\n", b"").replace(b"\r", b"")
    try:
        if url and (b"+" in text or b"/" in text):
            raise ValueError
        return base64.b64decode(text, altchars=b"-_" if url else None, validate=True)
    except (binascii.Error, ValueError):
        raise ProviderError(f"the value is no {'base64url' if url else 'base64'}", "correct decodingStrategy") from None
