"""Clouds as objects: Crossplane and Upbound, AWS Controllers for Kubernetes, Config Connector, Azure Service Operator, GKE, Apigee, SAP."""

from __future__ import annotations

from taut.health.observed import Condition, Observed
from taut.health.verdicts import (
    HEALTHY,
    PROGRESSING,
    Rule,
    Rules,
    Word,
    by_word,
    degraded,
    healthy,
    progressing,
    suspended,
)
from taut.model.health import Health

_STATELESS = frozenset(
    [
        "Composition",
        "CompositionRevision",
        "DeploymentRuntimeConfig",
        "ClusterProviderConfig",
        "ProviderConfig",
        "ProviderConfigUsage",
        "ClusterProviderConfigUsage",
        "ControllerConfig",
        "EnvironmentConfig",
        "ImageConfig",
        "StoreConfig",
        "Usage",
        "ClusterUsage",
    ]
)
_PACKAGE_READY = frozenset({"Ready", "Healthy", "Offered", "Established", "ValidPipeline", "RevisionHealthy"})
_PAUSED = "ReconcilePaused"
_UP_TO_DATE = "Resource is up-to-date."


def _without_conditions(obj: Observed) -> Health:
    if obj.has("status", "users"):
        return healthy("Resource is in use.")
    return healthy(_UP_TO_DATE) if obj.kind in _STATELESS else progressing("Provisioning ...")


def composed(good: frozenset[str]) -> Rule:
    """Crossplane's general rule: a failed operation or synchronisation first, then any condition of `good`."""

    def rule(obj: Observed) -> Health:
        if not obj.mapping("status"):
            return (
                healthy(_UP_TO_DATE)
                if obj.at("status") is None or obj.kind in _STATELESS
                else progressing("Provisioning ...")
            )
        if not obj.conditions:
            return _without_conditions(obj)
        if any(c.reason == _PAUSED for c in obj.conditions):
            return suspended(_PAUSED)
        failed = next((c for c in obj.conditions if c.false and c.type in {"LastAsyncOperation", "Synced"}), None)
        if failed is not None:
            return degraded(failed.message)
        if any(c.true and c.type in good for c in obj.conditions):
            return healthy(_UP_TO_DATE)
        return progressing("Provisioning ...")

    return rule


def managed(what: str) -> Rule:
    """A classic Crossplane resource: synced, then Ready=Available, else waited for."""

    def rule(obj: Observed) -> Health:
        if not obj.has("status", "conditions"):
            return progressing(f"Waiting for {what} to be created")
        synced, ready = obj.condition("Synced"), obj.condition("Ready")
        if synced is not None and synced.false:
            return suspended(_PAUSED) if synced.reason == _PAUSED else degraded(synced.message)
        if synced is not None and synced.true and ready is not None and ready.true:
            return healthy(ready.reason)
        return progressing(f"Waiting for {what} to be available")

    return rule


def package(obj: Observed) -> Health:
    """Crossplane's Provider: installed and healthy, with both reasons."""
    installed, well = obj.condition("Installed"), obj.condition("Healthy")
    if installed is None and well is None:
        return progressing("Waiting for provider to be installed")
    told = " ".join(c.reason for c in (installed, well) if c is not None)
    good = installed is not None and installed.true and well is not None and well.true
    return healthy(told) if good else degraded(told)


def ack(obj: Observed) -> Health:
    """AWS Controllers for Kubernetes: a terminal error, then whether the resource is synced."""
    for condition in obj.conditions:
        if condition.true and condition.type in {"ACK.Terminal", "ACK.Recoverable"}:
            return degraded(condition.message)
    for name in ("Ready", "ACK.ResourceSynced"):
        condition = obj.condition(name)
        if condition is not None and condition.true:
            return healthy()
        if condition is not None:
            return progressing(condition.words)
    return progressing("Waiting for resource to be ready")


_CNRM = {
    "UpdateFailed": degraded,
    "DependencyNotFound": degraded,
    "DependencyInvalid": degraded,
    "DependencyNotReady": suspended,
}


