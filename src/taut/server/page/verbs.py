"""What somebody can do to an application: each verb with the right that it needs, and what it will do in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from taut.model.status import AppStatus
from taut.server.access.principal import Action


@dataclass(frozen=True, slots=True)
class Verb:
    """`explain` says what will happen; `command` is the same on the command line. `plans`: the plan is shown before."""

    name: str
    title: str
    button: str
    right: Action
    when: Callable[[AppStatus], bool]
    explain: Callable[[AppStatus], str]
    command: Callable[[AppStatus], str]
    plans: bool = False
    reasoned: bool = False
    danger: bool = False


def _sync(status: AppStatus) -> str:
    if status.suspended:
        return "It is suspended: taut notes the wish, and carries it out when it is resumed."
    if status.held_for:
        return "The plan is held: a sync waits until it is approved."
    return "taut brings live to what Git says, wave by wave, and waits for health. This is the plan as of now; what is applied is planned anew."


VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "sync", "Sync", "Sync now", Action.SYNC, lambda _: True, _sync, lambda s: f"taut sync {s.name}", plans=True
        ),
        Verb(
            "refresh",
            "Refresh",
            "Look at the source",
            Action.SYNC,
            lambda _: True,
            lambda s: (
                f"taut looks at {s.source_url or 'its source'} now instead of waiting for a webhook or its interval. "
                + (
                    "A new revision is then synced by itself."
                    if s.mode == "automatic"
                    else "A new revision is then only shown."
                )
            ),
            lambda s: f"taut refresh {s.name}",
        ),
        Verb(
            "approve",
            "Approve",
            "Approve this plan",
            Action.APPROVE,
            lambda s: bool(s.plan_hash) and any(h.approvable for h in s.held_for),
            lambda _: (
                "The approval counts for this plan and no other: when Git or the cluster changes it, taut asks again."
            ),
            lambda s: f"taut approve {s.name} --plan {s.plan_hash[:8]}",
            plans=True,
            reasoned=True,
        ),
        Verb(
            "suspend",
            "Suspend",
            "Suspend",
            Action.SUSPEND,
            lambda s: not s.suspended,
            lambda _: (
                "taut neither syncs, heals, prunes nor deletes until somebody resumes it. What runs goes on running."
            ),
            lambda s: f"taut suspend {s.name}",
            reasoned=True,
        ),
        Verb(
            "resume",
            "Resume",
            "Resume",
            Action.SUSPEND,
            lambda s: s.suspended,
            lambda s: (
                "taut looks after it again. "
                + (
                    "It syncs by itself: this is what it would do."
                    if s.mode == "automatic"
                    else "It still waits for a person to sync."
                )
            ),
            lambda s: f"taut resume {s.name}",
            plans=True,
        ),
        Verb(
            "restart",
            "Restart",
            "Restart",
            Action.RESTART,
            lambda _: True,
            lambda _: (
                "The Pods of the workload are replaced one after the other, by a rolling update. Git is not changed, and this is no drift."
            ),
            lambda s: f"taut restart {s.name}",
        ),
        Verb(
            "abort",
            "Abort",
            "Stop it",
            Action.SYNC,
            lambda s: s.operation == "Running",
            lambda _: (
                "The operation stops before its next step. What was applied stays; this content is not tried again until somebody syncs."
            ),
            lambda s: f"taut abort {s.name}",
            danger=True,
        ),
    )
}
_ORDER = ("refresh", "restart", "suspend", "resume", "abort", "sync", "approve")


def offered(status: AppStatus, allowed: Collection[Action]) -> list[Verb]:
    """The verbs that make sense now and that somebody may use; the one that is most likely wanted last."""
    return [VERBS[name] for name in _ORDER if VERBS[name].right in allowed and VERBS[name].when(status)]
