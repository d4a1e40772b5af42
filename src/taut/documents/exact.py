"""The exact reader: libyaml's events, composed and resolved as kubectl does, with the line of every node.

It is slower than the usual path and is used where that one cannot tell (aliases, tags, unusual numbers), to find lines
for error messages, and as the judge of what is malformed. Nothing here recurses deeper than the depth that the limits allow.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from taut.documents.limits import Limits, bad
from taut.documents.scalars import json_number, key_text, resolve

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEMPLATE_ADVICE = "if this is a template, render it first; else quote the key"


@dataclass(slots=True)
class Node:
    """A value with its line. `children` of a mapping are keys and values in turn; `size` counts what it expands to."""

    kind: str
    line: int
    text: str = ""
    tag: str = ""
    plain: bool = False
    children: list[Node] = field(default_factory=list)
    size: int = 1
    complete: bool = True


def compose(data: bytes, *, file: str, limits: Limits, first_line: int = 1) -> list[Node | None]:
    """The documents in `data` as nodes, None for one without content. Raises BadInput; lines count from `first_line`."""
    composer = _Composer(file, limits, first_line)
    try:
        for event in _events(data):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        line = first_line + min(_mark_line(error), data.rstrip().count(b"\n"))
        raise bad(
            _reason(error, first_line), file, line, "check the indentation and the quotes around this line"
        ) from None
    except yaml.YAMLError as error:
        at = getattr(error, "position", 0) or 0
        line = first_line + data[: at if isinstance(at, int) else 0].count(b"\n")
        what = f"this is no YAML: {' '.join(str(error).split())}"
        raise bad(what, file, line, "remove the character, or exclude the file") from None
    except (UnicodeDecodeError, ValueError):
        raise bad("this is no YAML: a character that cannot be read", file, first_line) from None
    return composer.documents


def construct(node: Node | None, *, file: str) -> Any:
    """The JSON value of a composed document. Raises BadInput for what JSON does not have."""
    return None if node is None else _value(node, file)


def find_line(node: Node, path: tuple[str | int, ...]) -> int:
    """The line of the value at `path`: of its key in a mapping, of its first token in a sequence; of the nearest parent that exists."""
    line = node.line
    for step in path:
        found = _step(node, step)
        if found is None:
            return line
        line, node = found
    return line


def _step(node: Node, step: str | int) -> tuple[int, Node] | None:
    if node.kind == "sequence" and isinstance(step, int):
        return (node.children[step].line, node.children[step]) if 0 <= step < len(node.children) else None
    if node.kind != "mapping":
        return None
    pairs = list(zip(node.children[::2], node.children[1::2], strict=True))
    for key, value in reversed(pairs):
        if key.kind == "scalar" and key_text(_scalar(key, "")) == str(step):
            return key.line, value
    return None


def _events(data: bytes) -> Iterator[Event]:
    loader = _PARSER(data)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _mark_line(error: yaml.MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return mark.line if mark else 0


def _reason(error: yaml.MarkedYAMLError, first_line: int) -> str:
    """What libyaml says, with the line in which the thing began that it could not finish."""
    context = error.context or ""
    if context and error.context_mark and error.context_mark.line != _mark_line(error):
        context += f" that begins in line {first_line + error.context_mark.line}"
    return "this is no YAML: " + ", ".join(part for part in (context, error.problem) if part)


class _Composer:
    """Turns events into nodes, counting what they cost while they come in."""

    def __init__(self, file: str, limits: Limits, first_line: int) -> None:
        self.documents: list[Node | None] = []
        self._file = file
        self._limits = limits
        self._first_line = first_line
        self._stack: list[Node] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._expanded = 0

    def take(self, event: Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}
            self.documents.append(None)
            if len(self.documents) > self._limits.documents:
                raise self._bad(f"more than {self._limits.documents} documents in one file", event, "split the file")
        elif isinstance(event, AliasEvent):
            self._add(self._alias(event))
        elif isinstance(event, CollectionEndEvent):
            node = self._stack.pop()
            node.complete = True
            if self._stack:
                self._stack[-1].size += node.size
        elif isinstance(event, NodeEvent):
            self._node(event)

    def _node(self, event: NodeEvent) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            raise self._bad(f"more than {self._limits.nodes} values in one file", event, "split the file")
        node = self._new(event)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node)
        if node.kind != "scalar":
            self._stack.append(node)
            if len(self._stack) > self._limits.depth:
                raise self._bad(f"nested deeper than {self._limits.depth} levels", event, "flatten the document")

    def _new(self, event: NodeEvent) -> Node:
        line = self._line(event)
        if isinstance(event, ScalarEvent):
            return Node("scalar", line, event.value, event.tag or "", plain=bool(event.implicit[0]))
        kind = "mapping" if isinstance(event, MappingStartEvent) else "sequence"
        assert isinstance(event, MappingStartEvent | SequenceStartEvent)  # noqa: S101 - the only other node events
        return Node(kind, line, tag=event.tag or "", complete=False)

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.documents[-1] = node
            return
        parent = self._stack[-1]
        parent.children.append(node)
        if node.complete:
            parent.size += node.size

    def _alias(self, event: AliasEvent) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._bad(f"alias *{event.anchor} has no anchor", event, f"define it before with &{event.anchor}")
        if not node.complete:
            raise self._bad(f"the value of anchor &{event.anchor} contains itself", event, "remove the alias inside it")
        self._expanded += node.size
        if self._expanded > self._limits.expansion:
            what = f"aliases expand to more than {self._limits.expansion} values"
            raise self._bad(what, event, "write the values out, or in several files")
        if node.kind != "scalar" and len(self._stack) + _depth(node) > self._limits.depth:
            raise self._bad(f"nested deeper than {self._limits.depth} levels", event, "flatten the document")
        return node

    def _line(self, event: Event) -> int:
        return self._first_line + (event.start_mark.line if event.start_mark else 0)

    def _bad(self, what: str, event: Event, advice: str) -> Exception:
        return bad(what, self._file, self._line(event), advice)


def _depth(node: Node) -> int:
    """How deep a finished collection nests; level by level, so that it costs no stack and each level's nodes once."""
    depth, level = 0, [node]
    while level:
        depth += 1
        level = list({id(c): c for n in level for c in n.children if c.kind != "scalar"}.values())
    return depth


