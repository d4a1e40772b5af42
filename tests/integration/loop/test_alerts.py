"""People are told: of drift with field and blame, of what lasts and when it is over, also when taut is killed in between."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook

from integration.loop.harness import Taut, application, config_map, yaml
from integration.loop.killer import Order
from integration.loop.test_kills import Processes
from servers.inbox import HttpInbox, Mailbox, http_inbox, smtp_server
from taut.documents.yaml import dump
from taut.model.drift import DriftRecord
from taut.server.alert_views import AlertsView
from taut.server.controlled import ControllerBackend
from taut.server.metrics import exposition

pytestmark = pytest.mark.integration

KEY = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
FILES = {"apps/web/x.yaml": yaml(config_map("cm", {"a": "1", "b": "2"}))}


@pytest.fixture
def inbox() -> Iterator[HttpInbox]:
    with http_inbox() as box:
        yield box


def told_by(taut: Taut, inbox: HttpInbox, **rule: Any) -> None:
    """Configure one rule about the test's applications, and one receiver."""
    taut.folder.joinpath("signature").write_text(KEY)
    taut.options["alerts"] = {
        "secrets": [{"name": "signature", "file": "signature"}],
        "receivers": [{"name": "inbox", "spec": {"webhook": {"url": f"{inbox.url}/taut", "secret": "signature"}}}],
        "rules": [{"name": "all", "spec": {"receivers": ["inbox"], "group": "0s", **rule}}],
    }


def alerts(inbox: HttpInbox) -> list[dict[str, Any]]:
    """All that was told, each message's signature checked by another implementation."""
    found: list[dict[str, Any]] = []
    for got in inbox.got:
        data = Webhook(KEY).verify(got.body, got.headers)
        found += data["data"]["alerts"]
    return found


async def test_drift_is_told_with_field_values_and_blame_and_its_end(taut: Taut, inbox: HttpInbox) -> None:
    told_by(taut, inbox, triggers=["drift-found"])
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await taut.until(lambda: len(alerts(inbox)) == 2, "found and healed are told")
    found, healed = alerts(inbox)
    assert (found["state"], found["trigger"], found["field"]) == ("firing", "drift-found", "data.a")
    assert (found["desired"], found["found"], found["who"]) == ("1", "9", "somebody")
    assert found["next"] == "taut puts it back."
    assert (healed["state"], healed["key"], healed["outcome"]) == ("resolved", found["key"], "healed")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with smtp_server() as box:
        yield box


def order(taut: Taut, commit: str, **more: Any) -> Order:
    """A process that keeps the test's application until it is killed."""
    config = taut.folder / "taut.yaml"
    config.write_text(dump(taut._config()))
    return Order(
        "alerts", str(config), str(taut.key("web")), commit, str(taut.folder / "writes.log"), stay=True, **more
    )


async def test_drift_arrives_by_mail_and_by_http_although_taut_is_killed_between_noticing_and_sending(
    taut: Taut, inbox: HttpInbox, mailbox: Mailbox
) -> None:
    told_by(taut, inbox, triggers=["drift-found"])
    settings = taut.options["alerts"]
    settings["smtp"] = {"host": "127.0.0.1", "port": mailbox.port, "tls": "none", "from": "taut@example.com"}
    settings["receivers"].append({"name": "mail", "spec": {"email": {"to": ["ops@example.com"]}}})
    settings["rules"][0]["spec"]["receivers"] = ["inbox", "mail"]
    commit = taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
    taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="kubectl-edit")
    async with Processes.started() as processes:
        assert await processes.run(order(taut, commit, at="add_drift")), "it was killed when it had noticed"
    assert (inbox.got, mailbox.mails) == ([], []), "nothing was sent before"
    async with taut.run():
        await taut.until(lambda: len(alerts(inbox)) == 2 and len(mailbox.mails) == 2, "both were told")
        await taut.synced("web")
    found, healed = alerts(inbox)
    assert (found["state"], found["field"], found["who"]) == ("firing", "data.a", "kubectl-edit")
    assert (found["desired"], found["found"], found["object"]) == ("1", "9", f"ConfigMap {taut.namespace}/cm")
    assert (healed["state"], healed["key"]) == ("resolved", found["key"])
    mail, end = mailbox.mails
    text = mail.get_content()
    assert "kubectl-edit changed data.a of ConfigMap" in text
    assert "Git says 1, found was 9." in text
    assert mailbox.recipients[0] == ["ops@example.com"]
    assert end["Subject"] == f"[resolved] {mail['Subject']}"
    assert end["References"] == mail["References"], "mailers show the end below the beginning"


