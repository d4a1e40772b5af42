"""Slack, by an incoming webhook: a message of blocks (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). Pure."""

from __future__ import annotations

from typing import Any

from taut.model.alerts import Severity
from taut.notify.messages import Message
from taut.notify.rules import Phase
from taut.notify.templates import MOST_SHOWN

_LONGEST_HEADER, _LONGEST_SECTION, _MOST_SECTIONS = 150, 3000, 10
_SIGNS = {Severity.CRITICAL: "🔴", Severity.ERROR: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}


def payload(message: Message) -> dict[str, Any]:
    """The body of the request. `text` is for notifications and for readers that show no blocks."""
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": _cut(f"{sign(message)} {message.title}", _LONGEST_HEADER),
                "emoji": True,
            },
        }
    ]
    blocks += [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in _sections(message.text)]
    blocks.append(
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(_context(message), _LONGEST_SECTION)}]}
    )
    return {"text": _cut(escaped(message.title), _LONGEST_SECTION), "blocks": blocks}


def sign(message: Message) -> str:
    """A sign that tells how bad it is, beside the words that tell it too."""
    if message.ended or all(n.phase is Phase.EVENT for n in message.notices):
        return "✅"
    return _SIGNS[message.notices[0].severity]


def escaped(text: str) -> str:
    """Text that is no markup: the three characters that Slack reads as such."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _sections(text: str) -> list[str]:
    """The paragraphs, put together to as few sections as hold them."""
    found: list[str] = []
    for paragraph in filter(None, escaped(text).split("\n\n")):
        part = _cut(paragraph, _LONGEST_SECTION)
        if found and len(found[-1]) + len(part) + 2 <= _LONGEST_SECTION:
            found[-1] += f"\n\n{part}"
        else:
            found.append(part)
    return found[:_MOST_SECTIONS]


def _context(message: Message) -> str:
    apps = [*dict.fromkeys(n.fact.about.short for n in message.notices)][:MOST_SHOWN]
    words = [f"rule {message.rule}", f"{len(message.notices)} of {', '.join(apps)}"]
    link = f" · <{message.link}|taut>" if message.link else ""
    return escaped(" · ".join(words)) + link


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
