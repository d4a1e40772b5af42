"""The projection against a real API server: no false difference after an apply, and no missed one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from taut.model.manifests import Manifest
from taut.planning.diff import Comparison, compare, confirm
from taut.planning.prepare import for_apply
from taut.planning.redact import Redactor

from .conftest import Scene

pytestmark = pytest.mark.integration

REDACT = Redactor(b"key")
CASES = yaml.safe_load((Path(__file__).parent / "kinds.yaml").read_text())


def in_namespace(value: Any, namespace: str) -> Any:
    return json.loads(json.dumps(value).replace("NS", namespace))


def sent(body: dict[str, Any]) -> dict[str, Any]:
    return for_apply(Manifest(body))


def less(body: dict[str, Any], path: list[str | int]) -> dict[str, Any]:
    body = copy.deepcopy(body)
    inner: Any = body
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return body


def settled(scene: Scene, wish: dict[str, Any], live: dict[str, Any]) -> tuple[Any, ...]:
    """What remains of a comparison when the server has been asked about doubts."""
    result = compare(wish, live, redact=REDACT)
    if result.certain:
        return result.changes
    return confirm(live, scene.apply(wish, dry_run=True), redact=REDACT)


@pytest.mark.parametrize("case", CASES, ids=[c["body"]["kind"] for c in CASES])
def test_what_was_applied_does_not_differ(scene: Scene, namespace: str, case: dict[str, Any]) -> None:
    wish = sent(in_namespace(case["body"], namespace))
    live = scene.apply(wish)
    assert compare(wish, live, redact=REDACT) == Comparison()
    assert compare(wish, live, redact=REDACT, unchanged_since_apply=True) == Comparison()
    # Nor when nobody wrote down who owns what: doubts may remain then, which the server settles.
    bare = copy.deepcopy(live)
    del bare["metadata"]["managedFields"]
    assert settled(scene, wish, bare) == ()


@pytest.mark.parametrize("case", CASES, ids=[c["body"]["kind"] for c in CASES])
def test_what_left_git_does_differ_and_goes(scene: Scene, namespace: str, case: dict[str, Any]) -> None:
    body = in_namespace(case["body"], namespace)
    live = scene.apply(sent(body))
    wish = sent(less(body, case["remove"]))
    # A controller may have bound, counted or started something since: what taut's apply changes is what counts.
    assert settled(scene, wish, scene.get(live)) != ()
    after = scene.apply(wish)
    assert settled(scene, wish, after) == ()


def test_a_doubt_is_named_where_the_server_makes_defaults_from_what_git_says(scene: Scene, namespace: str) -> None:
    """A LimitRange's maximum becomes its default: next to impossible to project, so the server is asked."""
    wish = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits", "namespace": namespace},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "1000m"}, "max": {"memory": "1024Mi"}}]},
    }
    live = scene.apply(wish)
    assert not compare(wish, live, redact=REDACT).certain
    assert compare(wish, live, redact=REDACT, unchanged_since_apply=True) == Comparison()
    assert settled(scene, wish, live) == ()


CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.planning.test.dev"},
    "spec": {
        "group": "planning.test.dev",
        "names": {"kind": "Widget", "plural": "widgets"},
        "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
}
CRD["spec"]["versions"][0]["schema"] = {
    "openAPIV3Schema": {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {
                    "size": {"type": "integer", "default": 3},
                    "every": {"type": "string"},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "rows": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"a": {"type": "string"}, "b": {"type": "string", "default": "z"}},
                        },
                    },
                    "parts": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["id"],
                        "items": {
                            "type": "object",
                            "required": ["id"],
                            "properties": {"id": {"type": "string"}, "n": {"type": "integer", "default": 1}},
                        },
                    },
                },
            }
        },
    }
}


@pytest.fixture
def widget(scene: Scene, namespace: str, eventually: Any) -> dict[str, Any]:
    """A custom resource of a kind with defaults, sets and lists by key."""
    scene.apply(CRD)
    body = {
        "apiVersion": "planning.test.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": namespace},
        "spec": {
            "every": "60s",
            "tags": ["b", "a"],
            "rows": [{"a": "x"}],
            "parts": [{"id": "a"}, {"id": "b", "n": 4}],
            "free": {"cpu": "1000m", "none": [], "nothing": {}},
        },
    }
    served = f"/apis/planning.test.dev/v1/namespaces/{namespace}/widgets"
    eventually(lambda: scene.api.get(served), "the new kind is served")
    return body


def test_custom_resources_with_defaults(scene: Scene, widget: dict[str, Any]) -> None:
    live = scene.apply(widget)
    assert live["spec"]["size"] == 3
    assert settled(scene, widget, live) == ()
    assert compare(widget, live, redact=REDACT, unchanged_since_apply=True) == Comparison()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (["spec", "parts", 1], "spec.parts[id=b]"),
        (["spec", "tags", 1], "spec.tags[a]"),
        (["spec", "every"], "spec.every"),
        (["spec", "free", "cpu"], "spec.free.cpu"),
        (["spec", "rows"], "spec.rows"),
    ],
)
def test_what_leaves_a_custom_resource(scene: Scene, widget: dict[str, Any], path: list[str | int], shown: str) -> None:
    live = scene.apply(widget)
    wish = less(widget, path)
    assert shown in [c.path for c in compare(wish, live, redact=REDACT).changes]
    assert shown in [c.path.partition("[0]")[0] for c in settled(scene, wish, live)]
    assert settled(scene, wish, scene.apply(wish)) == ()


def test_what_a_mutating_policy_rewrites_is_no_difference(scene: Scene, namespace: str, eventually: Any) -> None:
    group = "admissionregistration.k8s.io/v1"
    mutation = 'Object{metadata: Object.metadata{labels: {"injected": "x", "team": "policy"}}, spec: Object.spec{minReadySeconds: 7}}'
    policy = {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": ["apps"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["deployments"],
                }
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": mutation}}],
    }
    scene.apply(
        {"apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": {"name": namespace}, "spec": policy}
    )
    binding = {"policyName": namespace}
    scene.apply(
        {
            "apiVersion": group,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": namespace},
            "spec": binding,
        }
    )
    wish = sent(in_namespace(CASES[0]["body"], namespace))
    wish["spec"]["minReadySeconds"] = 3
    eventually(lambda: "injected" in scene.apply(wish, dry_run=True)["metadata"]["labels"], "the policy is in force")
    live = scene.apply(wish)
    assert live["spec"]["minReadySeconds"] == 7
    projected = compare(wish, live, redact=REDACT)
    assert {c.path for c in projected.changes} == {"metadata.labels.team", "spec.minReadySeconds"}
    assert not projected.certain
    assert settled(scene, wish, live) == ()
    assert compare(wish, live, redact=REDACT, unchanged_since_apply=True) == Comparison()
    # A real change beside it is shown alone.
    wish["spec"]["replicas"] = 1
    assert [c.path for c in settled(scene, wish, live)] == ["spec.replicas"]
