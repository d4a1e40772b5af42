"""Kubernetes as a target: observe by watches, apply server-side, tell who changed what."""

from taut.targets.kubernetes.cluster import Cluster, ClusterState
from taut.targets.kubernetes.collection import KindState
from taut.targets.kubernetes.immutable import immutable_cause, immutable_fields
from taut.targets.kubernetes.memory import Event
from taut.targets.kubernetes.reads import ObjectEvent, TreeNode
from taut.targets.kubernetes.writes import Deletion

__all__ = [
    "Cluster",
    "ClusterState",
    "Deletion",
    "Event",
    "KindState",
    "ObjectEvent",
    "TreeNode",
    "immutable_cause",
    "immutable_fields",
]
