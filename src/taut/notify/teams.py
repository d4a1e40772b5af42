"""Microsoft Teams, by a webhook of Workflows: an adaptive card (learn.microsoft.com, "Create incoming webhooks with Workflows"). Pure."""

from __future__ import annotations

from typing import Any

from taut.model.alerts import Severity
from taut.notify.messages import Message
from taut.notify.rules import Notice

_MOST_FACTS, _MOST_BLOCKS = 5, 20
_COLOURS = {
    Severity.CRITICAL: "attention",
    Severity.ERROR: "attention",
    Severity.WARNING: "warning",
    Severity.INFO: "accent",
}


def payload(message: Message) -> dict[str, Any]:
    """The body of the request: a message with one card."""
    colour = "good" if message.ended else _COLOURS[message.notices[0].severity]
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": escaped(message.title),
            "weight": "bolder",
            "size": "medium",
            "wrap": True,
            "color": colour,
        }
    ]
    paragraphs = [p for p in message.text.split("\n\n") if p][:_MOST_BLOCKS]
    body += [{"type": "TextBlock", "text": escaped(p).replace("\n", "\n\n"), "wrap": True} for p in paragraphs]
    drift = [n for n in message.notices if n.fact.field][:_MOST_FACTS]
    body += [{"type": "FactSet", "facts": _facts(n)} for n in drift]
    body.append(
        {"type": "TextBlock", "text": escaped(f"rule {message.rule}"), "isSubtle": True, "size": "small", "wrap": True}
    )
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open taut", "url": message.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def escaped(text: str) -> str:
    """Text that is no markup: what cards read as Markdown is quoted."""
    return "".join(f"\\{c}" if c in "\\*_[]()#`>" else c for c in text)


def _facts(notice: Notice) -> list[dict[str, str]]:
    fact = notice.fact
    pairs = (
        ("Object", fact.object),
        ("Field", fact.field),
        ("Git says", fact.desired),
        ("Found", fact.found),
        ("By", " ".join(filter(None, (fact.user, f"({fact.who})" if fact.who else "")))),
    )
    return [{"title": title, "value": escaped(value)} for title, value in pairs if value]
