"""Alert rules and receivers: what is wrong in one, and which of those that roots declare count. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from taut.clients.guarded import allowed
from taut.clients.urls import is_loopback
from taut.dialects.cron import cron_fault, zone_fault
from taut.dialects.globs import fault as glob_fault
from taut.dialects.globs import match_name
from taut.dialects.problems import DocumentProblem, Finding, one_of
from taut.model.alerts import AlertReceiver, AlertReceiverSpec, AlertRule, AlertRuleSpec, AlertSilence
from taut.model.durations import seconds
from taut.model.errors import Where

if TYPE_CHECKING:
    from taut.dialects.alerts_config import AlertsConfig, AlertSecretConfig, SmtpConfig

_SHORTEST_REPEAT = 60.0
_MOST = 200
"""So many rules, and so many receivers, a root has at most: each rule is asked whenever an application changes."""


@dataclass(frozen=True)
class AlertBook:
    """The rules that count, each with the ids of its receivers, and the receivers by their ids."""

    rules: tuple[tuple[AlertRule, tuple[str, ...]], ...] = ()
    receivers: Mapping[str, AlertReceiver] = field(default_factory=dict[str, AlertReceiver])
    everywhere: frozenset[str] = frozenset({""})
    """The roots whose rules are about the applications of all roots; the configuration is the empty name."""

    @cached_property
    def by_id(self) -> Mapping[str, tuple[AlertRule, tuple[str, ...]]]:
        """The rules, with the ids of their receivers, by their own ids."""
        return {rule.id: (rule, receivers) for rule, receivers in self.rules}


def rule_findings(spec: AlertRuleSpec) -> Iterator[Finding]:
    """Everything that is wrong in a rule's spec and that its schema cannot tell."""
    match = spec.match
    for name in ("applications", "projects", "clusters", "namespaces"):
        for number, pattern in enumerate(getattr(match, name)):
            if fault := glob_fault(pattern):
                yield Finding(("match", name, number), f"{pattern!r} is no glob: {fault}")
    for label, pattern in match.labels.items():
        if fault := glob_fault(pattern):
            yield Finding(("match", "labels", label), f"{pattern!r} is no glob: {fault}")
    for number, silence in enumerate(spec.silences):
        yield from (f.under("silences", number) for f in _silence(silence))
    if spec.repeat is not None and _seconds(spec.repeat) < _SHORTEST_REPEAT:
        yield Finding(("repeat",), f"{spec.repeat!r} is shorter than a minute", "write at least 1m")
    for name in ("after", "group"):
        if _seconds(getattr(spec, name)) < 0:
            yield Finding(
                ("for" if name == "after" else name,), f"{getattr(spec, name)!r} is no duration", "write it like 5m"
            )
    for name in ("title", "text"):
        yield from _template(name, getattr(spec.template, name))


def _template(name: str, text: str) -> Iterator[Finding]:
    if not text:
        return
    from taut.dialects.templates import template_fault  # Jinja is loaded where there is a template

    fault, line = template_fault(text)
    if fault:
        yield Finding(("template", name), f"line {line} of the template: {fault}", "see docs/alerts.md")


def receiver_findings(spec: AlertReceiverSpec) -> Iterator[Finding]:
    """Everything that is wrong in a receiver's spec and that its schema cannot tell."""
    ways = spec.ways
    if len(ways) != 1:
        what = "there is nobody to tell" if not ways else f"{' and '.join(ways)} exclude each other"
        yield Finding((), what, f"write exactly one of {', '.join(spec.__struct_fields__)}")
        return
    for number, address in enumerate(spec.email.to if spec.email else ()):
        if not _is_mailbox(address):
            yield Finding(("email", "to", number), f"{address!r} is no address", "write it like ops@example.com")
    if spec.url or spec.way in ("alertmanager", "webhook"):
        yield from (
            f.under(spec.way, "url")
            for f in _url(spec.url, sends_token=spec.way == "alertmanager" and bool(spec.secret))
        )


def usable_alerts(
    config: AlertsConfig,
    declared: Mapping[str, tuple[Sequence[AlertRule], Sequence[AlertReceiver]]],
    trusted: Collection[str],
) -> tuple[AlertBook, list[DocumentProblem]]:
    """The rules and receivers that count, of the configuration and of roots, and what is wrong with the others.

    `trusted` are the roots whose rules may be about all applications. A root's rule tells receivers of its own root, else those of the
    configuration that are for it. A root's receiver uses the secrets that are for it, and hosts that are allowed.
    """
    problems: list[DocumentProblem] = []
    receivers = {r.id: r for r in config.declared_receivers()}
    for root, (_, found) in sorted(declared.items()):
        for receiver in _once(found, "AlertReceiver", root, problems):
            why, advice = _unusable(receiver, config, trusted)
            if why:
                problems.append(
                    _problem("AlertReceiver", receiver.name, root, f"spec.{receiver.spec.way}", why, advice)
                )
            else:
                receivers[receiver.id] = receiver
    own = [(r, r.spec.receivers) for r in config.declared_rules()]
    rules: list[tuple[AlertRule, tuple[str, ...]]] = [
        (r, tuple(n for n in names if n in receivers)) for r, names in own
    ]
    for root, (found, _) in sorted(declared.items()):
        for rule in _once(found, "AlertRule", root, problems):
            names = {name: _receiver(name, root, receivers) for name in rule.spec.receivers}
            for name in (name for name, known in names.items() if not known):
                usable = [r.name for r in receivers.values() if _receiver(r.name, root, receivers)]
                what = f"there is no receiver {name!r} for this root"
                problems.append(_problem("AlertRule", rule.name, root, "spec.receivers", what, one_of(name, usable)))
            rules.append((rule, tuple(known for known in names.values() if known)))
    return AlertBook(tuple(rules), receivers, frozenset({"", *trusted})), problems


