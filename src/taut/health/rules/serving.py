"""Services and jobs on top of Kubernetes: Knative, KServe, Spark, Flink, Ray, Camel K, Keptn, Istio, kro, Pulumi, Tekton."""

from __future__ import annotations

from taut.health.observed import Condition, Observed
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    MISSING,
    PROGRESSING,
    Rule,
    Rules,
    When,
    Word,
    by_conditions,
    by_word,
    degraded,
    healthy,
    progressing,
    suspended,
)
from taut.model.health import Health, HealthStatus


def knative_operator(obj: Observed) -> Health:
    """KnativeServing and KnativeEventing: installed and ready; the conditions are listed."""
    if not obj.has("status", "conditions"):
        return progressing(f"Waiting for {obj.kind}")
    told = "".join(f"{n}: {c.type} | {c.status}\n" for n, c in enumerate(obj.conditions, start=1))
    if any(c.status == "Unknown" or (c.type == "Ready" and c.false) for c in obj.conditions):
        return progressing(told)
    good = [c for c in obj.conditions if c.true and c.type in {"Ready", "InstallSucceeded"}]
    return healthy(f"{obj.kind} is healthy.") if len(good) == 2 else degraded(told)


def _sentence(condition: Condition) -> str:
    said = f"{condition.type} is {condition.status}"
    said += f", since {condition.reason}." if condition.reason else ""
    return said + (f" {condition.message}\n" if condition.message else "\n")


def knative_service(obj: Observed) -> Health:
    """Knative's Service: configurations, routes and the whole; what does not hold is told."""
    if not obj.has("status", "conditions"):
        return progressing("Waiting for status update.")
    told = "".join(_sentence(c) for c in obj.conditions if c.status in {"False", "Unknown"})
    if any(c.false for c in obj.conditions):
        return degraded(told)
    good = {c.type for c in obj.conditions if c.true} & {"ConfigurationsReady", "RoutesReady", "Ready"}
    return healthy("Knative Service is healthy.") if len(good) == 3 and not told else progressing(told)


def inference_service(obj: Observed) -> Health:
    """KServe's InferenceService: stopped, the model's transition, then what does not hold, numbered."""
    if not obj.conditions:
        return progressing("Waiting for InferenceService to report status...")
    stopped = obj.condition("Stopped")
    if stopped is not None and stopped.true:
        return suspended("InferenceService is Stopped")
    transition = obj.text("status", "modelStatus", "transitionStatus")
    told = [] if transition in {"", "UpToDate"} else [f"0: transitionStatus | {transition}"]
    awaited = False
    failed = False
    for number, condition in enumerate(obj.conditions, start=1):
        if condition.true or condition.type == "Stopped" or condition.status not in {"False", "Unknown"}:
            continue
        awaited |= condition.status == "Unknown"
        failed |= condition.false
        parts = [f"{number}: {condition.type}", condition.status, condition.reason, condition.message]
        told.append(" | ".join(part for part in parts if part))
    # A list that starts without a transition keeps its separator, as Argo CD writes it.
    text = " | ".join(told) if transition or not told else " | " + " | ".join(told)
    if transition == "InProgress" or (not transition and awaited and not failed):
        return progressing(text)
    if transition not in {"", "UpToDate"} or failed:
        return degraded(text)
    return progressing(text) if awaited else healthy("InferenceService is healthy.")


def llm_inference_service(obj: Observed) -> Health:
    """KServe's LLMInferenceService: Ready in this generation; the parts that are not ready are told."""
    if not obj.has("status", "conditions"):
        return progressing("Waiting for LLMInferenceService to report status...")
    ready = obj.condition("Ready")
    seen = {obj.observed_generation, ready.observed_generation if ready else None} - {None}
    if obj.generation is not None and seen - {obj.generation}:
        return progressing("Waiting for LLMInferenceService reconciliation (generation mismatch)")
    if any(c.reason == "Stopped" for c in obj.conditions):
        return suspended("LLMInferenceService is Stopped")
    if ready is not None and ready.true:
        return healthy("LLMInferenceService is healthy.")
    parts = [c for c in obj.conditions if c.type != "Ready" and not c.true]
    told = "; ".join(" | ".join(p for p in (f"{c.type}: {c.status}", c.reason, c.message) if p) for c in parts)
    told = told or (ready.message if ready else "") or "Waiting for LLMInferenceService to report status..."
    return degraded(told) if ready is not None and ready.false else progressing(told)


