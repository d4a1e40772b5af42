"""Alerts: who is told of what, when. Rules and receivers as documents say them; the schemas are generated from these structs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, field

from taut.model.application import Duration, Name, Spec


class Trigger(StrEnum):
    """What a rule may be about."""

    DRIFT_FOUND = "drift-found"
    DRIFT_HEALED = "drift-healed"
    SYNC_FAILED = "sync-failed"
    HELD = "held"
    HEALTH_DEGRADED = "health-degraded"
    POLICY_DENIED = "policy-denied"
    SECRET_UNRESOLVED = "secret-unresolved"  # noqa: S105 (no password)
    SOURCE_UNREACHABLE = "source-unreachable"
    RECOVERED = "recovered"


CONDITIONS = (
    Trigger.SYNC_FAILED,
    Trigger.HELD,
    Trigger.HEALTH_DEGRADED,
    Trigger.POLICY_DENIED,
    Trigger.SECRET_UNRESOLVED,
    Trigger.SOURCE_UNREACHABLE,
)
"""What an application's status tells: these begin, last and end."""


class Severity(StrEnum):
    """How urgent an alert is, in PagerDuty's words."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


Globs = Annotated[tuple[str, ...], Meta(max_length=100)]


class AlertMatch(Spec, frozen=True):
    """Which applications a rule is about. All that is given has to fit."""

    applications: Globs = ("*",)
    """Globs on names: `web`, `shop/web` (namespace and name), or `fleet/shop/web` (with the root)."""
    projects: Globs = ("*",)
    """Globs on the names of projects."""
    clusters: Globs = ("*",)
    """Globs on the names of clusters."""
    namespaces: Globs = ("*",)
    """Globs on the namespaces that applications run in."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of the application; the values are globs."""


class AlertSilence(Spec, frozen=True):
    """When a rule says nothing: again and again (`schedule` and `duration`), or once (`from` and `until`)."""

    schedule: str = ""
    """When it begins: a cron expression of five fields."""
    duration: Duration = "0s"
    """How long it lasts from then on."""
    time_zone: str = "UTC"
    """The time zone of the schedule."""
    since: str = field(default="", name="from")
    """Its beginning, such as `2026-03-01T08:00:00Z`."""
    until: str = ""
    """Its end, in the same form."""


class AlertTemplate(Spec, frozen=True):
    """Own words instead of taut's: a part of Jinja's language. `taut alerts test` shows what comes out."""

    title: Annotated[str, Meta(max_length=1024)] = ""
    """The subject of an e-mail, the heading of a message."""
    text: Annotated[str, Meta(max_length=4096)] = ""
    """The message itself."""


class AlertRuleSpec(Spec, frozen=True):
    """The `spec` of an AlertRule document: what is told to whom, and how often."""

    triggers: Annotated[tuple[Trigger, ...], Meta(min_length=1)]
    """What the rule is about."""
    receivers: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=20)]
    """Names of receivers: those of the same root, and those of taut's configuration."""
    severity: Severity = Severity.WARNING
    """How urgent it is."""
    match: AlertMatch = AlertMatch()
    """Which applications it is about."""
    after: Duration = field(default="0s", name="for")
    """How long something has to last before it is told. What ends sooner is never told."""
    group: Duration = "30s"
    """For how long what happens is collected into one message."""
    repeat: Duration | None = None
    """How often it is told again while it lasts. Default: once."""
    resolve: bool = True
    """Whether it is told when it is over."""
    silences: Annotated[tuple[AlertSilence, ...], Meta(max_length=50)] = ()
    """When nothing is told. What lasts longer than a silence is told at its end."""
    template: AlertTemplate = AlertTemplate()
    """Own words instead of taut's."""
    suspended: bool = False
    """Whether the rule says nothing at all."""


class SlackReceiver(Spec, frozen=True):
    """A channel of Slack, by an incoming webhook."""

    secret: Name
    """The name of the secret that holds the webhook's address."""


class TeamsReceiver(Spec, frozen=True):
    """A channel or chat of Microsoft Teams, by a webhook of Workflows."""

    secret: Name
    """The name of the secret that holds the webhook's address."""


class EmailReceiver(Spec, frozen=True):
    """Mailboxes; the server is the one of taut's configuration (`alerts.smtp`)."""

    to: Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)]
    """Addresses."""


class PagerDutyReceiver(Spec, frozen=True):
    """A service of PagerDuty, by its Events API v2."""

    secret: Name
    """The name of the secret that holds the integration key."""


class AlertmanagerReceiver(Spec, frozen=True):
    """An Alertmanager, by its API v2."""

    url: str
    """Its address, without `/api/v2/alerts`."""
    secret: Name | None = None
    """The name of the secret that holds a bearer token; the secret says to which hosts it may go."""


class WebhookReceiver(Spec, frozen=True):
    """Any server: JSON by POST, signed as Standard Webhooks says."""

    url: str
    """Its address."""
    secret: Name
    """The name of the secret that holds the key of the signature, `whsec_` and base64."""


class AlertReceiverSpec(Spec, frozen=True):
    """The `spec` of an AlertReceiver document: exactly one of these."""

    slack: SlackReceiver | None = None
    """A channel of Slack."""
    teams: TeamsReceiver | None = None
    """A channel or chat of Microsoft Teams."""
    email: EmailReceiver | None = None
    """Mailboxes."""
    pagerduty: PagerDutyReceiver | None = None
    """A service of PagerDuty."""
    alertmanager: AlertmanagerReceiver | None = None
    """An Alertmanager."""
    webhook: WebhookReceiver | None = None
    """Any server that checks a signature."""

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of the fields that are there."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name) is not None)

    @property
    def way(self) -> str:
        """The one field that is there; empty when there is none."""
        return self.ways[0] if self.ways else ""

    @property
    def secret(self) -> str:
        """The name of the secret that it needs; empty when it needs none."""
        return getattr(getattr(self, self.way, None), "secret", None) or ""

    @property
    def url(self) -> str:
        """The address that the document itself names; empty when it names none."""
        return getattr(getattr(self, self.way, None), "url", "")


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and where it comes from; `root` is empty for one of taut's configuration."""

    name: str
    spec: AlertRuleSpec
    root: str = ""

    @property
    def id(self) -> str:
        """Its name among all rules."""
        return f"{self.root}/{self.name}" if self.root else self.name


class AlertReceiver(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver and where it comes from; `root` is empty for one of taut's configuration."""

    name: str
    spec: AlertReceiverSpec
    root: str = ""
    roots: tuple[str, ...] = ("*",)
    """Of one of the configuration: globs on the roots whose rules may use it."""

    @property
    def id(self) -> str:
        """Its name among all receivers."""
        return f"{self.root}/{self.name}" if self.root else self.name
