"""What the words mean that controllers write into phases, states, reasons and condition types."""

from __future__ import annotations

import re
from enum import Enum


class Meaning(Enum):
    """What a phase or state says."""

    GOOD = "good"
    MOVING = "moving"
    BAD = "bad"
    PAUSED = "paused"
    ABSENT = "absent"
    UNCLEAR = "unclear"


_WORDS: dict[Meaning, str] = {
    Meaning.GOOD: (
        "ready running healthy active available succeeded success successful complete completed finished done bound deployed installed"
        " provisioned created established online up green ok synced insync accepted valid compliant operational initialized connected"
        " registered exists enabled attached detached issued bootstrapped reconciled normal stable loaded uptodate"
    ),
    Meaning.MOVING: (
        "pending progressing creating created_pending provisioning installing initializing initialising initial starting restarting"
        " updating upgrading deploying scaling scalingup scalingdown reconciling waiting inprogress processing scheduling scheduled"
        " building migrating applyingchanges restoring configuring bootstrapping expanding finalizing finalising promoting queued new"
        " submitted accepted_pending terminating deleting attaching detaching stopping yellow validating planning applying resizing"
        " preparing rolling rollingupdate recovering importing notready notreconciled"
    ),
    Meaning.BAD: (
        "failed failure error errored degraded unhealthy invalid rejected red faulted crashed lost denied expired conflict broken"
        " warning configerror createfailed updatefailed syncfailed submissionfailed partiallyfailed failedvalidation noncompliant unavailable"
        " timeout timedout aborted cancelled canceled evicted err exception stalled offline down"
    ),
    Meaning.PAUSED: "paused suspended hibernated stopped disabled inactive halted maintenance",
    Meaning.ABSENT: "notfound missing",
    Meaning.UNCLEAR: "unknown",
}
_MEANING = {word: meaning for meaning, line in _WORDS.items() for word in line.split()}

_NEGATIVE_TYPES = frozenset(
    [
        "Stalled",
        "Failed",
        "Failure",
        "Failing",
        "Error",
        "Errored",
        "ErrorOccurred",
        "Errors",
        "HasErrors",
        "Degraded",
        "NotReady",
        "Invalid",
        "InvalidSpec",
        "Terminal",
        "Rejected",
        "ReconcileError",
        "SpecError",
        "SubmissionError",
        "PartiallyReady",
        "NonStructuralSchema",
        "Orphan",
        "Denied",
        "Dangling",
        "Fallback",
        "Conflicted",
        "NoMatchingInstance",
        "NoMatchingInstances",
    ]
)
_NEGATIVE_ENDINGS = ("Failed", "Failure", "Error", "Unhealthy", ".Terminal", "Invalid")
_HARMLESS = frozenset({"NoError", "LastError"})

_UNDERWAY = re.compile(
    r"Progress|Pending|Creating|Initiali[sz]|Provisioning|Waiting|Reconciling|Installing|Updating|Upgrading|Starting|Deploying|Cloning"
    r"|Scaling|Rolling|Bootstrapping|Issuing|NotReconciled|NotComplete|NotInstalled|SetNotReady|Scheduling|Restoring|Building|Unknown$",
    re.IGNORECASE,
)


_FAILURE = re.compile(
    r"[Ff]ail|FAIL|Error|ERROR|Invalid|Aborted|Exceeded|Timeout|TimedOut|Rejected|Refused|Denied|Unhealthy"
)


def meaning_of(word: str) -> Meaning | None:
    """The meaning of a phase or state, however it is written (`ScalingUp`, `scaling-up`, `SCALING_UP`); None for an unknown word."""
    if not word or len(word) > 200:
        return None
    known = _MEANING.get(re.sub(r"[\s_\-.]", "", word).lower())
    if known is not None:
        return known
    if is_failure(word):
        return Meaning.BAD
    if is_underway(word) or "notready" in re.sub(r"[\s_\-.]", "", word).lower():
        return Meaning.MOVING
    first = re.split(r"[\s_\-.:]", word, maxsplit=1)[0]
    return _MEANING.get(first.lower()) or (Meaning.MOVING if first.lower().endswith("ing") else None)


def is_negative(condition_type: str) -> bool:
    """Whether it is bad news that a condition of this type is True."""
    if condition_type in _NEGATIVE_TYPES:
        return True
    return condition_type.endswith(_NEGATIVE_ENDINGS) and condition_type not in _HARMLESS


def is_underway(reason: str) -> bool:
    """Whether a condition that does not hold yet says by its reason that it is about to."""
    return bool(_UNDERWAY.search(reason)) and not is_failure(reason)


def is_failure(text: str) -> bool:
    """Whether a reason or state says in its own spelling that something went wrong (`CreateFailed`, `ProgressDeadlineExceeded`)."""
    return bool(_FAILURE.search(text))
