"""The health of one object."""

from __future__ import annotations

from taut.health.catalog import rule_for, sees_deletion
from taut.health.general import assess_generally
from taut.health.observed import Observed
from taut.health.verdicts import pending_deletion
from taut.model.health import Health
from taut.model.manifests import Body
from taut.model.refs import KindRef

_BODILESS: dict[str, frozenset[str]] = {
    "": frozenset(
        [
            "ConfigMap",
            "Secret",
            "ServiceAccount",
            "Endpoints",
            "Event",
            "LimitRange",
            "ResourceQuota",
            "PodTemplate",
            "ComponentStatus",
            "Binding",
        ]
    ),
    "apps": frozenset({"ControllerRevision"}),
    "rbac.authorization.k8s.io": frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}),
    "scheduling.k8s.io": frozenset({"PriorityClass"}),
    "storage.k8s.io": frozenset(
        {"StorageClass", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttributesClass"}
    ),
    "networking.k8s.io": frozenset({"NetworkPolicy", "IngressClass", "IPAddress"}),
    "node.k8s.io": frozenset({"RuntimeClass"}),
    "coordination.k8s.io": frozenset({"Lease", "LeaseCandidate"}),
    "discovery.k8s.io": frozenset({"EndpointSlice"}),
    "events.k8s.io": frozenset({"Event"}),
    "certificates.k8s.io": frozenset({"ClusterTrustBundle"}),
    "resource.k8s.io": frozenset({"DeviceClass", "ResourceSlice", "ResourceClaimTemplate"}),
    "admissionregistration.k8s.io": frozenset(
        {
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        }
    ),
    "argoproj.io": frozenset(
        {"AppProject", "WorkflowTemplate", "ClusterWorkflowTemplate", "AnalysisTemplate", "ClusterAnalysisTemplate"}
    ),
}
"""Kinds whose spec and status say nothing about health. A kind that is not listed may."""


def assess(body: Body) -> Health:
    """The health of an object as it is on its cluster, with a message for people.

    A kind with a rule of its own is judged by it (the rules follow Argo CD's, its built-in ones and its resource_customizations); every
    other kind by the general rules (kstatus, conditions, phases). What is marked for deletion is Progressing. What says nothing about
    its state, or has no notion of health, is Healthy. Any JSON is taken; nothing is raised.
    """
    obj = Observed(body)
    rule = rule_for(obj.group, obj.kind)
    if obj.deleting and not (rule is not None and sees_deletion(obj.group)):
        return pending_deletion()
    return assess_generally(obj) if rule is None else rule(obj)


def needs_body(kind: KindRef) -> bool:
    """Whether health of `kind` depends on more than its metadata: False means that a metadata-only watch is enough."""
    return kind.kind not in _BODILESS.get(kind.group, frozenset[str]())
