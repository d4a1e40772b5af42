"""YAML as kubectl reads it, safely, with the line of every document; JSON and YAML out.

What a document means is what `kubectl` takes it for (sigs.k8s.io/yaml, which is YAML 1.1 with Go's numbers): `on` is true, 0644 is 420,
dates and `12:30` stay text, keys are text, the last of two equal keys counts, infinities are an error.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import yamlrocks

from taut.documents.emit import emit
from taut.documents.limits import Document, Limits, bad
from taut.documents.quick import UnsureError, check_shape, needs_exact, read
from taut.documents.scalars import json_number
from taut.model.errors import BadInput

if TYPE_CHECKING:
    from taut.documents.exact import Node

__all__ = ["Document", "Limits", "Locator", "dump", "dump_all", "line_of", "load_documents", "load_one", "repeated_key"]

_MARKER = re.compile(rb"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
_BLANK = re.compile(rb"\s*(?:#.*)?")
_NOTHING = re.compile(rb"(?:---)?\s*(?:#[^\r]*\s*)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_DEFAULT = Limits()


def load_documents(data: bytes, *, file: str = "", limits: Limits = _DEFAULT) -> list[Document]:
    """All documents of a YAML or JSON file that are not empty, in order.

    `file` is named in errors. Raises BadInput with the line for what is malformed, is no JSON value (a key that is no text, an infinity),
    or is past `limits`; one bad document fails the whole file, as it does in kubectl.
    """
    data = _text(data, file, limits)
    looks_like_json = data.lstrip()[:1] in {b"{", b"["}
    found = _json(data, limits) if looks_like_json else None
    if found is not None:
        return found
    try:
        return _yaml(data, file, limits)
    except BadInput:
        if not looks_like_json:
            raise
        with contextlib.suppress(ValueError, RecursionError, UnsureError):
            return _json_stream(data, limits)
        raise


def load_one(data: bytes, *, file: str = "", limits: Limits = _DEFAULT) -> Any:
    """The value of a file that holds at most one document; None when it holds none. Raises BadInput as `load_documents` does."""
    documents = load_documents(data, file=file, limits=limits)
    if len(documents) > 1:
        raise bad("there is more than one document here", file, documents[1].line, "keep the first, or split the file")
    return documents[0].body if documents else None


class Locator:
    """Finds lines in one file, for error messages. The file is composed once, at the first question."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._nodes: list[Node] | None = None

    def line(self, path: Sequence[str | int], *, document: int = 0) -> int:
        """The line, from 1, of the value at `path` (keys and indexes) in the document with number `document`.

        It is the line of the key; of the nearest parent that exists when there is no such value; 1 when the file cannot be read.
        """
        if self._nodes is None:
            self._nodes = self._compose()
        from taut.documents.exact import find_line

        return find_line(self._nodes[document], tuple(path)) if document < len(self._nodes) else 1

    def _compose(self) -> list[Node]:
        from taut.documents.exact import compose, construct  # large, and only needed for what is unusual or wrong

        nodes: list[Node] = []
        # A file that cannot be read as a whole still tells the lines of what precedes the fault.
        with contextlib.suppress(BadInput):
            for chunk, first_line in _chunks(_text(self._data, "", _DEFAULT), "", _DEFAULT):
                composed = compose(_ended(chunk), file="", limits=_DEFAULT, first_line=first_line)
                nodes += [node for node in composed if node is not None and construct(node, file="") is not None]
        return nodes


def repeated_key(data: bytes) -> tuple[str, int] | None:
    """The first key that a mapping holds twice, with its line. Reading takes the last one, as kubectl does; in a document that somebody
    wrote for taut it is a mistake. None also for what cannot be read."""
    try:
        yamlrocks.loads_all(data, option=yamlrocks.OPT_YAML_1_1 | yamlrocks.OPT_DUPLICATE_KEYS_ERROR)
    except yamlrocks.YAMLRocksDuplicateKeyError as error:
        key = error.message.removeprefix("duplicate mapping key: ").rpartition(" at line ")[0]
        return key, error.line or 0
    except (yamlrocks.YAMLRocksError, ValueError, RecursionError):
        return None
    return None


def line_of(data: bytes, path: Sequence[str | int], *, document: int = 0) -> int:
    """The line of one value, as `Locator.line` tells it."""
    return Locator(data).line(path, document=document)


def dump(value: Any) -> str:
    """`value` as YAML: block style, keys in their order, text quoted wherever a YAML 1.1 or 1.2 reader would see something else.

    Reading it again gives an equal value. Raises BadInput for what is no JSON value.
    """
    return emit(value)


