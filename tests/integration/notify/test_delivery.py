"""Messages on their way to real servers on this machine: TLS, sign-in, retries, order, and where nothing is sent."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from servers.authority import Authority
from servers.inbox import HttpInbox, http_inbox, smtp_server
from taut.dialects.alerts_config import AlertsConfig
from taut.model.alerts import AlertReceiver, AlertReceiverSpec, AlertTemplate
from taut.notify.addressed import Sender, encoded
from taut.notify.courier import CHANNEL, Courier
from taut.notify.delivery import UndeliveredError
from taut.notify.messages import Message, Pending, message_of
from taut.notify.rules import Notice
from taut.notify.templates import words
from taut.store.outbox import Post
from taut.store.store import Store
from unit.notify.facts_of import NOW, drift, notice

pytestmark = pytest.mark.integration
KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def message(number: int = 1, receiver: str = "ops", path: str = "spec.replicas") -> Message:
    notices: list[Notice] = [notice(drift(path), number=number, receiver=receiver)]
    pending = [Pending(n, each, NOW) for n, each in enumerate(notices)]
    return message_of(pending, lambda found: words(found, AlertTemplate()), "", NOW)


def receiver(root: str = "", **spec: Any) -> AlertReceiver:
    return AlertReceiver(name="ops", root=root, spec=msgspec.convert(spec, AlertReceiverSpec))


def config(folder: Path, **more: Any) -> AlertsConfig:
    """A configuration with one secret of each name in `secrets`."""
    secrets = []
    for name, value in more.pop("secrets", {}).items():
        (folder / name).write_text(value + "\n")
        secrets.append({"name": name, "file": str(folder / name), **more.pop(name, {})})
    return msgspec.convert({"secrets": secrets, **more}, AlertsConfig)


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    with http_inbox() as box:
        yield box


async def deliver(
    settings: AlertsConfig, to: AlertReceiver, told: Message | None = None, trusted: frozenset[str] = frozenset()
) -> None:
    sender = Sender(settings, trusted)
    try:
        await sender.send(told or message(), to)
    finally:
        await sender.close()


async def refused(settings: AlertsConfig, to: AlertReceiver, **more: Any) -> UndeliveredError:
    with pytest.raises(UndeliveredError) as caught:
        await deliver(settings, to, **more)
    return caught.value


# E-mail


def contexts(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.certificate, authority.key)
    return context


def smtp(port: int, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "from": "taut@example.com", **more}


MAIL = {"email": {"to": ["ops@example.com", "dev@example.com"]}}


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mail_goes_over_tls_that_is_verified_to_somebody_who_signed_in(
    tmp_path: Path, authority: Authority, tls: str
) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    context = contexts(authority)
    offered = {"tls": context} if tls == "starttls" else {"direct": context}
    with smtp_server(**offered, user=("taut", "correct horse")) as box:
        known = smtp(
            box.port, tls=tls, caFile=str(authority.ca), username="taut", passwordFile=str(tmp_path / "password")
        )
        await deliver(config(tmp_path, smtp=known), receiver(**MAIL))
        [mail] = box.mails
        assert box.recipients == [["ops@example.com", "dev@example.com"]]
        if tls == "starttls":
            assert box.encrypted == [True]
        assert mail["Subject"] == "shop/web drifted"
        assert mail["X-Taut-Id"] == message().name
        assert "ada@example.com (kubectl-scale) changed spec.replicas" in mail.get_content()
        error = await refused(config(tmp_path, smtp={**known, "caFile": None}), receiver(**MAIL))
        assert "certificate is not trusted" in error.why
        (tmp_path / "password").write_text("wrong-password")
        error = await refused(config(tmp_path, smtp=known), receiver(**MAIL))
        assert "does not accept user and password" in error.why
        assert "wrong-password" not in error.why
        assert not error.final, "somebody may mend it"
        assert len(box.mails) == 1


async def test_a_server_without_tls_is_told_nothing(tmp_path: Path) -> None:
    with smtp_server() as box:
        error = await refused(config(tmp_path, smtp=smtp(box.port, tls="starttls")), receiver(**MAIL))
        assert "STARTTLS" in error.why
        assert box.mails == []


@pytest.mark.parametrize(("answer", "final"), [("451 later", False), ("554 no such thing", True)])
async def test_what_a_mail_server_answers(tmp_path: Path, answer: str, final: bool) -> None:
    with smtp_server() as box:
        box.answers.append(answer)
        error = await refused(config(tmp_path, smtp=smtp(box.port, tls="none")), receiver(**MAIL))
        assert (error.final, answer[:3] in error.why) == (final, True)


async def test_a_mail_server_that_says_nothing_keeps_taut_from_nothing(tmp_path: Path) -> None:
    called = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sending = asyncio.create_task(deliver(config(tmp_path, smtp=smtp(port, tls="none")), receiver(**MAIL)))
    await called.wait()
    [thread] = [t for t in threading.enumerate() if t.name == "taut-mail"]
    assert thread.daemon, "a process does not wait for it at its end"
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    server.close()
    server.close_clients()


async def test_a_receiver_of_a_root_sends_no_strangers_mail(tmp_path: Path) -> None:
    with smtp_server() as box:
        settings = config(tmp_path, smtp=smtp(box.port, tls="none"))
        error = await refused(settings, receiver("fleet", email={"to": ["ops@example.com", "eve@example.org"]}))
        assert "may not be sent mail" in error.why
        assert box.mails == []
        await deliver(settings, receiver("fleet", **MAIL))
        assert len(box.mails) == 1


# HTTP


async def test_a_webhook_is_signed_by_what_its_file_says_now(tmp_path: Path, inbox: HttpInbox) -> None:
    settings = config(tmp_path, secrets={"signature": KEY})
    to = receiver(webhook={"url": inbox.url, "secret": "signature"})
    await deliver(settings, to)
    other = "whsec_" + base64.b64encode(bytes(reversed(range(32)))).decode()
    (tmp_path / "signature").write_text(other)
    await deliver(settings, to)
    first, second = inbox.got
    assert Webhook(KEY).verify(first.body, first.headers)["data"]["alerts"][0]["user"] == "ada@example.com"
    assert Webhook(other).verify(second.body, second.headers)
    assert inbox.ids == [message().name] * 2


async def test_slack_teams_and_pagerduty_are_told_at_their_addresses(tmp_path: Path, inbox: HttpInbox) -> None:
    secrets = {
        "slack": f"{inbox.url}/services/T/B/x",
        "teams": f"{inbox.url}/workflows/1?sig=abc",
        "pager": "routing-key",
    }
    settings = config(tmp_path, secrets=secrets, pagerduty=f"{inbox.url}/v2/enqueue")
    for way, secret in (("slack", "slack"), ("teams", "teams"), ("pagerduty", "pager")):
        await deliver(settings, receiver(**{way: {"secret": secret}}))
    assert [g.path for g in inbox.got] == ["/services/T/B/x", "/workflows/1?sig=abc", "/v2/enqueue"]
    assert inbox.got[2].json["routing_key"] == "routing-key"
    inbox.answers.append((403, {}))
    error = await refused(settings, receiver(slack={"secret": "slack"}))
    assert "T/B/x" not in error.why, "the address is a secret"
    assert error.final


async def test_alertmanager_gets_its_token_only_where_it_may_go(tmp_path: Path, inbox: HttpInbox) -> None:
    token = {"secrets": {"token": "bearer-token"}}
    mine = receiver(alertmanager={"url": f"{inbox.url}/", "secret": "token"})
    await deliver(config(tmp_path, **token), mine)
    [got] = inbox.got
    assert (got.path, got.headers["authorization"]) == ("/api/v2/alerts", "Bearer bearer-token")
    assert got.json[0]["labels"]["field"] == "spec.replicas"
    theirs = receiver("fleet", alertmanager={"url": inbox.url, "secret": "token"})
    allowed = {"hosts": ["127.0.0.1"], **token}
    for settings in (
        config(tmp_path, **token),
        config(tmp_path, **allowed),
        config(tmp_path, **allowed, token={"roots": ["fleet"]}),
        config(tmp_path, **allowed, token={"roots": ["other"], "hosts": ["127.0.0.1"]}),
    ):
        await refused(settings, theirs)
    assert len(inbox.got) == 1
    await deliver(config(tmp_path, **allowed, token={"roots": ["fleet"], "hosts": ["127.0.0.1"]}), theirs)
    assert len(inbox.got) == 2


async def test_a_secret_without_roots_is_for_trusted_roots(tmp_path: Path, inbox: HttpInbox) -> None:
    settings = config(tmp_path, secrets={"signature": KEY}, hosts=["127.0.0.1"])
    theirs = receiver("fleet", webhook={"url": inbox.url, "secret": "signature"})
    assert "no secret" in (await refused(settings, theirs)).why
    await deliver(settings, theirs, trusted=frozenset({"fleet"}))
    assert len(inbox.got) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://metadata.google.internal/",
        "http://[fd00:ec2::254]/",
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://0.0.0.0:1/",
    ],
)
async def test_documents_lead_to_no_metadata_and_not_to_this_machine(tmp_path: Path, url: str) -> None:
    settings = config(tmp_path, secrets={"signature": KEY})
    error = await refused(
        settings, receiver("fleet", webhook={"url": url, "secret": "signature"}), trusted=frozenset({"fleet"})
    )
    assert "may not be told anything" in error.why


async def test_a_name_that_leads_to_this_machine_is_not_asked(
    tmp_path: Path, inbox: HttpInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: real("127.0.0.1" if host == "evil.example.com" else host, *rest, **more),
    )
    url = inbox.url.replace("127.0.0.1", "evil.example.com")
    settings = config(tmp_path, secrets={"signature": KEY})
    error = await refused(
        settings, receiver("fleet", webhook={"url": url, "secret": "signature"}), trusted=frozenset({"fleet"})
    )
    assert inbox.got == []
    assert "cannot be reached" in error.why


async def test_a_redirect_is_not_followed(tmp_path: Path, inbox: HttpInbox) -> None:
    inbox.answers.append((307, {"Location": f"{inbox.url}/elsewhere"}))
    error = await refused(
        config(tmp_path, secrets={"signature": KEY}), receiver(webhook={"url": inbox.url, "secret": "signature"})
    )
    assert "answers 307" in error.why
    assert len(inbox.got) == 1


@pytest.mark.parametrize("value", ["", "http://example.com/plain", "ftp://x"])
async def test_an_address_that_is_none_is_told_without_it(tmp_path: Path, value: str) -> None:
    error = await refused(config(tmp_path, secrets={"slack": value}), receiver(slack={"secret": "slack"}))
    assert "slack" in error.why
    assert "example.com" not in error.why


async def test_a_file_that_is_not_there_is_waited_for(tmp_path: Path, inbox: HttpInbox) -> None:
    settings = config(tmp_path, secrets={"signature": KEY})
    (tmp_path / "signature").unlink()
    error = await refused(settings, receiver(webhook={"url": inbox.url, "secret": "signature"}))
    assert not error.final
    assert str(tmp_path) not in error.why


# The courier


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "taut.db")
    yield opened
    await opened.close()


class Time:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


async def posted(store: Store, *messages: Message) -> None:
    await store.post([Post(CHANNEL, m.receiver, m.name, encoded(m)) for m in messages])


async def until(fact: Any) -> None:
    async with asyncio.timeout(20):
        while not await fact():
            await asyncio.sleep(0.01)


async def test_in_order_again_and_again_under_one_id_until_it_arrives(
    tmp_path: Path, store: Store, inbox: HttpInbox
) -> None:
    settings = config(tmp_path, secrets={"signature": KEY})
    to = receiver(webhook={"url": inbox.url, "secret": "signature"})
    sender, clock = Sender(settings, ()), Time()
    first, second = message(1), message(2, path="spec.paused")
    inbox.answers += [(503, {}), (429, {"Retry-After": "90"})]
    await posted(store, first, second)

    def courier() -> Courier:
        return Courier(store, lambda: {"ops": to}, sender.send, 86_400.0, clock, lambda: 0.5)

    async def tried(times: int) -> bool:
        return (await store.outbox_heads(CHANNEL))[0].tries == times

    running = asyncio.create_task(courier().run())
    await until(lambda: tried(1))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    # As after a restart: what it knows is in the store.
    again = courier()
    running = asyncio.create_task(again.run())
    await asyncio.sleep(0)
    assert len(inbox.got) == 1, "its pause is not over"
    clock.now += 3
    again.wake()
    await until(lambda: tried(2))
    [head] = await store.outbox_heads(CHANNEL)
    assert head.due == clock.now + 90, "the server asked for it"
    assert "answers 429" in head.said
    clock.now += 90
    again.wake()

    async def empty() -> bool:
        return await store.outbox_counts() == {}

    await until(empty)
    assert inbox.ids == [first.name] * 3 + [second.name]
    assert (again.sent["webhook"], again.failed["webhook"], again.given_up["webhook"]) == (2, 1, 0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await sender.close()


async def test_one_receiver_that_is_away_keeps_no_other_waiting(tmp_path: Path, store: Store, inbox: HttpInbox) -> None:
    settings = config(tmp_path, secrets={"signature": KEY})
    here = receiver(webhook={"url": inbox.url, "secret": "signature"})
    away = receiver(webhook={"url": "http://127.0.0.1:1/", "secret": "signature"})
    sender = Sender(settings, ())
    courier = Courier(store, lambda: {"ops": here, "away": away}, sender.send, 86_400.0)
    await posted(store, message(1, "away"), message(2, "ops"))
    running = asyncio.create_task(courier.run())

    async def one_left() -> bool:
        return [q.key for q in await store.queued([CHANNEL]) if q.tries] == ["away"] and len(inbox.got) == 1

    await until(one_left)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await sender.close()


async def test_what_a_server_refuses_or_nobody_takes_for_a_day_is_given_up(
    tmp_path: Path, store: Store, inbox: HttpInbox, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(tmp_path, secrets={"signature": KEY})
    to = receiver(webhook={"url": inbox.url, "secret": "signature"})
    sender, clock = Sender(settings, ()), Time()
    inbox.answers += [(410, {}), (500, {})]
    courier = Courier(store, lambda: {"ops": to}, sender.send, 3600.0, clock)
    clock.now = 4e9  # long after it was written
    await posted(store, message(1), message(2), message(3))
    running = asyncio.create_task(courier.run())

    async def empty() -> bool:
        return await store.outbox_counts() == {}

    await until(empty)
    assert inbox.ids == [message(1).name, message(2).name, message(3).name]
    assert (courier.given_up["webhook"], courier.sent["webhook"]) == (2, 1)
    assert caplog.text.count("given up") == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await sender.close()


async def test_what_arrives_while_the_courier_looks_is_not_sent_again(
    tmp_path: Path, store: Store, inbox: HttpInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = receiver(webhook={"url": inbox.url, "secret": "signature"})
    sender = Sender(config(tmp_path, secrets={"signature": KEY}), ())
    may_send, looks, real = asyncio.Event(), 0, store.outbox_heads

    async def send(told: Message, whom: AlertReceiver) -> None:
        await may_send.wait()
        await sender.send(told, whom)

    async def empty() -> bool:
        return await store.outbox_counts() == {}

    async def slow(channel: str) -> Any:
        nonlocal looks
        looks += 1
        found = await real(channel)
        if looks == 2:
            may_send.set()
            await until(empty)
            await asyncio.sleep(0)
        return found

    monkeypatch.setattr(store, "outbox_heads", slow)
    courier = Courier(store, lambda: {"ops": to}, send, 86_400.0)
    await posted(store, message())
    running = asyncio.create_task(courier.run())

    async def looked() -> bool:
        courier.wake()
        return looks >= 4 and await empty()

    await until(looked)
    assert inbox.ids == [message().name]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await sender.close()
