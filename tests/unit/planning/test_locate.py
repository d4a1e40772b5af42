"""Changing and removing by path, lists by their keys."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from taut.planning.fields import MISSING, get
from taut.planning.lists import ListKeys, ListKind
from taut.planning.locate import changed, keyed, without

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"finalizers": ["a", "b"]},
    "spec": {
        "containers": [{"name": "x", "args": ["1", "2", "2"]}, {"name": "y", "ports": [{"containerPort": 80}]}],
        "tolerations": [{"key": "a"}, {"key": "b"}],
    },
}
X = ("f:spec", "f:containers", 'k:{"name":"x"}')


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (["spec", "containers", "0", "image"], (*X, "f:image")),
        (
            ["spec", "containers", 1, "ports", 0],
            (*X[:2], 'k:{"name":"y"}', "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}'),
        ),
        (["spec", "tolerations", "1"], ("f:spec", "f:tolerations", "i:1")),
        (["metadata", "finalizers", 0], ("f:metadata", "f:finalizers", 'v:"a"')),
        (["metadata", "labels", "a/b"], ("f:metadata", "f:labels", "f:a/b")),
        (["spec", "containers", "9"], ("f:spec", "f:containers", "i:9")),
    ],
)
def test_positions_become_keys(steps: list[Any], path: tuple[str, ...]) -> None:
    assert keyed(POD, steps, ListKeys.of(POD)) == path


def test_changing_leaves_the_original_alone() -> None:
    before = copy.deepcopy(POD)
    after = changed(POD, (*X, "f:image"), "new")
    after = changed(after, ("f:metadata", "f:labels", "f:a"), "b")
    assert before == POD
    assert get(after, (*X, "f:image")) == "new"
    assert get(after, ("f:metadata", "f:labels")) == {"a": "b"}
    assert get(changed(POD, (*X, "f:args", "i:2"), "3"), (*X, "f:args")) == ["1", "2", "3"]


def test_removing_several_positions_counts_from_the_list_as_it_was() -> None:
    after = without(
        POD, [(*X, "f:args", "i:0"), (*X, "f:args", "i:1"), ("f:no", "f:where"), ("f:spec", "f:tolerations", "i:7")]
    )
    assert get(after, (*X, "f:args")) == ["2"]
    assert get(after, ("f:no",)) is MISSING
    assert after["spec"]["tolerations"] == POD["spec"]["tolerations"]


def test_list_types_are_learned_from_managed_fields() -> None:
    body = {"apiVersion": "example.com/v1", "kind": "Widget"}
    entries = [
        {
            "manager": "x",
            "operation": "Update",
            "fieldsV1": {
                "f:spec": {"f:parts": {'k:{"id":1,"zone":"a"}': {".": {}}}, "f:tags": {'v:"a"': {}}, "f:rows": {}}
            },
        }
    ]
    keys = ListKeys.of(body, entries)
    assert keys.type_of(("f:spec", "f:parts")).keys == ("id", "zone")
    assert keys.type_of(("f:spec", "f:tags")).kind is ListKind.SET
    assert keys.type_of(("f:spec", "f:rows")).kind is ListKind.UNKNOWN
    assert keys.type_of(("f:spec", "f:containers")).kind is ListKind.UNKNOWN
