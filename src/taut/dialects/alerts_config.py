"""Alerts, as taut's configuration says them: rules and receivers of its own, the secrets of all receivers, and the mail server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

from taut.clients.urls import is_loopback
from taut.dialects.alerts import receiver_findings, rule_findings
from taut.dialects.globs import fault as glob_fault
from taut.dialects.kinds import PlainName
from taut.dialects.problems import Finding, one_of
from taut.model.alerts import AlertReceiver, AlertReceiverSpec, AlertRule, AlertRuleSpec
from taut.model.application import Duration, Spec


class AlertSecretConfig(Spec, frozen=True):
    """A secret of receivers: the address of a webhook of Slack or Teams, an integration key, a token, the key of a signature."""

    name: PlainName
    """The name that receivers use."""
    file: str
    """The file that holds it. It is read anew for each message."""
    roots: tuple[str, ...] = ()
    """Globs on the roots whose receivers may use it. Default: those with `alerts: true`."""
    hosts: tuple[str, ...] = ()
    """Globs on the hosts that it may be sent to as a token (Alertmanager). Default: none."""


class AlertReceiverConfig(Spec, frozen=True):
    """A receiver, declared where no root can change it."""

    name: PlainName
    """What rules call it."""
    spec: AlertReceiverSpec
    """Who it is, as in an AlertReceiver document."""
    roots: tuple[str, ...] = ("*",)
    """Globs on the roots whose rules may use it."""


class AlertRuleConfig(Spec, frozen=True):
    """A rule about the applications of all roots."""

    name: PlainName
    """Its name."""
    spec: AlertRuleSpec
    """What it says, as in an AlertRule document."""


class SmtpConfig(Spec, frozen=True, kw_only=True):
    """The mail server of all e-mail receivers."""

    host: str
    """Its name."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    """Its port."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` (port 587), `tls` from the first byte (port 465); the certificate is verified. `none` is for a server on this machine."""
    ca_file: str | None = None
    """The certificates of authorities to trust instead of the system's."""
    username: str = ""
    """As whom taut signs in; empty: it does not."""
    password_file: str | None = None
    """The file with the password."""
    sender: str = field(name="from")
    """The address that messages come from."""
    recipients: tuple[str, ...] = ()
    """Globs on the addresses that receivers of roots may name. Default: those of the domain of `from`."""


class AlertsConfig(Spec, frozen=True):
    """Who is told of what. Rules and receivers may also be documents in roots."""

    rules: tuple[AlertRuleConfig, ...] = ()
    """Rules about the applications of all roots."""
    receivers: tuple[AlertReceiverConfig, ...] = ()
    """Receivers for all rules."""
    secrets: tuple[AlertSecretConfig, ...] = ()
    """The secrets of receivers."""
    smtp: SmtpConfig | None = None
    """The mail server; without it nobody is told by e-mail."""
    hosts: tuple[str, ...] = ("*",)
    """Globs on the hosts that receivers of roots may name. Addresses where clouds keep machines' credentials never are; this machine is where a glob other than `*` names it."""
    page: str = ""
    """The address of taut's page, for links in messages."""
    pagerduty: str = "https://events.pagerduty.com/v2/enqueue"
    """The address of PagerDuty's Events API; that of the EU is `https://events.eu.pagerduty.com/v2/enqueue`."""
    most_waiting: Annotated[int, Meta(ge=100)] = 10_000
    """How many messages wait at most for receivers that do not answer. What is over is let go of first: what has ended, then the oldest."""
    give_up: Duration = "24h"
    """For how long a message is tried."""

    def declared_rules(self) -> tuple[AlertRule, ...]:
        """The rules in the model's form."""
        return tuple(AlertRule(name=r.name, spec=r.spec) for r in self.rules)

    def declared_receivers(self) -> tuple[AlertReceiver, ...]:
        """The receivers in the model's form."""
        return tuple(AlertReceiver(name=r.name, spec=r.spec, roots=r.roots) for r in self.receivers)


