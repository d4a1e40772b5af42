"""Kinds that the target does not serve; where no target is known, those that Kubernetes serves no longer (kubernetes.io, Deprecated API Migration Guide)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taut.model.manifests import Body
from taut.policy.builtin.finding import Finding
from taut.policy.builtin.schemas import Schemas

_TABLE = (
    ("1.16", "extensions/v1beta1", "Deployment DaemonSet ReplicaSet", "apps/v1"),
    ("1.16", "extensions/v1beta1", "NetworkPolicy", "networking.k8s.io/v1"),
    ("1.16", "apps/v1beta1", "Deployment StatefulSet", "apps/v1"),
    ("1.16", "apps/v1beta2", "Deployment StatefulSet DaemonSet ReplicaSet", "apps/v1"),
    ("1.22", "extensions/v1beta1", "Ingress", "networking.k8s.io/v1"),
    ("1.22", "networking.k8s.io/v1beta1", "Ingress IngressClass", "networking.k8s.io/v1"),
    ("1.22", "rbac.authorization.k8s.io/v1beta1", "Role RoleBinding ClusterRole ClusterRoleBinding", "rbac.authorization.k8s.io/v1"),
    ("1.22", "apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "apiextensions.k8s.io/v1"),
    ("1.22", "apiregistration.k8s.io/v1beta1", "APIService", "apiregistration.k8s.io/v1"),
    ("1.22", "admissionregistration.k8s.io/v1beta1", "ValidatingWebhookConfiguration MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
    ("1.22", "certificates.k8s.io/v1beta1", "CertificateSigningRequest", "certificates.k8s.io/v1"),
    ("1.22", "coordination.k8s.io/v1beta1", "Lease", "coordination.k8s.io/v1"),
    ("1.22", "scheduling.k8s.io/v1beta1", "PriorityClass", "scheduling.k8s.io/v1"),
    ("1.22", "storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment", "storage.k8s.io/v1"),
    ("1.25", "batch/v1beta1", "CronJob", "batch/v1"),
    ("1.25", "discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1"),
    ("1.25", "events.k8s.io/v1beta1", "Event", "events.k8s.io/v1"),
    ("1.25", "autoscaling/v2beta1", "HorizontalPodAutoscaler", "autoscaling/v2"),
    ("1.25", "policy/v1beta1", "PodDisruptionBudget", "policy/v1"),
    ("1.25", "policy/v1beta1", "PodSecurityPolicy", "the Pod Security admission"),
    ("1.25", "node.k8s.io/v1beta1", "RuntimeClass", "node.k8s.io/v1"),
    ("1.26", "autoscaling/v2beta2", "HorizontalPodAutoscaler", "autoscaling/v2"),
    ("1.26", "flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io/v1"),
    ("1.27", "storage.k8s.io/v1beta1", "CSIStorageCapacity", "storage.k8s.io/v1"),
    ("1.29", "flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io/v1"),
    ("1.32", "flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io/v1"),
)  # fmt: skip
_REMOVED = {(old, kind): (since, new) for since, old, kinds, new in _TABLE for kind in kinds.split()}
"""Version and kind → since when it is gone, and what to write."""


def removed(schemas: Schemas, bodies: Sequence[Body]) -> Iterator[Finding]:
    """Objects in versions that the target does not serve, or that are gone."""
    for body in bodies:
        version, kind = str(body.get("apiVersion")), str(body.get("kind"))
        since, instead = _REMOVED.get((version, kind), ("", ""))
        if schemas.whole and not schemas.serves(version, kind):
            yield Finding(body, f"the target does not serve {version} of {kind}", "apiVersion", version, instead)
        elif since and not schemas.whole:
            message = f"{version} of {kind} is not served since Kubernetes {since}"
            yield Finding(body, message, "apiVersion", version, instead)
