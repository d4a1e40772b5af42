"""The configuration that a cluster is given: as little as the policies need, and nothing when they need nothing."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from taut.admission.decision import Interests, Rule
from taut.admission.interests import rules_about, rules_for_managed
from taut.admission.registration import Service, Wish, same, wanted
from taut.admission.service import names_of, own_namespaces, reach
from taut.dialects.admission_config import AdmissionConfig, AdmissionServiceConfig
from taut.model.live import KindInfo
from taut.model.refs import KindRef
from taut.policy.engines import build
from taut.policy.review import Given, Operation

EPHEMERAL = Rule("", ("v1",), ("pods/ephemeralcontainers",), (Operation.UPDATE,))
PODS = Rule("", ("v1",), ("pods",))
DEPLOYMENTS = Rule("apps", ("v1",), ("deployments",), (Operation.CREATE, Operation.DELETE))
WISH = Wish("default", "local", "https://taut.example.com:9443", b"PEM")
ALL = replace(
    WISH,
    interests=Interests((PODS,), (DEPLOYMENTS,)),
    managed=(Rule("", ("*",), ("configmaps", "configmaps/scale"), (Operation.UPDATE,)),),
    own_user='taut "1"',
    exempt=("taut", "monitoring"),
    timeout=7,
)


def entries(wish: Wish) -> dict[str, dict[str, Any]]:
    body = wanted(wish)
    return {} if body is None else {e["name"].partition(".")[0]: e for e in body["webhooks"]}


def test_nothing_is_asked_for_nothing() -> None:
    assert wanted(WISH) is None
    assert wanted(replace(WISH, own_user="taut", exempt=("a",))) is None


def test_the_name_is_the_instances() -> None:
    body = wanted(replace(ALL, instance="blue"))
    assert body is not None
    assert body["metadata"]["name"] == "taut-blue"


def test_only_what_is_needed_is_there() -> None:
    assert entries(replace(WISH, interests=Interests(open=(PODS,)))).keys() == {"open"}
    assert entries(replace(WISH, interests=Interests(closed=(PODS,)))).keys() == {"closed"}
    assert entries(replace(WISH, managed=(PODS,))).keys() == {"record"}
    assert entries(ALL).keys() == {"open", "closed", "record"}


def test_who_fails_how() -> None:
    found = entries(ALL)
    assert {n: e["failurePolicy"] for n, e in found.items()} == {"open": "Ignore", "closed": "Fail", "record": "Ignore"}
    assert {n: e["timeoutSeconds"] for n, e in found.items()} == {"open": 7, "closed": 7, "record": 1}
    for entry in found.values():
        assert entry["sideEffects"] == "None"
        assert entry["matchPolicy"] == "Equivalent"
        assert entry["admissionReviewVersions"] == ["v1"]
        assert base64.b64decode(entry["clientConfig"]["caBundle"]) == b"PEM"


def test_rules_say_no_more_than_the_policies() -> None:
    found = entries(ALL)
    assert found["closed"]["rules"] == [
        {
            "apiGroups": ["apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "DELETE"],
            "resources": ["deployments"],
            "scope": "*",
        }
    ]
    assert [r["resources"] for r in found["open"]["rules"]] == [["pods"]]


def test_rules_are_joined_and_in_a_fixed_order() -> None:
    services = Rule("", ("v1",), ("services",))
    one = entries(replace(WISH, interests=Interests(open=(services, DEPLOYMENTS, PODS))))
    other = entries(replace(WISH, interests=Interests(open=(PODS, services, DEPLOYMENTS))))
    assert one == other
    assert [r["resources"] for r in one["open"]["rules"]] == [["pods", "services"], ["deployments"]]


def test_exempt_namespaces() -> None:
    found = entries(ALL)
    for name in ("open", "closed"):
        assert found[name]["namespaceSelector"] == {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", "monitoring", "taut"],
                }
            ]
        }
    assert found["record"]["namespaceSelector"] == {}


def test_where_taut_is() -> None:
    assert entries(ALL)["open"]["clientConfig"]["url"] == "https://taut.example.com:9443/admit/local/open"
    behind = entries(replace(ALL, reach="https://proxy.example.com/taut/"))
    assert behind["record"]["clientConfig"]["url"] == "https://proxy.example.com/taut/admit/local/record"
    inside = entries(replace(ALL, cluster="b", reach=Service("taut", "hook", 8443)))["closed"]["clientConfig"]
    assert inside["service"] == {"namespace": "taut", "name": "hook", "port": 8443, "path": "/admit/b/closed"}
    assert "url" not in inside


INSIDE = AdmissionServiceConfig(namespace="taut", name="hook", port=8443)


@pytest.mark.parametrize(
    ("config", "inside", "expected"),
    [
        (AdmissionConfig(), False, "https://127.0.0.1:9443"),
        (AdmissionConfig(), True, "https://127.0.0.1:9443"),
        (AdmissionConfig(service=INSIDE), True, Service("taut", "hook", 8443)),
        (AdmissionConfig(service=INSIDE), False, Service("taut", "hook", 8443)),
        (AdmissionConfig(service=INSIDE, url="https://taut"), True, Service("taut", "hook", 8443)),
        (AdmissionConfig(service=INSIDE, url="https://taut"), False, "https://taut"),
    ],
)
def test_a_cluster_is_told_the_way_that_is_its_own(config: AdmissionConfig, inside: bool, expected: Any) -> None:
    assert reach(config, config.url or "https://127.0.0.1:9443", inside=inside) == expected


def test_the_certificate_is_for_the_names_that_are_called() -> None:
    assert names_of("https://taut.example.com:9443/x") == ("taut.example.com",)
    assert names_of("https://[::1]:9443") == ("::1",)
    assert names_of(Service("taut", "hook"))[0] == "hook.taut.svc"


def test_namespaces_that_are_taken_out() -> None:
    assert own_namespaces(AdmissionConfig(exempt_namespaces=("a", "taut"), service=INSIDE))[:2] == ("a", "taut")


def test_what_is_recorded() -> None:
    conditions = {c["name"]: c["expression"] for c in entries(ALL)["record"]["matchConditions"]}
    assert conditions["not-taut-itself"] == 'request.userInfo.username != "taut \\"1\\""'
    assert '"taut.dev/owner" in o.metadata.annotations' in conditions["managed"]
    without = entries(replace(ALL, own_user=""))["record"]["matchConditions"]
    assert [c["name"] for c in without] == ["managed"]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e[0].update(failurePolicy="Ignore"),
        lambda e: e.pop(),
        lambda e: e.append({"name": "evil.example.com"}),
        lambda e: e[0].update(matchConditions=[{"name": "off", "expression": "false"}]),
        lambda e: e[0]["rules"].pop(),
        lambda e: e[0].update(timeoutSeconds=1),
    ],
)
def test_every_change_is_noticed(change: Any) -> None:
    body, live = wanted(ALL), wanted(ALL)
    assert body is not None
    assert live is not None
    live["metadata"] |= {"uid": "1", "managedFields": []}
    assert same(live, body)
    change(live["webhooks"])
    assert not same(live, body)


SERVED = [
    KindInfo(KindRef("", "Pod"), "pods", True, ("v1",), frozenset({"create", "update"})),
    KindInfo(KindRef("", "ConfigMap"), "configmaps", True, ("v1",), frozenset({"create"})),
    KindInfo(KindRef("", "ComponentStatus"), "componentstatuses", False, ("v1",), frozenset({"get"})),
    KindInfo(KindRef("apps", "Deployment"), "deployments", True, ("v1", "v1beta1"), frozenset({"create"})),
    KindInfo(KindRef("authentication.k8s.io", "TokenReview"), "tokenreviews", False, ("v1",), frozenset({"create"})),
]


TOYS = KindInfo(KindRef("example.com", "Toy"), "toyz", True, ("v1",), frozenset({"create"}))


def policy(kinds: list[str], autogen: str = "none") -> dict[str, Any]:
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "p", "annotations": {"pod-policies.kyverno.io/autogen-controllers": autogen}},
        "spec": {
            "rules": [
                {
                    "name": "r",
                    "match": {"any": [{"resources": {"kinds": kinds}}]},
                    "validate": {"message": "m", "pattern": {"metadata": {"labels": {"team": "?*"}}}},
                }
            ]
        },
    }


def about(*kinds: str, **more: Any) -> tuple[Rule, ...]:
    built = build([Given(policy(list(kinds)))])
    assert not built.troubles
    return rules_about(built.policies, SERVED, **more)


def test_what_real_policies_are_about() -> None:
    assert about("Pod") == (PODS, EPHEMERAL)
    assert about("Deployment") == (Rule("apps", ("v1", "v1beta1"), ("deployments",)),)
    assert about("Secret") == ()
    deletes = about("Pod", operations=lambda _: (Operation.DELETE,))
    assert deletes == (replace(PODS, operations=(Operation.DELETE,)),)


def test_nobody_is_locked_out_by_a_policy_about_everything() -> None:
    """Token reviews are objects in form only; what cannot be written is not asked about either."""
    assert {r for rule in about("*") for r in rule.resources} == {
        "pods",
        "pods/ephemeralcontainers",
        "configmaps",
        "deployments",
    }


def test_subresources_are_asked_about_where_they_are_named() -> None:
    assert about("Pod/exec") == (Rule("", ("*",), ("pods/exec",), (Operation.CONNECT,)),)
    assert about("PodExecOptions") == about("Pod/exec")
    assert about("Deployment/scale") == (Rule("apps", ("*",), ("deployments/scale",), (Operation.UPDATE,)),)
    assert {r for rule in about("Pod/p*") for r in rule.resources} == {"pods/portforward", "pods/proxy"}


def _native(*names: str) -> tuple[Rule, ...]:
    rules = [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": list(names), "operations": ["*"]}]
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "true"}]}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "p"}}
    documents = [
        {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {
            **head,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": "p", "validationActions": ["Deny"]},
        },
    ]
    return rules_about(build([Given(d) for d in documents]).policies, [*SERVED, TOYS])


def test_rules_about_resources_are_held_against_their_names() -> None:
    """Nothing is asked about a custom kind that no rule names, whatever its kind's name is like."""
    assert {r for rule in _native("configmaps") for r in rule.resources} == {"configmaps"}
    assert {r for rule in _native("toyz") for r in rule.resources} == {"toyz"}
    assert {r for rule in _native("pods/exec", "deployments/scale") for r in rule.resources if "/" in r} >= {
        "pods/exec",
        "deployments/scale",
    }
    assert "toyz" not in {r for rule in _native("deployments/scale") for r in rule.resources}


def test_replicas_are_recorded_too() -> None:
    rules = rules_for_managed(SERVED[3:])
    assert [(r.group, r.versions, r.resources) for r in rules] == [
        ("apps", ("*",), ("deployments", "deployments/scale"))
    ]
    assert set(rules[0].operations) == {Operation.CREATE, Operation.UPDATE, Operation.DELETE}