@pytest.mark.parametrize("at", ["post", "sent()"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_killed_on_the_way_a_repeat_carries_the_same_id(
    taut: Taut, inbox: HttpInbox, at: str, before: bool
) -> None:
    """`post` turns the drift into a notice; `sent` notes that a message has arrived, and before that is written it is sent again."""
    told_by(taut, inbox, triggers=["drift-found"], resolve=False)
    commit = taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
    taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="kubectl-edit")
    async with Processes.started() as processes:
        assert await processes.run(order(taut, commit, at=at, before=before))
    repeated = at == "sent()" and before
    expected = 2 if repeated else 1
    async with taut.run():
        await taut.until(lambda: len(inbox.got) >= expected, "it has arrived")
        await taut.until(lambda: quiet(taut), "nothing waits")
    assert len(inbox.got) == expected
    assert len(set(inbox.ids)) == 1
    assert inbox.ids[0].startswith("taut_")
    assert [a["field"] for a in alerts(inbox)] == ["data.a"] * expected


async def quiet(taut: Taut) -> bool:
    """Whether nothing waits to be told."""
    return await taut.controller.store.outbox_counts() == {}


async def test_a_failed_sync_is_told_and_its_end_and_that_all_is_well(taut: Taut, inbox: HttpInbox) -> None:
    told_by(taut, inbox, triggers=["sync-failed", "recovered"])
    broken = {**config_map("cm"), "data": {"not a key!": "1"}}
    taut.declare(application("web", sync={"retry": {"limit": 0}}), files={"apps/web/x.yaml": yaml(broken)})
    async with taut.run():
        await taut.until(lambda: len(alerts(inbox)) == 1, "the failure is told")
        assert taut.alerting is not None
        taut.alerting.desk.settle()
        await taut.push(FILES)
        await taut.synced("web")
        await taut.until(lambda: len(alerts(inbox)) == 3, "the end is told")
    failed, *others = alerts(inbox)
    assert (failed["state"], failed["trigger"]) == ("firing", "sync-failed")
    assert "not a key!" in failed["why"]
    assert {(a["state"], a["trigger"]) for a in others} == {("resolved", "sync-failed"), ("event", "recovered")}


async def test_rules_of_a_root_are_about_its_own_and_a_secret_is_shown_nowhere(taut: Taut, inbox: HttpInbox) -> None:
    told_by(taut, inbox, triggers=["held"])
    taut.options["alerts"]["hosts"] = ["127.0.0.1"]
    taut.options["alerts"]["secrets"][0]["roots"] = ["t-*"]
    rule = {
        "apiVersion": "taut.dev/v1",
        "kind": "AlertRule",
        "metadata": {"name": "mine"},
        "spec": {"triggers": ["drift-found"], "receivers": ["own"], "group": "0s", "severity": "critical"},
    }
    receiver = {
        "apiVersion": "taut.dev/v1",
        "kind": "AlertReceiver",
        "metadata": {"name": "own"},
        "spec": {"webhook": {"url": f"{inbox.url}/own", "secret": "signature"}},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "key"},
        "stringData": {"password": "hunter2-x"},
    }
    taut.declare(
        application("web", sync={"heal": False}),
        files={"apps/web/x.yaml": yaml(secret), "taut/alerts.yaml": yaml(rule, receiver)},
    )
    found = base64.b64encode(b"letmein-found").decode()
    async with taut.run():
        await taut.synced("web")
        taut.patch("secrets", "key", {"data": {"password": found}}, manager="somebody")
        await taut.until(lambda: inbox.got, "it is told")
        assert taut.controller.roots.states[taut.root].problems == ()
    [told] = alerts(inbox)
    assert (told["field"], told["severity"], told["secret"], told["who"]) == (
        "data.password",
        "critical",
        True,
        "somebody",
    )
    assert told["next"] == "taut leaves it: self-heal is off."
    assert inbox.got[0].path == "/own"
    for value in ("hunter2-x", "letmein-found", found, base64.b64encode(b"hunter2-x").decode()):
        assert value.encode() not in inbox.got[0].body
        assert all(
            value.encode() not in p.read_bytes() for p in taut.folder.joinpath("state").glob("taut.db*") if p.is_file()
        )


