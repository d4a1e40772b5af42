"""Metrics in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from taut.model.health import HealthStatus
from taut.model.status import AppStatus, SyncStatus
from taut.server.views import Metric, Sample

MEDIA_TYPE = "text/plain"
CONTENT_TYPE = f"{MEDIA_TYPE}; version=0.0.4; charset=utf-8"


def fleet_metrics(statuses: Sequence[AppStatus]) -> list[Metric]:
    """Counts over all applications. Every state is there, also with 0: an alert needs a series before the first failure."""
    sync = Counter(s.sync for s in statuses)
    health = Counter(s.health for s in statuses)
    return [
        Metric(
            name="applications",
            help="Applications by sync state.",
            kind="gauge",
            samples=[Sample(value=sync[s], labels={"sync": s.value}) for s in SyncStatus],
        ),
        Metric(
            name="applications_health",
            help="Applications by health.",
            kind="gauge",
            samples=[Sample(value=health[h], labels={"health": h.value}) for h in HealthStatus],
        ),
        _gauge(
            "applications_held", "Applications whose plan waits for approval.", sum(bool(s.held_for) for s in statuses)
        ),
        _gauge("applications_suspended", "Suspended applications.", sum(s.suspended for s in statuses)),
        _gauge("objects", "Objects that taut manages.", sum(s.objects for s in statuses)),
        _gauge("drift_open", "Drift that is not healed.", sum(s.drift for s in statuses)),
        _gauge("operations_running", "Operations that run now.", sum(s.operation == "Running" for s in statuses)),
    ]


def request_metric(counts: Mapping[tuple[str, int], int]) -> Metric:
    """The API's own requests, by method and status."""
    samples = [
        Sample(value=count, labels={"method": method, "status": str(status)})
        for (method, status), count in sorted(counts.items())
    ]
    return Metric(name="http_requests_total", help="Requests to taut's own API.", kind="counter", samples=samples)


def exposition(metrics: Iterable[Metric]) -> str:
    """The text that Prometheus reads."""
    lines: list[str] = []
    for metric in metrics:
        name = f"taut_{metric.name}"
        lines += [f"# HELP {name} {_escaped(metric.help, quote=False)}", f"# TYPE {name} {metric.kind}"]
        lines += [f"{name}{_labels(sample.labels)} {sample.value:.17g}" for sample in metric.samples]
    return "\n".join(lines) + "\n"


def _gauge(name: str, text: str, value: int) -> Metric:
    return Metric(name=name, help=text, kind="gauge", samples=[Sample(value=value)])


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str, *, quote: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text
