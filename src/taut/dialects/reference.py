"""The documents reference (`docs/documents.md`), generated from the schemas: `python -m taut.dialects.reference [FOLDER]` writes it anew.

It also writes the published schemas beside it (`reference/schemas`). A test holds both up to date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taut.dialects.examples import EXAMPLES
from taut.dialects.schemas import SCHEMAS, file_name, schema

_HEAD = """\
# Documents

Everything that taut is told stands in YAML (or JSON) documents. This page lists them all, with every field; it is generated from the
definitions that check them. The same as JSON Schemas: [`reference/schemas`](reference/schemas), or `taut schema`.

- A **root** is a folder of a repository; taut reads every `.yaml`, `.yml` and `.json` file in it and below. Only documents of
  `apiVersion: taut.dev/v1` belong there. A faulty document is reported with its file, line and field, and hides no other.
- YAML means what it means to kubectl: `on` is true, `0644` is 420, dates are text, the last of two equal keys counts.
- Durations are written `30s`, `5m`, `1h30m`. Globs know `*`, `?`, `[a-z]` and `{a,b}`; in paths and addresses `*` ends at `/`, and `**` does not.
"""

_TITLES = {
    "Application": "Application",
    "Project": "Project",
    "AlertRule": "AlertRule",
    "AlertReceiver": "AlertReceiver",
    "Config": "The configuration of `taut run`",
}


def reference() -> str:
    """The page."""
    return _HEAD + "".join("\n" + "\n".join(_kind(kind)) + "\n" for kind in SCHEMAS)


def files() -> dict[str, str]:
    """Everything that is generated: path below the docs folder → content."""
    found = {
        f"reference/schemas/{file_name(kind)}": json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"
        for kind in SCHEMAS
    }
    return {"documents.md": reference(), **found}


def _kind(kind: str) -> Iterator[str]:
    full = schema(kind)
    yield f"## {_TITLES[kind]}"
    yield ""
    for text, example in EXAMPLES[kind]:
        yield from (text, "", "```yaml", example.strip(), "```", "")
    yield full["description"]
    yield ""
    yield from _table(full, kind)
    for name, part in _in_order(full):
        if "properties" in part:
            yield from ("", f'### <a id="{_anchor(kind, name)}"></a>{name}', "", part["description"], "")
            yield from _table(part, kind)


def _in_order(full: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The definitions in the order in which a reader of the document meets them."""
    definitions = full["$defs"]
    todo, seen = list(_references(full)), set[str]()
    while todo:
        name = todo.pop(0)
        if name not in seen:
            seen.add(name)
            yield name, definitions[name]
            todo = [*_references(definitions[name]), *todo]


def _references(part: dict[str, Any]) -> Iterator[str]:
    for value in part.get("properties", {}).values():
        yield from (name for name in _names(value))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield str(value["$ref"]).rpartition("/")[2]
        for key, inner in value.items():
            if key != "default":
                yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def _table(part: dict[str, Any], kind: str) -> Iterator[str]:
    definitions = schema(kind)["$defs"]
    yield "| field | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, value in part["properties"].items():
        default = "*required*" if name in part.get("required", []) else _default(value)
        meaning = value.get("description", "").replace("|", "\\|")
        yield f"| `{name}` | {_type(value, definitions, kind)} | {default} | {meaning} |"


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    empty = default is None or (isinstance(default, str | list | tuple | dict) and not default)
    return "" if empty else f"`{json.dumps(default)}`".replace('"', "")


def _type(value: dict[str, Any], definitions: dict[str, Any], kind: str) -> str:
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        choices = definitions[name].get("enum")
        return _choices(choices) if choices else f"[{name}](#{_anchor(kind, name)})"
    if "anyOf" in value:
        return " or ".join(
            _type(choice, definitions, kind) for choice in value["anyOf"] if choice.get("type") != "null"
        )
    if "enum" in value:
        return _choices(value["enum"])
    match value.get("type"):
        case "array":
            return f"list of {_type(value['items'], definitions, kind)}"
        case "object":
            inner = value.get("additionalProperties")
            return f"mapping to {_type(inner, definitions, kind)}" if isinstance(inner, dict) and inner else "mapping"
        case "string":
            return _text(value.get("pattern", ""))
        case known:
            return {"boolean": "true or false", "integer": "integer", "number": "number"}.get(str(known), "anything")


def _text(pattern: str) -> str:
    if "ms|s|m|h" in pattern:
        return "duration"
    if pattern.startswith("^(") and pattern.endswith(")$") and "|" in pattern and "[" not in pattern:
        return _choices(pattern[2:-2].split("|"))
    return "text"


def _choices(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{name}".lower()


def write(folder: Path) -> None:
    """Write all generated files below `folder`."""
    for name, content in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
