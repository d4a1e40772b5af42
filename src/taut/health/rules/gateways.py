"""Routing: Gateway API and the policies attached to it, Gloo, Contour, OpenShift's routes, Airlock."""

from __future__ import annotations

from taut.health.observed import Condition, Observed, conditions
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    SUSPENDED,
    Rule,
    Rules,
    When,
    Word,
    by_conditions,
    degraded,
    healthy,
    progressing,
)
from taut.model.health import Health


def _first(found: list[Condition], kind: str, status: str) -> Condition | None:
    return next((c for c in found if c.type == kind and c.status == status), None)


def _unprogrammed(found: list[Condition]) -> Condition | None:
    return next((c for c in found if c.type == "Programmed" and not c.true), None)


def _judge(found: list[Condition], who: str, what: str) -> Health | None:
    """The verdict of one set of Gateway API conditions; None when nothing is wrong and nothing is awaited."""
    for kind in ("ResolvedRefs", "Accepted"):
        failed = _first(found, kind, "False")
        if failed is not None:
            return degraded(f"{who}{failed.message or f'Failed condition: {kind}'}")
    waiting = _unprogrammed(found)
    if waiting is not None:
        return progressing(f"{who}{waiting.message or f'{what} is still being programmed'}")
    return None


def _current(parents: list[Observed], generation: int | None) -> list[Observed]:
    """Without the parents whose controller has not seen this generation, as long as one has: leftovers of removed parents stay."""
    if generation is None:
        return parents
    seen = [p for p in parents if any(c.observed_generation == generation for c in conditions(p.at("conditions")))]
    return seen or parents


def route(obj: Observed) -> Health:
    """HTTPRoute, GRPCRoute, TLSRoute, TCPRoute, UDPRoute: each parent accepts, resolves and programs it."""
    parents = _current(obj.each("status", "parents"), obj.generation)
    for parent in parents:
        found = conditions(parent.at("conditions"))
        verdict = _judge(found, f"Parent {parent.text('parentRef', 'name')}: ", "Route")
        if verdict is not None:
            return verdict
    if any(parent.has("conditions") for parent in parents):
        return healthy(f"{obj.kind} is healthy")
    return progressing(f"Waiting for {obj.kind} status")


def gateway(obj: Observed) -> Health:
    """Gateway: its own conditions, then those of each listener."""
    own = _judge(obj.conditions, "", "Gateway")
    if own is not None:
        return own
    for listener in obj.each("status", "listeners"):
        verdict = _judge(conditions(listener.at("conditions")), "Listener: ", "Listener")
        if verdict is not None:
            return verdict
    if obj.has("status", "conditions") or obj.each("status", "listeners"):
        return healthy("Gateway is healthy")
    return progressing("Waiting for Gateway status")


def listener_set(obj: Observed) -> Health:
    """ListenerSet: accepted and programmed, and so is every listener, without conflicts."""
    waiting = progressing("Waiting for ListenerSet status")
    generation = obj.generation
    if generation is not None and any(c.observed_generation not in {None, generation} for c in obj.conditions):
        return waiting
    refused = _first(obj.conditions, "Accepted", "False")
    if refused is not None:
        return degraded(refused.message or "Failed condition: Accepted")
    unfinished = _unprogrammed(obj.conditions)
    if unfinished is not None:
        return progressing(unfinished.message or "ListenerSet is still being programmed")
    listeners = obj.each("status", "listeners")
    for listener in listeners:
        found = conditions(listener.at("conditions"))
        conflict = _first(found, "Conflicted", "True")
        if conflict is not None:
            return degraded(f"Listener: {conflict.message or 'Listener is conflicted'}")
        verdict = _judge(found, "Listener: ", "Listener")
        if verdict is not None:
            return verdict
    return healthy("ListenerSet is healthy") if listeners else waiting


def gateway_class(obj: Observed) -> Health:
    """GatewayClass: accepted by its controller for this generation."""
    for condition in obj.conditions:
        fresh = obj.generation is None or condition.observed_generation in {None, obj.generation}
        if condition.type != "Accepted" or not fresh:
            continue
        if condition.true:
            return healthy(condition.message or "GatewayClass is accepted")
        if condition.false:
            return degraded(condition.message or "GatewayClass is not accepted")
        return progressing(condition.message or "Waiting for GatewayClass status")
    return progressing("Waiting for GatewayClass status")


def _stale_ancestor(obj: Observed) -> Health | None:
    for ancestor in obj.each("status", "ancestors"):
        for condition in conditions(ancestor.at("conditions")):
            if obj.generation is not None and condition.observed_generation not in {None, obj.generation}:
                name = ancestor.text("ancestorRef", "name")
                return progressing(f"Waiting for Ancestor {name} to update {obj.kind} status")
    return None


def backend_tls_policy(obj: Observed) -> Health:
    """BackendTLSPolicy: every ancestor accepts it and resolves its references."""
    stale = _stale_ancestor(obj)
    if stale is not None:
        return stale
    verdict = progressing(f"Waiting for {obj.kind} status")
    for ancestor in obj.each("status", "ancestors"):
        for condition in conditions(ancestor.at("conditions")):
            if condition.type not in {"Accepted", "ResolvedRefs"}:
                continue
            foreign = condition.type == "Accepted" and condition.reason == "TargetNotFound"
            if not condition.true and not foreign:
                return degraded(f"Ancestor {ancestor.text('ancestorRef', 'name')}: {condition.message}")
            if condition.type == "Accepted" and condition.true:
                verdict = healthy(f"{obj.kind} is healthy")
    return verdict


