"""Rules for every kind that has none of its own.

Sources: kstatus (observedGeneration, Stalled, Reconciling, Ready), the API conventions for conditions and phases, and what controllers of
the ecosystem commonly write. What says nothing about its state is Healthy: it exists.
"""

from __future__ import annotations

from taut.health.observed import Condition, Observed, conditions, objects, texts
from taut.health.verdicts import (
    DEGRADED,
    HEALTHY,
    MISSING,
    PROGRESSING,
    SUSPENDED,
    UNKNOWN,
    degraded,
    healthy,
    progressing,
    suspended,
)
from taut.health.vocabulary import Meaning, is_failure, is_negative, is_underway, meaning_of
from taut.model.health import Health, worst

_SUSPENDED_SPEC = ("suspend", "suspended", "paused", "pause", "hibernate")
_SUSPENDED_ANNOTATIONS = ("crossplane.io/paused", "cluster.x-k8s.io/paused", "keda.sh/paused", "serving.kserve.io/stop")
_SUSPENDED_CONDITIONS = frozenset({"Suspended", "Paused", "Hibernated", "Cordoned", "Stopped"})
_TRANSITIONS = frozenset(
    {"Reconciling", "Progressing", "Issuing", "Updating", "Upgrading", "Running", "InProgress", "In-progress"}
)
_SUMMARIES = (
    "Ready",
    "Available",
    "Healthy",
    "Succeeded",
    "Successful",
    "Complete",
    "Completed",
    "Established",
    "Programmed",
    "Accepted",
    "Admitted",
    "Valid",
    "Compliant",
    "Deployed",
    "Installed",
    "Initialized",
    "Applied",
    "Provisioned",
    "Active",
    "Bound",
    "Synced",
    "Reconciled",
    "Scheduled",
)
"""Conditions that sum up the object, the most telling first."""
_WHOLE = frozenset({"Ready", "Available", "Healthy", "Succeeded", "Successful", "Complete", "Completed"})
_ALSO_GOOD = frozenset({"Synced", "Reconciled", "Applied", "ResolvedRefs", "Accepted", "Valid"})
"""Conditions whose being False counts although the summary is good: the last change did not get through."""
_WORD_FIELDS = (
    "phase",
    "state",
    "status",
    "health",
    "currentState",
    "updateStatus",
    "overallStatus",
    "compliant",
    "condition",
)
_SAID_FIELDS = ("message", "reason", "errorMessage", "failureMessage", "error", "errorDescription", "description")
_PART_FIELDS = (
    "statuses",
    "components",
    "componentStatus",
    "environments",
    "aggregatedStatus",
    "instances",
    "members",
    "shards",
)
_FLAG_FIELDS = ("ready", "readyToUse", "healthy", "available", "applied", "synced", "succeeded")
_ERROR_FIELDS = ("error", "errorMessage", "failureMessage", "lastError")


def assess_generally(obj: Observed) -> Health:
    """The health of an object by the general rules alone. Deletion has been looked at before."""
    for step in _STEPS:
        found = step(obj)
        if found is not None:
            return found
    return healthy()


def _paused(obj: Observed) -> Health | None:
    if any(obj.flag("spec", field) for field in _SUSPENDED_SPEC):
        verb = "suspended" if any(obj.flag("spec", field) for field in _SUSPENDED_SPEC[:2]) else "paused"
        return suspended(f"{obj.kind} is {verb}")
    if any(obj.annotation(key) == "true" for key in _SUSPENDED_ANNOTATIONS):
        return suspended(f"{obj.kind} is paused")
    for condition in obj.conditions:
        if condition.true and _says_suspended(condition.type):
            return suspended(condition.words or f"{obj.kind} is {condition.type.lower()}")
        if condition.false and condition.reason == "ReconcilePaused":
            return suspended(condition.reason)
    return None


def _says_suspended(condition_type: str) -> bool:
    return condition_type in _SUSPENDED_CONDITIONS or condition_type.lower().endswith(("/hibernation", "/paused"))


def _not_observed(obj: Observed) -> Health | None:
    seen, wanted = obj.observed_generation, obj.generation
    if seen is not None and wanted is not None and seen < wanted:
        return progressing("Waiting for spec update to be observed")
    summary = _summary(obj)
    if summary is None or wanted is None or summary.observed_generation is None:
        return None
    if summary.observed_generation < wanted:
        return progressing("Waiting for spec update to be observed")
    return None


def _summary(obj: Observed) -> Condition | None:
    for name in _SUMMARIES:
        found = obj.condition(name)
        if found is not None:
            return found
    positive = [c for c in obj.conditions if not is_negative(c.type) and c.type not in _TRANSITIONS]
    for ending in (
        "Ready",
        "Synced",
        "Synchronized",
        "Succeeded",
        "Available",
        "Healthy",
        "Applied",
        "Success",
        "ready",
    ):
        found = next((c for c in positive if c.type.endswith(ending)), None)
        if found is not None:
            return found
    return None


def _by_conditions(obj: Observed) -> Health | None:
    if obj.at("status", "conditions") == []:
        return progressing("Waiting for conditions")
    if not obj.conditions:
        return None
    summary = _summary(obj)
    for condition in obj.conditions:
        if condition.true and is_negative(condition.type):
            return degraded(condition.words)
        if condition.false and condition.type == "Progressing" and is_failure(condition.reason):
            return degraded(condition.words)
    underway = next((c for c in obj.conditions if c.type in _TRANSITIONS and c.true and not _rolled_out(c)), None)
    if summary is None:
        return progressing(underway.words) if underway is not None else None
    if summary.true:
        return _good_summary(obj, summary, underway)
    if summary.false:
        return _bad_summary(obj, summary, underway)
    return progressing(summary.words)


