"""YAML as sops leaves it: values are replaced in the text, so that comments, order and style stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from taut.documents.yaml import load_documents
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.yaml_comments import Entry, entries, owner

_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0[0-7_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_TIME = re.compile(r"^\d{4}-\d\d?-\d\d?(?:$|[Tt ])")
_COMMENT = re.compile(r"#(ENC\[AES256_GCM,data:[^\]]*type:comment\])")
_PLAIN = re.compile(r"""^(?:[^\W\d]|/)[^:#,\[\]{}&*!|>'"%@`\\\n]*$""")
_MOST_DIGITS = 1000
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
    flow: bool = False
    """It stands in brackets, where a plain text may not hold commas and brackets."""


@dataclass(frozen=True)
class YamlText:
    """The documents of a file. `metadata` is the first `sops` mapping; `cuts` are the texts of all of them."""

    text: str
    documents: tuple[tuple[Leaf, ...], ...]
    metadata: Any
    cuts: tuple[tuple[int, int], ...]
    ends: tuple[int, ...] = ()
    """Where each document's mapping ends; -1 for a document that is none, or stands in brackets."""
    entries: tuple[Entry, ...] = ()
    keys: tuple[tuple[int, int], ...] = ()
    """The texts of all keys: a `#` in them begins no comment."""


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
    ends: list[int] = []
    for node in nodes:
        block = isinstance(node, yaml.MappingNode) and not node.flow_style
        ends.append(node.end_mark.index if block else -1)
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
    listed = tuple(e for node in nodes for e in entries(node))
    keys = tuple(k for node in nodes for k in _keys(node))
    return YamlText(text, tuple(documents), metadata, tuple(cuts), tuple(ends), listed, keys)


def _keys(node: Any) -> Iterator[tuple[int, int]]:
    for item in node.value if isinstance(node, yaml.MappingNode | yaml.SequenceNode) else ():
        if isinstance(item, tuple):
            yield item[0].start_mark.index, item[0].end_mark.index
            yield from _keys(item[1])
        else:
            yield from _keys(item)


def _leaves(node: Any, path: tuple[str, ...], indent: int, step: int = 4, *, flow: bool = False) -> Iterator[Leaf]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = flow or bool(node.flow_style)
            yield from _leaves(value, (*path, str(key.value)), key.start_mark.column, flow=inner)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _leaves(value, path, node.start_mark.column, 2, flow=flow or bool(node.flow_style))
    else:
        value = scalar(str(node.value), plain=not node.style)
        yield Leaf(node.start_mark.index, node.end_mark.index, path, value, indent, step, flow)


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
    if len(digits) > _MOST_DIGITS:
        raise SopsError(f"a number has more than {_MOST_DIGITS} digits")
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
                edits.append((leaf.start, leaf.end, written(value, leaf)))
    out, at = [], 0
    for start, end, text in sorted(edits):
        out += [_comments(source, at, start, comment), text]
        at = end
    out.append(_comments(source, at, len(source.text), comment))
    return "".join(out).rstrip("\n") + "\n"


def _comments(source: YamlText, start: int, end: int, comment: Any) -> str:
    return _COMMENT.sub(lambda m: "#" + comment(m[1], _owners(source, start + m.start())), source.text[start:end])


def refuse_what_is_lost(source: YamlText) -> None:
    """Raises SopsError for what would not come back as it is: anchors, tags, documents that are no block mapping."""
    if any(end < 0 for end in source.ends) or not source.ends:
        raise SopsError(
            "only documents that are mappings, not in brackets, can be encrypted: the metadata have to find a place"
        )
    places = [leaf.start for leaves in source.documents for leaf in leaves if leaf.end > leaf.start]
    if len(set(places)) != len(places):
        raise SopsError("the file has anchors and aliases, which do not come back", advice="write the values out")
    for leaves in source.documents:
        for leaf in leaves:
            if source.text[leaf.start : leaf.start + 1] in {"!", "&"}:
                raise SopsError(
                    "the file has tags or anchors, which do not come back", advice="write the values without them"
                )


_WRITTEN_COMMENT = re.compile(r"(?P<before>^|[ \t])#(?P<text>[^\n]*)", re.MULTILINE)


def sealed(source: YamlText, values: Sequence[Sequence[Any]], block_: str, comment: Any) -> str:
    """The text with encrypted values and comments, and the metadata at the end of each document."""
    edits: list[tuple[int, int, str]] = [(a, b, source.text[a:b]) for a, b in source.keys]
    for leaves, new in zip(source.documents, values, strict=True):
        for leaf, value in zip(leaves, new, strict=True):
            if value is not leaf.value:
                text = json.dumps(value) if leaf.flow else str(value)
                edits.append((leaf.start, leaf.end, text + _rest(source.text, leaf)))
            else:
                edits.append((leaf.start, leaf.end, source.text[leaf.start : leaf.end]))
    out, at = [], 0
    ends = list(source.ends)
    for start, end, text in sorted(edits):
        while ends and ends[0] <= start:
            out.append(_sealed_comments(source, at, ends[0], comment))
            out.append(_on_its_own("".join(out), block_))
            at = ends.pop(0)
        out += [_sealed_comments(source, at, start, comment), text]
        at = end
    for last in ends:
        out.append(_sealed_comments(source, at, max(at, last), comment))
        out.append(_on_its_own("".join(out), block_))
        at = max(at, last)
    out.append(source.text[at:].lstrip("\n"))
    return "".join(out)


def _rest(text: str, leaf: Leaf) -> str:
    """A block scalar takes the line's end with it; the value that stands for it does not."""
    return "\n" if text[leaf.end - 1 : leaf.end] == "\n" else ""


def _on_its_own(before: str, block_: str) -> str:
    return block_ if before.endswith("\n") or not before else "\n" + block_


def _sealed_comments(source: YamlText, start: int, end: int, comment: Any) -> str:
    def put(found: re.Match[str]) -> str:
        at = start + found.start("text") - 1
        return f"{found['before']}#{comment(found['text'], owner(source.text, at, source.entries))}"

    return _WRITTEN_COMMENT.sub(put, source.text[start:end])


def block(value: Any, indent: int = 0, deeper: int = 4) -> str:
    """A value as YAML in sops' own style: four spaces, texts of several lines as they are."""
    pad = " " * indent
    lines: list[str] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            lines += [f"{pad}{key}:\n", block(inner, indent + 4)]
        elif isinstance(inner, list):
            lines.append(f"{pad}{key}:\n")
            for item in inner:
                text = block(item, indent + 6, 2)
                lines.append(pad + "    - " + text[indent + 6 :])
        else:
            lines.append(f"{pad}{key}: {_metadata_text(inner, indent, deeper)}\n")
    return "".join(lines)


def _metadata_text(value: Any, indent: int, deeper: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if "\n" in text:
        return _text(text, indent, deeper)
    return text if _ENCRYPTED.match(text) else json.dumps(text)


_ENCRYPTED = re.compile(r"^ENC\[[^\s]*\]$|^[A-Za-z0-9_./][A-Za-z0-9_./+=-]*$")


def _owners(source: YamlText, at: int) -> list[tuple[str, ...]]:
    """The places that a comment may have been encrypted for, the likeliest first: the program has written comments in more than one way."""
    found: dict[tuple[str, ...], None] = {owner(source.text, at, source.entries): None}
    for leaves in source.documents:
        before = next((leaf for leaf in reversed(leaves) if leaf.start < at), None)
        after = next((leaf for leaf in leaves if leaf.start >= at), None)
        for leaf in (after, before):
            for length in range(len(leaf.path) if leaf else 0, -1, -1):
                found[leaf.path[:length] if leaf else ()] = None
    found[()] = None
    return list(found)


def written(value: Any, leaf: Leaf) -> str:
    """A value as a YAML scalar in the place of a leaf."""
    if isinstance(value, str) and leaf.flow:
        return json.dumps(value, ensure_ascii=False)
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
            return _text(str(value), leaf.indent, leaf.step)


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
