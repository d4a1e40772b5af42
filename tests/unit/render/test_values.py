from __future__ import annotations

from typing import Any

import pytest

from taut.render.differences import differing_paths
from taut.render.keys import Keys
from taut.render.values import merge, merge_indexed


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
    ],
)
def test_merging(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge(base, over) == expected


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        ({"a": [1, 2, 3]}, {"a": [None, 9]}, {"a": [1, 9, 3]}),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"c": 3}]}, {"a": [{"b": 1, "c": 3}]}),
        ({"a": [1]}, {"a": [None, None, 3]}, {"a": [1, None, 3]}),
        ({}, {"a": [None, 1]}, {"a": [None, 1]}),
    ],
)
def test_merging_by_index(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge_indexed(base, over) == expected


def test_differences() -> None:
    one = {"a": 1, "b": [{"c": 1}, 2], "d": [1], "same": {"x": 1}}
    two = {"a": 2, "b": [{"c": 3}, 2], "d": [1, 2], "same": {"x": 1}, "new": 1}
    assert list(differing_paths(one, two)) == ["a", "b[0].c", "d", "new"]
    assert list(differing_paths(one, one)) == []
    assert list(differing_paths(1, 2)) == [""]


def test_keys_depend_on_the_secret_and_all_parts_and_not_on_the_order_of_mappings() -> None:
    keys = Keys(b"a")
    assert keys.of({"x": 1, "y": 2}) == keys.of({"y": 2, "x": 1})
    assert keys.of("a", "b") != keys.of("ab")
    assert keys.of(1) != Keys(b"b").of(1)
    assert len(keys.seal(b"x")) == 64
