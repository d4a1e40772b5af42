"""What each kind of receiver is sent, held against its published description, or against another implementation that reads it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, SectionBlock
from standardwebhooks import Webhook, WebhookVerificationError

from taut.dialects.alerts_config import SmtpConfig
from taut.model.alerts import Severity, Trigger
from taut.notify import alertmanager, mail, pagerduty, slack, teams, webhook
from taut.notify.delivery import UndeliveredError, pause_after, refusal, retry_after
from taut.notify.facts import Fact
from taut.notify.messages import Message, Pending, message_of
from taut.notify.rules import Notice, Phase
from taut.notify.templates import words
from unit.notify.facts_of import NOW, WEB, drift, healed, notice

FIXTURES = Path(__file__).parents[2] / "fixtures" / "alerts"
LINK = "https://taut.example.com"
HELD = Fact(
    trigger=Trigger.HELD,
    about=WEB,
    at=NOW,
    what="a sync is held",
    why="deletes <!channel> & *more* [x](y)",
    next="taut waits.",
)


def message(*notices: Notice, link: str = LINK) -> Message:
    """The message of these notices."""
    from taut.model.alerts import AlertTemplate

    pending = [Pending(n, each, NOW) for n, each in enumerate(notices)]
    return message_of(pending, lambda found: words(found, AlertTemplate(), link), link, NOW)


BOTH = message(notice(drift(), number=1), notice(healed(), number=2, phase=Phase.RESOLVED, at=NOW + 3))
CROWD = message(*(notice(drift(f"spec.field{n}", found="y" * 500), number=n) for n in range(100)))
EVENT = message(notice(HELD, phase=Phase.EVENT))
MESSAGES = {
    "one": message(notice(drift())),
    "both": BOTH,
    "crowd": CROWD,
    "event": EVENT,
    "plain": message(notice(HELD), link=""),
    "end": message(notice(healed(), number=9, phase=Phase.RESOLVED)),
}
EVERY = pytest.mark.parametrize("told", MESSAGES.values(), ids=MESSAGES.keys())


def valid(name: str, value: Any) -> None:
    schema = json.loads((FIXTURES / f"{name}.json").read_text())
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(
        msgspec.json.decode(msgspec.json.encode(value))
    )


# Slack


@EVERY
def test_slack_s_own_library_takes_every_block(told: Message) -> None:
    body = slack.payload(told)
    assert 0 < len(body["text"]) <= 40_000
    blocks = Block.parse_all(body["blocks"])
    assert 2 < len(blocks) <= 50
    for block in blocks:
        assert isinstance(block, HeaderBlock | SectionBlock | ContextBlock)
        block.validate_json()
        assert block.to_dict()["type"] == block.type


def test_nobody_is_called_by_what_strangers_wrote() -> None:
    text = json.dumps(slack.payload(message(notice(HELD))))
    assert "<!channel>" not in text
    assert "&lt;!channel&gt; &amp;" in text


# Microsoft Teams


@EVERY
def test_a_card_is_as_its_schema_says(told: Message) -> None:
    valid("teams", teams.payload(told))


def test_a_card_shows_field_and_blame_and_reads_no_markup() -> None:
    content = teams.payload(message(notice(drift())))["attachments"][0]["content"]
    facts = {f["title"]: f["value"] for f in content["body"][-2]["facts"]}
    assert facts["Field"] == "spec.replicas"
    assert facts["By"] == r"ada@example.com \(kubectl-scale\)"
    held = json.dumps(teams.payload(message(notice(HELD))))
    assert "[x](y)" not in held


# PagerDuty


@EVERY
def test_events_are_as_pagerduty_describes_them(told: Message) -> None:
    for event in pagerduty.payloads(told, "key"):
        valid("pagerduty", event)
        assert len(json.dumps(event)) < 512_000


def test_an_end_resolves_the_incident_that_the_beginning_opened() -> None:
    begin, end = pagerduty.payloads(BOTH, "routing")
    assert (begin["event_action"], end["event_action"]) == ("trigger", "resolve")
    assert begin["dedup_key"] == end["dedup_key"] == BOTH.notices[0].key
    assert begin["routing_key"] == "routing"
    assert begin["payload"]["custom_details"]["field"] == "spec.replicas"
    assert begin["payload"]["custom_details"]["user"] == "ada@example.com"
    assert begin["payload"]["severity"] == "warning"


def test_what_only_happened_opens_no_incident() -> None:
    assert pagerduty.payloads(EVENT, "key") == alertmanager.payload(EVENT) == []


# Alertmanager


@EVERY
def test_alerts_are_as_alertmanager_describes_them(told: Message) -> None:
    found = alertmanager.payload(told)
    valid("alertmanager", found)
    for alert in found:
        assert alert["labels"]["alertname"].startswith("Taut")
        assert all(alert["labels"].values()), "an empty label is none"
        assert alert["startsAt"] < alert["endsAt"]


def test_an_end_has_the_labels_of_its_beginning() -> None:
    begin, end = alertmanager.payload(BOTH)
    assert begin["labels"] == end["labels"]
    assert begin["startsAt"] == end["startsAt"] == "2026-01-01T00:00:00Z"
    assert end["endsAt"] == "2026-01-01T00:00:03Z"
    assert begin["endsAt"] > "2026-12"


# Any server


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector of Standard Webhooks' own tests."""
    found = webhook.signature(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@EVERY
def test_another_implementation_verifies_it(told: Message) -> None:
    key = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    body = msgspec.json.encode(webhook.payload(told))
    headers = dict(webhook.headers(told.name, int(datetime.now(UTC).timestamp()), body, key))
    data = Webhook(key).verify(body, headers)
    assert data["type"] == "taut.alert"
    assert data["data"]["id"] == headers["webhook-id"] == told.name
    assert len(data["data"]["alerts"]) == len(told.notices)
    with pytest.raises(WebhookVerificationError):
        Webhook(key).verify(body.replace(b"taut.alert", b"taut.alarm"), headers)


@pytest.mark.parametrize("key", ["", "whsec_", "not base64!", "whsec_c2hvcnQ="])
def test_a_key_that_is_none_is_told_without_the_key(key: str) -> None:
    with pytest.raises(UndeliveredError) as caught:
        webhook.signature("id", 1, b"", key)
    assert not caught.value.final, "the file may be mended"
    assert "openssl rand" in caught.value.why
    assert not key.strip() or key not in caught.value.why or key == "whsec_"


# E-mail


def test_a_mail_threads_and_a_repeat_is_the_same_mail() -> None:
    smtp = SmtpConfig(host="mail.example.com", sender="taut <taut@example.com>")
    begin = mail.mail(message(notice(drift())), smtp, ("a@example.com", "b@example.com"))
    again = mail.mail(message(notice(drift())), smtp, ("a@example.com", "b@example.com"))
    end = mail.mail(MESSAGES["end"], smtp, ("a@example.com",))
    assert begin["Message-ID"] == again["Message-ID"] != end["Message-ID"]
    assert begin["References"] == end["References"]
    assert begin["To"] == "a@example.com, b@example.com"
    assert begin["Subject"] == "shop/web drifted"
    assert "Git says 2, found was 5." in begin.get_content()
    assert LINK in begin.get_content()


# What answers mean


@pytest.mark.parametrize(
    ("status", "final"),
    [
        (400, True),
        (401, True),
        (404, True),
        (410, True),
        (302, True),
        (408, False),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_busy_and_broken_servers_are_asked_again(status: int, final: bool) -> None:
    error = refusal("example.com", status, b"no\x1b[31m such  thing" + b"x" * 1000)
    assert error.final is final
    assert len(error.why) < 300


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("120", 120),
        ("999999999999", 3600),
        ("-1", 0),
        ("soon", 0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 3600),
    ],
)
def test_retry_after(text: str, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


def test_pauses_grow_and_end_growing_and_honour_what_the_server_asked_for() -> None:
    pauses = [pause_after(n, 0.0, 0.5) for n in range(12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2.0, 600.0)
    assert pause_after(0, 90.0, 0.0) == 90.0
    assert pause_after(10**6, 0.0, 1.0) == pytest.approx(720.0)


def test_severity_is_of_pagerduty_s_words() -> None:
    schema = json.loads((FIXTURES / "pagerduty.json").read_text())
    assert {s.value for s in Severity} == set(schema["$defs"]["Payload"]["properties"]["severity"]["enum"])
