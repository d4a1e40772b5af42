"""Monitoring, logs, dashboards, traces."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    MISSING,
    PROGRESSING,
    UNKNOWN,
    Rules,
    When,
    Word,
    by_conditions,
    by_word,
    degraded,
    healthy,
    progressing,
    ready,
    suspended,
)
from taut.model.health import Health, HealthStatus


def prometheus(obj: Observed) -> Health:
    """Prometheus Operator: Available; pods that are not ready yet are progress."""
    available = obj.condition("Available")
    if available is None:
        return progressing("Waiting for initialization")
    if available.true:
        return healthy("All instances are available")
    return progressing(available.words) if available.reason == "SomePodsNotReady" else degraded(available.words)


def grafana(obj: Observed) -> Health:
    """Grafana: the stage of its installation."""
    stage, outcome = obj.text("status", "stage"), obj.text("status", "stageStatus")
    if not stage:
        return progressing("Waiting for Grafana status info")
    if outcome == "failed":
        return degraded(f"Failed at stage {stage}")
    return healthy() if stage == "complete" and outcome == "success" else progressing(stage)


def grafana_content(obj: Observed) -> Health:
    """GrafanaDashboard, GrafanaFolder, …: every condition, told as `reason for type because message`."""
    told: list[str] = []
    verdict = PROGRESSING
    for condition in obj.conditions:
        said = condition.reason
        if condition.reason and condition.type:
            said += f" for {condition.type}"
            said += f" because {condition.message}" if condition.message else ""
        told.append(said)
        mismatch = condition.type == "FolderUIDMismatch"
        if (mismatch and condition.true) or (condition.false and not mismatch):
            return degraded(", ".join(told))
        verdict = HEALTHY if condition.true else verdict
    return Health(verdict, ", ".join(told))


def grafana_datasource(obj: Observed) -> Health:
    """GrafanaDatasource: it found an instance and has a hash; newer versions have conditions."""
    if obj.conditions:
        return grafana_content(obj)
    if obj.flag("status", "NoMatchingInstances"):
        return degraded("can't find matching grafana instance")
    return healthy() if obj.text("status", "hash") else progressing()


_HUMIO = Word(PROGRESSING, "Update in progress")
_HUMIO_OBJECT = by_word(
    ("status", "state"),
    {
        "Exists": Word(HEALTHY, "Component state: {word}."),
        "NotFound": Word(MISSING, "Component state: {word}."),
        "ConfigError": Word(DEGRADED, "Component state: {word}."),
        "Unknown": Word(UNKNOWN, "Component state: {word}."),
    },
    absent=_HUMIO,
    other=_HUMIO,
)
_HUMIO_CLUSTER: dict[str, tuple[HealthStatus, str]] = {
    "Running": (HEALTHY, "Cluster is in a healthy running state"),
    "Restarting": (PROGRESSING, "Cluster pods are being restarted"),
    "Upgrading": (PROGRESSING, "Cluster pods are being upgraded"),
    "ConfigError": (DEGRADED, "User-provided cluster specification resulted in a configuration error"),
    "Pending": (PROGRESSING, "Cluster is waiting on resources to be provisioned"),
    "Unknown": (UNKNOWN, "Component state: Unknown."),
}


def humio_cluster(obj: Observed) -> Health:
    """HumioCluster: its state, told in its own words where it has any."""
    status, said = _HUMIO_CLUSTER.get(obj.text("status", "state"), (PROGRESSING, "Update in progress"))
    known = obj.text("status", "state") in _HUMIO_CLUSTER
    return Health(status, (obj.text("status", "message") if known else "") or said)


def victoria_metrics(obj: Observed) -> Health:
    """VictoriaMetrics: its updateStatus, once the generation is observed."""
    state = obj.text("status", "updateStatus")
    if state == "paused" or obj.flag("spec", "paused"):
        return suspended("Reconciliation is paused")
    if not state or obj.stale:
        return progressing("Waiting for the operator to reconcile")
    if state == "failed":
        return degraded(obj.text("status", "reason") or "Reconciliation failed")
    if state == "operational":
        return healthy("All components are operational")
    return progressing("Reconciliation in progress")


def datadog_metric(obj: Observed) -> Health:
    """DatadogMetric: no error, and a valid query."""
    error = obj.condition("Error")
    if error is not None and error.true:
        said = error.message or "DatadogMetric reported an error"
        return degraded(f"{error.reason}: {said}" if error.reason else said)
    valid = obj.condition("Valid")
    if valid is not None and valid.false:
        return degraded(valid.message or "DatadogMetric is not valid")
    return healthy("DatadogMetric is healthy")


def open_telemetry_collector(obj: Observed) -> Health:
    """OpenTelemetryCollector: `ready/total` replicas; a sidecar has none of its own."""
    if not obj.has("status"):
        return progressing("Waiting for OpenTelemetry Collector status")
    text, mode = obj.text("status", "scale", "statusReplicas"), obj.text("spec", "mode")
    if not text:
        sidecar = mode == "sidecar"
        return healthy("Collector is running in sidecar mode") if sidecar else progressing("Scale status not available")
    ready_part, slash, total_part = text.partition("/")
    if not (slash and ready_part.isdecimal() and total_part.isdecimal() and len(text) < 20):
        return progressing(f"Unable to parse replica status: {text}")
    available, total = int(ready_part), int(total_part)
    if available == 0:
        idle = mode == "daemonset" and total == 0
        return healthy("DaemonSet has no schedulable nodes (0/0)") if idle else degraded("No replicas are ready")
    return healthy("All replicas are ready") if available == total else progressing("Replicas are starting up")


_CORALOGIX = ready("Waiting for status to be updated", type="RemoteSynced", good="Resource is ready")
_WAITING = Word(PROGRESSING, "Waiting for {kind}")

RULES: Rules = {
    "monitoring.coreos.com": {
        "Prometheus": prometheus,
        "PrometheusAgent": prometheus,
        "Alertmanager": prometheus,
        "ThanosRuler": prometheus,
    },
    "grafana.integreatly.org": {"Grafana": grafana, "GrafanaDatasource": grafana_datasource, "*": grafana_content},
    "core.humio.com": {"HumioCluster": humio_cluster, "*": _HUMIO_OBJECT},
    "operator.victoriametrics.com": {"*": victoria_metrics},
    "datadoghq.com": {"DatadogMetric": datadog_metric},
    "coralogix.com": {"*": _CORALOGIX},
    "opentelemetry.io": {"OpenTelemetryCollector": open_telemetry_collector},
    "jaegertracing.io": {
        "Jaeger": by_word(
            ("status", "phase"),
            {"Running": Word(HEALTHY, "Jaeger is Running"), "Failed": Word(DEGRADED, "Jaeger Failed For Some Reason")},
            absent=_WAITING,
            other=_WAITING,
        )
    },
    "kiali.io": {
        "Kiali": by_conditions(
            When("Successful", "True", HEALTHY),
            When("Failure", "True", DEGRADED),
            When("Running", "", PROGRESSING, reason="Running"),
            waiting="Waiting for Kiali",
        )
    },
}
