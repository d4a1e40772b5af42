"""OpenKruise's workloads, KEDA's scalers, and the vertical autoscaler."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    Rules,
    When,
    degraded,
    healthy,
    match,
    progressing,
    suspended,
)
from taut.model.health import Health

_STARTING = progressing("Waiting for initialization")
_UNREADY = "Some replicas are not ready or available"


def _observed(obj: Observed) -> bool:
    return obj.has("status") and obj.generation == obj.observed_generation


def _partition(obj: Observed, *path: str) -> int:
    """How many replicas an update leaves alone; percentages and a first generation count as none."""
    return obj.count("spec", "updateStrategy", *path) if (obj.generation or 0) > 1 else 0


def clone_set(obj: Observed) -> Health:
    """CloneSet: paused, held by its partition, or all replicas updated and available."""
    if not _observed(obj):
        return _STARTING
    if obj.flag("spec", "updateStrategy", "paused"):
        return suspended("Cloneset is paused")
    replicas = obj.number("status", "replicas")
    partition = _partition(obj, "partition")
    if partition:
        updated, expected = obj.count("status", "updatedReplicas"), obj.count("status", "expectedUpdatedReplicas")
        return suspended("Cloneset needs manual intervention") if updated >= expected else _STARTING
    ready, available = obj.number("status", "updatedReadyReplicas"), obj.number("status", "updatedAvailableReplicas")
    if ready == replicas and available == replicas:
        return healthy("All Cloneset workloads are ready and updated")
    return degraded(_UNREADY)


def daemon_set(obj: Observed) -> Health:
    """Advanced DaemonSet: paused, held by its partition, or updated and available on every node."""
    if not _observed(obj):
        return _STARTING
    updated, wanted = obj.number("status", "updatedNumberScheduled"), obj.count("status", "desiredNumberScheduled")
    if obj.flag("spec", "updateStrategy", "rollingUpdate", "paused") or updated is None:
        return suspended("Daemonset is paused")
    partition = _partition(obj, "rollingUpdate", "partition")
    if partition:
        return suspended("Daemonset needs manual intervention") if updated > wanted - partition else _STARTING
    if updated == wanted and obj.number("status", "numberAvailable") == wanted:
        return healthy("All Daemonset workloads are ready and updated")
    if updated == wanted and obj.number("status", "numberUnavailable") == wanted:
        return degraded("Some pods are not ready or available")
    return _STARTING


def stateful_set(obj: Observed) -> Health:
    """Advanced StatefulSet: paused, held by its partition, or all replicas updated and available."""
    if not _observed(obj):
        return _STARTING
    ready, replicas = obj.number("status", "updatedAvailableReplicas"), obj.count("status", "replicas")
    if obj.flag("spec", "updateStrategy", "rollingUpdate", "paused") or ready is None:
        return suspended("Statefulset is paused")
    partition = _partition(obj, "rollingUpdate", "partition")
    if partition:
        held = obj.count("status", "updatedReplicas") > replicas - partition
        return suspended("Statefulset needs manual intervention") if held else _STARTING
    if ready == replicas:
        return healthy("All Statefulset workloads are ready and updated")
    return degraded(_UNREADY)


def broadcast_job(obj: Observed) -> Health:
    """BroadcastJob: its phase, and that every pod that was wanted succeeded."""
    phase = obj.text("status", "phase")
    if phase == "completed" and obj.number("status", "desired") == obj.number("status", "succeeded"):
        return healthy("BroadcastJob is completed successfully")
    if phase == "failed" and obj.number("status", "failed") != 0:
        return degraded("BroadcastJob failed")
    if phase == "paused" and obj.flag("spec", "paused"):
        return suspended("BroadcastJob is Paused")
    return progressing("BroadcastJob is still running")


def advanced_cron_job(obj: Observed) -> Health:
    """AdvancedCronJob: paused, running, ran before, never ran."""
    if obj.flag("spec", "paused"):
        return suspended("AdvancedCronJob is Paused")
    if not obj.has("status"):
        return progressing("AdvancedCronJobs has active jobs")
    if obj.each("status", "active"):
        return progressing("AdvancedCronJobs has active jobs")
    if not obj.text("status", "lastScheduleTime"):
        return degraded("AdvancedCronJobs has not run successfully")
    return healthy("AdvancedCronJobs has run successfully")


def rollout(obj: Observed) -> Health:
    """Kruise Rollout: its phase; a step that is paused waits for a person."""
    if not obj.has("status") or obj.stale:
        return progressing("Rollout is still progressing")
    phase = obj.text("status", "phase")
    if phase in {"Disabled", "Terminating"}:
        return degraded("Rollout is Disabled or Terminating")
    steps = {obj.text("status", canary, "currentStepState") for canary in ("canaryStatus", "blueGreenStatus")}
    if "StepPaused" in steps:
        return suspended("Rollout is Paused need manual intervention")
    return healthy("Rollout is Completed") if phase == "Healthy" else progressing("Rollout is still progressing")


def keda(obj: Observed) -> Health:
    """KEDA's ScaledObject and ScaledJob: paused, falling back, ready, or what it is doing."""
    paused = obj.condition("Paused")
    if paused is not None and paused.true:
        return suspended(paused.message)
    found = match(obj, When("Fallback", "True", DEGRADED))
    if found is not None:
        return found
    ready = obj.condition("Ready")
    if ready is not None:
        return healthy(ready.message) if ready.true else degraded(ready.message)
    return progressing(obj.conditions[0].message if obj.conditions else f"Waiting for {obj.kind}")


def vertical_pod_autoscaler(obj: Observed) -> Health:
    """VerticalPodAutoscaler: it matches pods and has a recommendation."""
    unmatched = obj.condition("NoPodsMatched")
    if unmatched is not None and unmatched.true:
        return degraded(unmatched.words or "No pods match the VPA selector")
    found = match(obj, When("RecommendationProvided", "True", HEALTHY, "VPA recommendation provided"))
    return found or progressing("Waiting for VPA recommendation")


RULES: Rules = {
    "apps.kruise.io": {
        "CloneSet": clone_set,
        "DaemonSet": daemon_set,
        "StatefulSet": stateful_set,
        "BroadcastJob": broadcast_job,
        "AdvancedCronJob": advanced_cron_job,
    },
    "rollouts.kruise.io": {"Rollout": rollout},
    "keda.sh": {"ScaledObject": keda, "ScaledJob": keda},
    "autoscaling.k8s.io": {"VerticalPodAutoscaler": vertical_pod_autoscaler},
}
