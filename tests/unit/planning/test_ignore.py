"""Ignore rules: which objects, which paths, and what a rule may not do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.model.application import IgnoreRule
from taut.model.errors import BadInput
from taut.planning.fields import human
from taut.planning.ignore import autoscaled, check_jq, jq_paths, matches, object_rules, parse_pointer, resolve

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "annotations": {"a.b/c": "1"}},
    "spec": {
        "replicas": 3,
        "template": {"spec": {"containers": [{"name": "web", "image": "a"}, {"name": "side", "image": "b"}]}},
    },
}
LIVE = {
    **DEPLOYMENT,
    "metadata": {
        **DEPLOYMENT["metadata"],
        "managedFields": [
            {
                "manager": "scaler",
                "operation": "Update",
                "subresource": "scale",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (IgnoreRule(), True),
        (IgnoreRule(group="apps", kind="Deployment", name="web", namespace="shop"), True),
        (IgnoreRule(kind="Deploy*"), True),
        (IgnoreRule(kind="*", group=""), True),
        (IgnoreRule(group="batch"), False),
        (IgnoreRule(name="we?s"), False),
        (IgnoreRule(namespace="other"), False),
    ],
)
def test_selectors(rule: IgnoreRule, fits: bool) -> None:
    assert matches(rule, DEPLOYMENT) is fits


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        (IgnoreRule(pointers=("/spec/replicas",)), {"spec.replicas"}),
        (IgnoreRule(pointers=("/metadata/annotations/a.b~1c",)), {"metadata.annotations[a.b/c]"}),
        (
            IgnoreRule(pointers=("/spec/template/spec/containers/1/image",)),
            {"spec.template.spec.containers[name=side].image"},
        ),
        (
            IgnoreRule(jq=('.spec.template.spec.containers[] | select(.name == "web") | .image',)),
            {"spec.template.spec.containers[name=web].image"},
        ),
        (IgnoreRule(jq=('.metadata.annotations["a.b/c"]',)), {"metadata.annotations[a.b/c]"}),
        (IgnoreRule(jq=(".spec.none[]?.x",)), set()),
        (IgnoreRule(jq=(".spec.replicas[]",)), set()),
        (IgnoreRule(managers=("scaler",)), {"spec.replicas"}),
        (IgnoreRule(managers=("nobody",)), set()),
    ],
)
def test_paths(rule: IgnoreRule, paths: set[str]) -> None:
    assert {human(p) for p in resolve([rule], DEPLOYMENT, LIVE).paths} == paths


def test_positions_are_looked_up_on_both_sides() -> None:
    turned = {**DEPLOYMENT, "spec": {"template": {"spec": {"containers": [{"name": "side"}, {"name": "web"}]}}}}
    found = resolve([IgnoreRule(jq=(".spec.template.spec.containers[0].image",))], DEPLOYMENT, turned)
    names = {human(p) for p in found.paths}
    assert names == {"spec.template.spec.containers[name=web].image", "spec.template.spec.containers[name=side].image"}


def test_covering_includes_what_lies_inside() -> None:
    found = resolve([IgnoreRule(pointers=("/spec/template",))], DEPLOYMENT, None)
    assert found.covers(("f:spec", "f:template", "f:spec"))
    assert not found.covers(("f:spec",))
    assert resolve([IgnoreRule(pointers=("",))], DEPLOYMENT, None).covers(("f:spec",))


@pytest.mark.parametrize("pointer", ["spec", "spec/x", "$.spec"])
def test_no_pointer(pointer: str) -> None:
    with pytest.raises(BadInput, match="no JSON pointer"):
        parse_pointer(pointer)


@pytest.mark.parametrize(
    "expression",
    [
        "def f: f; f",
        "recurse(.)",
        "repeat(.)",
        "until(false; .)",
        "range(1000000000)",
        "[limit(9; .[])]",
        "input",
        "env.HOME",
        "$ENV.HOME",
        ".a as $x | .b",
        "reduce .[] as $x (0; . + 1)",
        '"\\(.a)"',
        '"a" * 1000000',
        "[.]|tostring",
        ".. | .. | ..",
        ".,.,.,.,.,.,.,.,.",
        "." + "a" * 600,
        'import "x" as x; .',
        ".a = 1",
        "del(.a)",
        "@base64",
        "debug",
        ".[",
        "keys",
        "",
    ],
)
def test_expressions_that_are_refused(expression: str) -> None:
    with pytest.raises(BadInput):
        jq_paths(expression, {"a": {"b": 1}})


@pytest.mark.parametrize(
    "expression",
    [
        '.spec.template.spec.initContainers[]? | select(.name == "injected")',
        ".webhooks[]?.clientConfig.caBundle",
        '.spec.containers[] | select(.name | startswith("istio-")) | .env[] | select(.name == "A").value',
        ".. | select(.caBundle?)",
        '.metadata.annotations."a.b/c"',
        '.spec.rules[] | select(.host | test("^a.*z$"))',
        "if .spec.x then .spec.y else .spec.z end",
        ".a // .b",
        ".items[-1]",
        'getpath(["a", "b"])',
        "first(.spec.containers[])",
    ],
)
def test_expressions_that_people_write(expression: str) -> None:
    check_jq(expression)
    jq_paths(expression, DEPLOYMENT)


@settings(deadline=None)
@given(st.text(alphabet='.[]|,()"abselct ?=1', max_size=40))
def test_any_text_ends_with_paths_or_an_error_for_people(expression: str) -> None:
    try:
        found = jq_paths(expression, {"a": {"b": [1, {"c": 2}]}})
    except BadInput:
        return
    assert all(isinstance(path, list) for path in found)


def hpa(kind: str = "Deployment", name: str = "web", namespace: str = "shop") -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "namespace": namespace},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name}},
    }


@pytest.mark.parametrize(
    ("scaler", "ignored"),
    [(hpa(), True), (hpa(name="other"), False), (hpa(namespace="other"), False), (hpa(kind="StatefulSet"), False)],
)
def test_replicas_of_what_is_autoscaled(scaler: dict[str, Any], ignored: bool) -> None:
    rules = object_rules((), autoscaled([scaler, DEPLOYMENT]), DEPLOYMENT)
    assert (("f:spec", "f:replicas") in resolve(rules, DEPLOYMENT, None).paths) is ignored


def test_replicas_that_git_wants_all_the_same() -> None:
    metadata = {**DEPLOYMENT["metadata"], "annotations": {"taut.dev/replicas": "git"}}
    assert object_rules((), autoscaled([hpa()]), {**DEPLOYMENT, "metadata": metadata}) == ()
