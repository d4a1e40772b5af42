"""The Argo projects: Rollouts, Workflows, Events, CD itself, and Spot's Rollout look-alike."""

from __future__ import annotations

from taut.health.observed import Observed, as_generation
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    PROGRESSING,
    SUSPENDED,
    UNKNOWN,
    Rules,
    When,
    Word,
    by_word,
    degraded,
    healthy,
    in_order,
    match,
    progressing,
    suspended,
    unknown,
)
from taut.model.health import Health, HealthStatus

_ROLLING = "Waiting for roll out to finish: "
_BROKEN_ROLLOUT = (
    When("InvalidSpec", "", DEGRADED),
    When("Progressing", "", DEGRADED, reason="RolloutAborted"),
    When("Progressing", "", DEGRADED, reason="ProgressDeadlineExceeded"),
)
_PHASES: dict[str, HealthStatus] = {
    "Healthy": HEALTHY,
    "Paused": SUSPENDED,
    "Progressing": PROGRESSING,
    "Degraded": DEGRADED,
}


def _spec_observed(obj: Observed) -> bool:
    """Before v1.0 observedGeneration was a hash: text that is no number, or a number beyond the generation."""
    if not obj.has("status"):
        return False
    seen, wanted = obj.observed_generation, obj.generation or 0
    return seen is None or seen >= wanted


def _workload_observed(obj: Observed) -> bool:
    wanted = as_generation(obj.annotation("rollout.argoproj.io/workload-generation"))
    seen = as_generation(obj.at("status", "workloadObservedGeneration"))
    return not obj.has("spec", "workloadRef") or wanted is None or seen is None or wanted == seen


def _rolling(obj: Observed) -> Health | None:
    wanted, total = obj.count("spec", "replicas", default=1), obj.count("status", "replicas")
    updated, available = obj.count("status", "updatedReplicas"), obj.count("status", "availableReplicas")
    if updated < wanted:
        return progressing(f"{_ROLLING}More replicas need to be updated")
    if available < updated:
        return progressing(f"{_ROLLING}updated replicas are still becoming available")
    if obj.has("spec", "strategy", "canary") and total > updated:
        return progressing(f"{_ROLLING}old replicas are pending termination")
    return None


def rollout(obj: Observed) -> Health:
    """argoproj.io/Rollout: its phase; before v1.0, which had none, the conditions, the pause and the replica counts."""
    if not _spec_observed(obj) or not _workload_observed(obj):
        return progressing("Waiting for rollout spec update to be observed")
    phase = _PHASES.get(obj.text("status", "phase"))
    if phase is not None:
        return Health(phase, obj.text("status", "message"))
    broken = match(obj, *_BROKEN_ROLLOUT)
    if broken is not None:
        return broken
    if obj.flag("spec", "paused") or obj.each("status", "pauseConditions"):
        return suspended("Rollout is paused")
    current = obj.text("status", "currentPodHash")
    if not current:
        return progressing(f"{_ROLLING}More replicas need to be updated")
    moving = _rolling(obj)
    if moving is not None:
        return moving
    if obj.has("spec", "strategy", "blueGreen"):
        active = obj.text("status", "blueGreen", "activeSelector") or obj.text("status", "activeSelector")
        return healthy() if active == current else progressing("active service cutover pending")
    stable = obj.text("status", "stableRS") or obj.text("status", "canary", "stableRS")
    if obj.each("spec", "strategy", "canary", "steps") and stable != current:
        return progressing(f"{_ROLLING}Not all canary steps have been executed")
    return healthy()


def spot_deployment(obj: Observed) -> Health:
    """spot.io/SpotDeployment: a Rollout's conditions, then its phase."""
    broken = match(obj, *_BROKEN_ROLLOUT)
    if broken is not None:
        return broken
    phase = _PHASES.get(obj.text("status", "phase"))
    return Health(phase, obj.text("status", "message")) if phase else progressing("Waiting for rollout to finish")


def application(obj: Observed) -> Health:
    """argoproj.io/Application: the health that Argo CD found for it."""
    said = obj.text("status", "health", "status")
    message = obj.text("status", "health", "message")
    known = next((status for status in HealthStatus if status.value == said), None)
    return Health(known, message) if known is not None else progressing(message)