def config_connector(obj: Observed) -> Health:
    """Google's Config Connector: the reason of its Ready condition, once the generation is observed."""
    waiting = progressing("Update in progress")
    if obj.stale:
        return waiting
    if obj.kind in {"ConfigConnector", "ConfigConnectorContext"} and obj.has("status", "healthy"):
        good = obj.flag("status", "healthy")
        return healthy(f"{obj.kind} is healthy") if good else degraded(f"{obj.kind} is not healthy")
    for condition in obj.conditions:
        if condition.reason == "UpToDate" and condition.true:
            return healthy(condition.message)
        verdict = _CNRM.get(condition.reason)
        if verdict is not None:
            return verdict(condition.message)
    return waiting


def azure(obj: Observed) -> Health:
    """Azure Service Operator: Ready, where a False of severity Info or Warning is still being worked on."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing("Waiting for Azure Service Operator to reconcile the resource")
    if ready.true:
        return healthy(ready.words)
    return degraded(ready.words) if ready.raw.get("severity") == "Error" else progressing(ready.words)


def managed_certificate(obj: Observed) -> Health:
    """GKE's ManagedCertificate: all domains provisioned."""
    if any(d.text("status") == "FailedNotVisible" for d in obj.each("status", "domainStatus")):
        return degraded("At least one certificate has failed to be provisioned")
    if obj.text("status", "certificateStatus") == "Active":
        return healthy("All certificates are active")
    return progressing("At least one certificate is still being provisioned")


def apigee(name: str) -> Rule:
    """Apigee hybrid: installed when its state is running."""
    pending = Word(PROGRESSING, f"An install plan for an Apigee {name} is pending installation")
    done = Word(HEALTHY, f"Install of Apigee {name} is done")
    return by_word(("status", "state"), {"running": done}, absent=pending, other=pending)


def _sap_failure(condition: Condition) -> bool:
    return (condition.type == "Succeeded" and condition.false) or (condition.type == "Failed" and condition.true)


def sap(obj: Observed) -> Health:
    """SAP BTP's ServiceInstance and ServiceBinding: ready, and the last operation succeeded."""
    if obj.deleting:
        return progressing("Resource is being deleted")
    if not obj.conditions:
        return progressing("Waiting for status")
    if obj.generation is not None and any(
        c.observed_generation not in {None, obj.generation} for c in obj.conditions if c.type in {"Succeeded", "Ready"}
    ):
        return progressing("Waiting for spec update to be observed")
    failed = next((c for c in obj.conditions if _sap_failure(c)), None)
    return degraded(failed.message) if failed is not None else healthy("Ready to use")


SEES_DELETION = frozenset({"services.cloud.sap.com"})

RULES: Rules = {
    "*.crossplane.io": {"*": composed(_PACKAGE_READY)},
    "*.upbound.io": {"*": composed(frozenset({"Ready"}))},
    "pkg.crossplane.io": {"Provider": package},
    "cloudfront.aws.crossplane.io": {"Distribution": managed("distribution")},
    "rds.aws.crossplane.io": {"DBCluster": managed("DBCluster"), "DBInstance": managed("DBInstance")},
    "database.aws.crossplane.io": {"RDSInstance": managed("RDSInstance")},
    "route53.aws.crossplane.io": {"ResourceRecordSet": managed("resourcrecordset")},
    "iam.aws.crossplane.io": {
        "Role": managed("Role"),
        "RolePolicyAttachment": managed("RolePolicyAttachment"),
        "Policy": managed("Policy"),
    },
    "s3.aws.crossplane.io": {"Bucket": managed("Bucket")},
    "*.services.k8s.aws": {"*": ack},
    "*.cnrm.cloud.google.com": {"*": config_connector},
    "*.azure.com": {"*": azure},
    "networking.gke.io": {"ManagedCertificate": managed_certificate},
    "apigee.cloud.google.com": {
        "ApigeeDatastore": apigee("Datastore"),
        "ApigeeDeployment": apigee("Deployment"),
        "ApigeeEnvironment": apigee("Environment"),
        "ApigeeOrganization": apigee("Organization"),
        "ApigeeRedis": apigee("Redis"),
        "ApigeeTelemetry": apigee("Telemetry"),
    },
    "services.cloud.sap.com": {"ServiceInstance": sap, "ServiceBinding": sap},
}
