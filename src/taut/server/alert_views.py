"""What the API says of alerts, and what is counted of them."""

from __future__ import annotations

from collections.abc import Mapping

from taut.model.alerts import Severity, Trigger
from taut.model.times import rfc3339
from taut.notify.preview import Preview
from taut.notify.rules import Alert
from taut.notify.service import Alerting
from taut.server.views import Metric, Sample, View
from taut.store.outbox import Queued


class AlertTest(View, frozen=True, forbid_unknown_fields=True):
    """Which rule or receiver is tested, on which application (empty: on examples), and whether the message is sent."""

    name: str
    application: str = ""
    send: bool = False


class AlertRuleView(View, frozen=True):
    """A rule that counts."""

    id: str
    root: str
    triggers: tuple[Trigger, ...]
    receivers: tuple[str, ...]
    severity: Severity
    suspended: bool


class AlertReceiverView(View, frozen=True):
    """Somebody who is told, and by which way; never an address or a secret."""

    id: str
    root: str
    way: str


class OpenAlertView(View, frozen=True):
    """An alert that was told and is not over."""

    key: str
    rule: str
    application: str
    trigger: Trigger
    severity: Severity
    what: str
    why: str
    object: str
    field: str
    since: str
    told: str
    times: int

    @classmethod
    def of(cls, alert: Alert) -> OpenAlertView:
        """From the engine's alert."""
        fact = alert.fact
        return cls(
            key=alert.key,
            rule=alert.rule,
            application=fact.about.key,
            trigger=fact.trigger,
            severity=alert.severity,
            what=fact.what,
            why=fact.why,
            object=fact.object,
            field=fact.field,
            since=rfc3339(alert.since),
            told=rfc3339(alert.told),
            times=alert.count,
        )


class QueuedView(View, frozen=True):
    """A message that waits: `stage` is drift (not judged by rules yet), notice (its group is open) or alert (on its way)."""

    stage: str
    receiver: str
    id: str
    at: str
    tries: int
    said: str

    @classmethod
    def of(cls, queued: Queued) -> QueuedView:
        """From the outbox."""
        receiver = queued.key if queued.channel != "drift" else ""
        return cls(
            stage=queued.channel,
            receiver=receiver,
            id=queued.name,
            at=rfc3339(queued.at),
            tries=queued.tries,
            said=queued.said,
        )


class AlertsView(View, frozen=True):
    """Everything about alerts."""

    rules: tuple[AlertRuleView, ...] = ()
    receivers: tuple[AlertReceiverView, ...] = ()
    open: tuple[OpenAlertView, ...] = ()
    waiting: tuple[QueuedView, ...] = ()


class PreviewView(View, frozen=True):
    """A message as a receiver would get it."""

    receiver: str
    way: str
    title: str
    text: str


class AlertTestAnswer(View, frozen=True):
    """What a test would tell, or has told."""

    sent: bool
    messages: tuple[PreviewView, ...]


async def alerts_view(alerting: Alerting, limit: int) -> AlertsView:
    """Rules, receivers, open alerts and what waits, so many of each at most."""
    book = alerting.book()
    rules = [
        AlertRuleView(
            id=rule.id,
            root=rule.root,
            triggers=rule.spec.triggers,
            receivers=receivers,
            severity=rule.spec.severity,
            suspended=rule.spec.suspended,
        )
        for rule, receivers in book.rules
    ]
    told = sorted(alerting.desk.open_alerts(), key=lambda a: (-a.told, a.key))
    return AlertsView(
        rules=tuple(rules),
        receivers=tuple(AlertReceiverView(id=r.id, root=r.root, way=r.spec.way) for r in book.receivers.values()),
        open=tuple(OpenAlertView.of(a) for a in told[:limit]),
        waiting=tuple(QueuedView.of(q) for q in await alerting.waiting(limit)),
    )


def tested(preview: Preview, *, sent: bool) -> AlertTestAnswer:
    """What a test came to."""
    return AlertTestAnswer(
        sent=sent,
        messages=tuple(
            PreviewView(receiver=r.id, way=r.spec.way, title=m.title, text=m.text) for m, r in preview.messages
        ),
    )


def alert_metrics(alerting: Alerting) -> list[Metric]:
    """What was told, what was not, and what waits. The labels are kinds of receivers: there are six."""
    courier = alerting.courier
    return [
        _counter("alerts_sent_total", "Messages of alerts that arrived, by kind of receiver.", courier.sent),
        _counter("alerts_failed_total", "Tries to deliver a message that failed, by kind of receiver.", courier.failed),
        _counter("alerts_given_up_total", "Messages that were let go of, by kind of receiver.", courier.given_up),
        Metric(
            name="alerts_dropped_total",
            help="Messages that were let go of because too many waited.",
            kind="counter",
            samples=[Sample(value=alerting.desk.dropped)],
        ),
        Metric(
            name="alerts_queued",
            help="Messages of alerts that wait for their receivers.",
            kind="gauge",
            samples=[Sample(value=courier.queued)],
        ),
        Metric(
            name="alerts_open",
            help="Alerts that were told and are not over.",
            kind="gauge",
            samples=[Sample(value=len(alerting.desk.open_alerts()))],
        ),
    ]


def _counter(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    samples = [Sample(value=n, labels={"receiver": kind}) for kind, n in sorted(counts.items())]
    return Metric(name=name, help=text, kind="counter", samples=samples)
