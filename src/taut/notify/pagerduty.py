"""PagerDuty, by the Events API v2: one event for each alert, known by its key (developer.pagerduty.com, "Send an event"). Pure."""

from __future__ import annotations

from typing import Any

from taut.model.times import rfc3339
from taut.notify.messages import Message
from taut.notify.rules import Notice, Phase
from taut.notify.templates import sentence

_LONGEST_SUMMARY = 1024


def payloads(message: Message, routing_key: str) -> list[dict[str, Any]]:
    """The bodies of the requests, in order. What only happened (and does not last) opens no incident: such notices are left out."""
    return [_event(n, message, routing_key) for n in message.notices if n.phase is not Phase.EVENT]


def _event(notice: Notice, message: Message, routing_key: str) -> dict[str, Any]:
    event: dict[str, Any] = {"routing_key": routing_key, "dedup_key": notice.key}
    if notice.phase is Phase.RESOLVED:
        return {**event, "event_action": "resolve"}
    fact = notice.fact
    summary = message.title if len(message.notices) == 1 else f"{fact.about.short}: {fact.what}"
    details = {
        "text": sentence(notice),
        "trigger": fact.trigger.value,
        "rule": notice.rule,
        "object": fact.object,
        "field": fact.field,
        "git_says": fact.desired,
        "found": fact.found,
        "program": fact.who,
        "user": fact.user,
        "revision": fact.about.revision,
    }
    event |= {
        "event_action": "trigger",
        "payload": {
            "summary": summary[:_LONGEST_SUMMARY],
            "source": fact.about.cluster or fact.about.key,
            "severity": notice.severity.value,
            "timestamp": rfc3339(notice.since),
            "component": fact.about.short,
            "group": fact.about.project,
            "class": fact.trigger.value,
            "custom_details": {name: value for name, value in details.items() if value},
        },
        "client": "taut",
    }
    if message.link:
        event["client_url"] = message.link
    return event
