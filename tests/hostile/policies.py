"""Attacks by policies: what a pull request may bring to `taut check`, and a policy repository to a running taut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TIME = "limits of time and memory for each policy on each object"
EXPRESSIONS = "regular expressions take no longer than the text is"
NETWORK = "no policy has a network, and only a cluster's own API is asked"
DEEP = "policies are built and judged in a worker; it dies alone"
BOUNDED = "expressions of CEL have a budget"


@dataclass(frozen=True)
class PolicyAttack:
    """Documents of a policy. In them `@CANARY@` is a server that counts connections.

    `says` is what taut says of the policy, in a verdict of `result` or (empty: of the document) on standard error; `code` is how the check ends.
    """

    name: str
    what: str
    stops: str
    documents: Sequence[Mapping[str, Any]]
    says: str
    result: str = "error"
    code: int = 1
    short: bool = True
    """Whether it is among those that every run of the tests tries: the others take until a limit stops them."""


def kyverno(name: str, **rule: Any) -> list[dict[str, Any]]:
    """A ClusterPolicy about ConfigMaps."""
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    spec = {"validationFailureAction": "Enforce", "rules": [{"name": "only", "match": match, **rule}]}
    return [{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}]


def denies(name: str, key: str, value: Any, **rule: Any) -> list[dict[str, Any]]:
    """A ClusterPolicy with one condition."""
    conditions = {"all": [{"key": key, "operator": "Equals", "value": value}]}
    return kyverno(name, **rule, validate={"message": "it is so", "deny": {"conditions": conditions}})


def gatekeeper(name: str, body: str, rest: str = "") -> list[dict[str, Any]]:
    """A template whose `violation` has this body, and a constraint."""
    kind = name.capitalize()
    rego = f'package {name}\n{rest}\nviolation[{{"msg": msg}}] {{ msg := "it is so"; {body} }}\n'
    template = {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {"name": name},
        "spec": {
            "crd": {"spec": {"names": {"kind": kind}}},
            "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": rego}],
        },
    }
    constraint = {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind, "metadata": {"name": name}}
    return [template, constraint]


def cel(name: str, expression: str, *, kyvernos: bool = False) -> list[dict[str, Any]]:
    """A ValidatingAdmissionPolicy, or Kyverno's ValidatingPolicy."""
    group, kind = (
        ("policies.kyverno.io", "ValidatingPolicy")
        if kyvernos
        else ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
    )
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}
    return [{"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}]


_MANY = "[" + ",".join(["1"] * 80) + "]"


def _loops(depth: int) -> dict[str, Any]:
    if depth == 0:
        return {
            "list": f"`{_MANY}`",
            "deny": {"conditions": {"all": [{"key": "{{ element }}", "operator": "Equals", "value": 2}]}},
        }
    return {"list": f"`{_MANY}`", "foreach": [_loops(depth - 1)]}


def _all(depth: int) -> str:
    return f"{_MANY}.all(a{depth}, {_all(depth - 1)})" if depth else "1 == 1"


_NUMBERS = "a := numbers.range(1, 3000)[_]; b := numbers.range(1, 3000)[_]; c := numbers.range(1, 3000)[_]"
_LARGE = 'count([y | a := numbers.range(1, 9000)[_]; y := sprintf("%d %s", [a, large])]) == 0'
_LARGER = 'large := concat("", [x | numbers.range(1, 30000)[_]; x := "0123456789"])'
_DOUBLES = [
    {"name": "v0", "variable": {"value": "x" * 1000}},
    *({"name": f"v{n}", "variable": {"jmesPath": f"join('', [v{n - 1}, v{n - 1}])"}} for n in range(1, 40)),
]
_LONG = "a" * 5000 + "b"
_PROVIDER = {
    "apiVersion": "externaldata.gatekeeper.sh/v1beta1",
    "kind": "Provider",
    "metadata": {"name": "canary"},
    "spec": {"url": "@CANARY@", "timeout": 1},
}
_SERVICE = {"name": "x", "apiCall": {"method": "GET", "service": {"url": "@CANARY@/x"}}}
_ADDRESS = {"name": "x", "apiCall": {"urlPath": "@CANARY@/x"}}

ATTACKS: list[PolicyAttack] = [
    PolicyAttack("foreach", "a loop in a loop in a loop, without end", TIME, kyverno("foreach", validate={"message": "m", "foreach": [_loops(5)]}), "took longer than 10 s and was stopped"),
    PolicyAttack("numbers", "the same in Rego", TIME, gatekeeper("numbers", f"{_NUMBERS}; a + b + c == -1"), "took longer than 10 s and was stopped", short=False),
    PolicyAttack("comprehensions", "the same in CEL", BOUNDED, cel("comprehensions", _all(6)), "Iteration budget exceeded", "fail"),
    PolicyAttack("doubles", "variables that double a text", TIME, denies("doubles", "{{ length(v39) }}", 1, context=_DOUBLES), "the policy cannot be judged on this object (MemoryError)"),
    PolicyAttack("eats", "Rego that eats memory", TIME, gatekeeper("eats", _LARGE, _LARGER), "needs more than 512 MB of memory and was stopped"),
    PolicyAttack("backtracks", "an expression that backtracks without end", EXPRESSIONS, denies("backtracks", f"{{{{ regex_match('^(a+)+$', '{_LONG}') }}}}", True), "", "pass"),
    PolicyAttack("tracking", "the same in Rego", EXPRESSIONS, gatekeeper("tracking", f'regex.match("^(a+)+$", "{_LONG}")'), "", "pass"),
    PolicyAttack("celtracks", "the same in CEL", EXPRESSIONS, cel("celtracks", f"!'{_LONG}'.matches('^(a+)+$')"), "", "pass"),
    PolicyAttack("repeats", "an expression that repeats a million times", EXPRESSIONS, gatekeeper("repeats", f'regex.match("((a{{100}}){{100}}){{100}}", "{_LONG}")'), "regex exceeded size limit"),
    PolicyAttack("service", "an apiCall of a service", NETWORK, denies("service", "{{ x }}", 1, context=[_SERVICE]), "apiCall of a service: only the target's API is asked"),
    PolicyAttack("elsewhere", "an apiCall of a foreign host", NETWORK, denies("elsewhere", "{{ x }}", 1, context=[_ADDRESS]), "there is no cluster to ask"),
    PolicyAttack("sends", "http.send in Rego", NETWORK, gatekeeper("sends", 'http.send({"method": "get", "url": "@CANARY@"}).status_code == 200'), "http.send asks the network, which no policy may", "", 2),
    PolicyAttack("provider", "a provider of Gatekeeper", NETWORK, [*gatekeeper("asks", 'external_data({"provider": "canary", "keys": ["a"]}).errors'), _PROVIDER], "external_data asks a provider in the cluster, which only Gatekeeper can", "", 2),
    PolicyAttack("gets", "http.Get in CEL", NETWORK, cel("gets", "http.Get('@CANARY@').ok == true", kyvernos=True), "HTTP is not asked here: policies have no network"),
    PolicyAttack("environment", "the environment by opa.runtime", "it is refused", gatekeeper("environment", "opa.runtime().env.TAUT_CANARY == msg"), "opa.runtime shows the environment, which no policy may see", "", 2),
    PolicyAttack("deep", "Rego nested twenty thousand deep", DEEP, gatekeeper("deep", "x := " + "[" * 20_000 + "]" * 20_000), "it cannot be built: the policy worker crashed", "", 2),
    PolicyAttack("itself", "a function that calls itself", DEEP, gatekeeper("itself", "f(1) == 2", "f(x) = y { y := f(x + 1) }"), "the policy worker crashed"),
    PolicyAttack("parentheses", "CEL nested twenty thousand deep", DEEP, cel("parentheses", "(" * 20_000 + "true" + ")" * 20_000), "Expression recursion limit exceeded", "", 2),
]  # fmt: skip
