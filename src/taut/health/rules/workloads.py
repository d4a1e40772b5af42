"""apps, batch, autoscaling and policy: Kubernetes' own workloads, judged as Argo CD judges them."""

from __future__ import annotations

import orjson

from taut.health.observed import Condition, Observed, conditions
from taut.health.verdicts import Rules, degraded, healthy, progressing, suspended
from taut.model.health import Health


def _observed(obj: Observed) -> bool:
    return (obj.generation or 0) <= (obj.observed_generation or 0)


def deployment(obj: Observed) -> Health:
    """apps/Deployment: paused, deadline, then the replica counts of a rollout."""
    if obj.flag("spec", "paused"):
        return suspended("Deployment is paused")
    if not _observed(obj):
        return progressing("Waiting for rollout to finish: observed deployment generation less than desired generation")
    rollout = obj.condition("Progressing")
    if rollout is not None and rollout.reason == "ProgressDeadlineExceeded":
        return degraded(f'Deployment "{obj.name}" exceeded its progress deadline')
    updated, available = obj.count("status", "updatedReplicas"), obj.count("status", "availableReplicas")
    wanted, total = obj.number("spec", "replicas"), obj.count("status", "replicas")
    if wanted is not None and updated < wanted:
        return progressing(
            f"Waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated..."
        )
    if total > updated:
        return progressing(f"Waiting for rollout to finish: {total - updated} old replicas are pending termination...")
    if available < updated:
        return progressing(f"Waiting for rollout to finish: {available} of {updated} updated replicas are available...")
    return healthy()


def stateful_set(obj: Observed) -> Health:
    """apps/StatefulSet: ready pods, then a partitioned, manual or rolling update."""
    if not obj.observed_generation or not _observed(obj):
        return progressing("Waiting for statefulset spec update to be observed...")
    wanted, ready = obj.number("spec", "replicas"), obj.count("status", "readyReplicas")
    if wanted is not None and ready < wanted:
        return progressing(f"Waiting for {wanted - ready} pods to be ready...")
    updated = obj.count("status", "updatedReplicas")
    strategy = obj.text("spec", "updateStrategy", "type")
    if strategy == "RollingUpdate" and obj.has("spec", "updateStrategy", "rollingUpdate"):
        partition = obj.number("spec", "updateStrategy", "rollingUpdate", "partition")
        if wanted is not None and partition is not None and updated < wanted - partition:
            return progressing(
                "Waiting for partitioned roll out to finish: "
                f"{updated} out of {wanted - partition} new pods have been updated..."
            )
        return healthy(f"partitioned roll out complete: {updated} new pods have been updated...")
    if strategy == "OnDelete":
        return healthy(f"statefulset has {ready} ready pods")
    goal = obj.text("status", "updateRevision")
    if goal != obj.text("status", "currentRevision"):
        return progressing(f"waiting for statefulset rolling update to complete {updated} pods at revision {goal}...")
    return healthy(
        "statefulset rolling update complete "
        f"{obj.count('status', 'currentReplicas')} pods at revision {obj.text('status', 'currentRevision')}..."
    )


def daemon_set(obj: Observed) -> Health:
    """apps/DaemonSet: one updated and available pod on every node that should have one."""
    if not _observed(obj):
        return progressing("Waiting for rollout to finish: observed daemon set generation less than desired generation")
    desired = obj.count("status", "desiredNumberScheduled")
    updated, available = obj.count("status", "updatedNumberScheduled"), obj.count("status", "numberAvailable")
    if obj.text("spec", "updateStrategy", "type") == "OnDelete":
        return healthy(f"daemon set {updated} out of {desired} new pods have been updated")
    waiting = f'Waiting for daemon set "{obj.name}" rollout to finish:'
    if updated < desired:
        return progressing(f"{waiting} {updated} out of {desired} new pods have been updated...")
    if available < desired:
        return progressing(f"{waiting} {available} of {desired} updated pods are available...")
    return healthy()


def replica_set(obj: Observed) -> Health:
    """apps/ReplicaSet and ReplicationController: available replicas, or why there are none."""
    if not _observed(obj):
        return progressing(
            "Waiting for rollout to finish: observed replica set generation less than desired generation"
        )
    failure = obj.condition("ReplicaFailure")
    if failure is not None and failure.true:
        return degraded(failure.message)
    wanted, available = obj.number("spec", "replicas"), obj.count("status", "availableReplicas")
    if wanted is not None and available < wanted:
        return progressing(f"Waiting for rollout to finish: {available} out of {wanted} new replicas are available...")
    return healthy()


def job(obj: Observed) -> Health:
    """batch/Job: its terminal conditions, or suspended."""
    for condition in obj.conditions:
        if not condition.true:
            continue
        if condition.type == "Failed":
            return degraded(condition.message)
        if condition.type == "Complete":
            return healthy(condition.message)
        if condition.type == "Suspended":
            return suspended(condition.message)
    return suspended("Job is suspended") if obj.flag("spec", "suspend") else progressing()


