"""Attacks by policies: each is judged by `taut check` beside an honest one, on an object that breaks both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

type Document = dict[str, Any]

OBJECT: Document = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one", "namespace": "shop"},
    "data": {"text": "a" * 40 + "!", "n": "1"},
}
STOPPED = "judging took longer than"
PRISON = "policies run in a worker without network, within limits of time and memory"


@dataclass(frozen=True)
class PolicyAttack:
    """One attack. `says` is in the message of its verdict, or (`refused`) in what is said of the document; `gives` is the verdict of one without effect."""

    name: str
    what: str
    stops: str
    documents: Sequence[Document]
    says: str = ""
    refused: bool = False
    gives: str = ""
    short: bool = False
    slow: bool = False


def kyverno(name: str, validate: Mapping[str, Any], **rule: Any) -> Document:
    """A policy of Kyverno about ConfigMaps."""
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    rules = [{"name": "r", "match": match, "validate": {"message": "no", **validate}, **rule}]
    spec = {"validationFailureAction": "Enforce", "rules": rules}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}


def deny(key: str) -> dict[str, Any]:
    """A condition that is never true."""
    return {"deny": {"conditions": {"any": [{"key": key, "operator": "Equals", "value": "never"}]}}}


def rego(name: str, body: str) -> list[Document]:
    """A template with a rule, and its constraint about ConfigMaps."""
    kind = name.replace("-", "").capitalize()
    code = f'package {kind.lower()}\nviolation[{{"msg": msg}}] {{ msg := "no"\n{body}\n}}\n'
    target = {"target": "admission.k8s.gatekeeper.sh", "rego": code}
    spec = {"crd": {"spec": {"names": {"kind": kind}}}, "targets": [target]}
    match = {"match": {"kinds": [{"apiGroups": [""], "kinds": ["ConfigMap"]}]}}
    template = {"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate"}
    constraint = {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind}
    return [
        {**template, "metadata": {"name": kind.lower()}, "spec": spec},
        {**constraint, "metadata": {"name": "all"}, "spec": match},
    ]


def native(name: str, expression: str) -> list[Document]:
    """An admission policy of Kubernetes with its binding."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


HUNDRED = "[" + ",".join(map(str, range(100))) + "]"
DEEP = f"{HUNDRED}.all(a, {HUNDRED}.all(b, {HUNDRED}.all(c, {HUNDRED}.all(d, a + b + c + d >= 0))))"
RANGE = "numbers.range(1, 3000)"
EVERYTHING = {"match": {"any": [{"resources": {"kinds": ["*"]}}]}}

ATTACKS: list[PolicyAttack] = [
    PolicyAttack("rego-endless", "a rule of Rego that looks at every triple", PRISON, rego("rego-endless", f"a := {RANGE}[i]\nb := {RANGE}[j]\nc := {RANGE}[k]\na + b + c == -1"), STOPPED, short=True, slow=True),
    PolicyAttack("cel-endless", "an expression of CEL that counts to a hundred million", "an expression has a budget of steps", native("cel-endless", DEEP), "budget exceeded"),
    PolicyAttack("regex", "a regular expression that backtracks without end", "regular expressions are RE2's, which do not", [kyverno("regex", deny("{{ regex_match('^(a+)+$', request.object.data.text) }}"))], gives="pass", short=True),
    PolicyAttack("rego-regex", "the same in Rego", "regular expressions are RE2's, which do not", rego("rego-regex", 'regex.match("^(a+)+$", input.review.object.data.text)'), gives="pass"),
    PolicyAttack("memory", "a rule that makes a list of 300 million numbers", PRISON, rego("memory", "count(numbers.range(1, 300000000)) < 0"), "memory", short=True),
    PolicyAttack("rego-http", "a rule of Rego that asks a server", "functions that reach out of the policy are not there", rego("rego-http", 'r := http.send({"method": "GET", "url": "@CANARY@"})\nr.status_code == 0'), "http.send asks the network", refused=True, short=True),
    PolicyAttack("rego-machine", "a rule of Rego that reads taut's environment", "functions that reach out of the policy are not there", rego("rego-machine", "opa.runtime().env.TAUT_CANARY == input.review.object.data.n"), "shows the environment", refused=True),
    PolicyAttack("rego-host", "a rule of Rego that asks for an address of a name", "functions that reach out of the policy are not there", rego("rego-host", 'count(net.lookup_ip_addr("example.com")) == 0'), "net.lookup_ip_addr asks the network", refused=True),
    PolicyAttack("service-call", "a call to a service of the attacker", "only the target is asked, and only what reads", [kyverno("service-call", deny("{{ there }}"), context=[{"name": "there", "apiCall": {"method": "GET", "service": {"url": "@CANARY@/x"}}}])], "only the target's API is asked", short=True),
    PolicyAttack("api-write", "a call to the target that would delete", "only the target is asked, and only what reads", [kyverno("api-write", deny("{{ there }}"), context=[{"name": "there", "apiCall": {"method": "DELETE", "urlPath": "/api/v1/namespaces/shop"}}])], "there is no cluster to ask"),
    PolicyAttack("recursion", "variables that name each other", "what is substituted has a depth", [kyverno("recursion", deny("{{ a }}"), context=[{"name": "a", "variable": {"jmesPath": "b"}}, {"name": "b", "variable": {"jmesPath": "a"}}])], gives="pass"),
    PolicyAttack("waiver", "a waiver that names itself a policy", "a waiver is read as one, and needs who, why and until when", [{"apiVersion": "taut.dev/v1", "kind": "PolicyWaiver", "metadata": {"name": "all"}, "spec": {"policy": "*"}}], "missing required field", refused=True),
]  # fmt: skip
