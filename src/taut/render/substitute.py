"""Variable substitution after rendering, object by object, as Flux does it. Pure.

Flux expands an object's YAML *text* and reads it again, so `replicas: ${n}` becomes a number, and `${quote}` can put quotes around it.
Only text without quotes behaves so; hence the object is written here as Flux's writer would, with the quotes exactly where it has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from taut.documents.yaml import load_one
from taut.model.errors import BadInput, RenderError
from taut.model.manifests import Manifest, canonical
from taut.render.envsubst import NAME, SubstitutionError, expand
from taut.render.normalise import where

_SWITCHES = ("kustomize.toolkit.fluxcd.io/substitute", "taut.dev/substitute")
_SAFE = r"\x20-\x7e\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_PRINTABLE = re.compile(rf"[\n\t{_SAFE}]*")
_UNSAFE = re.compile(rf'["\\]|[^{_SAFE}]')
_NEVER_PLAIN_START = tuple("#,[]{}&*!|>'\"%@`")


def checked(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables with line breaks taken out, as Flux does. Raises BadInput for a name that cannot be one."""
    for name in variables:
        if not NAME.fullmatch(name):
            raise BadInput(
                f"{name!r} is no name of a variable", advice="use letters, digits and _, beginning with no digit"
            )
    return {name: value.replace("\n", "") for name, value in variables.items()}


def is_disabled(manifest: Manifest) -> bool:
    """Whether the object asks to be left alone, by annotation or label."""
    return any(
        str(meta.get(switch, "")).lower() == "disabled"
        for meta in (manifest.annotations, manifest.labels)
        for switch in _SWITCHES
    )


def substitute(manifest: Manifest, variables: Mapping[str, str], *, strict: bool) -> Manifest:
    """The object with the variables in their places. `variables` have been checked.

    Raises RenderError for an unknown variable without a default when `strict`, for a malformed expression, and when the result is no object.
    """
    data = canonical(manifest.body)
    if is_disabled(manifest) or (b"${" not in data and b"$$" not in data):
        return manifest
    try:
        text = expand(write(manifest.body), variables, strict=strict)
    except SubstitutionError as error:
        raise RenderError(
            f"substitution in {manifest}: {error}",
            where=where(manifest.origin),
            advice="set it, give it a default (${name:=default}), or write $${name}",
        ) from None
    try:
        body = load_one(text.encode())
    except BadInput:
        body = None
    if not isinstance(body, dict):
        raise RenderError(
            f"after substitution {manifest} cannot be read",
            where=where(manifest.origin),
            advice="a value may need quotes around it in the manifest",
        )
    return Manifest(body, manifest.origin)


def write(body: Mapping[str, Any]) -> str:
    """The object as YAML. Texts with a `$` are written as go-yaml writes them, all others in double quotes."""
    return "\n".join(_mapping(body, 0)) + "\n"


def _mapping(value: Mapping[str, Any], indent: int) -> Iterator[str]:
    for key, item in value.items():
        head = f"{' ' * indent}{_text(key, indent, block=False)}:"
        yield from _entry(head, item, indent)


def _sequence(value: list[Any], indent: int) -> Iterator[str]:
    for item in value:
        yield from _entry(f"{' ' * indent}-", item, indent)


def _entry(head: str, item: Any, indent: int) -> Iterator[str]:
    if isinstance(item, dict | list) and item:
        yield head
        yield from _mapping(item, indent + 2) if isinstance(item, dict) else _sequence(item, indent + 2)
    elif isinstance(item, str):
        yield f"{head} {_text(item, indent + 2, block=True)}"
    else:
        yield f"{head} {canonical(item).decode()}"


def _text(text: str, indent: int, *, block: bool) -> str:
    if "$" not in text:
        return _quoted(text)
    if "\n" in text and block and _printable(text) and text.strip("\n "):
        return _literal(text, indent)
    if _is_plain(text):
        return text
    if _printable(text) and "\n" not in text:
        return "'" + text.replace("'", "''") + "'"
    return _quoted(text)


def _quoted(text: str) -> str:
    """In double quotes, with everything escaped that YAML does not take as it is."""
    return '"' + _UNSAFE.sub(lambda found: _escaped(found[0]), text) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _literal(text: str, indent: int) -> str:
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    mark = ("2" if body[:1] in {" ", "\n", "\t"} else "") + ("-" if ends == 0 else "" if ends == 1 else "+")
    lines = [" " * indent + line if line else "" for line in body.split("\n")] + [""] * (ends - 1)
    return f"|{mark}\n" + "\n".join(lines)


def _printable(text: str) -> bool:
    return _PRINTABLE.fullmatch(text) is not None


def _is_plain(text: str) -> bool:
    if "\n" in text or "\t" in text or not _printable(text) or text != text.strip(" "):
        return False
    if text.startswith((*_NEVER_PLAIN_START, "- ", "? ", ": ", "---", "...")) or text in {"-", "?", ":"}:
        return False
    return ": " not in text and " #" not in text and not text.endswith(":")
