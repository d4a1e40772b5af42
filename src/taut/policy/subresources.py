"""Requests that speak of a part of an object, or of something to be done with it (Kubernetes API conventions, Subresources).

Policies are asked about those that they name, and about ephemeral containers wherever they are asked about Pods: otherwise `kubectl debug` would
bring into a Pod what no policy has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from taut.policy.review import Operation

EPHEMERAL = "ephemeralcontainers"


@dataclass(frozen=True, slots=True)
class Subresource:
    """`resource/name` of a group; a request for it holds an object of the kind `kind` in `api_version`. `parent` is the kind of the resource."""

    group: str
    resource: str
    name: str
    parent: str
    api_version: str
    kind: str
    operation: Operation

    @property
    def path(self) -> str:
        """As rules name it."""
        return f"{self.resource}/{self.name}"


def _connect(resource: str, name: str, parent: str, kind: str) -> Subresource:
    return Subresource("", resource, name, parent, "v1", kind, Operation.CONNECT)


def _scale(group: str, resource: str, parent: str) -> Subresource:
    return Subresource(group, resource, "scale", parent, "autoscaling/v1", "Scale", Operation.UPDATE)


SUBRESOURCES = (
    _connect("pods", "exec", "Pod", "PodExecOptions"),
    _connect("pods", "attach", "Pod", "PodAttachOptions"),
    _connect("pods", "portforward", "Pod", "PodPortForwardOptions"),
    _connect("pods", "proxy", "Pod", "PodProxyOptions"),
    _connect("services", "proxy", "Service", "ServiceProxyOptions"),
    _connect("nodes", "proxy", "Node", "NodeProxyOptions"),
    Subresource("", "pods", "eviction", "Pod", "policy/v1", "Eviction", Operation.CREATE),
    Subresource("", "pods", "binding", "Pod", "v1", "Binding", Operation.CREATE),
    _scale("apps", "deployments", "Deployment"),
    _scale("apps", "statefulsets", "StatefulSet"),
    _scale("apps", "replicasets", "ReplicaSet"),
    _scale("", "replicationcontrollers", "ReplicationController"),
)
KINDS = frozenset(s.kind for s in SUBRESOURCES)
"""The kinds that only requests for subresources hold."""


def of_kind(api_version: str, kind: str) -> tuple[Subresource, ...]:
    """The subresources whose requests hold an object of a kind."""
    return tuple(s for s in SUBRESOURCES if (s.api_version, s.kind) == (api_version, kind))


def parent_of(resource: str, name: str) -> str:
    """The kind that a subresource is of (`pods`, `exec`: `Pod`); empty where it is none of these."""
    if (resource, name) == ("pods", EPHEMERAL):
        return "Pod"
    return next((s.parent for s in SUBRESOURCES if (s.resource, s.name) == (resource, name)), "")
