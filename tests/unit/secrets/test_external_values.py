"""Properties, results, keys and encodings of External Secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.external import NoTemplates
from taut.secrets.external.documents import Rewrite, RewriteMerge
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.keys import check_keys, converted, decoded, rewritten
from taut.secrets.external.stores import Vault
from taut.secrets.external.values import as_bytes, go_json, json_path, parsed_map, property_of
from taut.secrets.external.vault import data_path, metadata_path

VALUE = {
    "a": {"b": "deep", "n": 1.50, "big": 10**20, "t": True, "z": None, "html": "<&>"},
    "a.b": "dotted",
    "list": [{"x": "one"}, {"x": "two"}, "three"],
    "tls.crt": "pem",
    "w*": "star",
}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a.b", b"dotted"),
        ("a.n", b"1.5"),
        ("a.big", b"100000000000000000000"),
        ("a.t", b"true"),
        ("a.z", b""),
        ("a", b'{"b":"deep","big":100000000000000000000,"html":"\\u003c\\u0026\\u003e","n":1.5,"t":true,"z":null}'),
        ("list.0.x", b"one"),
        ("list.2", b"three"),
        ("list.#", b"3"),
        ("list.#.x", b'["one","two"]'),
        ("tls.crt", b"pem"),
        ("tls\\.crt", b"pem"),
        ("li*.1.x", b"two"),
        ("l?st.1.x", b"two"),
        ("w\\*", b"star"),
    ],
)
def test_properties(path: str, wanted: bytes) -> None:
    assert property_of(VALUE, path) == wanted


@pytest.mark.parametrize(
    "path", ["b", "a.c", "list.3", "list.x", "list.-1", "a.b.c", "a..b", "list.99999999999999999999"]
)
def test_a_property_that_is_not_there(path: str) -> None:
    with pytest.raises(ProviderError, match="there is no property"):
        property_of(VALUE, path)


@pytest.mark.parametrize("path", ["list.#(x==one)", "@reverse", "a|b", "{a,b}", "a" * 1001])
def test_queries_are_refused(path: str) -> None:
    with pytest.raises(ProviderError, match=r"not supported|longer than"):
        property_of(VALUE, path)


def test_a_pattern_costs_little() -> None:
    with pytest.raises(ProviderError, match="there is no property"):
        property_of({"a" * 5000: 1}, "*a" * 400 + "*b")


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text(max_size=5), max_size=4),
    st.text("abc.*?#\\", max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_any_path_finds_a_value_or_says_that_it_does_not(value: dict[str, str], path: str) -> None:
    try:
        found = property_of(value, path)
    except ProviderError:
        assert path not in value
    else:
        assert found.decode() in [*value.values(), json.dumps(value, sort_keys=True)]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("$.a.b", "deep"),
        ("$['a.b']", "dotted"),
        ('$["list"][0].x', "one"),
        ("$.list[-1]", "three"),
        ("$.list[*].x", ["one", "two"]),
        ("$..x", ["one", "two"]),
        ("$.list.*.x", ["one", "two"]),
        ("$", VALUE),
        ("a.b", "deep"),
    ],
)
def test_results(path: str, wanted: Any) -> None:
    assert json_path(VALUE, path) == wanted


@pytest.mark.parametrize("path", ["$.nothing", "$.list[3]", "$.a[0]", "$.list[?(@.x)]", "$.list[0:1]", "$.a.", "x y"])
def test_results_that_are_not_there(path: str) -> None:
    with pytest.raises(ProviderError, match=r"has nothing at|not supported"):
        json_path(VALUE, path)


def test_a_result_does_not_grow_without_end() -> None:
    deep: Any = "x"
    for _ in range(90):
        deep = {"a": deep, "b": deep}
    with pytest.raises(ProviderError, match="more than 10000"):
        json_path(deep, "$" + "..a" * 50)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("ü", "ü".encode()),
        (1e21, b"1000000000000000000000"),
        (1.0, b"1"),
        (0.1, b"0.1"),
        (100.0, b"100"),
        (-0.00000012, b"-0.00000012"),
        (False, b"false"),
        ([1, "a"], b'[1,"a"]'),
    ],
)
def test_json_values_as_values_of_a_secret(value: Any, wanted: bytes) -> None:
    assert as_bytes(value) == wanted


def test_json_is_written_as_go_writes_it() -> None:
    assert go_json({"b": "<\u2028>", "a": [1, "é"]}) == '{"a":[1,"é"],"b":"\\u003c\\u2028\\u003e"}'.encode()
    assert go_json({"b": "<"}, html=False) == b'{"b":"<"}'


@pytest.mark.parametrize("data", [b"canary", b"[1]", b'"canary"', b"[" * 100_000, b"\xff"])
def test_what_is_no_object_has_no_keys_and_is_not_told(data: bytes) -> None:
    with pytest.raises(ProviderError, match="no JSON object") as caught:
        parsed_map(data)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("strategy", "value", "wanted"),
    [
        ("None", b"YQ==", b"YQ=="),
        ("Base64", b"YQ==", b"a"),
        ("Base64", b"Y\nQ==\n", b"a"),
        ("Base64URL", b"_-8=", b"\xff\xef"),
        ("Auto", b"YQ==", b"a"),
        ("Auto", b"_-8=", b"\xff\xef"),
        ("Auto", b"not encoded", b"not encoded"),
    ],
)
def test_decoding(strategy: Any, value: bytes, wanted: bytes) -> None:
    assert decoded(strategy, value) == wanted


@pytest.mark.parametrize(("strategy", "value"), [("Base64", b"_-8="), ("Base64", b"canary!"), ("Base64URL", b"/+8=")])
def test_what_is_not_encoded_so(strategy: Any, value: bytes) -> None:
    with pytest.raises(ProviderError, match=r"decodingStrategy|base64") as caught:
        decoded(strategy, value)
    assert "canary" not in str(caught.value)


def test_keys() -> None:
    assert converted("Default", {"a/b c": b"1", "x.y_z-1": b"2"}) == {"a_b_c": b"1", "x.y_z-1": b"2"}
    assert converted("Unicode", {"a/b": b"1", "é": b"2"}) == {"a_U002f_b": b"1", "_U00e9_": b"2"}
    with pytest.raises(ProviderError, match="two keys become a_b"):
        converted("Default", {"a/b": b"1", "a:b": b"2"})
    assert check_keys({"": b"1", "a": b"2"}) == {"a": b"2"}
    for key in ("a/b", "a" * 254, "é", "a\n"):
        with pytest.raises(ProviderError, match="no Secret can have a key"):
            check_keys({key: b""})


MERGING = {"b": b'{"x": 1, "y": "two"}', "a": b'{"x": "first", "z": [1]}'}


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (RewriteMerge(conflict_policy="Ignore"), {"x": b"1", "y": b"two", "z": b"[1]"}),
        (RewriteMerge(conflict_policy="Ignore", priority=("a",)), {"x": b"first", "y": b"two", "z": b"[1]"}),
        (
            RewriteMerge(conflict_policy="Ignore", strategy="JSON", into="all"),
            {**MERGING, "all": b'{"x":1,"y":"two","z":[1]}'},
        ),
        (
            RewriteMerge(conflict_policy="Ignore", priority=("c", "a"), priority_policy="IgnoreNotFound"),
            {"x": b"first", "y": b"two", "z": b"[1]"},
        ),
    ],
)
async def test_values_are_merged(step: RewriteMerge, wanted: dict[str, bytes]) -> None:
    assert await rewritten((Rewrite(merge=step),), MERGING, NoTemplates()) == wanted


@pytest.mark.parametrize(
    ("step", "values", "reason"),
    [
        (RewriteMerge(), MERGING, r"rewrite\[0\] fails: several values have the keys x"),
        (RewriteMerge(priority=("c",), conflict_policy="Ignore"), MERGING, "there is no key c"),
        (RewriteMerge(), {"a": b"canary"}, "the value of a is no JSON object"),
    ],
)
async def test_what_cannot_be_merged(step: RewriteMerge, values: dict[str, bytes], reason: str) -> None:
    with pytest.raises(ProviderError, match=reason) as caught:
        await rewritten((Rewrite(merge=step),), values, NoTemplates())
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "path", "key", "data", "metadata"),
    [
        ("v2", "secret/path", "foo", "secret/path/data/foo", "secret/path/metadata/foo"),
        ("v1", "secret/path", "foo", "secret/path/foo", "secret/path/foo"),
        ("v2", "secret/path", "secret/path/foo", "secret/path/data/foo", "secret/path/metadata/foo"),
        ("v2", "secret/path", "secret/path/data/foo", "secret/path/data/foo", "secret/path/metadata/foo"),
        ("v1", "secret/path", "secret/path/foo", "secret/path/foo", "secret/path/foo"),
        ("v2", "", "secret/path/foo", "secret/data/path/foo", "secret/metadata/path/foo"),
        ("v2", "", "secret/path/data/foo", "secret/path/data/foo", "secret/path/metadata/foo"),
        ("v1", "", "secret/path/foo", "secret/path/foo", "secret/path/foo"),
    ],
)
def test_where_vault_keeps_a_key(version: Any, path: str, key: str, data: str, metadata: str) -> None:
    spec = Vault(server="http://x", version=version, path=path)
    assert (data_path(spec, key), metadata_path(spec, key)) == (data, metadata)
