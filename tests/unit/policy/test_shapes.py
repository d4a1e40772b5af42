"""Slips of the pen in policies of every engine: each is told, with what was probably meant, and makes `taut check` fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.documents.yaml import load_documents
from taut.policy.engines import build
from taut.policy.review import Given, Trouble

GOOD = """
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: team}
spec:
  validationFailureAction: Enforce
  rules:
  - name: team
    match: {any: [{resources: {kinds: [Pod]}}]}
    validate: {message: "a team for {{ request.object.metadata.name }}", pattern: {metadata: {labels: {team: "?*"}}}}
"""
CEL = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: small}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}
  validations: [{expression: "object.spec.replicas <= 5"}]
"""
MODERN = """
apiVersion: policies.kyverno.io/v1
kind: ValidatingPolicy
metadata: {name: small}
spec:
  validationActions: [Deny]
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}
  validations: [{expression: "object.spec.replicas <= 5"}]
"""
ASSIGN = """
apiVersion: mutations.gatekeeper.sh/v1
kind: AssignMetadata
metadata: {name: owner}
spec:
  match: {scope: Namespaced, kinds: [{apiGroups: [""], kinds: [Pod]}]}
  location: metadata.labels.owner
  parameters: {assign: {value: ann}}
"""
CONSTRAINT = """
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sRequiredLabels
metadata: {name: team}
spec:
  match: {kinds: [{apiGroups: [""], kinds: [Pod]}], namespaces: [shop]}
  parameters: {anything: goes}
"""
TEMPLATE = """
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: k8srequiredlabels}
spec:
  crd: {spec: {names: {kind: K8sRequiredLabels}, validation: {openAPIV3Schema: {type: object}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package k8srequiredlabels
      violation[{"msg": "no"}] { false }
"""


def troubles(text: str) -> list[Trouble]:
    documents = [Given(d.body, f"p.yaml:{d.line}") for d in load_documents(text.encode(), file="p.yaml")]
    return list(build(documents).troubles)


@pytest.mark.parametrize("text", [GOOD, CEL, MODERN, ASSIGN, TEMPLATE, f"{TEMPLATE}\n---\n{CONSTRAINT}"])
def test_what_is_right_is_left_alone(text: str) -> None:
    assert troubles(text) == []


@pytest.mark.parametrize(
    ("text", "right", "slip", "what", "advice"),
    [
        (GOOD, "Enforce", "Enforc", "spec.validationFailureAction takes one of", "did you mean Enforce?"),
        (GOOD, "kinds:", "kind:", "ClusterPolicy has no field spec.rules[0].match.any[0].resources.kind", "kinds"),
        (GOOD, "name }}", "name ", "validate.message has {{ without }}", "close"),
        (GOOD, "pattern:", "patern:", "has no field spec.rules[0].validate.patern", "did you mean pattern?"),
        (GOOD, "any:", "some:", "has no field spec.rules[0].match.some", ""),
        (GOOD, "kinds: [Pod]", "kinds: Pod", "takes a list, not a string", ""),
        (CEL, "failurePolicy: Fail", "failurePolicy: Fails", "takes one of Fail, Ignore", "did you mean Fail?"),
        (CEL, "expression:", "expresion:", "has no field spec.validations[0].expresion", "did you mean expression?"),
        (MODERN, "[Deny]", "[Denied]", "takes one of", "did you mean Deny?"),
        (MODERN, "matchConstraints", "matchConstrains", "has no field spec.matchConstrains", "matchConstraints"),
        (ASSIGN, "scope: Namespaced", "skope: Namespaced", "has no field spec.match.skope", "did you mean scope?"),
        (TEMPLATE, "targets:", "target:", "spec.targets has to be a list of one target", ""),
    ],
)  # fmt: skip
def test_a_slip_is_told(text: str, right: str, slip: str, what: str, advice: str) -> None:
    assert right in text
    found = [t for t in troubles(text.replace(right, slip)) if t.grave]
    assert found, "nothing was told"
    said = [(t.what, t.advice) for t in found]
    assert any(what in w and advice in a for w, a in said), said
    assert all(t.origin == "p.yaml:2" for t in found)


def test_a_slip_in_what_a_constraint_matches() -> None:
    slip = CONSTRAINT.replace("namespaces: [shop]", "namespace: [shop]")
    [trouble] = troubles(f"{TEMPLATE}\n---\n{slip}")
    assert (trouble.what, trouble.advice) == (
        "K8sRequiredLabels has no field spec.match.namespace",
        "did you mean namespaces?",
    )


def test_a_kind_that_nobody_has_is_told_and_may_come() -> None:
    [trouble] = troubles(GOOD.replace("[Pod]", "[Podd]"))
    assert trouble.doubt
    assert (trouble.what, trouble.advice) == ("it is about Podd, a kind that is not known", "did you mean Pod?")
    for fine in ("[Certificate]", "[apps/v1/Deployment]", "[Pod/exec]", "['Po*']", "[HTTPRoute]"):
        assert troubles(GOOD.replace("[Pod]", fine)) == []


@pytest.mark.parametrize("text", ["{{ request.object.{a: b} }}", "{{ a[?b == '{{ c }}'] }}", "\\\\{{ plain", "} and {"])
def test_variables_that_are_closed(text: str) -> None:
    assert troubles(GOOD.replace("{{ request.object.metadata.name }}", text)) == []


def test_taut_check_fails_for_a_slip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text(GOOD.replace("Enforce", "Enforc"))
    (tmp_path / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")
    arguments: list[Any] = ["--policies", str(tmp_path / "policy.yaml"), "--resources", str(tmp_path / "pod.yaml")]
    assert run_command(cli, ["check", *arguments]) == 2
    assert "did you mean Enforce?" in capsys.readouterr().err