def _value(node: Node, file: str) -> Any:
    if node.kind == "scalar":
        value = _scalar(node, file)
        if isinstance(value, float) and not math.isfinite(value):
            raise bad(f"{node.text} is a number that JSON does not have", file, node.line, "quote it if it is text")
        return json_number(value) if isinstance(value, int | float) else value
    if node.kind == "sequence":
        return [_value(child, file) for child in node.children]
    result: dict[str, Any] = {}
    for key, value in zip(node.children[::2], node.children[1::2], strict=True):
        if _is_merge(key):
            _merge(result, value, file)
        else:
            result[_key(key, file)] = _value(value, file)
    return result


def _key(node: Node, file: str) -> str:
    if node.kind != "scalar":
        raise bad(f"a {node.kind} is no key", file, node.line, _TEMPLATE_ADVICE)
    text = key_text(_scalar(node, file))
    if text is None:
        raise bad(f"{node.text or 'an empty value'} is no key", file, node.line, "quote the key")
    return text


def _is_merge(node: Node) -> bool:
    return node.kind == "scalar" and node.text == "<<" and (node.plain or node.tag == _TAG + "merge")


def _merge(into: dict[str, Any], node: Node, file: str) -> None:
    """go-yaml v2 merges where the key stands: what comes later wins, and of a list the earlier mappings do."""
    sources = list(reversed(node.children)) if node.kind == "sequence" else [node]
    for source in sources:
        if source.kind != "mapping":
            raise bad("<< takes a mapping or a list of mappings", file, node.line)
        into.update(_value(source, file))


def _scalar(node: Node, file: str) -> str | int | float | bool | None:
    tag = node.tag.removeprefix(_TAG) if node.tag.startswith(_TAG) else ""
    if not node.tag:
        return resolve(node.text) if node.plain else node.text
    if tag == "binary":
        return _binary(node, file)
    if tag in {"int", "float", "bool", "null"}:
        return _forced(node, tag, file)
    return node.text


def _binary(node: Node, file: str) -> str:
    try:
        return base64.b64decode("".join(node.text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise bad("!!binary holds no base64 of text", file, node.line) from None


def _forced(node: Node, tag: str, file: str) -> str | int | float | bool | None:
    value = resolve(node.text)
    kinds: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
    if not isinstance(value, kinds[tag]) or (isinstance(value, bool) and tag != "bool"):
        raise bad(f"{node.text!r} is no !!{tag}", file, node.line)
    return value