def dump_all(values: Iterable[Any]) -> str:
    """`values` as documents, each after the first preceded by `---`. Raises BadInput as `dump` does."""
    return "---\n".join(emit(value) for value in values)


def _yaml(data: bytes, file: str, limits: Limits) -> list[Document]:
    documents: list[Document] = []
    for chunk, first_line in _chunks(data, file, limits):
        for body, line in _read_chunk(chunk, first_line, file, limits):
            documents.append(Document(body, line, len(documents)))
    return documents


def _text(data: bytes, file: str, limits: Limits) -> bytes:
    if len(data) > limits.bytes:
        raise bad(f"the file has {len(data)} bytes, more than {limits.bytes}", file, 0, "split the file, or exclude it")
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if data.startswith(mark):
            data = _recode(data.removeprefix(mark), encoding, file)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise bad("this is no UTF-8 text", file, line, "save the file as UTF-8, or exclude it") from None
    return data


def _recode(data: bytes, encoding: str, file: str) -> bytes:
    try:
        return data.decode(encoding).encode()
    except UnicodeError:
        raise bad(f"this is no {encoding} text, as its first bytes say", file, 1, "save the file as UTF-8") from None


def _json(data: bytes, limits: Limits) -> list[Document] | None:
    """The document of a JSON file; None when YAML has to tell."""
    try:
        value = orjson.loads(data)
        check_shape(value, limits)
    except (orjson.JSONDecodeError, UnsureError):
        return None
    value = _numbers(value) if needs_exact(data) else value
    return [Document(value, _line_at(data, len(data) - len(data.lstrip())), 0)]


def _json_stream(data: bytes, limits: Limits) -> list[Document]:
    """JSON values that follow one another without a separator, as kubectl takes them. Raises ValueError when it is something else."""
    text, at, documents = data.decode(), 0, list[Document]()
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    while (at := _SPACE.match(text, at).end()) < len(text):  # pyright: ignore[reportOptionalMemberAccess] - it matches the empty text
        value, end = decoder.raw_decode(text, at)
        check_shape(value, limits)
        documents.append(Document(_numbers(value), text.count("\n", 0, at) + 1, len(documents)))
        at = end
        if len(documents) > limits.documents:
            raise ValueError
    return documents


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return json_number(value) if isinstance(value, int | float) else value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _line_at(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _chunks(data: bytes, file: str, limits: Limits) -> Iterator[tuple[bytes, int]]:
    """The parts of a file that hold one document each, with the line they start in. Directives go with the document after them."""
    starts = [0, *(found.start() for found in _MARKER.finditer(data) if found.start())]
    if len(starts) > limits.documents:
        raise bad(f"more than {limits.documents} documents in one file", file, 0, "split the file")
    line, begin = 1, 0
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        if start != begin and not _only_directives(data[begin:start]):
            line += data.count(b"\n", begin, start)
            begin = start
        if end == len(data) or not _only_directives(data[begin:end]):
            chunk = data[begin:end]
            yield (b"   " + chunk[3:] if chunk.startswith(b"...") else chunk), line


def _only_directives(chunk: bytes) -> bool:
    """Whether a part holds directives (`%YAML 1.1`) and nothing else."""
    if chunk.startswith(b"---") or b"%" not in chunk:
        return False
    lines = [line for line in chunk.split(b"\n") if not _BLANK.fullmatch(line)]
    return bool(lines) and all(line.startswith(b"%") for line in lines)


def _read_chunk(chunk: bytes, first_line: int, file: str, limits: Limits) -> Iterator[tuple[Any, int]]:
    skipped = _first_content(chunk)
    if skipped is None:
        return
    chunk = _ended(chunk)
    if not needs_exact(chunk):
        try:
            yield read(chunk, limits), first_line + skipped
        except UnsureError:
            pass
        else:
            return
    from taut.documents.exact import compose, construct

    for node in compose(chunk, file=file, limits=limits, first_line=first_line):
        body = construct(node, file=file)
        if node is not None and body is not None:
            yield body, node.line


def _ended(chunk: bytes) -> bytes:
    """With a line break at the end: without it, the text of a block scalar there would lose its own, which kubectl keeps."""
    return chunk if chunk.endswith(b"\n") else chunk + b"\n"


def _first_content(chunk: bytes) -> int | None:
    """How many lines precede the first token; None when there is none (blank lines, comments and markers only)."""
    at, number, directive = 0, 0, None
    while at < len(chunk):
        end = chunk.find(b"\n", at)
        end = len(chunk) if end < 0 else end
        if chunk.startswith(b"%", at):
            directive = number
        elif not _NOTHING.fullmatch(chunk, at, end):
            return number
        at, number = end + 1, number + 1
    return directive
