"""Kubernetes' own policies judge what the API server would show them, the others what is written; nothing of it comes into Git's object."""

from __future__ import annotations

from typing import Any

from taut.documents.yaml import load_documents
from taut.model.verdict import Outcome
from taut.policy.engines import build
from taut.policy.judge import Judge
from taut.policy.review import Given, Nothing, Review

POLICIES = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: few}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}
  validations: [{expression: "object.spec.replicas <= 5 && object.spec.template.spec.containers.all(c, c.imagePullPolicy != 'Never')"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: few}
spec: {policyName: few, validationActions: [Deny]}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: written}
spec:
  validationFailureAction: Enforce
  rules:
  - name: written
    match: {any: [{resources: {kinds: [Deployment]}}]}
    validate: {message: "say how many", pattern: {spec: {replicas: ">=1"}}}
"""
MUTATION = """
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicy
metadata: {name: more}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}
  reinvocationPolicy: Never
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}"}
---
apiVersion: admissionregistration.k8s.io/v1beta1
kind: MutatingAdmissionPolicyBinding
metadata: {name: more}
spec: {policyName: more}
"""


def judge(text: str) -> Judge:
    documents = [Given(d.body, f"p.yaml:{d.line}") for d in load_documents(text.encode(), file="p.yaml")]
    built = build(documents)
    assert not built.troubles
    return Judge(built.policies)


def deployment(**metadata: Any) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "a", "image": "r.io/a:1"}]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", **metadata}, "spec": spec}


def review(body: dict[str, Any]) -> Review:
    return Review(body, resource="apps/v1/deployments", namespaced=True)


def test_each_engine_sees_what_its_own_would() -> None:
    body = deployment()
    found = {v.policy: v.result for v in judge(POLICIES).validate(review(body), Nothing()).verdicts}
    assert found == {"few": Outcome.PASS, "written": Outcome.FAIL}
    assert body == deployment()


def test_what_the_api_server_has_is_taken_as_it_is() -> None:
    found = judge(POLICIES).validate(review(deployment(uid="1-2")), Nothing()).verdicts
    assert {v.policy: v.denies for v in found}["few"]


def test_a_mutation_sees_defaults_and_leaves_none_behind() -> None:
    made = judge(MUTATION).complete(review(deployment()), Nothing())
    assert not made.verdicts
    wanted = deployment()
    wanted["spec"]["replicas"] = 2
    assert made.body == wanted
