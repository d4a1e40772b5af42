"""From what the controller knows to facts that rules are about. Pure.

A fact says what, why, and what taut does next. Conditions (a failed sync, bad health, …) are read from an application's status: they begin, last and
end. Drift comes from drift records, one fact for each field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from taut.model.alerts import Trigger
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.health import HealthStatus
from taut.model.manifests import canonical
from taut.model.plan import HoldKind
from taut.model.status import AppStatus, HeldFor, SyncStatus
from taut.model.visible import clean

LONGEST_VALUE = 200
LONGEST_TEXT = 1000
_SECRET = "••••••"  # noqa: S105 (stands for one)


class About(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Which application a fact is about, as far as rules ask."""

    key: str
    root: str
    namespace: str
    name: str
    project: str = ""
    cluster: str = ""
    target_namespace: str = ""
    labels: dict[str, str] = {}
    revision: str = ""

    @property
    def short(self) -> str:
        """What people call it."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Fact(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """One thing that happened, or lasts. `subject` tells facts of one trigger and application apart; times are Unix seconds.

    Of drift: the object, the field, what Git says and what was found (as JSON, cut; a placeholder where secret), the program (`who`) and
    the user that changed it, and when. Texts are empty where nobody knows.
    """

    trigger: Trigger
    about: About
    at: float
    what: str
    why: str = ""
    next: str = ""
    subject: str = ""
    object: str = ""
    field: str = ""
    desired: str = ""
    found: str = ""
    who: str = ""
    user: str = ""
    changed_at: float = 0.0
    secret: bool = False
    outcome: str = ""
    """What became of the drift; empty while it is there."""


type Conditions = Mapping[Trigger, Fact | None]
"""For each trigger that can be told now: the fact that holds, or None when it does not. What cannot be told is left out."""


def about(status: AppStatus) -> About:
    """The application of a status."""
    return About(
        key=status.key,
        root=status.root,
        namespace=status.namespace,
        name=status.name,
        project=status.project,
        cluster=status.cluster,
        target_namespace=status.target_namespace,
        labels=status.labels,
        revision=status.desired_revision or status.revision,
    )


def conditions(status: AppStatus, now: float, unresolved: Sequence[str] = ()) -> Conditions:
    """What holds of an application, and what does not. `unresolved`: the Secrets whose values cannot be had.

    Of one that was not looked at yet nothing can be told.
    """
    if status.sync is SyncStatus.UNKNOWN and not status.problems:
        return {}
    held = {kind: [h for h in status.held_for if _trigger(h) is kind] for kind in _NEXT}
    who = about(status)
    found: dict[Trigger, Fact | None] = {
        trigger: _held(trigger, who, holds, status, now) if holds else None for trigger, holds in held.items()
    }
    if unresolved and found[Trigger.SECRET_UNRESOLVED] is None:
        found[Trigger.SECRET_UNRESOLVED] = Fact(
            trigger=Trigger.SECRET_UNRESOLVED,
            about=who,
            at=now,
            what="a Secret's values cannot be had",
            why=_cut(unresolved[0]),
            next="taut keeps the values from before, where there are any, and asks again.",
        )
    return found | _source(status, who, now) | _sync(status, who, now) | _health(status, who, now)


def _trigger(hold: HeldFor) -> Trigger:
    return {HoldKind.POLICY.value: Trigger.POLICY_DENIED, HoldKind.SECRET.value: Trigger.SECRET_UNRESOLVED}.get(
        hold.kind, Trigger.HELD
    )


_NEXT = {
    Trigger.HELD: "taut waits for a decision.",
    Trigger.POLICY_DENIED: "taut writes nothing of it, and judges again every minute.",
    Trigger.SECRET_UNRESOLVED: "taut leaves what needs it alone, and asks again.",
}


def _held(trigger: Trigger, who: About, holds: Sequence[HeldFor], status: AppStatus, now: float) -> Fact:
    first = holds[0]
    what = {
        Trigger.HELD: "a sync is held",
        Trigger.POLICY_DENIED: "a policy denies what Git wants",
        Trigger.SECRET_UNRESOLVED: "a Secret's values cannot be had",
    }[trigger]
    more = f" (and {len(holds) - 1} more)" if len(holds) > 1 else ""
    command = (
        f" To let it pass: taut approve {who.short} --plan {status.plan_hash[:8]}"
        if first.approvable and status.plan_hash
        else ""
    )
    return Fact(
        trigger=trigger,
        about=who,
        at=now,
        what=what,
        why=_cut(first.message + more),
        next=_NEXT[trigger] + (command if trigger is Trigger.HELD else ""),
        object=first.objects[0] if first.objects else "",
    )


def _source(status: AppStatus, who: About, now: float) -> dict[Trigger, Fact | None]:
    problem = next((p for p in status.problems if p.stage == "source"), None)
    if problem is None:
        return {Trigger.SOURCE_UNREACHABLE: None}
    fact = Fact(
        trigger=Trigger.SOURCE_UNREACHABLE,
        about=who,
        at=now,
        what="a source cannot be read",
        why=_cut(f"{problem.what} ({problem.where})" if problem.where else problem.what),
        next="taut goes on with what it read last, and tries again"
        + (f"; {problem.advice}." if problem.advice else "."),
    )
    return {Trigger.SOURCE_UNREACHABLE: fact}


def _sync(status: AppStatus, who: About, now: float) -> dict[Trigger, Fact | None]:
    """What Git wants cannot be carried out: an operation failed, or no plan comes about."""
    problem = next((p for p in status.problems if p.stage not in ("source", "health")), None)
    if problem is not None:
        why = f"{problem.what} ({problem.where})" if problem.where else problem.what
        advice = f" {problem.advice[:1].upper()}{problem.advice[1:]}." if problem.advice else ""
        text = f"taut leaves what runs as it is, and tries again when something moves.{advice}"
        return {
            Trigger.SYNC_FAILED: Fact(
                trigger=Trigger.SYNC_FAILED,
                about=who,
                at=now,
                what="what Git wants cannot be carried out",
                why=_cut(why),
                next=text,
            )
        }
    if status.operation == "Failed":
        return {
            Trigger.SYNC_FAILED: Fact(
                trigger=Trigger.SYNC_FAILED,
                about=who,
                at=now,
                what="the sync failed",
                why=_cut(status.operation_message or status.message),
                next="taut tries again as the application's retry policy says, and at the next commit.",
            )
        }
    over = status.operation == "Succeeded" or (status.operation == "" and status.sync is SyncStatus.SYNCED)
    return {Trigger.SYNC_FAILED: None} if over else {}


def _health(status: AppStatus, who: About, now: float) -> dict[Trigger, Fact | None]:
    if status.health is HealthStatus.DEGRADED:
        fact = Fact(
            trigger=Trigger.HEALTH_DEGRADED,
            about=who,
            at=now,
            what="health is Degraded",
            why=_cut(status.health_message),
            next="taut watches; what runs is "
            + ("what Git says." if status.sync is SyncStatus.SYNCED else "not what Git says."),
        )
        return {Trigger.HEALTH_DEGRADED: fact}
    return {Trigger.HEALTH_DEGRADED: None} if status.health in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED) else {}


def well(status: AppStatus) -> bool:
    """Whether all is as it should be."""
    return status.sync is SyncStatus.SYNCED and status.health is HealthStatus.HEALTHY and not status.held_for


def drift_fact(who: About, record: DriftRecord) -> Fact:
    """What somebody changed. Of one that is over (`healed`, `reverted`, `adopted`) the outcome is told, and nothing comes next."""
    place, obj = record.path or "the whole object", str(record.ref)
    author = _author(record)
    if record.missing:
        what = f"{author} removed {f'{place} of {obj}' if record.path else obj}"
    else:
        what = f"{author} changed {place} of {obj}"
    return Fact(
        trigger=Trigger.DRIFT_FOUND,
        about=who,
        at=record.noticed_at,
        what=clean(what),
        next=_prospect(record),
        subject=f"{record.ref.cluster} {record.ref.id} {record.path}",
        object=clean(obj),
        field=clean(record.path),
        desired=_value(record.desired, record.secret),
        found="" if record.missing else _value(record.found, record.secret),
        who=clean(record.who),
        user=clean(record.user),
        changed_at=record.changed_at,
        secret=record.secret,
    )


def drift_ended(who: About, record: DriftRecord, outcome: DriftOutcome, at: float, reason: str) -> Fact:
    """What became of a drift."""
    fact = drift_fact(who, record)
    words = {
        DriftOutcome.HEALED: "taut put it back.",
        DriftOutcome.REVERTED: "It is as Git says again: " + (reason or "put back by somebody else") + ".",
        DriftOutcome.ADOPTED: "Git says now what was found.",
    }
    return msgspec.structs.replace(fact, at=at, outcome=outcome.value, next=words.get(outcome, reason))


def _author(record: DriftRecord) -> str:
    if record.user and record.who:
        return f"{record.user} ({record.who})"
    return record.user or record.who or "somebody"


def _prospect(record: DriftRecord) -> str:
    if record.outcome is DriftOutcome.OPEN:
        return "taut puts it back."
    return f"taut leaves it: {record.reason}." if record.reason else "taut leaves it."


def _value(value: Any, secret: bool) -> str:
    if secret:
        return _SECRET
    if value is None:
        return ""
    text = value if isinstance(value, str) else canonical(value).decode()
    return clean(text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…")


def _cut(text: str) -> str:
    return clean(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…")
