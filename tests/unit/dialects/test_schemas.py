import json
from pathlib import Path

import msgspec
import pytest

from taut.dialects.config import read_config
from taut.dialects.docstrings import field_docs
from taut.dialects.examples import EXAMPLES
from taut.dialects.reference import files
from taut.dialects.schemas import SCHEMAS, schema, structs
from taut.dialects.taut import parse
from taut.documents.yaml import load_documents

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", sorted(files()))
def test_what_is_generated_is_up_to_date(name: str):
    assert (DOCS / name).read_text() == files()[name], "run: python -m taut.dialects.reference docs"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_schema_is_closed_and_says_what_everything_means(kind: str):
    full = schema(kind)
    assert full["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name, part in {kind: full, **full["$defs"]}.items():
        if "properties" not in part:
            continue
        assert part["additionalProperties"] is False, name
        assert part["description"], name
        for field, value in part["properties"].items():
            assert value.get("description"), f"{name}.{field} has no docstring"
    assert not [text for text in _patterns(full) if "\\n" in text]


def _patterns(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["pattern"]] if isinstance(value.get("pattern"), str) else []
        return own + [p for inner in value.values() for p in _patterns(inner)]
    return [p for inner in value for p in _patterns(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_reference_leads_somewhere(kind: str):
    full = schema(kind)
    wanted = {part.partition('"')[0] for part in json.dumps(full).split('"#/$defs/')[1:]}
    assert wanted == set(full["$defs"])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_docstrings_are_those_of_fields(kind: str):
    for struct in structs(SCHEMAS[kind]):
        assert set(field_docs(struct)) <= {f.name for f in msgspec.structs.fields(struct)}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, pairs in EXAMPLES.items() for _, text in pairs])
def test_the_examples_are_good(kind: str, text: str):
    data = text.encode()
    if kind == "Config":
        assert read_config(data, "taut.yaml")[1] == []
        return
    found = parse(load_documents(data), root="r", file="f.yaml", data=data)
    assert not found.problems
    assert len([*found.applications, *found.projects, *found.alert_rules, *found.alert_receivers]) == 1
