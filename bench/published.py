"""What Kyverno and Gatekeeper publish about the latency of their webhooks, for the eye beside taut's own figures. Pure.

The machines and the ways to measure differ, so nothing is computed from them; each row says what was measured and where it was published.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.report import markdown


@dataclass(frozen=True)
class Published:
    """One published figure. `counts` is what the time is of."""

    who: str
    load: str
    machine: str
    counts: str
    latency: str
    where: str


ADMISSION = (
    Published(
        "Kyverno 1.18.1",
        "16 policies in CEL, 10 clients, 1 replica",
        "32 vCPU",
        "making a Pod, the API server's work included",
        "mean 32 ms, p99 107 ms (without Kyverno 38 ms and 103 ms)",
        "kyverno/kyverno, docs/perf-testing/v1.18.1/results/summary.md",
    ),
    Published(
        "Kyverno 1.18.1",
        "the same, 50 clients",
        "32 vCPU",
        "the same",
        "mean 57 ms, p99 182 ms (without 101 ms and 160 ms)",
        "the same",
    ),
    Published(
        "Kyverno 1.13",
        "17 policies with patterns, 100 clients, 1 replica",
        "not said",
        "making a Pod, the API server's work included",
        "mean 44 ms, max 132 ms",
        "kyverno/website, pull request 1374",
    ),
    Published(
        "Kyverno after 1.12",
        "10 policies that complete, 10 clients",
        "not said",
        "making an object, the API server's work included",
        "mean 58 ms, p95 122 ms (one policy: 9.6 ms, 15 ms)",
        "kyverno/kyverno, issue 10120",
    ),
    Published(
        "Gatekeeper 3.1",
        "10, 50, 100 constraints about Pods, one at a time",
        "8 cores",
        "its handler alone, no HTTP",
        "mean 18 ms, 79 ms, 208 ms",
        "open-policy-agent/gatekeeper, pull request 599",
    ),
    Published(
        "Gatekeeper 3.21",
        "one template",
        "not said",
        "the evaluation of its Rego alone",
        "0.76 ms",
        "open-policy-agent/gatekeeper, website, Metrics & Observability",
    ),
)


def table() -> list[str]:
    """The published figures as a Markdown table."""
    heads = ["published", "load", "machine", "what the time is of", "latency", "where"]
    return markdown([heads, *([p.who, p.load, p.machine, p.counts, p.latency, p.where] for p in ADMISSION)])