def _once[T: (AlertRule, AlertReceiver)](
    found: Iterable[T], kind: str, root: str, problems: list[DocumentProblem]
) -> Iterator[T]:
    every = list(found)
    names = Counter(each.name for each in every)
    for name in sorted(n for n, times in names.items() if times > 1):
        problems.append(
            _problem(kind, name, root, "metadata.name", f"several documents declare the {kind} {name!r}", "keep one")
        )
    if len(every) > _MOST:
        what = f"the root has {len(every)} documents of kind {kind}, more than {_MOST}"
        problems.append(
            _problem(
                kind,
                every[_MOST].name,
                root,
                "",
                what,
                "the first of them count; one rule may be about many applications",
            )
        )
    yield from (each for each in every[:_MOST] if names[each.name] == 1)


def _receiver(name: str, root: str, receivers: Mapping[str, AlertReceiver]) -> str:
    """The id of the receiver that a root's rule means; empty when there is none for it."""
    if f"{root}/{name}" in receivers:
        return f"{root}/{name}"
    general = receivers.get(name)
    return name if general is not None and any(match_name(p, root) for p in general.roots) else ""


def _unusable(receiver: AlertReceiver, config: AlertsConfig, trusted: Collection[str]) -> tuple[str, str]:
    """Why a root's receiver does not count, and what to do."""
    spec = receiver.spec
    if spec.email is not None and config.smtp is None:
        return "taut's configuration has no mail server", "add alerts.smtp there"
    strange = [a for a in spec.email.to if not mail_allowed(config.smtp, a)] if spec.email and config.smtp else []
    if strange:
        return f"{strange[0]} may not be sent mail", "list it in alerts.smtp.recipients of taut's configuration"
    if spec.url and not allowed(config.hosts, spec.url):
        return "this host may not be told anything", "list it in alerts.hosts of taut's configuration"
    if not spec.secret:
        return "", ""
    secrets = {s.name: s for s in config.secrets}
    mine = [name for name, s in secrets.items() if secret_is_for(s, receiver.root, trusted)]
    if spec.secret not in mine:
        advice = one_of(spec.secret, mine) or "name it in alerts.secrets of taut's configuration, with this root"
        return f"there is no secret {spec.secret!r} for this root", advice
    if spec.alertmanager is not None and not allowed(secrets[spec.secret].hosts, spec.url):
        return f"the secret {spec.secret!r} may not be sent to this host", "list the host in the secret's hosts"
    return "", ""


def secret_is_for(secret: AlertSecretConfig, root: str, trusted: Collection[str]) -> bool:
    """Whether receivers of a root may use a secret."""
    return any(match_name(p, root) for p in secret.roots) if secret.roots else root in trusted


def mail_allowed(smtp: SmtpConfig, address: str) -> bool:
    """Whether a root's receiver may name an address: nobody sends strangers mail through somebody else's server."""
    domain = smtp.sender.rpartition("@")[2].rstrip("> ").lower()
    if not smtp.recipients:
        return address.lower().endswith(f"@{domain}")
    return any(match_name(pattern.lower(), address.lower()) for pattern in smtp.recipients)


def instant(text: str) -> float | None:
    """An RFC 3339 time in Unix seconds; None when it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def _silence(silence: AlertSilence) -> Iterator[Finding]:
    if bool(silence.schedule) == bool(silence.since or silence.until):
        yield Finding((), "schedule, or from and until: one of both is needed", "write two entries for two silences")
        return
    if silence.schedule:
        if fault := cron_fault(silence.schedule):
            yield Finding(("schedule",), fault, "write it like 0 22 * * 1-5")
        if _seconds(silence.duration) <= 0:
            yield Finding(("duration",), "the silence has no length", "write it like 8h")
        if fault := zone_fault(silence.time_zone):
            yield Finding(("timeZone",), fault, "write it like Europe/Berlin")
        return
    begin, end = instant(silence.since), instant(silence.until)
    for name, value, text in (("from", begin, silence.since), ("until", end, silence.until)):
        if value is None:
            yield Finding((name,), f"{text!r} is no time", "write it like 2026-03-01T08:00:00Z")
    if begin is not None and end is not None and end <= begin:
        yield Finding(("until",), "the end is before the beginning")


def _url(url: str, *, sends_token: bool) -> Iterator[Finding]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        good = parts.scheme in ("http", "https") and bool(host) and (parts.port or 1) > 0
    except ValueError:
        good, host, parts = False, "", None
    if not good or parts is None:
        yield Finding((), f"{url!r} is no web address", "write it like https://example.com/hook")
    elif parts.username is not None or parts.password is not None:
        yield Finding((), "a user or a password stands in the address", "name a secret instead")
    elif parts.scheme == "http" and sends_token and not is_loopback(host):
        yield Finding((), "the token would be sent in the clear", "write https://…, or leave the secret out")


def _is_mailbox(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    printable = all(c.isprintable() and c not in ' <>,;:"()[]\\' for c in text)
    return bool(local and at and domain) and printable and len(text) <= 254


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError:
        return -1.0


def _problem(kind: str, name: str, root: str, field: str, what: str, advice: str = "") -> DocumentProblem:
    return DocumentProblem(what, Where(object=f"{kind} {name}", field=field, repository=root), advice)
