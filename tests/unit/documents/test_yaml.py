import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.documents.exact import compose, construct
from taut.documents.quick import UnsureError, needs_exact, read
from taut.documents.yaml import Limits, line_of, load_documents, load_one
from taut.model.errors import BadInput


def bodies(text: str) -> list[object]:
    return [d.body for d in load_documents(text.encode())]


def test_documents_have_the_line_of_their_first_token_and_empty_ones_are_skipped():
    text = (
        "%YAML 1.1\n---\na: 1\n---\n---\n# only a comment\n---\nnull\n--- 5\n...\n\nb: 1\n--- # why\n  # x\n\nc: |\n  x"
    )
    found = [(d.index, d.line, d.body) for d in load_documents(text.encode())]
    assert found == [(0, 3, {"a": 1}), (1, 9, 5), (2, 12, {"b": 1}), (3, 16, {"c": "x\n"})]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n---\n", "---\n# a\n...\n", "~\n", "﻿"])
def test_nothing_is_no_document(text: str):
    assert bodies(text) == []


@pytest.mark.parametrize("breaks", ["\n", "\r\n"])
def test_line_breaks_of_other_systems(breaks: str):
    text = "a: 1\n---\nb:\n  c: |\n    x\n".replace("\n", breaks)
    assert [(d.line, d.body) for d in load_documents(text.encode())] == [(1, {"a": 1}), (3, {"b": {"c": "x\n"}})]


def test_utf_16_with_a_mark_is_read():
    assert load_documents("a: ü\n".encode("utf-16"))[0].body == {"a": "ü"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('[{"a": 1.0}]', [[{"a": 1}]]),
        ('{"a":1}{"b":2}\n{"c":3}', [{"a": 1}, {"b": 2}, {"c": 3}]),
        ('{"a": 1}\n---\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        ('{"a": 12345678901234567890}', [{"a": 12345678901234567890.0}]),
        ("{}0", [{}, 0]),
        ("{a: on}", [{"a": True}]),
        ('{"a": "on"}', [{"a": "on"}]),
    ],
)
def test_json_is_read_too(text: str, expected: list[object]):
    assert bodies(text) == expected


def test_json_that_follows_json_has_its_line():
    assert [d.line for d in load_documents(b'\n{"a":1}\n\n{"b":2}')] == [2, 4]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: [\n", 2, "no YAML"),
        ("a: 1\n---\nb: 'x\n", 3, "begins in line 3|quoted scalar"),
        ("a: 1\n\tb: 2\n", 2, "no YAML"),
        ("x: 1\n---\na:\n  {{ .Values.x }}\n", 4, "a mapping is no key"),
        ("{{ x }}: 1\n", 1, "a mapping is no key"),
        ("- [a]: 1\n", 1, "a sequence is no key"),
        ("~: 1\n", 1, "no key"),
        ("a: 1\nb: .inf\n", 2, "JSON does not have"),
        ("b: -.INF\n", 1, "JSON does not have"),
        ("b: .nan\n", 1, "JSON does not have"),
        ("b: *x\n", 1, "no anchor"),
        ("b: &x [*x]\n", 1, "contains itself"),
        ("b: !!int foo\n", 1, "no !!int"),
        ("b: !!binary '*'\n", 1, "base64"),
        ('{"a": NaN}{}', 1, "no YAML"),
        ('{}{"a": 1e999}', 1, "no YAML"),
        ("<<: 1\n", 1, "takes a mapping"),
        ("a: \x07\n", 1, "no YAML"),
        ("a: 1\n%YAML 1.1\n---\nb: 1\n", 2, "no YAML"),
        ("- " * 100_000, 1, "nested deeper"),
        ("[" * 100_000, 1, "nest"),
        ("{a: " * 50_000, 1, "nested deeper"),
        ('{"a":' * 50_000, 1, "nested deeper"),
    ],
)
def test_bad_input_says_what_and_where(text: str, line: int, what: str):
    with pytest.raises(BadInput) as caught:
        load_documents(text.encode(), file="apps/a.yaml")
    assert (caught.value.where.file, caught.value.where.line) == ("apps/a.yaml", line)
    assert re.search(what, caught.value.what), caught.value.what


