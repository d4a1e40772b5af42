"""Policies as objects: Kyverno, Gatekeeper, Open Cluster Management."""

from __future__ import annotations

from taut.health.observed import Observed, conditions
from taut.health.verdicts import DEGRADED, HEALTHY, Rules, When, by_conditions, degraded, healthy, progressing, ready
from taut.model.health import Health

_UNREPORTED = progressing("Waiting for the status to be reported")


def kyverno(obj: Observed) -> Health:
    """Kyverno's ClusterPolicy and Policy: ready to serve requests, by condition or by the flag of old versions."""
    condition = obj.condition("Ready")
    if (condition is not None and condition.true) or (condition is None and obj.flag("status", "ready")):
        return healthy("Policy is ready")
    if condition is not None and condition.false and condition.reason == "Failed":
        return degraded(condition.message)
    return progressing(f"Waiting for {obj.kind} to be ready")


def kyverno_cel(obj: Observed) -> Health:
    """Kyverno's CEL policies keep their conditions under `conditionStatus`."""
    if not obj.has("status", "conditionStatus"):
        return progressing(f"Waiting for {obj.kind} status")
    status = Observed(obj.at("status", "conditionStatus"))
    found = conditions(status.at("conditions"))
    if obj.generation is not None and any(
        c.observed_generation is not None and c.observed_generation < obj.generation for c in found
    ):
        return progressing(f"Waiting for {obj.kind} status to reflect latest generation")
    if status.flag("ready"):
        told = next((c.message for c in found if c.type == "WebhookConfigured" and c.true), "")
        return healthy(told or "Policy is ready")
    failed = next((c for c in found if c.false), None)
    if failed is not None:
        return degraded(f"{failed.type}: {failed.message}")
    return degraded(status.text("message") or "Policy is not ready")


def _noncompliant(parts: list[Observed], *name: str) -> list[str]:
    return [part.text(*name) for part in parts if part.text("compliant") == "NonCompliant"]


def ocm_policy(obj: Observed) -> Health:
    """Open Cluster Management's Policy: on the hub by cluster, replicated by template."""
    if obj.flag("spec", "disabled"):
        return healthy("Policy is disabled")
    if not obj.mapping("status"):
        return _UNREPORTED
    compliant = obj.text("status", "compliant")
    if not compliant:
        placed = obj.each("status", "placement") and not obj.each("status", "status")
        return healthy("No clusters match this policy") if placed else _UNREPORTED
    replicated = bool(obj.each("status", "details"))
    if compliant == "Compliant":
        return healthy("All templates are compliant" if replicated else "All clusters are compliant")
    if replicated:
        names = _noncompliant(obj.each("status", "details"), "templateMeta", "name")
        return degraded(f"NonCompliant templates: {', '.join(names)}")
    clusters = _noncompliant(obj.each("status", "status"), "clustername")
    return degraded(f"NonCompliant clusters: {', '.join(clusters)}")


def certificate_policy(obj: Observed) -> Health:
    """CertificatePolicy: compliant or not."""
    compliant = obj.text("status", "compliant")
    if not compliant:
        return _UNREPORTED
    if compliant == "Compliant":
        return healthy("All certificates found comply with the policy")
    return degraded("At least once certificate does not comply with the policy")


def configuration_policy(obj: Observed) -> Health:
    """ConfigurationPolicy: compliant in this generation, with what each template found."""
    compliant = obj.text("status", "compliant")
    if not compliant:
        return _UNREPORTED
    if obj.number("status", "lastEvaluatedGeneration") != obj.generation:
        return progressing("Waiting for the status to be updated")
    if not obj.has("status", "compliancyDetails"):
        return progressing("Waiting for compliance")
    told = [
        f"{c.type} - {c.message}"
        for detail in obj.each("status", "compliancyDetails")
        for c in conditions(detail.at("conditions"))
        if c.type and c.message
    ]
    return Health(HEALTHY if compliant == "Compliant" else DEGRADED, "; ".join(told))


def operator_policy(obj: Observed) -> Health:
    """OperatorPolicy: its Compliant condition, in this generation."""
    if not obj.has("status"):
        return _UNREPORTED
    if obj.stale:
        return progressing("Waiting for the status to be updated")
    found = obj.condition("Compliant")
    if found is None:
        return progressing("Waiting for the compliance condition")
    return healthy(found.message) if found.true else degraded(found.message)


def constraint_template(obj: Observed) -> Health:
    """Gatekeeper's ConstraintTemplate: compiled on every pod that reports."""
    for pod in obj.each("status", "byPod"):
        errors = pod.each("errors")
        if errors:
            return degraded(errors[0].text("message"))
    return healthy() if obj.flag("status", "created") else progressing("Waiting for the constraint's CRD")


RULES: Rules = {
    "kyverno.io": {
        "ClusterPolicy": kyverno,
        "Policy": kyverno,
        "CleanupPolicy": ready("Waiting for CleanupPolicy to be ready"),
        "ClusterCleanupPolicy": ready("Waiting for ClusterCleanupPolicy to be ready"),
    },
    "policies.kyverno.io": {"PolicyException": lambda _: healthy(), "*": kyverno_cel},
    "policy.open-cluster-management.io": {
        "Policy": ocm_policy,
        "CertificatePolicy": certificate_policy,
        "ConfigurationPolicy": configuration_policy,
        "OperatorPolicy": operator_policy,
    },
    "cluster.open-cluster-management.io": {
        "ManagedCluster": by_conditions(
            When("ManagedClusterConditionAvailable", "True", HEALTHY),
            When("ManagedClusterConditionAvailable", "", DEGRADED),
            waiting="Waiting for ManagedCluster",
        )
    },
    "templates.gatekeeper.sh": {"ConstraintTemplate": constraint_template},
}
