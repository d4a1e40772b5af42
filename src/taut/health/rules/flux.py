"""Flux's own kinds: readiness is counted together with the progress and artifact conditions, and the reason is what is told."""

from __future__ import annotations

from collections.abc import Mapping

from taut.health.observed import Observed
from taut.health.verdicts import Rule, Rules, degraded, healthy, progressing, suspended
from taut.model.health import Health

_OCI_HELM = "Helm repositories of type 'oci' do not contain any information in the status."
_IMAGE_REASONS = {
    "ImagePolicy": {"NewGeneration", "AccessingRepository", "ApplyingPolicy"},
    "ImageRepository": {"NewGeneration", "Scanning"},
    "ImageUpdateAutomation": {"NewGeneration", "AccessingRepository"},
}


def _told(obj: Observed) -> str:
    text = ""
    for condition in obj.conditions:
        if condition.type == "Ready":
            text = condition.reason
        elif condition.type == "ArtifactOutdated" and condition.true:
            text = f"{text} {condition.reason}"
    return text


def reconciled(moving: str, *also_good: str) -> Rule:
    """A rule for a Flux kind. `moving` is the Ready status that, together with Reconciling, means progress.

    `also_good` are conditions of which one must hold beside Ready (an artifact is stored, a release is made).
    """

    def rule(obj: Observed) -> Health:
        if obj.flag("spec", "suspend"):
            return suspended(f"{obj.kind} is suspended")
        if not obj.has("status", "conditions"):
            return progressing("Status unknown")
        ready, working = obj.condition("Ready"), obj.condition("Reconciling")
        told = _told(obj)
        reasons = _IMAGE_REASONS.get(obj.kind)
        underway = working is not None and working.true and (reasons is None or working.reason in reasons)
        if ready is not None and ready.status == moving and underway:
            return progressing(told)
        done = not also_good or any(c.true and c.type in also_good for c in obj.conditions)
        return healthy(told) if ready is not None and ready.true and done else degraded(told)

    return rule


def _helm_repository(obj: Observed) -> Health:
    if obj.text("spec", "type") == "oci" and not obj.flag("spec", "suspend"):
        return healthy(_OCI_HELM)
    return _SOURCE(obj)


def _receiver(obj: Observed) -> Health:
    if obj.flag("spec", "suspend"):
        return suspended(f"{obj.kind} is suspended")
    if not obj.has("status", "conditions"):
        return progressing("Status unknown")
    ready = obj.condition("Ready")
    return healthy(ready.reason) if ready is not None and ready.true else degraded(ready.reason if ready else "")


_SOURCE = reconciled("Unknown", "ArtifactInStorage")
_PLAIN = reconciled("Unknown")
_IMAGE: Mapping[str, Rule] = {
    "ImagePolicy": reconciled("False"),
    "ImageRepository": reconciled("False"),
    "ImageUpdateAutomation": reconciled("False"),
}


def _existing(obj: Observed) -> Health:
    if obj.flag("spec", "suspend"):
        return suspended(f"{obj.kind} is suspended")
    ready = obj.condition("Ready")
    if ready is None or ready.true:
        return healthy(ready.reason if ready else "")
    return degraded(ready.reason) if ready.false else progressing(ready.reason)


RULES: Rules = {
    "source.toolkit.fluxcd.io": {
        "GitRepository": _SOURCE,
        "OCIRepository": _SOURCE,
        "Bucket": _SOURCE,
        "HelmChart": _SOURCE,
        "HelmRepository": _helm_repository,
        "ExternalArtifact": _PLAIN,
    },
    "source.extensions.fluxcd.io": {"ArtifactGenerator": _PLAIN},
    "kustomize.toolkit.fluxcd.io": {"Kustomization": _PLAIN},
    "helm.toolkit.fluxcd.io": {"HelmRelease": reconciled("Unknown", "Released", "TestSuccess")},
    "image.toolkit.fluxcd.io": _IMAGE,
    "notification.toolkit.fluxcd.io": {"Receiver": _receiver, "Alert": _existing, "Provider": _existing},
    "infra.contrib.fluxcd.io": {"Terraform": _PLAIN},
}
