"""Gatekeeper: Rego as OPA reads it, matching, parameters, expansion, mutators."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.verdict import Enforcement, Outcome
from taut.policy.documents import Objects
from taut.policy.gatekeeper import ENGINE
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.gatekeeper.location import Step, parse
from taut.policy.gatekeeper.matching import fits
from taut.policy.gatekeeper.rego import Rego
from taut.policy.gatekeeper.rego_source import adapted
from taut.policy.gatekeeper.sprintf import sprintf
from taut.policy.review import Given, Nothing, Review


def violations(source: str, value: Any = None, **more: Any) -> list[str]:
    rego = Rego("package p\n" + source, **more)
    rego.check()
    return sorted(v["msg"] for v in rego.violations({"review": value or {}, "parameters": {}}))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ('violation[{"msg": m}] { m := "a" }', ["a"]),
        ('violation[{"msg": m}] { m := {"a", "b"}[_] }', ["a", "b"]),
        ('default ok = false\nok { input.x }\nviolation[{"msg": "no"}] { not ok }', ["no"]),
        ('f(x) = "one" { x == 1 } else = "other" { true }\nviolation[{"msg": f(2)}] { true }', ["other"]),
        ('violation[{"msg": m}] { x := [1, 2][_]\n (x + 1) > 2\n m := sprintf("%d", [x]) }', ["2"]),
        ('violation[{"msg": m}] { m := sprintf("%v %v", ["a"]) }', ["a %!v(MISSING)"]),
        ('contains(a) { a == 1 }\nviolation[{"msg": "if"}] { contains(1) }', ["if"]),
        ('f(x) { x }\nviolation[{"msg": "m"}] { p := {}; not f(p.missing) }', []),
        ('violation[{"msg": "m"}] { p := {}; not p.missing == 1 }', ["m"]),
        ('import future.keywords.in\nviolation[{"msg": "m"}] { 1 in [1, 2] }', ["m"]),
        ('violation[{"msg": m}] { m := concat(",", [x | x := ["b", "a"][_]]) }', ["b,a"]),
        ('violation[{"msg": "m"}] { re_match("^a", "abc") }', ["m"]),
        ('violation[{"msg": "m"}] { any([x | x := [false, true][_]]); not all({true, false}) }', ["m"]),
        ('any(x) { x == 7 }\nviolation[{"msg": "own"}] { any(7) }', ["own"]),
        ('violation[{"msg": m}] { m := cast_array({"a"})[_]; set_diff({1, 2}, {1}) == {2} }', ["a"]),
        ('violation[{"msg": "m"}] { net.cidr_overlap("10.0.0.0/8", "10.1.1.1") }', ["m"]),
        ('violation[{"msg": m}] { some i; ["a", "b"][i] == "b"; m := sprintf("%d", [i]) }', ["1"]),
    ],
)
def test_the_old_language(source: str, wanted: list[str]) -> None:
    assert violations(source) == wanted


def test_the_new_language_and_libraries() -> None:
    source = 'import data.lib.h\nviolation contains {"msg": m} if { m := h.text }'
    library = 'package lib.h\ntext := "from the library" if { true }'
    assert violations(source, libraries=(library,), v1=True) == ["from the library"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('violation[{"msg": m}] { m := http.send({"method": "get", "url": "x"}) }', "network"),
        ("violation[{", "cannot be compiled"),
        ('violation[{"msg": m}] { m := nothing.at.all(1) }', "could not find function"),
        ('violation[{"msg": m}] { m := opa.runtime().env }', "environment"),
    ],
)
def test_what_no_template_may(source: str, reason: str) -> None:
    with pytest.raises(GatekeeperError, match=reason):
        violations(source)


def test_a_text_that_names_the_network_is_only_a_text() -> None:
    assert violations('# http.send(\nviolation[{"msg": m}] { m := "http.send(" }') == ["http.send("]


@pytest.mark.parametrize(
    ("template", "values", "wanted"),
    [
        ("%v %s %d%%", ["a", "b", 3], "a b 3%"),
        ("%v", [["a", 1, None, True]], '["a", 1, null, true]'),
        ("%v", [{"b": 1, "a": [2.5]}], '{"a": [2.5], "b": 1}'),
        ("%v", [{"x"}], '{"x"}'),
        ("%.2f|%5d|%-4s|%x|%q", [1.005, 7, "a", 255, "t"], '1.00|    7|a   |ff|"t"'),
        ("%d", ["a"], "%!d(string=a)"),
        ("a", [1], "a%!(EXTRA int=1)"),
        ("%", [], "%!(NOVERB)"),
    ],
)
def test_sprintf_is_gos(template: str, values: list[Any], wanted: str) -> None:
    assert sprintf(template, values) == wanted


def test_lines_stay_where_they_are() -> None:
    source = 'package p\n\nv[x] {\n  x := 1\n  (x == 1)\n  not f(a.b, "c (", `d.e\n`)\n}\n'
    assert adapted(source).count("\n") == source.count("\n")
    assert "taut_operand_1 := a.b; not f(taut_operand_1" in adapted(source)


@pytest.mark.parametrize(
    ("pattern", "text", "good"),
    [
        ("kube-*", "kube-system", True),
        ("*-system", "kube-system", True),
        ("*be*", "kube", True),
        ("kube", "kube-system", False),
        ("*", "x", True),
    ],
)
def test_names_with_stars(pattern: str, text: str, good: bool) -> None:
    assert fits(pattern, text) is good


TEMPLATE = {
    "apiVersion": "templates.gatekeeper.sh/v1",
    "kind": "ConstraintTemplate",
    "metadata": {"name": "k8slabels"},
    "spec": {
        "crd": {
            "spec": {
                "names": {"kind": "K8sLabels"},
                "validation": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"label": {"type": "string", "default": "owner"}},
                    }
                },
            }
        },
        "targets": [
            {
                "target": "admission.k8s.gatekeeper.sh",
                "rego": 'package k8slabels\nviolation[{"msg": msg}] {\n  l := input.parameters.label\n  not input.review.object.metadata.labels[l]\n  msg := sprintf("%v is missing", [l])\n}',
            }
        ],
    },
}


def constraint(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "constraints.gatekeeper.sh/v1beta1",
        "kind": "K8sLabels",
        "metadata": {"name": "c"},
        "spec": spec,
    }


def body(kind: str = "Pod", namespace: str = "shop", **labels: str) -> dict[str, Any]:
    version = "v1" if kind in {"Pod", "Namespace"} else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": namespace, "labels": labels}}


def judged(
    made: dict[str, Any], obj: dict[str, Any], *more: dict[str, Any], lookup: Any = None
) -> list[tuple[Outcome, str]]:
    built = ENGINE.build([Given(d) for d in (TEMPLATE, made, *more)])
    assert not built.troubles, built.troubles
    return [(v.result, v.message) for v in built.policies[0].validate(Review(obj), lookup or Nothing())]


@pytest.mark.parametrize(
    ("match", "about"),
    [
        ({}, True), ({"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}, True), ({"kinds": [{"apiGroups": ["apps"], "kinds": ["*"]}]}, False),
        ({"namespaces": ["sh*"]}, True), ({"excludedNamespaces": ["*op"]}, False), ({"scope": "Cluster"}, False),
        ({"scope": "Namespaced"}, True), ({"name": "x*"}, True), ({"name": "y"}, False), ({"source": "Generated"}, False),
        ({"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}, False),
    ],
)  # fmt: skip
def test_what_a_constraint_is_about(match: dict[str, Any], about: bool) -> None:
    assert bool(judged(constraint(match=match), body())) is about


def test_defaults_and_parameters() -> None:
    assert judged(constraint(), body()) == [(Outcome.FAIL, "owner is missing")]
    assert judged(constraint(parameters={"label": "team"}), body(team="a")) == [(Outcome.PASS, "")]
    built = ENGINE.build([Given(TEMPLATE), Given(constraint(parameters={"label": 5}))])
    assert "has to be of type string" in built.troubles[0].what


def test_labels_of_a_namespace_that_nobody_knows_are_an_error() -> None:
    made = constraint(match={"namespaceSelector": {"matchLabels": {"a": "b"}}})
    assert judged(made, body())[0][0] is Outcome.ERROR
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}}
    assert judged(made, body(), lookup=Objects([space]))[0][0] is Outcome.FAIL


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, Enforcement.DENY), ({"enforcementAction": "warn"}, Enforcement.WARN), ({"enforcementAction": "dryrun"}, Enforcement.AUDIT),
        ({"enforcementAction": "scoped", "scopedEnforcementActions": [{"action": "deny", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]}]}, Enforcement.AUDIT),
        ({"enforcementAction": "scoped", "scopedEnforcementActions": [{"action": "warn", "enforcementPoints": [{"name": "*"}]}]}, Enforcement.WARN),
    ],
)  # fmt: skip
def test_what_follows(spec: dict[str, Any], wanted: Enforcement) -> None:
    built = ENGINE.build([Given(TEMPLATE), Given(constraint(**spec))])
    assert built.policies[0].validate(Review(body()), Nothing())[0].enforcement is wanted


def test_workloads_are_judged_by_their_pods() -> None:
    expansion = {
        "apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate", "metadata": {"name": "e"},
        "spec": {"applyTo": [{"groups": ["apps"], "kinds": ["Deployment"], "versions": ["v1"]}], "templateSource": "spec.template", "generatedGVK": {"group": "", "version": "v1", "kind": "Pod"}},
    }  # fmt: skip
    made = constraint(match={"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]})
    obj = body("Deployment") | {"spec": {"template": {"metadata": {"labels": {}}, "spec": {}}}}
    assert judged(made, obj, expansion) == [(Outcome.FAIL, "[Implied by Deployment] owner is missing")]
    assert judged(made, obj) == []


def mutate(document: dict[str, Any], obj: dict[str, Any]) -> dict[str, Any]:
    built = ENGINE.build([Given({"apiVersion": "mutations.gatekeeper.sh/v1", "metadata": {"name": "m"}, **document})])
    assert not built.troubles, built.troubles
    found, verdicts = built.policies[0].mutate(Review(obj), Nothing())
    assert not verdicts
    return found


PODS = [{"groups": [""], "kinds": ["Pod"], "versions": ["v1"]}]


def test_mutators() -> None:
    obj = body() | {"spec": {"containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "r.io/x:1"}]}}
    assign = {
        "kind": "Assign",
        "spec": {
            "applyTo": PODS,
            "location": "spec.containers[name: *].tty",
            "parameters": {"assign": {"value": True}},
        },
    }
    assert [c["tty"] for c in mutate(assign, obj)["spec"]["containers"]] == [True, True]
    label = {
        "kind": "AssignMetadata",
        "spec": {"location": 'metadata.labels."a/b"', "parameters": {"assign": {"value": "c"}}},
    }
    assert mutate(label, obj)["metadata"]["labels"] == {"a/b": "c"}
    kept = mutate({**label, "spec": {**label["spec"], "location": "metadata.labels.owner"}}, body(owner="me"))
    assert kept["metadata"]["labels"] == {"owner": "me"}, "what is there stays"
    image = {
        "kind": "AssignImage",
        "spec": {
            "applyTo": PODS,
            "location": "spec.containers[name: a].image",
            "parameters": {"assignDomain": "mirror.io", "assignTag": ":2"},
        },
    }
    assert [c["image"] for c in mutate(image, obj)["spec"]["containers"]] == ["mirror.io/nginx:2", "r.io/x:1"]
    modify = {
        "kind": "ModifySet",
        "spec": {
            "applyTo": PODS,
            "location": "spec.containers[name: b].args",
            "parameters": {"operation": "merge", "values": {"fromList": ["--x"]}},
        },
    }
    assert mutate(modify, obj)["spec"]["containers"][1]["args"] == ["--x"]
    tested = {
        "kind": "Assign",
        "spec": {
            "applyTo": PODS,
            "location": "spec.a.b",
            "parameters": {"pathTests": [{"subPath": "spec.a", "condition": "MustExist"}], "assign": {"value": 1}},
        },
    }
    assert "a" not in mutate(tested, obj)["spec"]


def test_locations() -> None:
    assert parse("spec.containers[name: *].image") == (Step("spec"), Step("containers", "name"), Step("image"))
    assert parse('metadata.labels."a.b/c"')[-1] == Step("a.b/c")
    assert parse("spec.x[key: v]")[-1] == Step("x", "key", "v")
    for text in ("", "spec..x", "spec.[a]", "spec.x["):
        with pytest.raises(GatekeeperError):
            parse(text)
