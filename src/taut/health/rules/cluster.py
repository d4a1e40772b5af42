"""Kubernetes' own kinds that are no workloads: volumes, services, nodes, registrations, certificates, flow control, devices."""

from __future__ import annotations

from taut.health.general import assess_generally
from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    UNKNOWN,
    Rules,
    When,
    Word,
    by_conditions,
    by_word,
    degraded,
    healthy,
    in_order,
    progressing,
    suspended,
    words,
)
from taut.model.health import Health

SEES_DELETION = frozenset({"apiextensions.k8s.io"})

_QUIET = ""
_GOOD, _MOVING = Word(HEALTHY, _QUIET), Word(PROGRESSING, _QUIET)


def load_balanced(obj: Observed) -> Health:
    """Ingress, and a Service of type LoadBalancer: it has got an address."""
    return healthy() if obj.each("status", "loadBalancer", "ingress") else progressing()


def service(obj: Observed) -> Health:
    """Service: only a load balancer is waited for."""
    return load_balanced(obj) if obj.text("spec", "type") == "LoadBalancer" else healthy()


def node(obj: Observed) -> Health:
    """Node: Ready, and not cordoned."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing("Waiting for the node to report")
    if not ready.true:
        return degraded(ready.words)
    return suspended("Node is cordoned") if obj.flag("spec", "unschedulable") else healthy()


def namespace(obj: Observed) -> Health:
    """Namespace: while it terminates, what keeps it from going."""
    if obj.text("status", "phase") != "Terminating":
        return healthy()
    stuck = [c.message for c in obj.conditions if c.true and c.message]
    return progressing("; ".join(stuck) or "Namespace is terminating")


def api_service(obj: Observed) -> Health:
    """apiregistration.k8s.io/APIService: Available, with reason and message."""
    available = obj.condition("Available")
    if available is None:
        return progressing("Waiting to be processed")
    text = f"{available.reason}: {available.message}"
    return healthy(text) if available.true else progressing(text)


def custom_resource_definition(obj: Observed) -> Health:
    """apiextensions.k8s.io/CustomResourceDefinition: names accepted, established, structural."""
    if obj.deleting:
        return progressing("CRD is terminating")
    if not obj.conditions:
        return progressing("Status conditions not found")
    terminating, names = obj.condition("Terminating"), obj.condition("NamesAccepted")
    established, violations = obj.condition("Established"), obj.condition("NonStructuralSchema")
    if terminating is not None and terminating.true:
        return progressing(f"CRD is terminating: {terminating.message}")
    if names is not None and names.false:
        return degraded(f"CRD names have not been accepted: {names.message}")
    if established is None or not established.true:
        return degraded("CRD is not established")
    if violations is not None and violations.true:
        return degraded(f"Schema violations found: {violations.message}")
    return healthy("CRD is healthy")


def volume_attachment(obj: Observed) -> Health:
    """storage.k8s.io/VolumeAttachment: attached, or the driver's error."""
    for error in ("attachError", "detachError"):
        if obj.has("status", error):
            return degraded(obj.text("status", error, "message"))
    return healthy() if obj.flag("status", "attached") else progressing("Waiting for the volume to be attached")


def certificate_signing_request(obj: Observed) -> Health:
    """certificates.k8s.io/CertificateSigningRequest: denied, failed, approved, issued."""
    for kind in ("Denied", "Failed"):
        condition = obj.condition(kind)
        if condition is not None:
            return degraded(condition.words)
    if obj.text("status", "certificate"):
        return healthy("Certificate is issued")
    approved = obj.condition("Approved") is not None
    return progressing("Waiting for the certificate to be issued" if approved else "Waiting for approval")


def resource_claim(obj: Observed) -> Health:
    """resource.k8s.io/ResourceClaim: allocated, and its devices ready. Unallocated is what it is until a pod asks."""
    for device in obj.each("status", "devices"):
        for condition in Observed({"status": device.body}).conditions:
            if condition.type == "Ready" and condition.false:
                return degraded(condition.words)
    return healthy("Allocated") if obj.has("status", "allocation") else healthy("Not allocated yet")


def admission_policy(obj: Observed) -> Health:
    """admissionregistration.k8s.io/ValidatingAdmissionPolicy: its expressions type-check."""
    warnings = obj.each("status", "typeChecking", "expressionWarnings")
    if warnings:
        return degraded("; ".join(f"{w.text('fieldRef')}: {w.text('warning')}" for w in warnings))
    return progressing("Waiting for type checking") if obj.stale else healthy()


def _dangling(obj: Observed) -> Health:
    dangling = obj.condition("Dangling")
    return degraded(dangling.words) if dangling is not None and dangling.true else healthy()


def existing(obj: Observed) -> Health:
    """A kind without health: it is there."""
    del obj
    return healthy()


_CLAIM = by_word(
    ("status", "phase"),
    {"Lost": Word(DEGRADED, _QUIET), "Pending": _MOVING, "Bound": _GOOD},
    absent=_MOVING,
    other=Word(UNKNOWN, _QUIET),
)
_VOLUME = by_word(
    ("status", "phase"),
    words(_GOOD, "Available", "Bound", "Released") | {"Pending": _MOVING, "Failed": Word(DEGRADED, "{said}")},
    absent=_MOVING,
    other=Word(UNKNOWN, _QUIET),
    said=("status", "message"),
)
_MIGRATION = in_order(
    When("Failed", "True", DEGRADED),
    When("Succeeded", "True", HEALTHY),
    When("Running", "True", PROGRESSING),
    waiting="Waiting for the migration to start",
)
_READY_OR_NEW = by_conditions(
    When("Ready", "True", HEALTHY),
    When("Ready", "False", DEGRADED),
    waiting="Waiting for the range to be ready",
)

RULES: Rules = {
    "": {
        "PersistentVolumeClaim": _CLAIM,
        "PersistentVolume": _VOLUME,
        "Service": service,
        "Node": node,
        "Namespace": namespace,
        "*": existing,
    },
    "extensions": {"Ingress": load_balanced},
    "networking.k8s.io": {"Ingress": load_balanced, "ServiceCIDR": _READY_OR_NEW, "*": existing},
    "apiregistration.k8s.io": {"APIService": api_service},
    "apiextensions.k8s.io": {"CustomResourceDefinition": custom_resource_definition},
    "storage.k8s.io": {"VolumeAttachment": volume_attachment, "*": existing},
    "storagemigration.k8s.io": {"StorageVersionMigration": _MIGRATION},
    "certificates.k8s.io": {"CertificateSigningRequest": certificate_signing_request},
    "resource.k8s.io": {"ResourceClaim": resource_claim, "*": assess_generally},
    "admissionregistration.k8s.io": {"ValidatingAdmissionPolicy": admission_policy, "*": existing},
    "flowcontrol.apiserver.k8s.io": {"*": _dangling},
    "rbac.authorization.k8s.io": {"*": existing},
    "coordination.k8s.io": {"*": existing},
    "discovery.k8s.io": {"*": existing},
    "node.k8s.io": {"*": existing},
    "events.k8s.io": {"*": existing},
}
