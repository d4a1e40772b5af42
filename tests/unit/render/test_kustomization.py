from __future__ import annotations

from typing import Any

import pytest

from taut.model.application import KustomizeImage, KustomizeOptions, KustomizePatch, KustomizeReplicas, PatchTarget
from taut.model.errors import BadInput, RenderError
from taut.render.kustomization import Kustomization, lay_over


def over(body: dict[str, Any], **options: Any) -> dict[str, Any]:
    result = lay_over(body, KustomizeOptions(**options), lambda c: c != "missing")
    return {k: v for k, v in result.items() if k not in {"apiVersion", "kind"}}


@pytest.mark.parametrize(
    ("body", "options", "expected"),
    [
        ({"namePrefix": "a-"}, {"name_prefix": "b-"}, {"namePrefix": "b-"}),
        ({"namespace": "a"}, {"namespace": "b", "name_suffix": "-s"}, {"namespace": "b", "nameSuffix": "-s"}),
        (
            {"images": [{"name": "a", "newTag": "1"}, {"name": "b", "newTag": "1"}]},
            {"images": (KustomizeImage(name="b", new_tag="2"), KustomizeImage(name="c", digest="sha256:d"))},
            {
                "images": [
                    {"name": "a", "newTag": "1"},
                    {"name": "b", "newTag": "2"},
                    {"name": "c", "digest": "sha256:d"},
                ]
            },
        ),
        (
            {"images": [{"name": "a", "newName": "n", "digest": "sha256:x"}]},
            {"images": (KustomizeImage(name="a", new_tag="2"),)},
            {"images": [{"name": "a", "newName": "n", "newTag": "2"}]},
        ),
        (
            {"replicas": [{"name": "a", "count": 1}, {"name": "b", "count": 1}]},
            {"replicas": (KustomizeReplicas(name="a", count=3),)},
            {"replicas": [{"name": "b", "count": 1}, {"name": "a", "count": 3}]},
        ),
        (
            {"patches": [{"path": "x"}]},
            {
                "patches": (
                    KustomizePatch(
                        patch="p", target=PatchTarget(kind="K", label_selector="a=b"), options={"allowNameChange": True}
                    ),
                )
            },
            {
                "patches": [
                    {"path": "x"},
                    {
                        "patch": "p",
                        "target": {"kind": "K", "labelSelector": "a=b"},
                        "options": {"allowNameChange": True},
                    },
                ]
            },
        ),
        ({}, {"components": ("a", "missing"), "ignore_missing_components": True}, {"components": ["a"]}),
        ({"components": ["x"]}, {"components": ("missing",)}, {"components": ["x", "missing"]}),
        ({"commonLabels": {"a": "1"}}, {"common_labels": {"b": "2"}}, {"commonLabels": {"a": "1", "b": "2"}}),
        (
            {},
            {"common_labels": {"b": "2"}, "label_include_templates": True},
            {"labels": [{"pairs": {"b": "2"}, "includeSelectors": False, "includeTemplates": True}]},
        ),
        ({"commonAnnotations": {"a": "1"}}, {"common_annotations": {"a": "2"}}, {"commonAnnotations": {"a": "2"}}),
        (
            {"buildMetadata": ["managedByLabel"]},
            {"build_metadata": ("managedByLabel", "originAnnotations")},
            {"buildMetadata": ["managedByLabel", "originAnnotations"]},
        ),
    ],
)
def test_options_are_laid_over(body: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(body)
    assert over(body, **options) == expected
    assert repr(body) == before


def test_fields_of_the_wrong_type() -> None:
    with pytest.raises(BadInput, match="images must be a list"):
        over({"images": "x"}, images=(KustomizeImage(name="a"),))
    with pytest.raises(BadInput, match="commonLabels must be a mapping"):
        over({"commonLabels": ["x"]}, common_labels={"a": "b"})


@pytest.mark.parametrize(("text", "words"), [("- a\n", "a mapping"), ("a: b\n---\nc: d\n", "one document")])
def test_a_file_that_is_none(text: str, words: str) -> None:
    with pytest.raises(RenderError, match=words):
        Kustomization("k.yaml", text.encode(), "r")


def test_an_empty_file_is_an_empty_kustomization() -> None:
    assert Kustomization("k.yaml", b"# nothing\n", "r").body == {}