def knative_eventing(obj: Observed) -> Health:
    """Knative Eventing's Broker, Trigger and sources: the Ready condition that sums them up."""
    ready = obj.condition("Ready")
    if ready is None:
        return progressing("Waiting for status update.")
    if ready.true:
        return healthy(ready.message or f"{obj.kind} is ready")
    if ready.false:
        return degraded(ready.words or f"{obj.kind} is not ready")
    return progressing(ready.words or "Waiting for status update.")


_SPARK: dict[str, tuple[HealthStatus, str]] = {
    "SUBMITTED": (PROGRESSING, "SparkApplication was submitted successfully"),
    "COMPLETED": (HEALTHY, "SparkApplication was Completed"),
    "FAILED": (DEGRADED, ""),
    "SUBMISSION_FAILED": (DEGRADED, ""),
    "FAILING": (DEGRADED, ""),
    "PENDING_RERUN": (PROGRESSING, "SparkApplication is Pending Rerun"),
    "INVALIDATING": (MISSING, "SparkApplication is in InvalidatingState"),
    "SUCCEEDING": (
        PROGRESSING,
        "The driver pod has been completed successfully. The executor pods terminate and are cleaned up.\n"
        + " " * 32
        + "Under this circumstances, we assume the executor pod are completed.",
    ),
    "UNKNOWN": (
        PROGRESSING,
        "SparkApplication is in UnknownState because either driver pod or one or all executor pods in unknown state  ",
    ),
}


def _executors(obj: Observed) -> tuple[int, bool]:
    """How many executors run, and whether that is what is wanted (a count, or a range with dynamic allocation)."""
    running = sum(1 for state in obj.mapping("status", "executorState").values() if state == "RUNNING")
    wanted = obj.number("spec", "executor", "instances")
    if obj.flag("spec", "dynamicAllocation", "enabled"):
        least, most = (obj.number("spec", "dynamicAllocation", key) for key in ("minExecutors", "maxExecutors"))
        return running, least is not None and most is not None and least <= running <= most
    return running, wanted is not None and wanted == running


def spark_application(obj: Observed) -> Health:
    """Spark's SparkApplication: its state; running means that the executors run."""
    state = obj.text("status", "applicationState", "state")
    if state in _SPARK:
        status, said = _SPARK[state]
        return Health(status, said or obj.text("status", "applicationState", "errorMessage"))
    if state == "RUNNING" and obj.has("status", "executorState") and _executors(obj)[1]:
        return healthy("SparkApplication is Running")
    if not state and obj.has("status", "applicationState", "state"):
        return progressing("SparkApplication was added, enqueuing it for submission")
    return progressing("Waiting for Executor pods")


def flink_deployment(obj: Observed) -> Health:
    """Flink's FlinkDeployment: the job manager and the job; a suspended job is as wanted."""
    manager, job = obj.text("status", "jobManagerDeploymentStatus"), obj.text("status", "jobStatus", "state")
    reconciled = obj.flag("status", "reconciliationStatus", "success") or obj.text(
        "status", "reconciliationStatus", "state"
    ) in {"DEPLOYED", "ROLLED_BACK"}
    if reconciled and ((manager == "READY" and job in {"RUNNING", "FINISHED"}) or job == "SUSPENDED"):
        return healthy()
    if manager == "ERROR" or obj.text("status", "reconciliationStatus", "error"):
        return degraded(obj.text("status", "reconciliationStatus", "error") or obj.text("status", "error"))
    return progressing("Waiting for deploying")


def ray(obj: Observed) -> Health:
    """KubeRay: the state of a cluster, a job's deployment, or a service."""
    state = (
        obj.text("status", "state") or obj.text("status", "jobDeploymentStatus") or obj.text("status", "serviceStatus")
    )
    reason = obj.text("status", "reason") or obj.text("status", "message")
    if obj.text("status", "jobStatus") in {"FAILED", "STOPPED"}:
        return degraded(reason or f"Job is {obj.text('status', 'jobStatus')}")
    if state.lower() in {"ready", "running", "complete"}:
        return healthy(state)
    if state.lower() == "suspended":
        return suspended(state)
    return (
        degraded(reason or state)
        if state.lower() in {"failed", "unhealthy"}
        else progressing(state or "Waiting for Ray")
    )


