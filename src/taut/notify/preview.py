"""What a rule would say: of an example, or of an application as it is. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from taut.dialects.alerts import AlertBook
from taut.dialects.problems import one_of
from taut.model.alerts import AlertReceiver, AlertRule, AlertRuleSpec, Trigger
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import BadInput
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus
from taut.notify.facts import About, Fact, conditions, drift_ended, drift_fact
from taut.notify.messages import Message, Pending, message_of
from taut.notify.rules import Notice, Phase, alert_key
from taut.notify.templates import words

_WORDS: dict[Trigger, tuple[str, str, str]] = {
    Trigger.SYNC_FAILED: (
        "the sync failed",
        "Deployment shop/web: the API server refused it: spec.selector is immutable",
        "taut tries again as the application's retry policy says, and at the next commit.",
    ),
    Trigger.HELD: (
        "a sync is held",
        "deletes PersistentVolumeClaim shop/data",
        "taut waits for a decision. To let it pass: taut approve shop/web --plan 1a2b3c4d",
    ),
    Trigger.HEALTH_DEGRADED: (
        "health is Degraded",
        "Deployment web: 1 of 3 replicas are available",
        "taut watches; what runs is what Git says.",
    ),
    Trigger.POLICY_DENIED: (
        "a policy denies what Git wants",
        "require-limits: Deployment shop/web has no memory limit",
        "taut writes nothing of it, and judges again every minute.",
    ),
    Trigger.SECRET_UNRESOLVED: (
        "a Secret's values cannot be had",
        "ExternalSecret shop/db: the store does not answer",
        "taut leaves what needs it alone, and asks again.",
    ),
    Trigger.SOURCE_UNREACHABLE: (
        "a source cannot be read",
        "the server cannot be reached: Connection refused (https://git.example.com/shop.git)",
        "taut goes on with what it read last, and tries again; check that it runs.",
    ),
    Trigger.RECOVERED: ("all is well again", "Before: the sync failed", "It runs what Git says, healthy."),
}


LASTING = frozenset({"alertmanager", "pagerduty"})
"""Receivers that keep an alert open until they hear of its end: after a test they do at once."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The messages, each with whom it is for."""

    messages: tuple[tuple[Message, AlertReceiver], ...]


def previewed(
    book: AlertBook, name: str, facts: Sequence[Fact], now: float, link: str = "", who: About | None = None
) -> Preview:
    """What the rule or the receiver of this name would be told; without `facts`, of examples (of the application `who`, if one is given). Raises BadInput for a name that nobody has."""
    rules = [(rule, receivers) for rule, receivers in book.rules if name in (rule.id, rule.name)]
    receivers = [r for r in book.receivers.values() if name in (r.id, r.name)]
    if len(rules) + len(receivers) > 1:
        exact = [r.id for r, _ in rules] + [r.id for r in receivers]
        raise BadInput(
            f"{name!r} can mean several: {', '.join(exact)}",
            advice="write its root before it, or give each its own name",
        )
    if rules:
        rule, ids = rules[0]
        told = [book.receivers[i] for i in ids]
    elif receivers:
        told = receivers
        spec = AlertRuleSpec(triggers=(Trigger.DRIFT_FOUND,), receivers=(receivers[0].name,))
        rule = AlertRule(name="test", spec=spec, root=receivers[0].root)
    else:
        known = [r.id for r, _ in book.rules] + list(book.receivers)
        raise BadInput(
            f"there is no alert rule or receiver {name!r}", advice=one_of(name, known) or "declare one: docs/alerts.md"
        )
    mine = [f for f in facts if f.trigger in rule.spec.triggers] or [example(t, now, who) for t in rule.spec.triggers]
    return Preview(tuple((_message(rule, receiver.id, mine, now, link), receiver) for receiver in told))


def ended(message: Message) -> Message:
    """The end of what a test told."""
    notices = tuple(msgspec.structs.replace(n, phase=Phase.RESOLVED) for n in message.notices)
    return msgspec.structs.replace(message, name=f"{message.name}_end", notices=notices)


def words_of(rule: AlertRule, now: float) -> tuple[str, str]:
    """Title and text of a rule's examples."""
    message = _message(rule, "", [example(t, now) for t in rule.spec.triggers], now, "")
    return message.title, message.text


def facts_of(status: AppStatus, unresolved: Sequence[str]) -> tuple[Fact, ...]:
    """What holds of an application now."""
    return tuple(fact for fact in conditions(status, time.time(), unresolved).values() if fact is not None)


_SOMEBODY = About(
    key="fleet/shop/web",
    root="fleet",
    namespace="shop",
    name="web",
    project="shop",
    cluster="production",
    target_namespace="shop",
    revision="main@1a2b3c4d",
)


def example(trigger: Trigger, now: float, who: About | None = None) -> Fact:
    """A fact as an example, of `who` or of nobody in particular."""
    who = who or _SOMEBODY
    if trigger in (Trigger.DRIFT_FOUND, Trigger.DRIFT_HEALED):
        record = DriftRecord(
            id=1,
            app=AppKey("fleet", "shop", "web"),
            ref=ObjectRef("production", "apps", "Deployment", "shop", "web"),
            path="spec.replicas",
            desired=2,
            found=5,
            who="kubectl-scale",
            operation="Update",
            changed_at=now - 2,
            noticed_at=now,
            outcome=DriftOutcome.OPEN,
            user="ada@example.com",
        )
        if trigger is Trigger.DRIFT_FOUND:
            return drift_fact(who, record)
        return msgspec.structs.replace(drift_ended(who, record, DriftOutcome.HEALED, now, ""), trigger=trigger)
    what, why, then = _WORDS[trigger]
    return Fact(trigger=trigger, about=who, at=now, what=what, why=why, next=then)


def _message(rule: AlertRule, receiver: str, facts: Iterable[Fact], now: float, link: str) -> Message:
    notices = [_notice(rule, receiver, fact, now) for fact in facts]
    pending = [Pending(number, notice, now) for number, notice in enumerate(notices)]
    return message_of(pending, lambda found: words(found, rule.spec.template, link), link, now)


def _notice(rule: AlertRule, receiver: str, fact: Fact, now: float) -> Notice:
    # Its key is of its own: a test never ends, or repeats, an alert that is open.
    key = alert_key(rule, f"test {fact.about.key} {now}", fact.trigger, fact.subject)
    event = fact.trigger in (Trigger.DRIFT_HEALED, Trigger.RECOVERED)
    return Notice(
        name=alert_key(rule, f"test {receiver} {now}", fact.trigger, fact.subject),
        key=key,
        rule=rule.id,
        receiver=receiver,
        phase=Phase.EVENT if event else Phase.FIRING,
        severity=rule.spec.severity,
        fact=fact,
        since=now,
        at=now,
    )
