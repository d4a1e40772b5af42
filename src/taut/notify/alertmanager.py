"""Alertmanager, by its API v2 (`POST /api/v2/alerts`, api/v2/openapi.yaml). Pure."""

from __future__ import annotations

from typing import Any

from taut.model.times import rfc3339
from taut.notify.messages import Message
from taut.notify.rules import Notice, Phase
from taut.notify.templates import sentence

PATH = "/api/v2/alerts"
_LONG = 366 * 24 * 3600.0
"""An alert without an end is taken for over after some minutes. taut tells the end itself: until then it is far away."""


def payload(message: Message) -> list[dict[str, Any]]:
    """The body of the request. What only happened (and does not last) is left out: nobody would end it."""
    return [_alert(n, message) for n in message.notices if n.phase is not Phase.EVENT]


def _alert(notice: Notice, message: Message) -> dict[str, Any]:
    fact = notice.fact
    labels = {
        "alertname": "Taut" + "".join(word.title() for word in fact.trigger.split("-")),
        "severity": notice.severity.value,
        "trigger": fact.trigger.value,
        "application": fact.about.key,
        "project": fact.about.project,
        "cluster": fact.about.cluster,
        "namespace": fact.about.target_namespace,
        "rule": notice.rule,
        "object": fact.object,
        "field": fact.field,
    }
    annotations = {
        "summary": f"{fact.about.short}: {fact.what}",
        "description": sentence(notice),
        "user": fact.user,
        "program": fact.who,
    }
    # Times are whole seconds: what was over at once lasted one.
    ends = max(notice.at, notice.since + 1) if notice.phase is Phase.RESOLVED else notice.since + _LONG
    alert: dict[str, Any] = {
        # An empty label is no label there, and the labels are what an alert is known by.
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": rfc3339(notice.since),
        "endsAt": rfc3339(ends),
    }
    if message.link:
        alert["generatorURL"] = message.link
    return alert
