import math

import pytest
import yaml as pyyaml
import yamlrocks
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.documents.yaml import dump, dump_all, load_documents, load_one
from taut.model.errors import BadInput


def test_block_style_with_literal_text():
    value = {
        "apiVersion": "v1",
        "metadata": {"name": "a", "labels": {}, "annotations": {"example.com/x": "true"}},
        "items": [{"a": 1, "b": [1, 2.5, None]}, [["x"], []], "08"],
        "data": {"script": "#!/bin/sh\necho a\n", "open": "a\nb", "gaps": "a\n\n\n", "indented": "  a\nb\n"},
    }
    assert dump(value) == (
        "apiVersion: v1\n"
        "metadata:\n"
        "  name: a\n"
        "  labels: {}\n"
        "  annotations:\n"
        '    example.com/x: "true"\n'
        "items:\n"
        "- a: 1\n"
        "  b:\n"
        "  - 1\n"
        "  - 2.5\n"
        "  - null\n"
        "- - - x\n"
        "  - []\n"
        '- "08"\n'
        "data:\n"
        "  script: |\n"
        "    #!/bin/sh\n"
        "    echo a\n"
        "  open: |-\n"
        "    a\n"
        "    b\n"
        "  gaps: |+\n"
        "    a\n"
        "\n"
        "\n"
        "  indented: |2\n"
        "      a\n"
        "    b\n"
    )
    assert load_one(dump(value).encode()) == value


TRICKY = [
    *[
        "y",
        "n",
        "Y",
        "N",
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "null",
        "~",
        "=",
        "<<",
        "-",
        "?",
        ":",
        "|",
        ">",
        "!",
        "%",
        "@",
        "`",
        "&",
        "*",
        "#",
        "08",
        "0644",
        "0o7",
        "0x1f",
        "0b1",
        "1e3",
        "1_000",
        "12:30",
        "1:2:3",
        ".5",
        ".",
        "..",
        "...",
    ],
    *[
        "---",
        "2020-01-01",
        "2020-01-01T00:00:00Z",
        ".inf",
        "-.INF",
        ".nan",
        "+1",
        "-1",
        "a:",
        "a:b",
        "#a",
        "{}",
        "[]",
        "{a",
        "a]",
        "a,b",
        "!x",
        "&x",
        "*x",
        "%x",
        "@x",
        "'",
        '"',
        "\\",
        "1234e5678",
        "NULL",
        "None",
    ],
    "",
    " ",
    " a",
    "a ",
    "a: b",
    "a #b",
    "a\tb",
    "a\nb",
    "\n",
    "\na",
    "a\n\n",
    "a\r\nb",
    "\x00",
    "\x07",
    "\x85",
    "\u2028",
    "﻿a",
    "\U0001f600",
    "é",
    "- a",
    "? a",
    "--- a\nb",
    "a\n--- b",
    "a\n...\n",
    "a\n# b",
    "\ta\nb",
    " \na",
    "a\n \n",
    "\x7f",
]


@pytest.mark.parametrize("text", TRICKY)
def test_text_stays_text_for_every_reader(text: str):
    for value in ({"a": text}, [text], {"k": [{"a": text}]}, text, *([{text: 1}] if text else [])):
        written = dump(value).encode()
        assert load_one(written) == value
        assert pyyaml.safe_load(written) == value
        assert yamlrocks.loads(written) == value


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.text("ab \n\t#:-|'\"0yn.", max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_reading_what_was_written_gives_the_same(value: object):
    written = dump(value)
    assert load_one(written.encode()) == value
    assert dump(load_one(written.encode())) == dump(value) or isinstance(value, float | list | dict)
    assert written.endswith("\n")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=3), max_size=4))
def test_several_documents(values: list[dict[str, object]]):
    assert [d.body for d in load_documents(dump_all(values).encode())] == values


@pytest.mark.parametrize("value", [math.inf, math.nan, {1: 2}, {"a": b"x"}, {"a": {1, 2}}, object()])
def test_what_json_does_not_have_is_refused(value: object):
    with pytest.raises(BadInput):
        dump(value)


def test_deep_values_are_refused_not_a_crash():
    value: object = 1
    for _ in range(5000):
        value = [value]
    with pytest.raises(BadInput, match="nested deeper"):
        dump(value)
