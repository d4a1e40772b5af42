"""A message on its way to a receiver: which sender, with which secret, over which wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from taut.clients.guarded import allowed
from taut.dialects.alerts import mail_allowed, secret_is_for
from taut.dialects.alerts_config import AlertsConfig
from taut.model.alerts import AlertReceiver
from taut.notify import alertmanager, pagerduty, slack, teams, webhook
from taut.notify.delivery import Poster, Request, UndeliveredError, as_json
from taut.notify.messages import Message

_LONGEST_SECRET = 8192


class Sender:
    """Sends messages as their receivers want them. `trusted`: the roots whose receivers may use secrets that name no roots."""

    def __init__(self, config: AlertsConfig, trusted: Collection[str], clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._trusted = trusted
        self._clock = clock
        self._poster = Poster()

    async def close(self) -> None:
        """Close connections."""
        await self._poster.close()

    async def send(self, message: Message, receiver: AlertReceiver) -> None:
        """Deliver a message. Raises UndeliveredError."""
        spec = receiver.spec
        if spec.email is not None:
            smtp = self._config.smtp
            if smtp is None:
                raise UndeliveredError("taut's configuration has no mail server (alerts.smtp)")
            if receiver.root and not all(mail_allowed(smtp, address) for address in spec.email.to):
                raise UndeliveredError(
                    "the receiver names an address that may not be sent mail (alerts.smtp.recipients)"
                )
            from taut.notify import mail  # the mail modules are loaded where there is mail

            await mail.send(message, smtp, spec.email.to)
            return
        if receiver.root and spec.url and not allowed(self._config.hosts, spec.url):
            raise UndeliveredError("the receiver's host may not be told anything (alerts.hosts)")
        secret = await asyncio.to_thread(self._secret, receiver) if spec.secret else ""
        # Only addresses of documents are guarded: the others are the configuration's own word.
        await self._poster.post(self._requests(message, receiver, secret), guarded=bool(receiver.root and spec.url))

    def _requests(self, message: Message, receiver: AlertReceiver, secret: str) -> list[Request]:
        spec = receiver.spec
        if spec.slack is not None:
            return [as_json(_address(secret, spec.secret), slack.payload(message), address="Slack")]
        if spec.teams is not None:
            return [as_json(_address(secret, spec.secret), teams.payload(message), address="Teams")]
        if spec.pagerduty is not None:
            url = self._config.pagerduty
            return [as_json(url, event, address="PagerDuty") for event in pagerduty.payloads(message, secret)]
        if spec.alertmanager is not None:
            alerts = alertmanager.payload(message)
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            return [as_json(spec.url.rstrip("/") + alertmanager.PATH, alerts, headers)] if alerts else []
        made = as_json(spec.url, webhook.payload(message))
        signed = webhook.headers(message.name, int(self._clock()), made.body, secret)
        return [Request(made.url, made.body, {**made.headers, **signed}, made.address)]

    def _secret(self, receiver: AlertReceiver) -> str:
        """The secret as its file says it now. Never in an error."""
        name = receiver.spec.secret
        known = next((s for s in self._config.secrets if s.name == name), None)
        if known is None or (receiver.root and not secret_is_for(known, receiver.root, self._trusted)):
            raise UndeliveredError(f"there is no secret {name!r} for this receiver")
        if receiver.root and receiver.spec.alertmanager is not None and not allowed(known.hosts, receiver.spec.url):
            raise UndeliveredError(f"the secret {name!r} may not be sent to this host")
        try:
            with Path(known.file).open(encoding="utf-8") as file:
                text = file.read(_LONGEST_SECRET).strip()
        except (OSError, ValueError):
            raise UndeliveredError(f"the file of the secret {name!r} cannot be read") from None
        if not text or not text.isprintable():
            raise UndeliveredError(f"the file of the secret {name!r} holds no single line of text")
        return text


def _address(secret: str, name: str) -> str:
    if not secret.startswith(("https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
        raise UndeliveredError(f"the secret {name!r} is no address that begins with https://")
    return secret


def encoded(message: Message) -> bytes:
    """A message as it is kept."""
    return msgspec.json.encode(message)


def decoded(data: bytes) -> Message:
    """The message that was kept."""
    return msgspec.json.decode(data, type=Message)
