"""Any server: JSON, signed as Standard Webhooks says (github.com/standard-webhooks/standard-webhooks, spec). Pure."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from taut.model.times import rfc3339
from taut.notify.delivery import UndeliveredError
from taut.notify.messages import Message

_PREFIX = "whsec_"
_SHORTEST_KEY = 24


def payload(message: Message) -> dict[str, Any]:
    """The body of the request: `type`, `timestamp` and `data`, as the specification proposes."""
    return {
        "type": "taut.alert",
        "timestamp": rfc3339(message.at),
        "data": {
            "id": message.name,
            "rule": message.rule,
            "receiver": message.receiver,
            "title": message.title,
            "text": message.text,
            "link": message.link,
            "alerts": [
                {
                    "key": n.key,
                    "state": n.phase.value,
                    "severity": n.severity.value,
                    "repeat": n.count - 1,
                    "since": rfc3339(n.since),
                    "at": rfc3339(n.at),
                    "trigger": n.fact.trigger.value,
                    "application": msgspec.to_builtins(n.fact.about),
                    "what": n.fact.what,
                    "why": n.fact.why,
                    "next": n.fact.next,
                    "object": n.fact.object,
                    "field": n.fact.field,
                    "desired": n.fact.desired,
                    "found": n.fact.found,
                    "who": n.fact.who,
                    "user": n.fact.user,
                    "changedAt": rfc3339(n.fact.changed_at),
                    "secret": n.fact.secret,
                    "outcome": n.fact.outcome,
                }
                for n in message.notices
            ],
        },
    }


def headers(name: str, at: int, body: bytes, secret: str) -> Mapping[str, str]:
    """The three headers of a request: who it is, when it was sent, and the signature of both with the body. Raises UndeliveredError for a bad key."""
    return {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature(name, at, body, secret)}


def signature(name: str, at: int, body: bytes, secret: str) -> str:
    """`v1,` and the HMAC-SHA256 over `name.at.body` in base64. Raises UndeliveredError for a key that is none."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _SHORTEST_KEY:
        raise UndeliveredError(
            f"the key of the signature is no base64 of at least {_SHORTEST_KEY} bytes; make one: echo whsec_$(openssl rand -base64 32)"
        )
    content = f"{name}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