def cron_workflow(obj: Observed) -> Health:
    """argoproj.io/CronWorkflow: errors of its spec or of a submission."""
    found = match(
        obj,
        When("SpecError", "True", DEGRADED),
        When("SubmissionError", "True", DEGRADED),
        When("Completed", "True", HEALTHY),
    )
    return found or healthy("CronWorkflow is healthy.")


def events(obj: Observed) -> Health:
    """argoproj.io/EventBus, EventSource, Sensor: deployed (and, for a source, provided)."""
    deployed = obj.condition("Deployed")
    if deployed is None or deployed.status not in {"True", "False"}:
        return progressing("Waiting for initialization")
    return healthy(deployed.words) if deployed.true else degraded(deployed.words)


def _experiment(obj: Observed) -> Health:
    if not obj.has("status"):
        return progressing("Waiting for experiment to finish: status has not been reconciled.")
    return _EXPERIMENT(obj)


def _analysis_run(obj: Observed) -> Health:
    if not obj.has("status"):
        return progressing("Waiting for analysis run to finish: status has not been reconciled.")
    said = obj.text("status", "message")
    phase = obj.text("status", "phase")
    if phase in {"Pending", "Running", ""}:
        return progressing("Analysis run is running")
    default = {
        "Successful": healthy("Analysis run completed successfully"),
        "Failed": degraded("Analysis run failed"),
        "Error": degraded("Analysis run had an error"),
    }.get(phase, unknown("Analysis run was inconclusive"))
    return Health(default.status, said or default.message)


_EXPERIMENT = by_word(
    ("status", "phase"),
    {
        "Pending": Word(PROGRESSING, "Experiment is pending"),
        "Running": Word(PROGRESSING, "Experiment is running"),
        "Successful": Word(HEALTHY, "Experiment is successful"),
        "Failed": Word(DEGRADED, "Experiment has failed"),
        "Error": Word(DEGRADED, "Experiment had an error"),
    },
    absent=Word(PROGRESSING, "Experiment is pending"),
    other=Word(UNKNOWN),
)


def workflow(obj: Observed) -> Health:
    """argoproj.io/Workflow: its phase, with its message."""
    phase, message = obj.text("status", "phase"), obj.text("status", "message")
    if phase in {"", "Pending", "Running"}:
        return progressing(message)
    if phase == "Succeeded":
        return healthy(message)
    return degraded(message) if phase in {"Failed", "Error"} else unknown(message)


_CANARY: dict[str, HealthStatus] = {
    "Failed": DEGRADED,
    "Progressing": PROGRESSING,
    "Finalising": PROGRESSING,
    "Promoting": PROGRESSING,
    "Succeeded": HEALTHY,
    "Initialized": HEALTHY,
}


def _canary(obj: Observed) -> Health:
    """Flagger: the phase with the canary's weight and what the conditions say."""
    if not obj.has("status"):
        return unknown("No status")
    parts = [obj.text("status", "phase")]
    weight = obj.count("status", "canaryWeight")
    if weight > 0:
        parts.append(f"Canary Weight: {weight} %")
    parts += [condition.message for condition in obj.conditions]
    return Health(_CANARY.get(parts[0], UNKNOWN), " --- ".join(parts))


RULES: Rules = {
    "argoproj.io": {
        "Rollout": rollout,
        "Experiment": _experiment,
        "AnalysisRun": _analysis_run,
        "Application": application,
        "ApplicationSet": in_order(
            When("ErrorOccurred", "True", DEGRADED),
            When("ResourcesUpToDate", "False", DEGRADED),
            When("RolloutProgressing", "True", PROGRESSING),
            When("ResourcesUpToDate", "True", HEALTHY),
            waiting="Waiting for the status to be reported",
        ),
        "Workflow": workflow,
        "CronWorkflow": cron_workflow,
        "EventBus": events,
        "EventSource": events,
        "Sensor": events,
    },
    "argocd-image-updater.argoproj.io": {
        "ImageUpdater": in_order(
            When("Error", "True", DEGRADED),
            When("Reconciling", "True", PROGRESSING),
            When("Ready", "True", HEALTHY),
            When("Ready", "False", DEGRADED),
            waiting="Waiting for ImageUpdater to be reconciled",
            observed="Waiting for ImageUpdater spec update to be observed",
        )
    },
    "spot.io": {"SpotDeployment": spot_deployment},
    "flagger.app": {
        "Canary": _canary,
    },
}