def cron_job(obj: Observed) -> Health:
    """batch/CronJob: whether the last run that was started also succeeded."""
    if obj.flag("spec", "suspend"):
        return suspended("CronJob is Suspended")
    if not obj.has("status"):
        return progressing("Waiting for CronJob")
    started, succeeded = obj.text("status", "lastScheduleTime"), obj.text("status", "lastSuccessfulTime")
    if not started:
        return healthy("CronJob has not been scheduled yet")
    if not succeeded:
        return healthy("The Cronjob never completed succesfully. It may not be healthy")
    if obj.each("status", "active"):
        return healthy("The job is running. Its last execution may not have been successful")
    if succeeded < started:
        return degraded("CronJob has not completed its last execution successfully")
    return healthy("CronJob has completed its last execution successfully")


_HPA_BAD = {
    ("AbleToScale", "FailedGetScale"),
    ("AbleToScale", "FailedUpdateScale"),
    ("ScalingActive", "FailedGetResourceMetric"),
    ("ScalingActive", "InvalidSelector"),
}
_HPA_GOOD = {
    ("AbleToScale", "SucceededRescale"),
    ("ScalingActive", "ScalingDisabled"),
    ("ScalingLimited", "DesiredWithinRange"),
    ("ScalingLimited", "TooFewReplicas"),
    ("ScalingLimited", "TooManyReplicas"),
}


def _hpa_conditions(obj: Observed) -> list[Condition]:
    if obj.conditions:
        return obj.conditions
    try:  # autoscaling/v1 keeps its conditions as JSON in an annotation
        return conditions(orjson.loads(obj.annotation("autoscaling.alpha.kubernetes.io/conditions") or "[]"))
    except orjson.JSONDecodeError:
        return []


def horizontal_pod_autoscaler(obj: Observed) -> Health:
    """autoscaling/HorizontalPodAutoscaler: the first condition that says whether it scales."""
    for condition in _hpa_conditions(obj):
        key = (condition.type, condition.reason)
        if key in _HPA_BAD:
            return degraded(condition.message)
        if key in _HPA_GOOD:
            return healthy(condition.message)
    return progressing("Waiting to Autoscale")


def pod_disruption_budget(obj: Observed) -> Health:
    """policy/PodDisruptionBudget: degraded only where it could not be computed; too few pods are the workload's matter."""
    for condition in obj.conditions:
        if condition.false and condition.reason == "SyncFailed":
            return degraded(f"PodDisruptionBudget has {condition.reason}")
    for condition in obj.conditions:
        return healthy(f"PodDisruptionBudget has {condition.reason}")
    return progressing("Waiting for status")


def _failure_of(container: Observed) -> str:
    message, reason = container.text("state", "terminated", "message"), container.text("state", "terminated", "reason")
    code = container.count("state", "terminated", "exitCode")
    if message or reason == "OOMKilled":
        return message or reason
    return f'container "{container.text("name")}" failed with exit code {code}' if code else ""


def _failed_pod(obj: Observed, containers: list[Observed]) -> Health:
    message = obj.text("status", "message")
    return degraded(message or next((said for said in map(_failure_of, containers) if said), ""))


def _blocked(containers: list[Observed]) -> list[str]:
    """What containers say that cannot start: image pulls, configuration, crash loops."""
    said: list[str] = []
    for container in containers:
        reason = container.text("state", "waiting", "reason")
        if reason.startswith("Err") or reason.endswith(("Error", "BackOff")):
            said.append(container.text("state", "waiting", "message") or reason)
    return said


def pod(obj: Observed) -> Health:
    """Pod: containers that cannot start, then the phase; a running pod is healthy when it is ready."""
    containers = obj.each("status", "initContainerStatuses") + obj.each("status", "containerStatuses")
    restarts = (obj.text("spec", "restartPolicy") or "Always") == "Always"
    message = obj.text("status", "message")
    if restarts and (blocked := _blocked(containers)):
        return degraded(", ".join(blocked))
    phase = obj.text("status", "phase")
    if phase == "Succeeded":
        return healthy(message)
    if phase == "Failed":
        return _failed_pod(obj, containers)
    if phase != "Running" or not restarts:
        return progressing(message)
    ready = obj.condition("Ready")
    if ready is not None and ready.true:
        return healthy(message)
    main = obj.each("status", "containerStatuses")
    if any(container.has("lastState", "terminated") for container in main):
        return degraded(message)
    return progressing(message)


RULES: Rules = {
    "apps": {
        "Deployment": deployment,
        "StatefulSet": stateful_set,
        "DaemonSet": daemon_set,
        "ReplicaSet": replica_set,
    },
    "extensions": {"Deployment": deployment, "DaemonSet": daemon_set, "ReplicaSet": replica_set},
    "batch": {"Job": job, "CronJob": cron_job},
    "autoscaling": {"HorizontalPodAutoscaler": horizontal_pod_autoscaler},
    "policy": {"PodDisruptionBudget": pod_disruption_budget},
    "": {"Pod": pod, "ReplicationController": replica_set},
}
