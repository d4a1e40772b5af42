"""Numaflow's pipelines and Numaplane's rollouts of them."""

from __future__ import annotations

from taut.health.observed import Observed
from taut.health.verdicts import Rule, Rules, degraded, healthy, progressing
from taut.model.health import Health

_RESULT = "numaplane.numaproj.io/progressive-result-state"


def flow(unhealthy: str = "") -> Rule:
    """Pipeline, MonoVertex, Vertex, InterStepBufferService; `unhealthy` replaces what the failed condition says."""

    def rule(obj: Observed) -> Health:
        waiting = progressing(f"Waiting for {obj.kind} status")
        if not obj.has("status") or obj.generation != obj.observed_generation:
            return waiting
        phase = obj.text("status", "phase")
        if phase == "Failed":
            return degraded(obj.text("status", "message"))
        if obj.label(_RESULT) == "failed":
            return degraded("Failed progressive upgrade")
        failed = next((c for c in reversed(obj.conditions) if c.false), None)
        if failed is not None:
            return degraded(unhealthy or failed.message)
        if phase == "Paused":
            return healthy(f"{obj.kind} is paused")
        return healthy(f"{obj.kind} is healthy") if phase in {"Running", "Deleting"} else waiting

    return rule


def rollout(obj: Observed) -> Health:
    """Numaplane's PipelineRollout, MonoVertexRollout, NumaflowControllerRollout: the child's health, an upgrade, a pause."""
    if not obj.has("status") or obj.generation != obj.observed_generation:
        return progressing("Not yet reconciled")
    phase = obj.text("status", "phase")
    if phase == "Failed":
        return degraded(obj.text("status", "message"))
    if obj.text("status", "progressiveStatus", "upgradingChildStatus", "assessmentResult") == "Failure":
        return degraded("Progressive upgrade failed")
    if phase == "Pending":
        return progressing("Update in progress")
    paused = next((c for c in obj.conditions if c.type.endswith("PausingOrPaused") and c.true), None)
    if paused is not None:
        return healthy(paused.message)
    child = obj.condition("ChildResourcesHealthy")
    if child is None:
        return progressing("Not yet reconciled")
    if child.false:
        return progressing("Child Progressing") if child.reason == "Progressing" else degraded(child.message)
    return healthy("Healthy") if child.true else progressing("Child Progressing")


RULES: Rules = {
    "numaflow.numaproj.io": {
        "Pipeline": flow("Subresources are unhealthy"),
        "MonoVertex": flow("Subresources are unhealthy"),
        "Vertex": flow(),
        "InterStepBufferService": flow(),
    },
    "numaplane.numaproj.io": {
        "PipelineRollout": rollout,
        "MonoVertexRollout": rollout,
        "NumaflowControllerRollout": rollout,
        "ISBServiceRollout": rollout,
    },
}
