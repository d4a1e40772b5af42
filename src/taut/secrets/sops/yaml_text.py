"""YAML as sops leaves it: values are replaced in the text, so that comments, order and style stay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from taut.documents.yaml import load_documents
from taut.secrets.sops.errors import SopsError

_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0[0-7_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_TIME = re.compile(r"^\d{4}-\d\d?-\d\d?(?:$|[Tt ])")
_COMMENT = re.compile(r"#(ENC\[AES256_GCM,data:[^\]]*type:comment\])")
_PLAIN = re.compile(r"""^(?:[^\W\d]|/)[^:#,\[\]{}&*!|>'"%@`\\\n]*$""")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar: where it is written, its keys, its value as sops reads it."""

    start: int
    end: int
    path: tuple[str, ...]
    value: Any
    indent: int
    step: int = 4
    """How much further in a text of several lines goes: an item's dash counts for two."""


@dataclass(frozen=True)
class YamlText:
    """The documents of a file. `metadata` is the first `sops` mapping; `cuts` are the texts of all of them."""

    text: str
    documents: tuple[tuple[Leaf, ...], ...]
    metadata: Any
    cuts: tuple[tuple[int, int], ...]


def read(data: bytes) -> YamlText:
    """The file with the place of every scalar. Raises BadInput, SopsError for what is no YAML, or uses what sops does not have."""
    load_documents(data)  # its limits come first: what follows trusts the nesting
    text = data.decode()
    documents: list[tuple[Leaf, ...]] = []
    metadata: Any = None
    cuts: list[tuple[int, int]] = []
    try:
        nodes = [n for n in yaml.compose_all(text, Loader=yaml.CSafeLoader) if n is not None]
    except yaml.YAMLError:
        raise SopsError("the file is no YAML") from None
    for node in nodes:
        if not isinstance(node, yaml.MappingNode):
            documents.append(tuple(_leaves(node, (), 0)))
            continue
        found: list[Leaf] = []
        for key, value in node.value:
            if str(key.value) == "sops" and isinstance(value, yaml.MappingNode):
                metadata = metadata or _plain(value)
                cuts.append((key.start_mark.index, value.end_mark.index))
            else:
                found += _leaves(value, (str(key.value),), key.start_mark.column)
        documents.append(tuple(found))
    return YamlText(text, tuple(documents), metadata, tuple(cuts))


def _leaves(node: Any, path: tuple[str, ...], indent: int, step: int = 4) -> Iterator[Leaf]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(value, (*path, str(key.value)), key.start_mark.column)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _leaves(value, path, node.start_mark.column, 2)
    else:
        value = scalar(str(node.value), plain=not node.style)
        yield Leaf(node.start_mark.index, node.end_mark.index, path, value, indent, step)


def _plain(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {str(k.value): _plain(v) for k, v in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(v) for v in node.value]
    return scalar(str(node.value), plain=not node.style)


def scalar(text: str, *, plain: bool) -> Any:
    """A scalar's value as yaml.v3, which sops reads with, resolves it (YAML 1.2, with 1.1's octals and binaries)."""
    if not plain:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.match(text):
        return _integer(text.replace("_", ""))
    if _FLOAT.match(text):
        return float(text)
    if _TIME.match(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return text
    return text


def _integer(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if digits.startswith("0") and len(digits) > 1 else 10)


def replaced(source: YamlText, values: Sequence[Sequence[Any]], comment: Any) -> str:
    """The text with other values in the places of the leaves, and without the metadata.

    `comment` decrypts an encrypted comment: it is given the paths of the mappings that it may belong to.
    """
    edits: list[tuple[int, int, str]] = [(a, b, "") for a, b in source.cuts]
    for leaves, new in zip(source.documents, values, strict=True):
        for leaf, value in zip(leaves, new, strict=True):
            if value is not leaf.value:
                edits.append((leaf.start, leaf.end, written(value, leaf.indent, leaf.step)))
    out, at = [], 0
    for start, end, text in sorted(edits):
        out += [_comments(source, at, start, comment), text]
        at = end
    out.append(_comments(source, at, len(source.text), comment))
    return "".join(out).rstrip("\n") + "\n"


def _comments(source: YamlText, start: int, end: int, comment: Any) -> str:
    return _COMMENT.sub(lambda m: "#" + comment(m[1], _owners(source, start + m.start())), source.text[start:end])


def _owners(source: YamlText, at: int) -> list[tuple[str, ...]]:
    """The mappings around a place: those of the values before and after it, the inner ones first."""
    found: dict[tuple[str, ...], None] = {}
    for leaves in source.documents:
        before = next((leaf for leaf in reversed(leaves) if leaf.start < at), None)
        after = next((leaf for leaf in leaves if leaf.start >= at), None)
        for leaf in (after, before):
            for length in range(len(leaf.path) if leaf else 0, -1, -1):
                found[leaf.path[:length] if leaf else ()] = None
    found[()] = None
    return list(found)


def written(value: Any, indent: int, step: int = 4) -> str:
    """A value as a YAML scalar below a key at `indent`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case bytes():
            import base64

            return "!!binary " + base64.b64encode(value).decode()
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return _text(str(value), indent, step)


def _number(value: float) -> str:
    """As Go's `strconv.FormatFloat(v, 'g', -1, 64)`."""
    mantissa, _, power = f"{value:.17e}".partition("e")
    exponent = int(power)
    if -4 <= exponent < 21 and (exponent < 6 or value != int(value)):
        return str(int(value)) if value == int(value) else repr(value)
    shortest = repr(value)
    digits = shortest.partition("e")[0].replace(".", "").lstrip("-0").rstrip("0") or "0"
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{'-' if value < 0 else ''}{mantissa}e{'+' if exponent >= 0 else '-'}{abs(exponent):02d}"


def _text(value: str, indent: int, step: int) -> str:
    if "\n" in value and not value.startswith((" ", "\n")) and all(c.isprintable() or c in "\n\t" for c in value):
        keep = "" if value.endswith("\n") and not value.endswith("\n\n") else "+" if value.endswith("\n") else "-"
        pad = " " * (indent + step)
        lines = value.removesuffix("\n").split("\n") if value.endswith("\n") else value.split("\n")
        return f"|{keep}\n" + "\n".join(pad + line if line else "" for line in lines)
    if value.lower() in _WORDS:
        return f'"{value}"'
    plain = _PLAIN.match(value) and value == value.rstrip() and isinstance(scalar(value, plain=True), str)
    if plain and all(c.isprintable() for c in value):
        return value
    if all(c.isprintable() for c in value):
        return "'" + value.replace("'", "''") + "'"
    import orjson

    return orjson.dumps(value).decode()
