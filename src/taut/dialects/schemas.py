"""JSON Schemas (draft 2020-12) of taut's documents and configuration, generated from the structs that check them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from taut.dialects.config import Config
from taut.dialects.docstrings import class_doc, field_docs
from taut.dialects.kinds import API_VERSION, DOCUMENTS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS: dict[str, type[msgspec.Struct]] = {**DOCUMENTS, "Config": Config}
"""Everything that has a schema: the kinds of documents, and the configuration of `taut run`."""


def schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of SCHEMAS; it allows exactly what the checker takes, besides rules that no schema can say. Raises KeyError."""
    struct = SCHEMAS[kind]
    (top,), parts = msgspec.json.schema_components((struct,), ref_template="#/$defs/{name}")
    described = dict(sorted(parts.items()))
    for found in structs(struct):
        _describe(described[found.__name__], found)
    name = top["$ref"].rpartition("/")[2]
    root = described.pop(name)
    return {
        "$schema": DRAFT,
        "$id": f"https://{API_VERSION}/{file_name(kind)}",
        **{key: value for key, value in root.items() if key != "title"},
        "title": kind,
        "$defs": described,
    }


def file_name(kind: str) -> str:
    """The name of a schema's file: `application.json`."""
    return f"{kind.lower()}.json"


def structs(top: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """`top` and every struct it is made of, each once, in the order of the fields."""
    found: dict[type[msgspec.Struct], None] = {}
    todo: list[inspect.Type] = [inspect.type_info(top)]
    while todo:
        kind = todo.pop(0)
        if isinstance(kind, inspect.StructType):
            if kind.cls in found:
                continue
            found[kind.cls] = None
        todo += _inner(kind)
    return list(found)


def _inner(kind: inspect.Type) -> Iterator[inspect.Type]:
    match kind:
        case inspect.StructType():
            yield from (f.type for f in kind.fields)
        case inspect.Metadata():
            yield kind.type
        case inspect.UnionType():
            yield from kind.types
        case inspect.DictType():
            yield kind.value_type
        case inspect.VarTupleType() | inspect.ListType():
            yield kind.item_type
        case _:
            return


def _describe(part: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    part["description"] = class_doc(struct)
    for value in part["properties"].values():
        _ecma_patterns(value)
    docs = field_docs(struct)
    for field in msgspec.structs.fields(struct):
        text = docs.get(field.name)
        if text:
            described = part["properties"][field.encode_name]
            part["properties"][field.encode_name] = {
                "description": text,
                **{k: v for k, v in described.items() if k != "description"},
            }


def _ecma_patterns(value: Any) -> None:
    """Schemas' regexes are ECMA's, whose `$` is the end and nothing else: what makes Python's strict is not needed."""
    if isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            value["pattern"] = value["pattern"].removesuffix(r"(?!\n)")
        for inner in value.values():
            _ecma_patterns(inner)
    elif isinstance(value, list):
        for inner in value:
            _ecma_patterns(inner)
