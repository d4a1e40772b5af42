"""The rules, as a pure engine: open alerts and what has become known go in, changed alerts and notices come out.

An alert is a rule and one thing that it is about. It opens when that begins, is told when it has lasted as long as the rule says (not during a
silence), perhaps again, and closes when it is over. It is remembered with what was told: nothing is told twice, and no end without a beginning.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from taut.dialects.alerts import AlertBook, instant
from taut.dialects.globs import match_name
from taut.model.alerts import AlertRule, AlertRuleSpec, AlertSilence, Severity, Trigger
from taut.model.application import SyncWindow
from taut.model.drift import DriftOutcome
from taut.model.durations import seconds
from taut.notify.facts import About, Conditions, Fact
from taut.planning.windows import is_active

SILENCE_CHECK = 30.0
"""Seconds until an alert that a silence keeps is looked at again."""


class Phase(StrEnum):
    """What a notice tells: that something is so, that it is over, or that something happened."""

    FIRING = "firing"
    RESOLVED = "resolved"
    EVENT = "event"


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An open alert. Times are Unix seconds; `told` is when it was told last, 0 when never; `receivers` are who was told."""

    key: str
    rule: str
    fact: Fact
    since: float
    told: float = 0.0
    count: int = 0
    receivers: tuple[str, ...] = ()
    severity: Severity = Severity.WARNING


