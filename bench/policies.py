"""Twenty policies of the kinds that people have, for a fleet that keeps to all of them: what they cost when nothing is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.repositories import git


def write(folder: Path) -> Path:
    """Make a bare repository with the policies below `folder`; the answer is where it is."""
    bare, clone = folder / "policies.git", folder / "policies"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git("init", "--quiet", "--initial-branch=main", str(clone))
    for number, document in enumerate(documents()):
        (clone / f"{number:02d}.json").write_text(json.dumps(document, indent=1))
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "-m", "policies", cwd=clone)
    git("push", "--quiet", str(bare), "main", cwd=clone)
    return bare


def documents() -> list[dict[str, Any]]:
    """All documents: 14 policies of Kyverno (two of them complete), three constraints, three admission policies."""
    return [*_validating(), *_mutating(), *_constraints(), *_admission()]


def _kyverno(name: str, kinds: list[str], **rule: Any) -> dict[str, Any]:
    match = {"any": [{"resources": {"kinds": kinds}}]}
    spec = {"validationFailureAction": "Enforce", "rules": [{"name": "rule", "match": match, **rule}]}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}


def _pattern(name: str, kinds: list[str], pattern: dict[str, Any]) -> dict[str, Any]:
    return _kyverno(name, kinds, validate={"message": f"{name} is not kept", "pattern": pattern})


def _validating() -> list[dict[str, Any]]:
    denied = [{"key": "{{ element.image }}", "operator": "NotEquals", "value": "registry.example.com/*"}]
    each = {"list": "request.object.spec.containers", "deny": {"conditions": {"all": denied}}}
    privileged = "{{ request.object.spec.containers[].securityContext.privileged || `[]` }}"
    deny = {"conditions": {"any": [{"key": privileged, "operator": "AnyIn", "value": [True]}]}}
    small = [{"key": "{{ request.object.data | length(@) }}", "operator": "GreaterThan", "value": 100}]
    return [
        _pattern("no-latest", ["Pod"], {"spec": {"containers": [{"image": "!*:latest"}]}}),
        _pattern("a-digest", ["Pod"], {"spec": {"containers": [{"image": "*@sha256:*"}]}}),
        _pattern("requests", ["Pod"], {"spec": {"containers": [{"resources": {"requests": {"memory": "?*"}}}]}}),
        _pattern("no-host-network", ["Pod"], {"spec": {"=(hostNetwork)": False}}),
        _pattern("no-host-path", ["Pod"], {"spec": {"=(volumes)": [{"X(hostPath)": "null"}]}}),
        _pattern("few-replicas", ["Deployment"], {"spec": {"replicas": "<=10"}}),
        _pattern("no-load-balancer", ["Service"], {"spec": {"=(type)": "!LoadBalancer"}}),
        _pattern("named-hosts", ["Ingress"], {"spec": {"rules": [{"host": "?*"}]}}),
        _pattern("claims-have-a-class", ["PersistentVolumeClaim"], {"spec": {"storageClassName": "?*"}}),
        _kyverno("registry", ["Pod"], validate={"message": "another registry", "foreach": [each]}),
        _kyverno("not-privileged", ["Pod"], validate={"message": "it is privileged", "deny": deny}),
        _kyverno("small-maps", ["ConfigMap"], validate={"message": "too many", "deny": {"conditions": {"all": small}}}),
    ]


def _mutating() -> list[dict[str, Any]]:
    label = {"patchStrategicMerge": {"metadata": {"labels": {"+(team)": "bench"}}}}
    grace = {"patchStrategicMerge": {"spec": {"template": {"spec": {"+(terminationGracePeriodSeconds)": 20}}}}}
    return [
        _kyverno("a-team", ["Deployment", "Service"], mutate=label),
        _kyverno("a-grace", ["Deployment"], mutate=grace),
    ]


_REGO = {
    "NoNodePorts": 'violation[{"msg": "a node port"}] { input.review.object.spec.type == "NodePort" }',
    "MaxContainers": 'violation[{"msg": "too many"}] { count(input.review.object.spec.template.spec.containers) > input.parameters.most }',
    "NoPasswords": 'violation[{"msg": msg}] { some key; input.review.object.data[key]; contains(lower(key), "password"); msg := sprintf("%v looks like a password", [key]) }',
}
_ABOUT = {"NoNodePorts": ("", "Service"), "MaxContainers": ("apps", "Deployment"), "NoPasswords": ("", "ConfigMap")}


def _constraints() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind, rego in _REGO.items():
        package = f"package {kind.lower()}\n{rego}\n"
        target = {"target": "admission.k8s.gatekeeper.sh", "rego": package}
        spec = {"crd": {"spec": {"names": {"kind": kind}}}, "targets": [target]}
        template = {"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate"}
        found.append({**template, "metadata": {"name": kind.lower()}, "spec": spec})
        group, about = _ABOUT[kind]
        match = {"kinds": [{"apiGroups": [group], "kinds": [about]}]}
        constraint = {"match": match, "parameters": {"most": 5}}
        head = {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind, "metadata": {"name": "all"}}
        found.append({**head, "spec": constraint})
    return found


def _admission() -> list[dict[str, Any]]:
    rules = (
        ("selectors", "apps", "deployments", "object.spec.selector.matchLabels.size() > 0"),
        ("short-names", "", "services", "object.metadata.name.size() < 60"),
        ("short-values", "", "configmaps", "!has(object.data) || object.data.all(k, object.data[k].size() < 4096)"),
    )
    found: list[dict[str, Any]] = []
    for name, group, plural, expression in rules:
        operations = ["CREATE", "UPDATE"]
        rule = {"apiGroups": [group], "apiVersions": ["v1"], "resources": [plural], "operations": operations}
        validations = [{"expression": expression, "message": f"{name} is not kept"}]
        spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": validations}
        binding = {"policyName": name, "validationActions": ["Deny"]}
        for kind, body in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding)):
            head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}}
            found.append({**head, "spec": body})
    return found
