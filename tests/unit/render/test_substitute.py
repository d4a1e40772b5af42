from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.documents.yaml import load_one
from taut.model.errors import BadInput, RenderError
from taut.model.manifests import Manifest, Origin
from taut.render.substitute import checked, substitute, write


def replaced(value: Any, **variables: str) -> Any:
    body = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "n"}, "value": value}
    return substitute(Manifest(body), variables, strict=True).body["value"]


@pytest.mark.parametrize(
    ("value", "variables", "expected"),
    [
        ("${n}", {"n": "3"}, 3),
        ("${n}", {"n": "true"}, True),
        ("${n}", {"n": "plain text"}, "plain text"),
        ("${q}${n}${q}", {"n": "3", "q": '"'}, "3"),
        ("a ${n}", {"n": "3"}, "a 3"),
        ("{${n}}", {"n": "3"}, "{3}"),
        ("first\n${n}\n", {"n": "3"}, "first\n3\n"),
        ("first\n${n}", {"n": "3"}, "first\n3"),
        ("  indented\n${n}\n\n", {"n": "3"}, "  indented\n3\n\n"),
        (["${n}", "b", 4], {"n": "3"}, [3, "b", 4]),
        ({"${n}": "x", "other": {"deep": ["${n}"]}}, {"n": "key"}, {"key": "x", "other": {"deep": ["key"]}}),
        ("# ${n}", {"n": "3"}, "# 3"),
        ("cost: $$5 ${n}", {"n": "3"}, "cost: $5 3"),
        ("it's: ${n}", {"n": "3"}, "it's: 3"),
        ("12:30 ${n}", {"n": "x"}, "12:30 x"),
        ("${n}", {"n": ""}, None),
    ],
)
def test_values_become_what_flux_makes_of_them(value: Any, variables: dict[str, str], expected: Any) -> None:
    assert replaced(value, **variables) == expected


def test_an_object_without_a_dollar_is_the_same_object() -> None:
    manifest = Manifest({"apiVersion": "v1", "kind": "A", "metadata": {"name": "08", "x": 1e3}})
    assert substitute(manifest, {"a": "b"}, strict=True) is manifest


@pytest.mark.parametrize("switch", ["kustomize.toolkit.fluxcd.io/substitute", "taut.dev/substitute"])
@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_an_object_can_opt_out(switch: str, field: str) -> None:
    manifest = Manifest({"apiVersion": "v1", "kind": "A", "metadata": {"name": "${n}", field: {switch: "Disabled"}}})
    assert substitute(manifest, {}, strict=True) is manifest


def test_errors_name_the_object_and_the_variable_and_no_value() -> None:
    manifest = Manifest(
        {"apiVersion": "v1", "kind": "A", "metadata": {"name": "n"}, "a": "${gone}"}, Origin("r", "f.yaml", 3)
    )
    with pytest.raises(RenderError, match=r"f\.yaml:3.*variable gone"):
        substitute(manifest, {"secret": "hunter2"}, strict=True)
    broken = Manifest({"apiVersion": "v1", "kind": "A", "metadata": {"name": "n"}, "a": "x ${secret}"})
    with pytest.raises(RenderError, match="cannot be read") as caught:
        substitute(broken, {"secret": "hunter2: [: {"}, strict=True)
    assert "hunter2" not in str(caught.value)


def test_names_of_variables_are_checked_and_line_breaks_removed() -> None:
    assert checked({"a_1": "x\ny\n"}) == {"a_1": "xy"}
    for name in ("1a", "a-b", "", "a.b"):
        with pytest.raises(BadInput):
            checked({name: "x"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=6), VALUES, min_size=1, max_size=4))
def test_what_is_written_reads_back_where_no_text_has_a_dollar(body: dict[str, Any]) -> None:
    assert load_one(write(body).encode()) == body


@settings(deadline=None)
@given(st.text(alphabet="ab$ :#-'\"{}[]\n\t,&*!|>%@`?", min_size=1, max_size=20))
def test_a_text_with_a_dollar_stays_that_text_when_written(text: str) -> None:
    body = {"a": f"{text}$x"}
    assert load_one(write(body).encode()) == body