class Notice(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One thing that a receiver is told. `name` is the same for the same thing however often it is written; `key` is that of the alert."""

    name: str
    key: str
    rule: str
    receiver: str
    phase: Phase
    severity: Severity
    fact: Fact
    since: float
    at: float
    count: int = 1


@dataclass
class Step:
    """What a step of the engine comes to: alerts that changed (None: closed), and notices in order."""

    alerts: dict[str, Alert | None] = field(default_factory=dict[str, Alert | None])
    notices: list[Notice] = field(default_factory=list[Notice])


def heard(
    book: AlertBook,
    alerts: Mapping[str, Alert],
    who: About,
    found: Conditions,
    *,
    well: bool,
    now: float,
    hasty: bool = True,
) -> Step:
    """An application's conditions are known (anew). `alerts` are those of the application; without `hasty` no end is believed yet."""
    step = Step()
    for rule, receivers in matching(book, who):
        for trigger, fact in found.items():
            if trigger not in rule.spec.triggers:
                continue
            key = alert_key(rule, who.key, trigger)
            if fact is not None:
                step.alerts[key] = _kept(alerts.get(key), key, rule, fact, now)
            elif key in alerts and hasty:
                _close(step, rule, receivers, alerts[key], now)
        if Trigger.RECOVERED in rule.spec.triggers:
            _recovered(step, rule, receivers, alerts, who, found, well and hasty, now)
    return step


def drifted(book: AlertBook, alerts: Mapping[str, Alert], fact: Fact, now: float) -> Step:
    """A drift was found, or (with an outcome) is over."""
    step = Step()
    for rule, receivers in matching(book, fact.about):
        triggers = rule.spec.triggers
        key = alert_key(rule, fact.about.key, Trigger.DRIFT_FOUND, fact.subject)
        told = False
        if Trigger.DRIFT_FOUND in triggers:
            if not fact.outcome:
                step.alerts[key] = _kept(alerts.get(key), key, rule, fact, fact.at)
            elif key in alerts:
                ended = msgspec.structs.replace(alerts[key], fact=fact)
                told = _close(step, rule, receivers, ended, now)
        if Trigger.DRIFT_HEALED in triggers and fact.outcome == DriftOutcome.HEALED and not told:
            healed = msgspec.structs.replace(fact, trigger=Trigger.DRIFT_HEALED)
            _event(step, rule, receivers, healed, now)
    return step


def due(book: AlertBook, alerts: Mapping[str, Alert], now: float) -> Step:
    """What is to be told by now of open alerts: what has lasted long enough, is to be repeated, or was kept by a silence."""
    step = Step()
    for key, alert in alerts.items():
        found = book.by_id.get(alert.rule)
        if found is None or found[0].spec.suspended or not about(book, found[0], alert.fact.about):
            # Who was told must not wait for an end that nobody tells.
            _resolve(step, alert, alert.receivers, now, "Its rule is no more, or no longer about it.")
            step.alerts[key] = None
            continue
        rule, receivers = found
        if alert.fact.trigger is Trigger.RECOVERED or _next(rule, alert) > now or silenced(rule.spec.silences, now):
            continue
        told = msgspec.structs.replace(
            alert, told=now, count=alert.count + 1, receivers=receivers, severity=rule.spec.severity
        )
        step.alerts[key] = told
        step.notices += (_notice(told, Phase.FIRING, receiver, now) for receiver in receivers)
    return step


def next_look(book: AlertBook, alerts: Iterable[Alert], now: float) -> float | None:
    """When `due` has something to tell at the earliest, in Unix seconds; None when nothing is open that may have to be told."""
    times = [
        max(at, now + SILENCE_CHECK) if at <= now else at
        for alert in alerts
        if alert.rule in book.by_id
        and alert.fact.trigger is not Trigger.RECOVERED
        and (at := _next(book.by_id[alert.rule][0], alert)) < float("inf")
    ]
    return min(times, default=None)


def gone(book: AlertBook, alerts: Mapping[str, Alert], now: float) -> Step:
    """The application is no more: whatever was told of it is over."""
    step = Step()
    for key, alert in alerts.items():
        found = book.by_id.get(alert.rule)
        if found is None or found[0].spec.resolve:
            _resolve(step, alert, alert.receivers, now, "The application is no more.")
        step.alerts[key] = None
    return step


def matching(book: AlertBook, who: About) -> Iterator[tuple[AlertRule, tuple[str, ...]]]:
    """The rules about an application, with their receivers."""
    return ((rule, receivers) for rule, receivers in book.rules if not rule.spec.suspended and about(book, rule, who))


def about(book: AlertBook, rule: AlertRule, who: About) -> bool:
    """Whether a rule is about an application: it fits, and the rule's root may tell of it."""
    if rule.root not in book.everywhere and rule.root != who.root:
        return False
    match = rule.spec.match
    names = (who.name, who.short, who.key)
    return (
        any(match_name(p, name) for p in match.applications for name in names)
        and any(match_name(p, who.project) for p in match.projects)
        and any(match_name(p, who.cluster) for p in match.clusters)
        and any(match_name(p, who.target_namespace) for p in match.namespaces)
        and all(name in who.labels and match_name(p, who.labels[name]) for name, p in match.labels.items())
    )


def silenced(silences: Sequence[AlertSilence], now: float) -> bool:
    """Whether one of these silences holds at `now`."""
    return any(_holds(silence, int(now)) for silence in silences)


@functools.lru_cache(maxsize=4096)
def _holds(silence: AlertSilence, now: int) -> bool:
    """Many alerts of a rule ask in the same second, and a cron expression takes its time."""
    if silence.schedule:
        window = SyncWindow(schedule=silence.schedule, duration=silence.duration, time_zone=silence.time_zone)
        return is_active(window, now)
    begin, end = instant(silence.since), instant(silence.until)
    return begin is not None and end is not None and begin <= now < end


def alert_key(rule: AlertRule, app: str, trigger: Trigger, subject: str = "") -> str:
    """What an alert is known by, here and at receivers: the same rule, application, trigger and subject give the same."""
    return hashlib.sha256("\0".join((rule.id, app, trigger, subject)).encode()).hexdigest()[:32]


def _kept(known: Alert | None, key: str, rule: AlertRule, fact: Fact, since: float) -> Alert:
    """The alert with its newest words; its time goes on."""
    if known is None:
        return Alert(key=key, rule=rule.id, fact=fact, since=since, severity=rule.spec.severity)
    return msgspec.structs.replace(known, fact=msgspec.structs.replace(fact, at=known.fact.at))


def _next(rule: AlertRule, alert: Alert) -> float:
    spec: AlertRuleSpec = rule.spec
    if not alert.told:
        return alert.since + seconds(spec.after)
    return alert.told + seconds(spec.repeat) if spec.repeat else float("inf")


def _close(step: Step, rule: AlertRule, receivers: tuple[str, ...], alert: Alert, now: float) -> bool:
    """Close an alert; True when its end is told."""
    step.alerts[alert.key] = None
    if not alert.told or not rule.spec.resolve:
        return False
    _resolve(step, alert, alert.receivers or receivers, now)
    return True


def _resolve(step: Step, alert: Alert, receivers: Iterable[str], now: float, why: str = "") -> None:
    if not alert.told:
        return
    if why or not alert.fact.outcome:
        alert = msgspec.structs.replace(alert, fact=msgspec.structs.replace(alert.fact, next=why or "It is over."))
    step.notices += (_notice(alert, Phase.RESOLVED, receiver, now) for receiver in receivers)


def _event(step: Step, rule: AlertRule, receivers: Iterable[str], fact: Fact, now: float) -> None:
    if silenced(rule.spec.silences, now):
        return
    key = alert_key(rule, fact.about.key, fact.trigger, fact.subject)
    alert = Alert(key=key, rule=rule.id, fact=fact, since=fact.at, severity=rule.spec.severity, count=1)
    step.notices += (_notice(alert, Phase.EVENT, receiver, now) for receiver in receivers)


def _recovered(
    step: Step,
    rule: AlertRule,
    receivers: tuple[str, ...],
    alerts: Mapping[str, Alert],
    who: About,
    found: Conditions,
    well: bool,
    now: float,
) -> None:
    """Trouble is remembered as an alert that is never told; when all is well again, and it lasted long enough, that is."""
    key = alert_key(rule, who.key, Trigger.RECOVERED)
    trouble = next((fact for fact in found.values() if fact is not None), None)
    known = alerts.get(key)
    if trouble is not None:
        was = msgspec.structs.replace(trouble, trigger=Trigger.RECOVERED)
        step.alerts[key] = _kept(known, key, rule, was, now)
    elif known is not None and well:
        step.alerts[key] = None
        if now - known.since >= seconds(rule.spec.after):
            fact = msgspec.structs.replace(
                known.fact,
                at=now,
                what="all is well again",
                why=f"Before: {known.fact.what}",
                next="It runs what Git says, healthy.",
            )
            _event(step, rule, receivers, fact, now)


def _notice(alert: Alert, phase: Phase, receiver: str, now: float) -> Notice:
    identity = "\0".join((alert.key, receiver, phase, f"{alert.since:.6f}", str(alert.count)))
    return Notice(
        name=hashlib.sha256(identity.encode()).hexdigest()[:32],
        key=alert.key,
        rule=alert.rule,
        receiver=receiver,
        phase=phase,
        severity=alert.severity,
        fact=alert.fact,
        since=alert.since,
        at=now,
        count=max(alert.count, 1),
    )