def airlock(obj: Observed) -> Health:
    """Airlock Microgateway's policies: every ancestor accepts; kinds without ancestors' conditions are healthy."""
    ancestors = obj.each("status", "ancestors")
    if obj.has("status", "ancestors") and not ancestors:
        return progressing(f"Waiting for {obj.kind} status")
    stale = _stale_ancestor(obj)
    if stale is not None:
        return stale
    for ancestor in ancestors:
        if not ancestor.has("conditions"):
            continue
        name = ancestor.text("ancestorRef", "name")
        found = conditions(ancestor.at("conditions"))
        accepted = next((c for c in found if c.type == "Accepted"), None)
        if accepted is None:
            return degraded(f"Ancestor {name}: {obj.kind} is not accepted")
        if not accepted.true:
            return degraded(f"Ancestor {name}: {accepted.message}")
    return healthy(f"{obj.kind} is healthy")


_GLOO_STATES = {
    **dict.fromkeys(("Accepted", "1"), Word(HEALTHY, "The resource has been validated")),
    **dict.fromkeys(("Pending", "0"), Word(SUSPENDED, "The resource has not yet been validated")),
    **dict.fromkeys(("Rejected", "2", "Warning", "3"), Word(DEGRADED, "{reason}")),
}


def gloo(obj: Observed) -> Health:
    """Gloo: the state of each controller's status (or of the one status of old versions), as a word or a number."""
    statuses = [Observed(s) for s in obj.mapping("status", "statuses").values()] or [Observed(obj.at("status"))]
    verdict: Health | None = None
    for status in statuses:
        meaning = _GLOO_STATES.get(status.text("state"))
        if meaning is None:
            continue
        verdict = Health(meaning.health, meaning.message.format_map({"reason": status.text("reason")}))
        if verdict.status is not HEALTHY:
            return verdict
    return verdict or progressing("Update in progress")


def http_proxy(obj: Observed) -> Health:
    """Contour's HTTPProxy: Valid for this generation; a child that is included elsewhere cannot be judged alone."""
    if obj.text("status", "currentStatus") == "NotReconciled":
        return progressing(obj.text("status", "description"))
    for condition in obj.conditions:
        fresh = obj.generation is None or condition.observed_generation == obj.generation
        if condition.type != "Valid" or not fresh:
            continue
        if condition.true:
            return healthy(condition.message)
        errors = conditions(condition.raw.get("errors"))
        if any(error.type == "IncludeError" for error in errors):
            return healthy("HTTPProxy inclusions cannot be health checked")
        return degraded(condition.message)
    return progressing("Waiting for status")


def openshift_route(obj: Observed) -> Health:
    """OpenShift's Route: every router admits it."""
    admitted = [
        c for i in obj.each("status", "ingress") for c in conditions(i.at("conditions")) if c.type == "Admitted"
    ]
    if any(c.false for c in admitted):
        return degraded("Route is degraded")
    if admitted and all(c.true for c in admitted):
        return healthy("Route is healthy")
    return progressing("Route is still getting admitted")


def ingress_controller(obj: Observed) -> Health:
    """OpenShift's IngressController: Degraded, replicas, DNS and load balancer where they are managed."""
    bad = obj.condition("Degraded")
    if bad is not None and bad.true:
        return degraded(bad.message)
    needed = ["DeploymentReplicasAllAvailable", "Available", "LoadBalancerReady", "DNSReady"]
    for kind in needed:
        condition = obj.condition(kind)
        if condition is not None and condition.false:
            return progressing(condition.message)
    if any(obj.condition(kind) is not None for kind in needed[:2]):
        return healthy("IngressController is available")
    return progressing("Status of IngressController is not known yet")


def accepted_or_valid(waiting: str) -> Rule:
    """Kinds with a plain Accepted or Valid condition."""
    return by_conditions(
        When("Valid", "False", DEGRADED),
        When("Accepted", "False", DEGRADED),
        When("Valid", "True", HEALTHY),
        When("Accepted", "True", HEALTHY),
        waiting=waiting,
        otherwise=PROGRESSING,
    )


_ROUTES: dict[str, Rule] = dict.fromkeys(("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"), route)

RULES: Rules = {
    "gateway.networking.k8s.io": {
        **_ROUTES,
        "Gateway": gateway,
        "GatewayClass": gateway_class,
        "ListenerSet": listener_set,
        "BackendTLSPolicy": backend_tls_policy,
    },
    "gateway.networking.x-k8s.io": {**_ROUTES, "XListenerSet": listener_set, "ListenerSet": listener_set},
    "gateway.solo.io": {"*": gloo},
    "gloo.solo.io": {"*": gloo},
    "microgateway.airlock.com": {"*": airlock},
    "projectcontour.io": {"HTTPProxy": http_proxy, "ExtensionService": accepted_or_valid("Waiting for status")},
    "route.openshift.io": {"Route": openshift_route},
    "operator.openshift.io": {"IngressController": ingress_controller},
}
