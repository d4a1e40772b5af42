"""Red Hat 3scale: the API manager and its capabilities, whose conditions only count when they are True."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    SUSPENDED,
    Rule,
    Rules,
    When,
    by_conditions,
    degraded,
    healthy,
    progressing,
    suspended,
)
from taut.model.health import Health


def api_manager(obj: Observed) -> Health:
    """APIManager: Available; a False with a reason is a failure, without one the installation goes on."""
    available = obj.condition("Available")
    if available is not None and available.true:
        return healthy("3scale APIManager is available")
    if available is not None and available.false and available.words:
        return degraded(f"3scale APIManager is degraded: {available.reason or available.message}")
    return progressing("Waiting for 3scale APIManager status...")


def capability(kind: str, *, good: str = "Ready", failed: str = "synchronization failed") -> Rule:
    """A rule for one kind of capability."""
    name = f"3scale {kind}"
    return by_conditions(
        When(good, "True", HEALTHY, f"{name} is {good.lower()}"),
        When("Invalid", "True", DEGRADED, fallback=f"{name} configuration is invalid"),
        When("Orphan", "True", DEGRADED, fallback=f"{name} references non-existing resources"),
        When("Failed", "True", DEGRADED, fallback=f"{name} {failed}"),
        When("Waiting", "True", SUSPENDED, fallback=f"{name} is waiting for approval"),
        When("In-progress", "True", PROGRESSING),
        waiting=f"Waiting for {name} status...",
    )


_DEVELOPER_USER = capability("DeveloperUser")


def developer_user(obj: Observed) -> Health:
    """DeveloperUser: suspended until an administrator approves."""
    if obj.text("status", "developerUserState") == "suspended":
        return suspended("3scale Developer user is waiting for admin approval")
    return _DEVELOPER_USER(obj)


def application(obj: Observed) -> Health:
    """Application: suspended, ready; not ready without an id is a failure."""
    if obj.text("status", "state") == "suspended":
        return suspended("3scale Application is suspended")
    ready = obj.condition("Ready")
    if ready is not None and ready.true:
        return healthy("3scale Application is ready")
    if ready is not None and obj.count("status", "adminId") <= 0:
        return degraded(ready.message or "3scale Application is not ready")
    return progressing("Waiting for 3scale Application status...")


def tenant(obj: Observed) -> Health:
    """Tenant: Ready; not ready without a tenant and an administrator is a failure."""
    ready = obj.condition("Ready")
    if ready is not None and ready.true:
        return healthy("3scale Tenant is ready")
    if ready is not None and (obj.count("status", "tenantId") <= 0 or obj.count("status", "adminId") <= 0):
        return degraded(ready.message or "3scale Tenant is not ready")
    return progressing("Waiting for 3scale Tenant status...")


RULES: Rules = {
    "apps.3scale.net": {"APIManager": api_manager},
    "capabilities.3scale.net": {
        "ActiveDoc": capability("ActiveDoc"),
        "Application": application,
        "ApplicationAuth": capability("ApplicationAuth", failed="failed"),
        "Backend": capability("Backend", good="Synced"),
        "CustomPolicyDefinition": capability("CustomPolicyDefinition"),
        "DeveloperAccount": capability("DeveloperAccount"),
        "DeveloperUser": developer_user,
        "OpenAPI": capability("OpenAPI", failed="reconciliation failed"),
        "Product": capability("Product", good="Synced"),
        "ProxyConfigPromote": capability("ProxyConfigPromote", failed="failed"),
        "Tenant": tenant,
    },
}