def _good_summary(obj: Observed, summary: Condition, underway: Condition | None) -> Health:
    whole = summary.type in _WHOLE
    spoiled = next((c for c in obj.conditions if c.false and c is not summary and _counts(c.type, whole)), None)
    if spoiled is not None:
        return progressing(spoiled.words) if is_underway(spoiled.reason) else degraded(spoiled.words)
    if underway is not None and underway.type in {"Reconciling", "Progressing", "Issuing"}:
        return progressing(underway.words)
    word = _by_word(obj)
    return word if word is not None and word.status is not HEALTHY else healthy(summary.message)


def _counts(condition_type: str, summed_up: bool) -> bool:
    """Whether a False of this type counts beside a good summary; only a summary of the whole object outweighs its parts."""
    return condition_type in _ALSO_GOOD or (
        not summed_up and condition_type.endswith(("Healthy", "Ready", "Available"))
    )


def _bad_summary(obj: Observed, summary: Condition, underway: Condition | None) -> Health:
    failed = next(
        (c for c in obj.conditions if c.false and c.type in _ALSO_GOOD and c is not summary and c.words), None
    )
    if failed is not None and not is_underway(failed.reason):
        return degraded(failed.words)
    word = _by_word(obj)
    if word is not None and word.status in {DEGRADED, SUSPENDED}:
        return Health(word.status, summary.words or word.message)
    moving = is_underway(summary.reason) or (underway is not None and underway.reason == summary.reason)
    unexplained = not summary.words
    if moving or unexplained or (word is not None and word.status is PROGRESSING):
        return progressing(summary.words or (word.message if word else ""))
    return degraded(summary.words)


def _rolled_out(condition: Condition) -> bool:
    """A Deployment-like Progressing=True stays after the rollout has ended."""
    return condition.reason in {"NewReplicaSetAvailable", "NewReplicationControllerAvailable", "AsExpected"}


def _by_nested_conditions(obj: Observed) -> Health | None:
    """Routes and policies: conditions for each parent (Gateway API, GEP-713), for each ingress (OpenShift)."""
    for field in ("parents", "ancestors", "ingress", "listeners"):
        nested = [c for part in obj.each("status", field) for c in conditions(part.at("conditions"))]
        if not nested:
            continue
        if obj.generation is not None:
            current = [c for c in nested if c.observed_generation in {None, obj.generation}]
            if not current:
                return progressing("Waiting for spec update to be observed")
            nested = current
        bad = next((c for c in nested if c.false and c.type in {"Accepted", "Admitted", "ResolvedRefs"}), None)
        if bad is not None:
            return degraded(bad.words)
        moving = next((c for c in nested if not c.true and c.type in {"Accepted", "Admitted", "Programmed"}), None)
        return progressing(moving.words) if moving is not None else healthy(f"{obj.kind} is healthy")
    return None


def _by_flag(obj: Observed) -> Health | None:
    for field in _FLAG_FIELDS:
        value = obj.at("status", field)
        if value in (True, "True", "true"):
            return healthy(_said(obj))
        if value in (False, "False", "false"):
            said = _said(obj)
            return degraded(said) if any(obj.has("status", error) for error in _ERROR_FIELDS) else progressing(said)
    return None


_VERDICTS = {
    Meaning.GOOD: HEALTHY,
    Meaning.MOVING: PROGRESSING,
    Meaning.BAD: DEGRADED,
    Meaning.PAUSED: SUSPENDED,
    Meaning.ABSENT: MISSING,
    Meaning.UNCLEAR: UNKNOWN,
}


def _by_word(obj: Observed) -> Health | None:
    status = obj.mapping("status")
    named = [key for key in status if key.endswith(("Status", "State", "Phase"))]
    for field in (*_WORD_FIELDS, *named):
        word = obj.text("status", field)
        meaning = meaning_of(word)
        if meaning is not None and not (field in named and meaning is Meaning.ABSENT):
            return Health(_VERDICTS[meaning], _said(obj) or word)
    return None


def _by_parts(obj: Observed) -> Health | None:
    """The worst of what is said for each member, cluster, environment, …; those that say nothing do not count."""
    said: list[Health] = []
    for field in _PART_FIELDS:
        value = obj.at("status", field)
        parts = objects(list(value.values()) if isinstance(value, dict) else value)
        found = [_by_word(Observed({"status": part.body})) for part in parts]
        said += [verdict for verdict in found if verdict is not None]
    return worst(said) if said else None


def _said(obj: Observed) -> str:
    for field in _SAID_FIELDS:
        value = (
            obj.text("status", field)
            or ", ".join(texts(obj.at("status", field)))
            or obj.text("status", field, "message")
        )
        if value:
            return value
    return ""


def _by_error(obj: Observed) -> Health | None:
    for field in _ERROR_FIELDS:
        value = obj.text("status", field) or obj.text("status", field, "message")
        if value:
            return degraded(value)
    return None


def _by_replicas(obj: Observed) -> Health | None:
    ready = obj.number("status", "readyReplicas")
    wanted = obj.number("spec", "replicas")
    if wanted is None:
        wanted = obj.number("status", "replicas")
    if ready is None or wanted is None or ready >= wanted:
        return None
    return progressing(f"{ready} of {wanted} replicas are ready")


_STEPS = (
    _paused,
    _not_observed,
    _by_conditions,
    _by_nested_conditions,
    _by_word,
    _by_flag,
    _by_error,
    _by_parts,
    _by_replicas,
)
"""In order; the first that has something to say is believed."""
