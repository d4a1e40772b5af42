"""From a kind to the name of its resource, where nobody told it: rules speak of `deployments`, documents of `Deployment`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_IRREGULAR = {"Endpoints": "endpoints", "PodMetrics": "pods", "NodeMetrics": "nodes"}
KINDS = {
    "": "Pod Service ConfigMap Secret Namespace Node ServiceAccount PersistentVolume PersistentVolumeClaim Event Endpoints LimitRange ResourceQuota ReplicationController PodTemplate",
    "apps": "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision",
    "batch": "Job CronJob",
    "autoscaling": "HorizontalPodAutoscaler",
    "networking.k8s.io": "Ingress IngressClass NetworkPolicy",
    "policy": "PodDisruptionBudget",
    "rbac.authorization.k8s.io": "Role RoleBinding ClusterRole ClusterRoleBinding",
    "storage.k8s.io": "StorageClass VolumeAttachment CSIDriver CSINode",
    "apiextensions.k8s.io": "CustomResourceDefinition",
    "admissionregistration.k8s.io": "ValidatingWebhookConfiguration MutatingWebhookConfiguration",
    "scheduling.k8s.io": "PriorityClass",
    "coordination.k8s.io": "Lease",
    "discovery.k8s.io": "EndpointSlice",
}  # fmt: skip
"""Built-in kinds by group, for the way back from a resource's name."""


def plural(kind: str) -> str:
    """The resource's name of a kind, as code generators form it."""
    if kind in _IRREGULAR:
        return _IRREGULAR[kind]
    name = kind.lower()
    if name.endswith("y") and name[-2:-1] not in set("aeiou"):
        return name[:-1] + "ies"
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return name + "es"
    return name + "s"


_KNOWN = frozenset(kind for kinds in KINDS.values() for kind in kinds.split())


def may_be(kind: str, resources: Collection[str]) -> bool:
    """Whether a kind may be one of these resources (without dashes): known for Kubernetes' own kinds, and possible for any other."""
    return kind not in _KNOWN or plural(kind) in resources


def kind_of(api_version: str, resource: str) -> str:
    """The kind of a built-in resource; for others the best guess: the name in the singular, with a capital."""
    group = api_version.rpartition("/")[0]
    for kind in KINDS.get(group, "").split():
        if plural(kind) == resource:
            return kind
    singular = resource[:-3] + "y" if resource.endswith("ies") else resource.removesuffix("s")
    return singular[:1].upper() + singular[1:]


CLUSTER_SCOPED = frozenset(
    [
        "Namespace",
        "Node",
        "PersistentVolume",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "StorageClass",
        "IngressClass",
        "PriorityClass",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "APIService",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "CertificateSigningRequest",
        "VolumeSnapshotClass",
        "VolumeAttachment",
        "CSIDriver",
        "CSINode",
        "RuntimeClass",
        "FlowSchema",
        "PriorityLevelConfiguration",
        "ClusterPolicy",
        "ClusterIssuer",
        "ClusterSecretStore",
    ]
)
"""Kinds that live in no namespace, where no cluster is asked: Kubernetes' own, and a few that nearly everybody has."""


def placed(body: dict[str, Any], namespace: str) -> dict[str, Any]:
    """An object in the namespace that it gets when it does not say where it lives."""
    metadata = body.get("metadata")
    if (
        not namespace
        or not isinstance(metadata, dict)
        or metadata.get("namespace")
        or body.get("kind") in CLUSTER_SCOPED
    ):
        return body
    return {**body, "metadata": {**metadata, "namespace": namespace}}
