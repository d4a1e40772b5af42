"""Objects whose namespace is not there, or is going: they wait for it, instead of failing until nobody tries any more."""

from __future__ import annotations

from taut.model.live import LiveObject
from taut.model.plan import Action, Plan
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.cluster import Cluster

NAMESPACE = KindRef("", "Namespace")


def missing_namespace(plan: Plan, cluster: Cluster) -> str:
    """Why objects of the plan cannot be made yet; empty when all their namespaces are there, or come with the plan."""
    if not cluster.watched(NAMESPACE):
        return ""
    made = {c.ref.name for c in plan.changes if c.ref.kind_ref == NAMESPACE and c.action is not Action.DELETE}
    wanted = {c.ref.namespace for c in plan.changes if c.action is Action.CREATE and c.ref.namespace}
    for name in sorted(wanted):
        live = cluster.get(ObjectRef(cluster.name, "", "Namespace", "", name))
        why = _fault(name, live, made=name in made)
        if why:
            return why
    return ""


def _fault(name: str, live: LiveObject | None, *, made: bool) -> str:
    if live is not None and live.deleting:
        return f"the namespace {name} is being deleted: waits until it is gone"
    if live is None and not made:
        return f"the namespace {name} does not exist: create it, or set spec.sync.createNamespace"
    return ""