def test_text_that_is_no_utf_8():
    with pytest.raises(BadInput, match=r"f\.yaml:2: this is no UTF-8"):
        load_documents(b"a: 1\nb: \xff\n", file="f.yaml")


def bomb(levels: int) -> bytes:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("levels", [7, 9, 60])
def test_an_alias_bomb_stops_before_it_grows(levels: int):
    with pytest.raises(BadInput, match="aliases expand to more than"):
        load_documents(bomb(levels))


def test_aliases_of_a_reasonable_size_are_copies():
    body = load_documents(bomb(3))[0].body
    body["a1"][0][0] = "changed"
    assert body["a0"][0] == body["a1"][1][0] == body["a2"][0][0][0] == "x"


def test_an_alias_cannot_nest_past_the_depth():
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 400))]
    with pytest.raises(BadInput, match="nested deeper than 200"):
        load_documents("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(bytes=10), "a: 1234567890"),
        (Limits(depth=2), "a: {b: {c: 1}}"),
        (Limits(documents=2), "a: 1\n---\nb: 1\n---\nc: 1\n"),
        (Limits(nodes=5), "[1, 2, 3, 4, 5]"),
        (Limits(nodes=5), "a: &x [1, 2, 3, 4, 5]"),
    ],
)
def test_limits(limits: Limits, text: str):
    assert load_documents(text.encode())
    with pytest.raises(BadInput, match=r"more than|deeper than"):
        load_documents(text.encode(), limits=limits)


def test_load_one():
    assert load_one(b"a: 1\n") == {"a": 1}
    assert load_one(b"# nothing\n") is None
    with pytest.raises(BadInput, match="f:3: there is more than one document"):
        load_one(b"a: 1\n---\nb: 1\n", file="f")


@pytest.mark.parametrize(
    ("path", "document", "line"),
    [
        (("a",), 0, 2),
        (("x",), 1, 5),
        (("x", 1), 1, 7),
        (("x", 1, "z"), 1, 8),
        (("x", 1, "absent", "y"), 1, 7),
        (("x", 9), 1, 5),
        (("true",), 1, 9),
        (("a",), 7, 1),
    ],
)
def test_line_of(path: tuple[str | int, ...], document: int, line: int):
    text = b"# c\na: 1\n---\n---\nx:\n  - y: 1\n  - y: 2\n    z: 2\non: 1\n"
    assert line_of(text, path, document=document) == line


def test_line_of_in_json_and_in_what_cannot_be_read():
    assert line_of(b'{\n "a": [\n 1,\n 2\n]}', ("a", 1)) == 4
    assert line_of(b"a: [", ("a",)) == 1


# --- the two readers agree, and nothing but BadInput ever comes out ---------------------------------------------------

ODD = st.text("0123456789+-._eExobyNnaf:=~ &*!<|'\"#[]{},\t\n\\ü", max_size=12)
TEMPLATES = ("a: {}\n", "- {}\n", "a: [x, {} , y]\n", "a:\n  b: {} # c\n", '{{"a":{}}}\n', "{}: 1\n", "a: |\n  {}\n")


def exact(data: bytes) -> object:
    try:
        return construct(compose(data, file="", limits=Limits())[0], file="")
    except BadInput:
        return BadInput


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(TEMPLATES), ODD)
def test_where_the_quick_reader_is_used_it_says_what_the_exact_one_says(template: str, text: str):
    data = template.format(text).encode()
    if needs_exact(data):
        return
    try:
        quick = read(data, Limits())
    except UnsureError:
        return
    judged = exact(data)
    assert judged is BadInput or json.dumps(quick) == json.dumps(judged)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60), ODD.map(str.encode), st.lists(ODD, max_size=4).map(lambda p: "\n".join(p).encode())
    )
)
def test_any_bytes_give_json_or_bad_input(data: bytes):
    try:
        documents = load_documents(data, file="f")
    except BadInput:
        return
    for number, document in enumerate(documents):
        json.dumps(document.body, allow_nan=False)
        assert document.index == number
        assert 1 <= document.line <= data.decode(errors="replace").count("\n") + data.count(b"\r") + 2
