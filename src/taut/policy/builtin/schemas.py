"""What fields the kinds of a target have: from its OpenAPI (v2 or v3), from CustomResourceDefinitions, or those of Kubernetes that come with taut.

A type is a map from field to node. A node is a short text: `[]` ahead of what a list holds, `{}` ahead of what a map holds, `:string` and its like for
a scalar (`:string=a|b` where only some are taken), the name of a type, or nothing where anything goes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from taut.model.manifests import Body

type Fields = Mapping[str, str]

ANY = ""
KEPT = "kubernetes.json"
_SCALARS = frozenset({"string", "integer", "boolean", "number"})
_LOOSE = ("api.resource.Quantity", "util.intstr.IntOrString")
"""In OpenAPI v2 they are strings, while the API server takes numbers, too."""
_DEFINITION = "CustomResourceDefinition"
_MOST_ALIASES = 10
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")
_MOST_DEPTH = 200
_LONGEST_WORD = 60


@dataclass(frozen=True, slots=True)
class Misfit:
    """A field that its kind does not have (`wanted`: the one that was probably meant), or a value that it does not take (`found`, `wanted`: types, or
    with `words` texts, of which only some are taken).
    """

    path: str
    known: bool
    found: str = ""
    wanted: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schemas:
    """The kinds (apiVersion, kind → node) and types of a target. `whole`: all that it serves is here. `version` is for people."""

    kinds: Mapping[tuple[str, str], str]
    types: Mapping[str, Fields]
    version: str = ""
    whole: bool = False

    def misfits(self, body: Body) -> Iterator[Misfit]:
        """What of an object its kind does not take, in the order of the object; nothing for a kind that is not known."""
        node = self.kinds.get((str(body.get("apiVersion")), str(body.get("kind"))), ANY)
        yield from self._walk(node, body, "", 0)

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether a kind is among these."""
        return (api_version, kind) in self.kinds

    def with_definitions(self, bodies: Iterable[Body]) -> Schemas:
        """With the kinds of the CustomResourceDefinitions among objects."""
        definitions = [b for b in bodies if _is_definition(b)]
        if not definitions:
            return self
        kinds, types = dict(self.kinds), dict(self.types)
        for body in definitions:
            for key, schema in _versions(body):
                kinds[key] = _custom(schema, f"{key[0]} {key[1]}", types)
        return replace(self, kinds=kinds, types=types)

    def _walk(self, node: str, value: Any, path: str, depth: int) -> Iterator[Misfit]:
        if node == ANY or value is None or depth > _MOST_DEPTH:
            return
        wanted, of = _shape(node)
        if not _fits(value, wanted):
            yield Misfit(path, True, _told(value), wanted)
        elif wanted == "string" and of and value and value not in (words := of.split("|")):
            near = next(iter(difflib.get_close_matches(value, words, 1)), "")
            yield Misfit(path, True, value[:_LONGEST_WORD], near, tuple(words))
        elif wanted == "list":
            for number, item in enumerate(value):
                yield from self._walk(of, item, f"{path}[{number}]", depth + 1)
        elif wanted == "map":
            fields = None if node.startswith("{}") else self.types.get(of, {})
            for key, item in value.items():
                inner = f"{path}.{key}" if path else str(key)
                if fields is None:
                    yield from self._walk(of, item, inner, depth + 1)
                elif fields and key not in fields:
                    yield Misfit(inner, False, str(key), next(iter(difflib.get_close_matches(str(key), fields, 1)), ""))
                elif fields:
                    yield from self._walk(fields[key], item, inner, depth + 1)


@cache
def kept() -> Schemas:
    """The kinds of the Kubernetes version that came with this taut."""
    found = read_kept(Path(__file__).with_name(KEPT))
    return replace(found, version=f"Kubernetes {found.version}")


def read_kept(file: Path) -> Schemas:
    """What `keep` made of schemas."""
    found = msgspec.json.decode(file.read_bytes(), type=_Kept)
    kinds = {(version, kind): node for version, nodes in found.kinds.items() for kind, node in nodes.items()}
    return Schemas(kinds, found.types, found.version)


def _is_definition(body: Body) -> bool:
    return body.get("kind") == _DEFINITION and str(body.get("apiVersion")).startswith("apiextensions.k8s.io/")


class _Kept(msgspec.Struct):
    version: str
    kinds: dict[str, dict[str, str]]
    types: dict[str, dict[str, str]]


