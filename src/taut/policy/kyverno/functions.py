"""Kyverno's JMESPath functions: texts, lists, documents and images (documented under "JMESPath", Kyverno 1.13 and newer)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import random
import re
import string
from typing import Any

import orjson
from jmespath import functions as standard
from jmespath.functions import signature

from taut.documents import re2
from taut.documents.yaml import load_documents
from taut.model.errors import TautError
from taut.policy.kyverno.arithmetic import Arithmetic
from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.images import parse_image
from taut.policy.kyverno.moments import Moments
from taut.policy.kyverno.wildcard import matches

_ANY: Any = {"types": []}
_TEXT: Any = {"types": ["string"]}
_NUMBER: Any = {"types": ["number"]}
_LIST: Any = {"types": ["array"]}
_MAP: Any = {"types": ["object"]}
_GROUP = re.compile(r"\$\{?(\d+)\}?")


def _replaced(pattern: str, text: str, new: str) -> str:
    try:
        return re2.replaced(pattern, text, new)
    except re2.ExpressionError as error:
        raise PolicyError(str(error)) from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class Functions(Arithmetic, Moments, standard.Functions):
    """Kyverno's functions beside JMESPath's own. What cannot be computed is a PolicyError."""

    @signature(_TEXT, _TEXT)
    def _func_compare(self, a: str, b: str) -> int:
        return (a > b) - (a < b)

    @signature(_TEXT, _TEXT)
    def _func_equal_fold(self, a: str, b: str) -> bool:
        return a.casefold() == b.casefold()

    @signature(_TEXT, _TEXT, _TEXT, _NUMBER)
    def _func_replace(self, text: str, old: str, new: str, count: float) -> str:
        return text.replace(old, new, int(count))

    @signature(_TEXT, _TEXT, _TEXT)
    def _func_replace_all(self, text: str, old: str, new: str) -> str:
        return text.replace(old, new)

    @signature(_TEXT)
    def _func_to_upper(self, text: str) -> str:
        return text.upper()

    @signature(_TEXT)
    def _func_to_lower(self, text: str) -> str:
        return text.lower()

    @signature(_TEXT, _TEXT)
    def _func_trim(self, text: str, cut: str) -> str:
        return text.strip(cut)

    @signature(_TEXT, _TEXT)
    def _func_trim_prefix(self, text: str, prefix: str) -> str:
        return text.removeprefix(prefix)

    @signature(_TEXT, _TEXT)
    def _func_trim_suffix(self, text: str, suffix: str) -> str:
        return text.removesuffix(suffix)

    @signature(_TEXT, _TEXT)
    def _func_split(self, text: str, separator: str) -> list[str]:
        return text.split(separator) if separator else list(text)

    @signature(_TEXT, _ANY, _ANY)
    def _func_regex_replace_all(self, pattern: str, text: Any, new: Any) -> str:
        return _replaced(pattern, _text(text), _GROUP.sub(r"\\\1", _text(new).replace("\\", "\\\\")))

    @signature(_TEXT, _ANY, _ANY)
    def _func_regex_replace_all_literal(self, pattern: str, text: Any, new: Any) -> str:
        return _replaced(pattern, _text(text), _text(new).replace("\\", "\\\\"))

    @signature(_TEXT, {"types": ["string", "number"]})
    def _func_regex_match(self, pattern: str, text: Any) -> bool:
        try:
            return re2.matches(pattern, _text(text))
        except re2.ExpressionError as error:
            raise PolicyError(str(error)) from None

    @signature(_TEXT, {"types": ["string", "number"]})
    def _func_pattern_match(self, pattern: str, text: Any) -> bool:
        return matches(pattern, _text(text))

    @signature(_MAP, _MAP)
    def _func_label_match(self, wanted: dict[str, Any], labels: dict[str, Any]) -> bool:
        return all(labels.get(k) == v for k, v in wanted.items())

    @signature(_TEXT)
    def _func_to_boolean(self, text: str) -> bool:
        if text.lower() not in {"true", "false"}:
            raise PolicyError(f"to_boolean: {text[:40]!r} is neither true nor false")
        return text.lower() == "true"

    @signature(_TEXT)
    def _func_base64_decode(self, text: str) -> str:
        try:
            return base64.b64decode(text, validate=True).decode()
        except (binascii.Error, ValueError):
            raise PolicyError("base64_decode: the value is no base64 of a text") from None

    @signature(_TEXT)
    def _func_base64_encode(self, text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    @signature(_TEXT)
    def _func_path_canonicalize(self, text: str) -> str:
        return posixpath.normpath(re.sub(r"/+", "/", text)) if text else "."

    @signature(_TEXT, _NUMBER)
    def _func_truncate(self, text: str, length: float) -> str:
        return text[: max(0, int(length))]

    @signature(_TEXT, _TEXT)
    def _func_semver_compare(self, version: str, wanted: str) -> bool:
        from taut.policy.kyverno.versions import in_range

        return in_range(version, wanted)

    @signature(_TEXT)
    def _func_parse_json(self, text: str) -> Any:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise PolicyError("parse_json: the value is no JSON") from None

    @signature(_TEXT)
    def _func_parse_yaml(self, text: str) -> Any:
        try:
            documents = load_documents(text.encode())
        except TautError:
            raise PolicyError("parse_yaml: the value is no YAML") from None
        return documents[0].body if documents else None

    @signature({"types": ["object", "array"]}, {"types": ["string", "number"]})
    def _func_lookup(self, container: Any, key: Any) -> Any:
        if isinstance(container, dict):
            return container.get(key)
        index = int(key) if isinstance(key, int | float) else -1
        return container[index] if 0 <= index < len(container) else None

    @signature({"types": ["object", "array"]}, _TEXT, _TEXT)
    def _func_items(self, container: Any, key: str, value: str) -> list[dict[str, Any]]:
        if isinstance(container, dict):
            return [{key: k, value: container[k]} for k in sorted(container)]
        return [{key: i, value: v} for i, v in enumerate(container)]

    @signature(_LIST, _LIST)
    def _func_object_from_lists(self, keys: list[Any], values: list[Any]) -> dict[str, Any]:
        padded = [*values, *([None] * (len(keys) - len(values)))]
        return {_text(k): v for k, v in zip(keys, padded, strict=False)}

    @signature(_TEXT)
    def _func_random(self, pattern: str) -> str:
        return _random(pattern)

    @signature(_TEXT)
    def _func_x509_decode(self, text: str) -> dict[str, Any]:
        from taut.policy.kyverno.certificates import decoded

        return decoded(text)

    @signature(_TEXT)
    def _func_image_normalize(self, text: str) -> str:
        return parse_image(text).reference

    @signature(_TEXT)
    def _func_sha256(self, text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    @signature(_TEXT)
    def _func_sha1(self, text: str) -> str:
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @signature(_TEXT)
    def _func_md5(self, text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    @signature(_TEXT)
    def _func_is_external_url(self, text: str) -> bool:
        """Whether a URL leads out; names are not resolved here, so only addresses and well-known local names are known to be inside."""
        import ipaddress
        from urllib.parse import urlsplit

        host = urlsplit(text).hostname or ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return not (host in {"", "localhost"} or host.endswith((".local", ".svc", ".internal", ".localhost")))
        return not (address.is_loopback or address.is_private or address.is_link_local)


_CLASSES = {"a": string.ascii_letters, "d": string.digits, "w": string.ascii_letters + string.digits + "_"}
_PIECE = re.compile(
    r"(?:\[(?P<set>[^\]]+)\]|\\(?P<class>[dw])|(?P<one>[^\[\]{}\\]))(?:\{(?P<count>\d{1,4})(?:,\d+)?\})?"
)


def _random(pattern: str) -> str:
    """A random text of a simple pattern: sets, classes and counts (`[0-9a-z]{8}`)."""
    text = ""
    for found in _PIECE.finditer(pattern):
        choice = found["one"] or _CLASSES.get(found["class"] or "", "") or _members(found["set"] or "")
        text += "".join(random.choice(choice) for _ in range(int(found["count"] or 1)))  # noqa: S311 (a name, no key)
    return text


def _members(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        if text[at : at + 2] in {r"\d", r"\w"}:
            out, at = out + _CLASSES[text[at + 1]], at + 2
        elif at + 2 < len(text) and text[at + 1] == "-":
            out, at = out + "".join(map(chr, range(ord(text[at]), ord(text[at + 2]) + 1))), at + 3
        else:
            out, at = out + text[at], at + 1
    return out or "a"