async def test_what_is_open_what_waits_and_what_was_sent_is_shown(taut: Taut, inbox: HttpInbox) -> None:
    told_by(taut, inbox, triggers=["drift-found"])
    taut.declare(application("web", sync={"heal": False}), files=FILES)
    inbox.answers.append((503, {"Retry-After": "3600"}))
    async with taut.run():
        await taut.synced("web")
        backend = ControllerBackend(taut.controller, taut.alerting)
        before = await backend.test_alert("all", taut.key("web"), "ada", send=False)
        [message] = before.messages
        assert (message.receiver, message.way, message.title) == ("inbox", "webhook", "web drifted")
        assert inbox.got == [], "a preview is not sent"
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")

        async def waits() -> AlertsView | None:
            view = await backend.alerts(10)
            return view if view.waiting and view.waiting[0].tries else None

        view: AlertsView = await taut.until(waits, "the receiver is busy")
        [told] = view.open
        assert (told.trigger, told.field, told.rule, told.application) == (
            "drift-found",
            "data.a",
            "all",
            str(taut.key("web")),
        )
        assert "answers 503" in view.waiting[0].said
        assert [(r.id, r.way) for r in view.receivers] == [("inbox", "webhook")]
        text = exposition(backend.metrics())
        assert "taut_alerts_queued 1" in text
        assert "taut_alerts_open 1" in text
        assert 'taut_alerts_failed_total{receiver="webhook"} 1' in text
        sent = await backend.test_alert("inbox", None, "ada", send=True)
        assert sent.sent
        assert "shop/web on production" in sent.messages[0].text
        assert next(e.action for e in await backend.audit(5)) == "alert-test"
    assert [got.json["data"]["rule"] for got in inbox.got] == ["all", "test"]
    async with taut.run():
        view = await ControllerBackend(taut.controller, taut.alerting).alerts(10)
        assert [a.key for a in view.open] == [told.key], "what was told is known after a restart"
        assert [w.tries for w in view.waiting] == [1]


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_killed_at_every_write_in_turn_it_arrives_under_one_id(
    taut: Taut, inbox: HttpInbox, before: bool
) -> None:
    """One drift: each process is killed at the first write that none before it was killed at, until one comes through."""
    told_by(taut, inbox, triggers=["drift-found"], resolve=False)
    commit = taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
    taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="kubectl-edit")
    seen = taut.folder / "seen"
    seen.touch()
    async with Processes.started() as processes:
        given = replace(order(taut, commit, seen=str(seen), before=before), stay=False)
        while await processes.run(given):
            assert len(seen.read_text().splitlines()) < 100, "it never comes through"
    async with taut.run():
        await taut.until(lambda: inbox.got, "it has arrived")
        await taut.until(lambda: quiet(taut), "nothing waits")
    assert len(set(inbox.ids)) == 1
    assert {a["field"] for a in alerts(inbox)} == {"data.a"}
    assert [d.outcome for d in await drift_of(taut)] == ["healed"]
    killed_at = seen.read_text()
    assert all(f"store {work}" in killed_at or f"+ {work}" in killed_at for work in ("add_drift", "post", "finish"))


async def drift_of(taut: Taut) -> list[DriftRecord]:
    """What the store says of drift, while no taut runs."""
    async with taut.run():
        return await taut.drift("web")
