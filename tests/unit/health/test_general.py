"""The general rules, on a kind that nobody has a rule for."""

import pytest

from taut.health.assess import assess
from taut.health.vocabulary import Meaning, is_failure, is_negative, is_underway, meaning_of
from taut.model.health import HealthStatus

HEALTHY, SUSPENDED, PROGRESSING = HealthStatus.HEALTHY, HealthStatus.SUSPENDED, HealthStatus.PROGRESSING
MISSING, DEGRADED, UNKNOWN = HealthStatus.MISSING, HealthStatus.DEGRADED, HealthStatus.UNKNOWN


def widget(*, spec=None, annotations=None, generation=None, deleted=False, **status):
    metadata = {"name": "w", "annotations": annotations or {}}
    if generation is not None:
        metadata["generation"] = generation
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": spec or {}}
    return body | ({"status": status} if status else {})


def cond(type, status, reason="", message="", **more):
    return {"type": type, "status": status, "reason": reason, "message": message, **more}


def conds(*items):
    return {"conditions": list(items)}


TABLE = [
    ("no status at all", widget(), HEALTHY, ""),
    ("a status that says nothing", widget(lastSeen="2026"), HEALTHY, ""),
    ("marked for deletion", widget(deleted=True, **conds(cond("Ready", "True"))), PROGRESSING, "Pending deletion"),
    ("suspended by its spec", widget(spec={"suspend": True}), SUSPENDED, "Widget is suspended"),
    ("paused by its spec", widget(spec={"paused": True}, phase="Running"), SUSPENDED, "Widget is paused"),
    ("paused: only true counts", widget(spec={"paused": "yes"}, phase="Running"), HEALTHY, "Running"),
    ("paused by annotation", widget(annotations={"crossplane.io/paused": "true"}), SUSPENDED, "Widget is paused"),
    ("paused by condition", widget(**conds(cond("Paused", "True", "R", "by Ann"))), SUSPENDED, "by Ann"),
    ("an old generation", widget(generation=3, observedGeneration=2, phase="Ready"), PROGRESSING, None),
    ("the generation as text", widget(generation=3, observedGeneration="3", phase="Ready"), HEALTHY, "Ready"),
    ("no generation", widget(observedGeneration=2, phase="Ready"), HEALTHY, "Ready"),
    (
        "a condition of an old generation",
        widget(generation=3, **conds(cond("Ready", "True", observedGeneration=2))),
        PROGRESSING,
        None,
    ),
    ("an empty list of conditions", widget(**conds()), PROGRESSING, None),
    ("ready", widget(**conds(cond("Ready", "True", "R", "all well"))), HEALTHY, "all well"),
    ("not ready, and why", widget(**conds(cond("Ready", "False", "NoQuota", "no quota"))), DEGRADED, "no quota"),
    ("not ready yet", widget(**conds(cond("Ready", "False", "Creating", "soon"))), PROGRESSING, "soon"),
    ("not ready, unexplained", widget(**conds(cond("Ready", "False"))), PROGRESSING, ""),
    ("readiness unknown", widget(**conds(cond("Ready", "Unknown", "R", "?"))), PROGRESSING, "?"),
    ("a boolean condition", widget(**conds({"type": "Ready", "status": True})), HEALTHY, ""),
    ("stalled", widget(**conds(cond("Ready", "False"), cond("Stalled", "True", "R", "stuck"))), DEGRADED, "stuck"),
    (
        "reconciling",
        widget(**conds(cond("Ready", "True"), cond("Reconciling", "True", "P", "working"))),
        PROGRESSING,
        "working",
    ),
    ("a failure condition", widget(**conds(cond("InstallFailed", "True", "", "broke"))), DEGRADED, "broke"),
    ("a failure that did not happen", widget(**conds(cond("Failed", "False"), cond("Ready", "True"))), HEALTHY, ""),
    (
        "ready, but the last change failed",
        widget(**conds(cond("Ready", "True"), cond("Synced", "False", "ReconcileError", "denied"))),
        DEGRADED,
        "denied",
    ),
    (
        "a rollout that is over",
        widget(**conds(cond("Available", "True"), cond("Progressing", "True", "NewReplicaSetAvailable"))),
        HEALTHY,
        "",
    ),
    (
        "a rollout that gave up",
        widget(**conds(cond("Available", "True"), cond("Progressing", "False", "ProgressDeadlineExceeded", "late"))),
        DEGRADED,
        "late",
    ),
    ("a condition of its own name", widget(**conds(cond("RemoteSynced", "False", "X", "no"))), DEGRADED, "no"),
    ("conditions that say nothing", widget(**conds(cond("Coloured", "True"))), HEALTHY, ""),
    ("ready, though the phase failed", widget(phase="Failed", **conds(cond("Ready", "True"))), DEGRADED, "Failed"),
    ("phase running", widget(phase="Running"), HEALTHY, "Running"),
    ("phase in capitals", widget(phase="SCALING_UP"), PROGRESSING, "SCALING_UP"),
    ("phase failed, and why", widget(phase="Failed", message="disk full"), DEGRADED, "disk full"),
    ("state paused", widget(state="paused"), SUSPENDED, "paused"),
    ("state not found", widget(state="NotFound"), MISSING, "NotFound"),
    ("state unknown", widget(state="Unknown"), UNKNOWN, "Unknown"),
    ("a sentence as state", widget(currentState="Provisioning the service"), PROGRESSING, "Provisioning the service"),
    ("a failure spelt as a word", widget(state="CreateFailed"), DEGRADED, "CreateFailed"),
    ("a word nobody knows", widget(phase="Purple"), HEALTHY, ""),
    ("a status field of its own name", widget(jobStatus="FAILED"), DEGRADED, "FAILED"),
    ("a flag", widget(ready=False), PROGRESSING, ""),
    ("a flag, set", widget(ready=True), HEALTHY, ""),
    ("an error", widget(error="no route"), DEGRADED, "no route"),
    ("an error as an object", widget(lastError={"message": "no route"}), DEGRADED, "no route"),
    ("replicas missing", widget(spec={"replicas": 3}, readyReplicas=1), PROGRESSING, "1 of 3 replicas are ready"),
    ("replicas complete", widget(spec={"replicas": 3}, readyReplicas=3), HEALTHY, ""),
    (
        "a parent that refuses",
        widget(parents=[conds(cond("Accepted", "True")), conds(cond("Accepted", "False", "X", "no"))]),
        DEGRADED,
        "no",
    ),
    (
        "a parent that was left behind",
        widget(
            generation=2,
            parents=[
                conds(cond("Accepted", "False", observedGeneration=1)),
                conds(cond("Accepted", "True", observedGeneration=2)),
            ],
        ),
        HEALTHY,
        "Widget is healthy",
    ),
    (
        "no parent has seen it",
        widget(generation=2, parents=[conds(cond("Accepted", "True", observedGeneration=1))]),
        PROGRESSING,
        None,
    ),
]


@pytest.mark.parametrize(("body", "status", "message"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_table(body, status, message):
    found = assess(body)
    assert found.status is status, found.message
    assert message is None or found.message == message


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("Ready", Meaning.GOOD),
        ("up-to-date", Meaning.GOOD),
        ("ScalingUp", Meaning.MOVING),
        ("Waiting for Pods", Meaning.MOVING),
        ("SyncFailed", Meaning.BAD),
        ("HEALTH: Error", Meaning.BAD),
        ("hibernated", Meaning.PAUSED),
        ("", None),
        ("Purple", None),
        ("x" * 5000, None),
    ],
)
def test_words(word, meaning):
    assert meaning_of(word) is meaning


def test_condition_types_and_reasons():
    assert is_negative("Stalled")
    assert is_negative("CatalogSourcesUnhealthy")
    assert not is_negative("Ready")
    assert is_underway("ContainerCreating")
    assert not is_underway("CreatingFailed")
    assert is_failure("ProgressDeadlineExceeded")
