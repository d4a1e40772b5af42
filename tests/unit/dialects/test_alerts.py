"""Alert rules and receivers as documents: what is wrong is told with its place, and no root gets further than it may."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from taut.dialects.alerts import AlertBook, usable_alerts
from taut.dialects.alerts_config import AlertsConfig
from taut.dialects.config import load_config, read_config
from taut.dialects.problems import DocumentProblem
from taut.dialects.taut import Parsed, parse
from taut.documents.yaml import dump, load_documents
from taut.model.alerts import AlertReceiver, AlertRule


def parsed(kind: str, spec: dict[str, Any], root: str = "fleet", name: str = "it") -> Parsed:
    body = {"apiVersion": "taut.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    data = dump(body).encode()
    return parse(load_documents(data), root=root, file="alerts.yaml", data=data)


def rule(**spec: Any) -> dict[str, Any]:
    return {"triggers": ["held"], "receivers": ["ops"], **spec}


GOOD_WEBHOOK = {"webhook": {"url": "https://x.example.com/h", "secret": "s"}}


@pytest.mark.parametrize(
    ("kind", "spec", "field", "words"),
    [
        ("AlertRule", rule(triggers=[]), "spec.triggers", "the list is empty"),
        ("AlertRule", rule(triggers=["drift"]), "spec.triggers[0]", "drift"),
        ("AlertRule", rule(receivers=[]), "spec.receivers", "the list is empty"),
        ("AlertRule", rule(match={"applications": ["a["]}), "spec.match.applications[0]", "no glob"),
        ("AlertRule", rule(match={"labels": {"team": "{"}}), "spec.match.labels.team", "no glob"),
        ("AlertRule", rule(repeat="10s"), "spec.repeat", "shorter than a minute"),
        ("AlertRule", rule(**{"for": "soon"}), "spec.for", "soon"),
        ("AlertRule", rule(silences=[{}]), "spec.silences[0]", "one of both"),
        (
            "AlertRule",
            rule(silences=[{"schedule": "0 22 * *", "duration": "8h"}]),
            "spec.silences[0].schedule",
            "4 fields",
        ),
        ("AlertRule", rule(silences=[{"schedule": "0 22 * * *"}]), "spec.silences[0].duration", "no length"),
        (
            "AlertRule",
            rule(silences=[{"schedule": "0 22 * * *", "duration": "8h", "timeZone": "Mars"}]),
            "spec.silences[0].timeZone",
            "Mars",
        ),
        (
            "AlertRule",
            rule(silences=[{"from": "today", "until": "2026-01-01T00:00:00Z"}]),
            "spec.silences[0].from",
            "today",
        ),
        (
            "AlertRule",
            rule(silences=[{"from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}]),
            "spec.silences[0].until",
            "before the beginning",
        ),
        (
            "AlertRule",
            rule(template={"text": "a\n{% set x = 1 %}"}),
            "spec.template.text",
            "line 2 of the template: set",
        ),
        ("AlertRule", rule(template={"title": "{{"}), "spec.template.title", "line 1"),
        ("AlertReceiver", {}, "spec", "nobody to tell"),
        ("AlertReceiver", {"slack": {"secret": "a"}, "teams": {"secret": "b"}}, "spec", "exclude each other"),
        ("AlertReceiver", {"email": {"to": []}}, "spec.email.to", "the list is empty"),
        ("AlertReceiver", {"email": {"to": ["ops"]}}, "spec.email.to[0]", "no address"),
        ("AlertReceiver", {"email": {"to": ["a@b\r\nBcc: c@d"]}}, "spec.email.to[0]", "no address"),
        ("AlertReceiver", {"webhook": {"url": "x", "secret": "s"}}, "spec.webhook.url", "no web address"),
        ("AlertReceiver", {"webhook": {"url": "https://u:p@x/", "secret": "s"}}, "spec.webhook.url", "a password"),
        (
            "AlertReceiver",
            {"alertmanager": {"url": "http://am:9093", "secret": "s"}},
            "spec.alertmanager.url",
            "in the clear",
        ),
        ("AlertReceiver", {"slack": {"url": "https://hooks.slack.com/x"}}, "spec.slack.url", "no field"),
    ],
)
def test_a_slip_is_told_with_its_place(kind: str, spec: dict[str, Any], field: str, words: str) -> None:
    found = parsed(kind, spec)
    assert found.alert_rules + found.alert_receivers == ()
    fields = {p.where.field: p.what for p in found.problems}
    assert field in fields
    assert words in fields[field]
    assert all(p.where.file == "alerts.yaml" and p.where.line for p in found.problems)
    assert all(p.where.object == f"{kind} it" for p in found.problems)


def book(
    config: dict[str, Any], *documents: tuple[str, str, str, dict[str, Any]], trusted: tuple[str, ...] = ()
) -> tuple[AlertBook, list[DocumentProblem]]:
    """The book of a configuration and documents (root, kind, name, spec)."""
    declared: dict[str, tuple[list[AlertRule], list[AlertReceiver]]] = {}
    for root, kind, name, spec in documents:
        found = parsed(kind, spec, root, name)
        assert not found.problems
        rules, receivers = declared.setdefault(root, ([], []))
        rules += found.alert_rules
        receivers += found.alert_receivers
    return usable_alerts(msgspec.convert(config, AlertsConfig), declared, set(trusted))


SECRETS = {"secrets": [{"name": "s", "file": "/s"}]}
OPS = {"receivers": [{"name": "ops", "spec": {"slack": {"secret": "s"}}}], **SECRETS}


def receivers_of(found: AlertBook) -> dict[str, tuple[str, ...]]:
    return {r.id: names for r, names in found.rules}


def test_a_rule_tells_receivers_of_its_own_root_before_those_of_the_configuration() -> None:
    config = {**OPS, "rules": [{"name": "all", "spec": rule()}]}
    found, problems = book(
        config,
        ("a", "AlertRule", "mine", rule()),
        ("b", "AlertRule", "mine", rule()),
        ("b", "AlertReceiver", "ops", {"alertmanager": {"url": "https://am.example.com"}}),
    )
    assert problems == []
    assert receivers_of(found) == {"all": ("ops",), "a/mine": ("ops",), "b/mine": ("b/ops",)}
    assert found.everywhere == {""}


def test_a_receiver_of_another_root_is_nobody() -> None:
    found, [problem] = book(
        {},
        ("a", "AlertRule", "mine", rule()),
        ("b", "AlertReceiver", "ops", {"alertmanager": {"url": "https://am.example.com"}}),
    )
    assert receivers_of(found) == {"a/mine": ()}
    assert (problem.where.repository, problem.where.object, problem.where.field) == (
        "a",
        "AlertRule mine",
        "spec.receivers",
    )


def test_a_receiver_of_the_configuration_says_who_may_use_it() -> None:
    config = {"receivers": [{"name": "ops", "spec": {"slack": {"secret": "s"}}, "roots": ["team-*"]}], **SECRETS}
    found, problems = book(config, ("team-a", "AlertRule", "x", rule()), ("other", "AlertRule", "x", rule()))
    assert receivers_of(found) == {"team-a/x": ("ops",), "other/x": ()}
    assert [p.where.repository for p in problems] == ["other"]


@pytest.mark.parametrize(
    ("roots", "trusted", "usable"),
    [
        ([], (), False),
        ([], ("fleet",), True),
        (["fleet"], (), True),
        (["f*"], (), True),
        (["other"], ("fleet",), False),
    ],
)
def test_a_secret_is_for_the_roots_that_it_names_else_for_trusted_ones(
    roots: list[str], trusted: tuple[str, ...], usable: bool
) -> None:
    config = {"secrets": [{"name": "s", "file": "/s", "roots": roots}]}
    found, problems = book(config, ("fleet", "AlertReceiver", "x", {"slack": {"secret": "s"}}), trusted=trusted)
    assert ("fleet/x" in found.receivers) is usable
    assert bool(problems) is not usable
    if problems:
        assert "there is no secret 's' for this root" in problems[0].what


@pytest.mark.parametrize(
    ("hosts", "url", "usable"),
    [
        (["*"], "https://x.example.com/h", True),
        (["*.example.com"], "https://x.example.com/h", True),
        (["*.example.com"], "https://example.org/", False),
        ([], "https://x.example.com/", False),
        (["*"], "http://169.254.169.254/", False),
        (["*"], "http://metadata.google.internal/", False),
        (["*"], "http://127.0.0.1:8080/", False),
        (["*"], "http://localhost:8080/", False),
        (["localhost"], "http://localhost:8080/", True),
    ],
)
def test_what_a_document_may_lead_to(hosts: list[str], url: str, usable: bool) -> None:
    spec = {"webhook": {"url": url, "secret": "s"}}
    found, _ = book({"hosts": hosts, **SECRETS}, ("fleet", "AlertReceiver", "x", spec), trusted=("fleet",))
    assert ("fleet/x" in found.receivers) is usable


def test_a_token_goes_to_the_hosts_that_it_names_only() -> None:
    spec = {"alertmanager": {"url": "https://am.example.com", "secret": "s"}}
    found, [problem] = book(SECRETS, ("fleet", "AlertReceiver", "x", spec), trusted=("fleet",))
    assert found.receivers == {}
    assert "may not be sent to this host" in problem.what
    named = {"secrets": [{"name": "s", "file": "/s", "hosts": ["am.example.com"]}]}
    assert book(named, ("fleet", "AlertReceiver", "x", spec), trusted=("fleet",))[1] == []


def test_mail_needs_a_server_and_two_of_a_name_are_none() -> None:
    _, [problem] = book({}, ("fleet", "AlertReceiver", "x", {"email": {"to": ["a@example.com"]}}))
    assert "no mail server" in problem.what
    found, [twice] = book(OPS, ("fleet", "AlertRule", "x", rule()), ("fleet", "AlertRule", "x", rule(repeat="1h")))
    assert found.rules == ()
    assert twice.what == "several documents declare the AlertRule 'x'"


@pytest.mark.parametrize(
    ("section", "field", "words"),
    [
        ({"rules": [{"name": "a", "spec": rule()}]}, "alerts.rules[0].spec.receivers[0]", "no receiver 'ops'"),
        ({"rules": [{"name": "a", "spec": rule(repeat="1s")}], **OPS}, "alerts.rules[0].spec.repeat", "shorter"),
        (
            {"receivers": [{"name": "a", "spec": GOOD_WEBHOOK}]},
            "alerts.receivers[0].spec.webhook.secret",
            "no secret 's'",
        ),
        (
            {"receivers": [{"name": "a", "spec": {"email": {"to": ["a@b.c"]}}}]},
            "alerts.receivers[0].spec.email",
            "no mail server",
        ),
        ({"secrets": [{"name": "a", "file": "x"}] * 2}, "alerts.secrets[1].name", "twice"),
        ({"secrets": [{"name": "a", "file": "x", "hosts": ["["]}]}, "alerts.secrets[0].hosts[0]", "no glob"),
        ({"smtp": {"host": "mail.example.com", "from": "a@b.c", "tls": "none"}}, "alerts.smtp.tls", "in the clear"),
        ({"smtp": {"host": "mail.example.com", "from": "a@b.c", "username": "x"}}, "alerts.smtp", "needs its password"),
        ({"smtp": {"host": "mail.example.com", "from": "me"}}, "alerts.smtp.from", "no address"),
        ({"page": "taut.example.com"}, "alerts.page", "no web address"),
        ({"pagerduty": "http://events.pagerduty.com/v2/enqueue"}, "alerts.pagerduty", "in the clear"),
    ],
)
def test_a_slip_in_the_configuration(section: dict[str, Any], field: str, words: str) -> None:
    config, problems = read_config(dump({"alerts": section}).encode(), "taut.yaml")
    assert config is None
    assert field in {p.where.field for p in problems}
    assert words in next(p.what for p in problems if p.where.field == field)


def test_files_are_beside_the_configuration(tmp_path: Any) -> None:
    section = {
        "smtp": {
            "host": "mail.example.com",
            "from": "a@b.c",
            "username": "x",
            "passwordFile": "mail",
            "caFile": "ca.pem",
        },
        "secrets": [{"name": "s", "file": "slack"}],
    }
    (tmp_path / "taut.yaml").write_text(dump({"alerts": section}))
    alerts = load_config(tmp_path / "taut.yaml").alerts
    assert alerts.smtp is not None
    assert (alerts.smtp.password_file, alerts.smtp.ca_file) == (str(tmp_path / "mail"), str(tmp_path / "ca.pem"))
    assert alerts.secrets[0].file == str(tmp_path / "slack")


@pytest.mark.parametrize(
    ("recipients", "address", "usable"),
    [
        ([], "ops@example.com", True),
        ([], "Ops@EXAMPLE.com", True),
        ([], "ops@example.org", False),
        ([], "ops@example.com.evil.org", False),
        ([], "ops@evil-example.com", False),
        (["*@example.org", "ada@example.net"], "ops@example.org", True),
        (["*@example.org", "ada@example.net"], "eve@example.net", False),
        (["*@example.org"], "ops@example.com", False),
    ],
)
def test_a_root_sends_no_strangers_mail(recipients: list[str], address: str, usable: bool) -> None:
    smtp = {"host": "mail.example.com", "from": "taut <taut@example.com>", "recipients": recipients}
    found, problems = book({"smtp": smtp}, ("fleet", "AlertReceiver", "x", {"email": {"to": [address]}}))
    assert ("fleet/x" in found.receivers) is usable
    assert [p.what for p in problems] == ([] if usable else [f"{address} may not be sent mail"])


def test_a_root_has_no_end_of_rules() -> None:
    found, problems = book(OPS, *(("fleet", "AlertRule", f"r{n}", rule()) for n in range(203)))
    assert len(found.rules) == 200
    [problem] = problems
    assert "203 documents of kind AlertRule, more than 200" in problem.what