def alerts_findings(config: AlertsConfig) -> Iterator[Finding]:
    """What is wrong in the section."""
    receivers, secrets = [r.name for r in config.receivers], [s.name for s in config.secrets]
    for part, names in (("rules", [r.name for r in config.rules]), ("receivers", receivers), ("secrets", secrets)):
        for number, name in enumerate(names):
            if name in names[:number]:
                yield Finding((part, number, "name"), f"the name {name!r} is taken twice", "give each its own name")
    for number, rule in enumerate(config.rules):
        yield from (f.under("rules", number, "spec") for f in rule_findings(rule.spec))
        for place, name in enumerate(rule.spec.receivers):
            if name not in receivers:
                path = ("rules", number, "spec", "receivers", place)
                yield Finding(path, f"there is no receiver {name!r}", one_of(name, receivers))
    for number, receiver in enumerate(config.receivers):
        yield from (f.under("receivers", number, "spec") for f in receiver_findings(receiver.spec))
        yield from _globs(receiver.roots, "receivers", number, "roots")
        yield from (f.under("receivers", number, "spec") for f in _needs(receiver.spec, config, secrets))
    for number, secret in enumerate(config.secrets):
        yield from _globs(secret.roots, "secrets", number, "roots")
        yield from _globs(secret.hosts, "secrets", number, "hosts")
    yield from _globs(config.hosts, "hosts")
    yield from _addresses(config)
    if config.smtp is not None:
        yield from (f.under("smtp") for f in _smtp(config.smtp))
        yield from _globs(config.smtp.recipients, "smtp", "recipients")


def _needs(spec: AlertReceiverSpec, config: AlertsConfig, secrets: Sequence[str]) -> Iterator[Finding]:
    if spec.secret and spec.secret not in secrets:
        advice = one_of(spec.secret, secrets) or "name its file in alerts.secrets"
        yield Finding((spec.way, "secret"), f"there is no secret {spec.secret!r}", advice)
    if spec.email is not None and config.smtp is None:
        yield Finding(("email",), "there is no mail server", "add alerts.smtp")


def _addresses(config: AlertsConfig) -> Iterator[Finding]:
    for name, url in (("page", config.page), ("pagerduty", config.pagerduty)):
        scheme, host = _web_address(url)
        if url and not host:
            yield Finding((name,), f"{url!r} is no web address", "write it like https://taut.example.com")
        elif name == "pagerduty" and scheme == "http" and not is_loopback(host):
            yield Finding((name,), "the integration key would be sent in the clear", "write https://…")


def _web_address(url: str) -> tuple[str, str]:
    """Scheme and host of a web address; both empty when it is none."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.username is None
        return (parts.scheme, parts.hostname or "") if good else ("", "")
    except ValueError:
        return "", ""


def _smtp(smtp: SmtpConfig) -> Iterator[Finding]:
    if smtp.tls == "none" and not is_loopback(smtp.host):
        yield Finding(("tls",), "mail to another machine would be sent in the clear", "write starttls or tls")
    if bool(smtp.username) != bool(smtp.password_file):
        yield Finding((), "a user name needs its password, and a password its user", "add username or passwordFile")
    if "@" not in smtp.sender:
        yield Finding(("from",), f"{smtp.sender!r} is no address", "write it like taut@example.com")


def _globs(patterns: Sequence[str], *path: str | int) -> Iterator[Finding]:
    for number, pattern in enumerate(patterns):
        if glob_fault(pattern):
            yield Finding((*path, number), f"{pattern!r} is no glob: {glob_fault(pattern)}", "")


def absolute_alerts(config: AlertsConfig, at: Callable[[str | None], str | None]) -> AlertsConfig:
    """The same section with its paths made absolute by `at`."""
    smtp = config.smtp
    if smtp is not None:
        files = {"ca_file": at(smtp.ca_file), "password_file": at(smtp.password_file)}
        smtp = msgspec.structs.replace(smtp, **files)
    secrets = tuple(msgspec.structs.replace(s, file=at(s.file) or s.file) for s in config.secrets)
    return msgspec.structs.replace(config, smtp=smtp, secrets=secrets)