def camel_integration(obj: Observed) -> Health:
    """Camel K's Integration: the phase; an error is told by the Ready condition."""
    phase, condition = obj.text("status", "phase"), obj.condition("Ready")
    if phase == "Running" and (condition is None or condition.true):
        return healthy()
    if phase == "Error" or (condition is not None and condition.false):
        return degraded(condition.message if condition is not None else "")
    return progressing("Waiting for Integration")


def keptn(field: str = "status") -> Rule:
    """Keptn's versions, evaluations and tasks: Succeeded, Failed, or under way."""
    moving = Word(PROGRESSING, "{kind} is progressing")
    return by_word(
        ("status", field),
        {"Succeeded": Word(HEALTHY, "{kind} is healthy"), "Failed": Word(DEGRADED, "{kind} is degraded")},
        absent=moving,
        other=moving,
    )


def resource_graph(obj: Observed) -> Health:
    """kro's ResourceGraphDefinition: Ready in this generation, or the condition that is not."""
    if not obj.has("status", "conditions"):
        return progressing("Waiting for KRO to report status")
    known = {"GraphRevisionsResolved", "GraphAccepted", "KindReady", "ControllerReady", "Ready"}
    for condition in obj.conditions:
        if obj.generation is None or condition.observed_generation != obj.generation:
            continue
        if condition.type == "Ready" and condition.true:
            return healthy("ResourceGraphDefinition is active and serving instances")
        if condition.type in known and condition.false:
            return degraded(condition.message or f"{condition.type} is False")
    return progressing("Waiting for ResourceGraphDefinition to become ready")


def tekton_run(obj: Observed) -> Health:
    """Tekton's PipelineRun, TaskRun and installed components: Succeeded or Ready; Unknown is running."""
    condition = obj.condition("Succeeded", "Ready")
    if condition is None:
        return progressing(f"Waiting for {obj.kind}")
    if condition.true:
        return healthy(condition.words)
    return degraded(condition.words) if condition.false else progressing(condition.words)


_ISTIO_STARTED = "Controller has started but not yet completed reconciliation loop for the component."
_ISTIO_UPDATING = Word(PROGRESSING, "Component is being updated to a different version.")
_ISTIO_NONE = Word(PROGRESSING, "Waiting for IstioOperator")

RULES: Rules = {
    "operator.knative.dev": {"KnativeServing": knative_operator, "KnativeEventing": knative_operator},
    "serving.knative.dev": {"Service": knative_service},
    "eventing.knative.dev": {"*": knative_eventing},
    "messaging.knative.dev": {"*": knative_eventing},
    "sources.knative.dev": {"*": knative_eventing},
    "serving.kserve.io": {"InferenceService": inference_service, "LLMInferenceService": llm_inference_service},
    "sparkoperator.k8s.io": {"SparkApplication": spark_application},
    "flink.apache.org": {"FlinkDeployment": flink_deployment, "FlinkSessionJob": flink_deployment},
    "ray.io": {"*": ray},
    "camel.apache.org": {"Integration": camel_integration},
    "lifecycle.keptn.sh": {"KeptnEvaluation": keptn("overallStatus"), "*": keptn()},
    "install.istio.io": {
        "IstioOperator": by_word(
            ("status", "status"),
            {
                "HEALTHY": Word(HEALTHY, "Component is healthy."),
                "UPDATING": _ISTIO_UPDATING,
                "RECONCILING": Word(PROGRESSING, _ISTIO_STARTED),
                "ERROR": Word(DEGRADED, "Component is in an error state."),
                "ACTION_REQUIRED": Word(DEGRADED, "Component is in an error state."),
            },
            absent=_ISTIO_NONE,
            other=_ISTIO_NONE,
        )
    },
    "kro.run": {"ResourceGraphDefinition": resource_graph},
    "pulumi.com": {
        "Stack": by_conditions(
            When("Stalled", "True", DEGRADED),
            When("Reconciling", "True", PROGRESSING),
            When("Ready", "True", HEALTHY),
            waiting="Waiting for the stack to be reconciled",
        )
    },
    "tekton.dev": {"PipelineRun": tekton_run, "TaskRun": tekton_run, "CustomRun": tekton_run},
    "operator.tekton.dev": {"*": tekton_run},
}
