from __future__ import annotations

from typing import Any

import pytest

from taut.model.errors import RenderError
from taut.model.manifests import Manifest, Origin
from taut.render.normalise import normalise


def manifest(line: int = 1, **body: Any) -> Manifest:
    return Manifest(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, **body}, Origin("r", "f.yaml", line)
    )


def test_lists_are_flattened_also_typed_and_nested_ones() -> None:
    items = [{"metadata": {"name": "x"}}, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "y"}}]
    inner = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "z"}}],
    }
    result = normalise(
        [manifest(kind="ConfigMapList", items=items, metadata={}), manifest(kind="List", items=[inner], metadata={})]
    )
    assert [(m.kind, m.name) for m in result] == [("ConfigMap", "x"), ("Deployment", "y"), ("Secret", "z")]
    assert all(m.origin.file == "f.yaml" for m in result)


def test_a_kind_that_ends_in_list_and_has_a_spec_is_no_list() -> None:
    whitelist = manifest(kind="AllowList", spec={}, items=[1])
    assert normalise([whitelist]) == (whitelist,)


def test_the_same_name_is_fine_in_another_namespace_group_or_kind() -> None:
    same = [
        manifest(),
        manifest(metadata={"name": "a", "namespace": "b"}),
        manifest(kind="Secret"),
        manifest(apiVersion="x.org/v1"),
    ]
    assert len(normalise(same)) == 4


def test_another_version_of_the_same_kind_is_the_same_object() -> None:
    with pytest.raises(RenderError, match=r"f\.yaml:7.*twice, the first time in f\.yaml:3"):
        normalise([manifest(3, apiVersion="x.org/v1"), manifest(7, apiVersion="x.org/v2")])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"apiVersion": None}, "no apiVersion"),
        ({"kind": ""}, "no kind"),
        ({"metadata": None}, "no metadata"),
        ({"metadata": {}}, "has no name"),
        ({"metadata": {"name": 3}}, "must be text, not 3"),
        ({"metadata": {"name": "a", "labels": {"b": 1}}}, r"metadata.labels\['b'\]"),
        ({"metadata": {"name": "a", "annotations": ["b"]}}, "metadata.annotations"),
        ({"metadata": {"generateName": "a-"}}, "generateName works in hooks only"),
        ({"kind": "List", "items": [1]}, "is no object"),
    ],
)
def test_what_cannot_be_applied(body: dict[str, Any], words: str) -> None:
    with pytest.raises(RenderError, match=words) as caught:
        normalise([manifest(9, **body)])
    assert caught.value.where.line == 9


@pytest.mark.parametrize("hook", ["helm.sh/hook", "argocd.argoproj.io/hook", "taut.dev/hook"])
def test_generate_name_in_hooks_also_twice(hook: str) -> None:
    job = manifest(kind="Job", metadata={"generateName": "a-", "annotations": {hook: "PreSync"}})
    assert len(normalise([job, job])) == 2