def keep(schemas: Schemas) -> bytes:
    """The content of the file that `kept` reads: a line a type, so that a new version can be reviewed."""
    kinds: dict[str, dict[str, str]] = {}
    for (version, kind), node in sorted(schemas.kinds.items()):
        kinds.setdefault(version, {})[kind] = node
    parts = [("kinds", kinds), ("types", {name: dict(sorted(t.items())) for name, t in sorted(schemas.types.items())})]
    lines = [f'{{"version": {_json(schemas.version)}']
    for name, of in parts:
        lines.append(f',"{name}": {{')
        lines += [f"{',' if at else ''}{_json(key)}: {_json(value)}" for at, (key, value) in enumerate(of.items())]
        lines.append("}")
    return "\n".join([*lines, "}", ""]).encode()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def read_openapi(documents: Iterable[Mapping[str, Any]], *, version: str = "", whole: bool = False) -> Schemas:
    """The schemas of OpenAPI documents: one of v2 (`/openapi/v2`), which tells all, or any number of v3 (`/openapi/v3/…`)."""
    kinds: dict[tuple[str, str], str] = {}
    types: dict[str, Fields] = {}
    aliases: dict[str, str] = {}
    for document in documents:
        found = document.get("definitions")
        whole = whole or isinstance(found, dict)
        if not isinstance(found, dict):
            components = document.get("components")
            found = components.get("schemas") if isinstance(components, dict) else None
        for name, schema in found.items() if isinstance(found, dict) else ():
            node = ANY if name.endswith(_LOOSE) else _node(schema, name, types)
            if node != name:
                aliases[name] = node
            for key in _kinds_of(schema):
                kinds[key] = name
    resolved = {name: {k: _resolved(v, aliases) for k, v in fields.items()} for name, fields in types.items()}
    return Schemas({key: _resolved(node, aliases) for key, node in kinds.items()}, resolved, version, whole)


def _kinds_of(schema: Any) -> Iterator[tuple[str, str]]:
    """The kind of a schema; one that has many (DeleteOptions) is none of an object."""
    found = schema.get("x-kubernetes-group-version-kind") if isinstance(schema, dict) else None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        group, version = str(found[0].get("group") or ""), str(found[0].get("version") or "")
        yield f"{group}/{version}" if group else version, str(found[0].get("kind") or "")


def _resolved(node: str, aliases: Mapping[str, str]) -> str:
    for _ in range(_MOST_ALIASES):
        name = node.lstrip("[]{}")
        if name not in aliases:
            return node
        inner = aliases[name]
        node = node[: len(node) - len(name)] + inner
        if inner == ANY:
            return node
    return ANY


def _node(schema: Any, name: str, types: dict[str, Fields], depth: int = 0) -> str:
    """The node of a schema; types that it needs are put into `types`, its own under `name`."""
    if not isinstance(schema, dict) or depth > _MOST_DEPTH:
        return ANY
    if isinstance(schema.get("$ref"), str):
        return str(schema["$ref"]).rpartition("/")[2]
    alternatives = schema.get("allOf")
    if isinstance(alternatives, list) and len(alternatives) == 1 and "properties" not in schema:
        return _node(alternatives[0], name, types, depth + 1)
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        return ANY
    if schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource"):
        return ANY
    kind, properties, further = schema.get("type"), schema.get("properties"), schema.get("additionalProperties")
    if kind == "array":
        return "[]" + _node(schema.get("items"), f"{name}[]", types, depth + 1)
    if isinstance(properties, dict) and not further:
        types[name] = {str(k): _node(v, f"{name}.{k}", types, depth + 1) for k, v in properties.items()}
        return name
    if isinstance(further, dict) and not properties:
        return "{}" + _node(further, f"{name}{{}}", types, depth + 1)
    words = schema.get("enum")
    if kind == "string" and isinstance(words, list) and all(isinstance(w, str) and _PLAIN.fullmatch(w) for w in words):
        return f":string={'|'.join(words)}"
    return f":{kind}" if kind in _SCALARS else ANY


def _custom(schema: Any, name: str, types: dict[str, Fields]) -> str:
    """The node of a custom kind, whose metadata is every kind's."""
    node = _node(schema, name, types)
    if node == name:
        metadata = next((t for t in types if t.endswith(".meta.v1.ObjectMeta")), ANY)
        types[name] = {**types[name], "apiVersion": ":string", "kind": ":string", "metadata": metadata}
    return node


def _versions(body: Body) -> Iterator[tuple[tuple[str, str], Any]]:
    """The kinds that a CustomResourceDefinition defines, each with its schema (None: anything goes)."""
    spec = body.get("spec")
    names = spec.get("names") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(names, dict):
        return
    old = spec.get("validation")
    shared = old.get("openAPIV3Schema") if isinstance(old, dict) else None
    for version in spec.get("versions") or ():
        if isinstance(version, dict) and version.get("served", True):
            own = version.get("schema")
            schema = own.get("openAPIV3Schema") if isinstance(own, dict) else shared
            key = (f"{spec.get('group')}/{version.get('name')}", str(names.get("kind")))
            yield key, None if spec.get("preserveUnknownFields") else schema


def _shape(node: str) -> tuple[str, str]:
    """What a value has to be, in words, and the node of what it holds."""
    if node.startswith("[]"):
        return "list", node[2:]
    if node.startswith("{}"):
        return "map", node[2:]
    if node.startswith(":"):
        kind, _, words = node[1:].partition("=")
        return kind, words
    return "map", node


def _fits(value: Any, wanted: str) -> bool:
    match wanted:
        case "list":
            return isinstance(value, list)
        case "map":
            return isinstance(value, dict)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            return isinstance(value, (int, float)) and not isinstance(value, bool)


def _told(value: Any) -> str:
    """The type of a value in words: the value itself may be secret."""
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "list"
        case _:
            return "map"
