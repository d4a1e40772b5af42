"""The corners of Kyverno's semantics: patterns and their anchors, operators, variables, autogeneration, mutation."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.verdict import Outcome
from taut.policy.documents import Objects
from taut.policy.kyverno import ENGINE
from taut.policy.kyverno.conditions import evaluate
from taut.policy.kyverno.errors import NotResolvedError, PolicyError
from taut.policy.kyverno.matching import parse_kind
from taut.policy.kyverno.patterns import match
from taut.policy.kyverno.queries import search
from taut.policy.kyverno.scalars import fits
from taut.policy.kyverno.wildcard import matches
from taut.policy.review import Given, Nothing, Operation, Review, User


@pytest.mark.parametrize(
    ("value", "pattern", "good"),
    [
        (True, True, True), ("true", True, False), (5, "5", True), ("5", 5, True), (5.0, 5, True), (None, None, True),
        ("", None, True), (0, None, True), ("x", None, False), ("nginx:1", "*:*", True), ("nginx", "!*:*", True),
        (10, ">5", True), (10, ">=10 & <=20", True), (25, "1-20", False), (25, "1!-20", True), ("512Mi", "<1Gi", True),
        ("1024Mi", "1Gi", True), ("30s", "<=1m", True), ("a", "a|b", True), ("c", "a | b", False), (None, "?*", False),
        ("x", "?*", True), ("100m", "<1", True), ("abc", "a?c", True), (False, "false", True),
    ],
)  # fmt: skip
def test_scalars(value: Any, pattern: Any, good: bool) -> None:
    assert fits(value, pattern) is good


POD = {
    "metadata": {"labels": {"app.kubernetes.io/name": "x"}},
    "spec": {
        "hostNetwork": True,
        "containers": [{"name": "a", "image": "r/x:1"}, {"name": "b", "image": "x", "tty": True}],
    },
}


@pytest.mark.parametrize(
    ("pattern", "outcome"),
    [
        ({"spec": {"hostNetwork": True}}, "pass"),
        ({"spec": {"hostNetwork": False}}, "fail"),
        ({"spec": {"=(hostPID)": False}}, "pass"),
        ({"spec": {"X(hostNetwork)": "null"}}, "fail"),
        ({"spec": {"X(hostPID)": "null"}}, "pass"),
        ({"spec": {"(hostPID)": True, "hostNetwork": False}}, "skip"),
        ({"spec": {"(hostNetwork)": True, "hostPID": "?*"}}, "fail"),
        ({"spec": {"<(hostNetwork)": False, "hostPID": "?*"}}, "skip"),
        ({"spec": {"containers": [{"(tty)": True, "image": "y"}]}}, "fail"),
        ({"spec": {"containers": [{"(tty)": False, "image": "y"}]}}, "skip"),
        ({"spec": {"containers": [{"(tty)": True, "image": "x"}]}}, "pass"),
        ({"spec": {"^(containers)": [{"tty": True}]}}, "pass"),
        ({"spec": {"^(containers)": [{"stdin": True}]}}, "fail"),
        ({"spec": {"^(volumes)": [{"name": "v"}]}}, "pass"),
        ({"metadata": {"labels": {"app.kubernetes.io/*": "?*"}}}, "pass"),
        ({"metadata": {"labels": {"other/*": "?*"}}}, "fail"),
        ({"spec": {"containers": {"name": "a"}}}, "fail"),
        ({"spec": {"nothing": "*"}}, "fail"),
    ],
)
def test_patterns(pattern: dict[str, Any], outcome: str) -> None:
    found = match(POD, pattern)
    assert ("pass" if found is None else "skip" if found.skip else "fail") == outcome


@pytest.mark.parametrize(
    ("key", "operator", "value", "good"),
    [
        ("a", "Equals", "a", True), ("abc", "Equals", "a*", True), (1, "Equals", "1", True), ("1h", "Equals", "60m", True),
        ("1Gi", "Equals", "1024Mi", True), (["a"], "Equals", ["a"], True), ("a", "NotEquals", "b", True),
        ("a", "In", ["a", "b"], True), (["a", "c"], "In", ["a", "b"], False), (["a", "c"], "AnyIn", ["a", "b"], True),
        (["a", "b"], "AllIn", ["a", "b", "c"], True), (["a", "c"], "AnyNotIn", ["a"], True),
        (["b", "c"], "AllNotIn", ["a"], True), (["a", "c"], "AllNotIn", ["a"], False), ("a", "AnyIn", '["a","b"]', True),
        (5, "AnyIn", "1-10", True), (15, "AnyNotIn", "1-10", True), (None, "AnyNotIn", ["a"], False),
        (["a"], "AnyNotIn", None, False), ([], "AnyNotIn", ["a"], False), (10, "GreaterThan", "5", True),
        ("10Mi", "LessThan", "1Gi", True), ("1h", "GreaterThan", "30m", True), ("1.2.3", "LessThan", "1.10.0", True),
        ("1h", "DurationGreaterThan", 60, True), (60, "DurationLessThanOrEquals", "1m", True), ("nginx:*", "AnyIn", ["nginx:1"], True),
    ],
)  # fmt: skip
def test_conditions(key: Any, operator: str, value: Any, good: bool) -> None:
    assert evaluate(key, operator, value) is good


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(PolicyError, match="no operator"):
        evaluate("a", "Sounds", "b")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("add('1Gi', '1Gi')", "2Gi"), ("add('1h', '30m')", "1h30m0s"), ("subtract(`5`, `2`)", 3), ("divide('4', `2`)", "2"),
        ("divide('1Gi', '512Mi')", 2), ("multiply('10m', `3`)", "30m"), ("modulo(`7`, `4`)", 3), ("round(`2.567`, `1`)", 2.6),
        ("to_upper('a')", "A"), ("split('a,b', ',')", ["a", "b"]), ("regex_replace_all('([a-z])', 'ab', '$1-')", "a-b-"),
        ("regex_match('^a', 'abc')", True), ("pattern_match('a*', 'abc')", True), ("base64_decode('YQ==')", "a"),
        ("semver_compare('1.2.3', '>1.0.0 <2.0.0')", True), ("semver_compare('4.1.3', '3.x || >=4.0.0')", True),
        ("parse_json('{\"a\": 1}').a", 1), ("parse_yaml('a: [1, 2]').a[1]", 2), ("items({b: `1`, a: `2`}, 'k', 'v')[0].k", "a"),
        ("object_from_lists(['a'], [`1`])", {"a": 1}), ("truncate('abcdef', `3`)", "abc"), ("lookup({a: `1`}, 'a')", 1),
        ("time_diff('2024-01-01T00:00:00Z', '2024-01-01T01:30:00Z')", "1h30m0s"), ("time_to_cron('2024-01-02T03:04:00Z')", "4 3 2 1 2"),
        ("time_add('2024-01-01T00:00:00Z', '36h')", "2024-01-02T12:00:00Z"), ("time_utc('2024-01-01T02:00:00+02:00')", "2024-01-01T00:00:00Z"),
        ("time_before('2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z')", True), ("image_normalize('nginx')", "docker.io/nginx:latest"),
        ("label_match({a: 'b'}, {a: 'b', c: 'd'})", True), ("sum(['1Gi', '1Gi'])", "2Gi"), ("trim_prefix('v1', 'v')", "1"),
        ("compare('a', 'b')", -1), ("equal_fold('Go', 'GO')", True), ("path_canonicalize('/a//b/../c')", "/a/c"),
    ],
)  # fmt: skip
def test_functions(query: str, wanted: Any) -> None:
    assert search(query, {}) == wanted


def test_what_leads_to_nothing() -> None:
    data = {"a": {"b": None}, "list": [{"x": 1}, {}]}
    assert search("a.b", data) is None
    assert search("a.c || 'x'", data) == "x"
    assert search("a.c || a.d", data) is None
    assert search("list[].x", data) == [1]
    assert search("list[?x > `0`].x", data) == [1]
    for query in ("a.c", "length(a.c)", "keys(a.b)"):
        with pytest.raises(NotResolvedError):
            search(query, data)
    with pytest.raises(PolicyError):
        search("a.[", data)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Pod", ("*", "*", "Pod", "")), ("v1/Pod", ("*", "v1", "Pod", "")), ("apps/v1/Deployment", ("apps", "v1", "Deployment", "")),
        ("Pod/exec", ("*", "*", "Pod", "exec")), ("*/*", ("*", "*", "*", "")), ("networking.k8s.io/*/NetworkPolicy", ("networking.k8s.io", "*", "NetworkPolicy", "")),
        ("Deployment/scale", ("*", "*", "Deployment", "scale")), ("v1/Pod/status", ("*", "v1", "Pod", "status")),
    ],
)  # fmt: skip
def test_kind_selectors(text: str, wanted: tuple[str, ...]) -> None:
    assert parse_kind(text) == wanted


def test_a_wildcard_never_takes_long() -> None:
    assert not matches("*a" * 200 + "b", "a" * 20_000)


def rule(**more: Any) -> dict[str, Any]:
    return {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, **more}


def policy(*rules: dict[str, Any], **spec: Any) -> Any:
    body = {
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
        "spec": {"validationFailureAction": "Enforce", "rules": list(rules), **spec},
    }  # fmt: skip
    built = ENGINE.build([Given(body)])
    assert not built.troubles, built.troubles
    return built.policies[0]


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "n"}, "spec": spec}


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "n"},
        "spec": {"template": {"spec": spec}},
    }  # fmt: skip


def outcomes(made: Any, body: dict[str, Any], lookup: Any = None, **review: Any) -> list[tuple[str, Outcome]]:
    return [(v.rule, v.result) for v in made.validate(Review(body, **review), lookup or Nothing())]


def test_rules_for_pods_hold_for_what_makes_pods() -> None:
    made = policy(rule(validate={"message": "no", "pattern": {"spec": {"hostNetwork": False}}}))
    assert outcomes(made, pod(hostNetwork=True)) == [("r", Outcome.FAIL)]
    assert outcomes(made, deployment(hostNetwork=True)) == [("autogen-r", Outcome.FAIL)]
    assert outcomes(made, deployment(hostNetwork=False)) == [("autogen-r", Outcome.PASS)]
    named = policy(
        {**rule(validate={"pattern": {"spec": {"x": "y"}}}), "match": {"resources": {"kinds": ["Pod"], "name": "x"}}}
    )
    assert outcomes(named, deployment()) == []


def test_variables_in_deny_follow_the_template() -> None:
    made = policy(rule(validate={"deny": {"conditions": {"any": [
        {"key": "{{ request.object.spec.replicas || `1` }}", "operator": "GreaterThan", "value": 3},
        {"key": "{{ request.object.spec.containers[].image }}", "operator": "AnyIn", "value": ["bad:*"]},
    ]}}}))  # fmt: skip
    assert outcomes(made, deployment(containers=[{"name": "a", "image": "bad:1"}])) == [("autogen-r", Outcome.FAIL)]
    assert outcomes(made, deployment(containers=[{"name": "a", "image": "good:1"}])) == [("autogen-r", Outcome.PASS)]


def test_a_missing_variable_is_an_error_in_a_pattern_and_null_in_a_condition() -> None:
    pattern = policy(rule(validate={"pattern": {"spec": {"a": "{{ request.object.spec.missing }}"}}}))
    assert outcomes(pattern, pod(a="b")) == [("r", Outcome.ERROR)]
    condition = policy(
        rule(
            validate={
                "deny": {
                    "conditions": {
                        "all": [{"key": "{{ request.object.spec.missing }}", "operator": "Equals", "value": "b"}]
                    }
                }
            }
        )
    )
    assert outcomes(condition, pod(a="b")) == [("r", Outcome.PASS)]


def test_what_cannot_be_looked_up_is_an_error_and_never_a_pass() -> None:
    entry = {"name": "cm", "configMap": {"name": "c", "namespace": "n"}}
    deny = {"deny": {"conditions": {"all": [{"key": "{{ cm.data.a }}", "operator": "Equals", "value": "yes"}]}}}
    made = policy(rule(context=[entry], validate=deny))
    assert outcomes(made, pod()) == [("r", Outcome.ERROR)]
    known = Objects(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"a": "yes"}}]
    )
    assert outcomes(made, pod(), known) == [("r", Outcome.FAIL)]


def test_users_narrow_only_where_they_are_known() -> None:
    made = policy(rule(exclude={"any": [{"subjects": [{"kind": "User", "name": "root"}]}]}, validate={"deny": {}}))
    assert outcomes(made, pod()) == [("r", Outcome.FAIL)]
    assert outcomes(made, pod(), user=User("root", known=True)) == []


def test_an_exception_names_itself() -> None:
    body = {
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
        "spec": {"rules": [rule(validate={"deny": {}})]},
    }  # fmt: skip
    exception = {
        "apiVersion": "kyverno.io/v2", "kind": "PolicyException", "metadata": {"name": "e", "namespace": "n"},
        "spec": {"exceptions": [{"policyName": "p", "ruleNames": ["r"]}], "match": {"any": [{"resources": {"names": ["x"]}}]}},
    }  # fmt: skip
    made = ENGINE.build([Given(body), Given(exception)]).policies[0]
    found = made.validate(Review(pod()), Nothing())[0]
    assert (found.result, found.exception) == (Outcome.SKIP, "n/e")


def test_mutations_complete_an_object_without_changing_the_one_that_was_given() -> None:
    made = policy(
        rule(mutate={"patchStrategicMerge": {"metadata": {"labels": {"+(team)": "shop"}}}}),
        {
            **rule(
                mutate={
                    "foreach": [
                        {
                            "list": "request.object.spec.containers",
                            "patchesJson6902": "- op: add\n  path: /spec/containers/{{elementIndex}}/tty\n  value: true\n",
                        }
                    ]
                }
            ),
            "name": "s",
        },
    )
    body = pod(containers=[{"name": "a"}, {"name": "b"}])
    found, verdicts = made.mutate(Review(body), Nothing())
    assert verdicts == []
    assert found["metadata"]["labels"] == {"team": "shop"}
    assert [c["tty"] for c in found["spec"]["containers"]] == [True, True]
    assert "labels" not in body["metadata"]


def test_a_deletion_is_judged_by_what_goes() -> None:
    made = policy(
        rule(
            validate={
                "deny": {
                    "conditions": {
                        "all": [{"key": "{{ request.object.metadata.name }}", "operator": "Equals", "value": "x"}]
                    }
                }
            }
        )
    )
    assert [v.result for v in made.validate(Review(None, pod(), Operation.DELETE), Nothing())] == [Outcome.FAIL]


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "r"},
        {"name": "r", "match": []},
        {"name": "r", "match": {"any": 1}, "validate": {}},
        "text",
        {"name": "r", "match": {}, "validate": 1},
    ],
)
def test_rules_of_the_wrong_shape_are_told(broken: Any) -> None:
    body = {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "p"},
        "spec": {"rules": [broken]},
    }
    built = ENGINE.build([Given(body, "p.yaml:1")])
    assert built.troubles
    assert not built.troubles[0].elsewhere


def test_what_is_kyvernos_own_is_told_and_is_no_fault() -> None:
    body = {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "p"},
        "spec": {"rules": [rule(generate={})]},
    }
    assert [t.elsewhere for t in ENGINE.build([Given(body)]).troubles] == [True]
