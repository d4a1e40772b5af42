"""From a kind to the name of its resource, where nobody told it: rules speak of `deployments`, documents of `Deployment`."""

from __future__ import annotations

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


def kind_of(api_version: str, resource: str) -> str:
    """The kind of a built-in resource; for others the best guess: the name in the singular, with a capital."""
    group = api_version.rpartition("/")[0]
    for kind in KINDS.get(group, "").split():
        if plural(kind) == resource:
            return kind
    singular = resource[:-3] + "y" if resource.endswith("ies") else resource.removesuffix("s")
    return singular[:1].upper() + singular[1:]
