"""Statuses, drift records, rules and books for the tests of alerts."""

from __future__ import annotations

from typing import Any

import msgspec

from taut.dialects.alerts import AlertBook
from taut.model.alerts import AlertReceiver, AlertReceiverSpec, AlertRule, AlertRuleSpec, Trigger
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.health import HealthStatus
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus, SyncStatus
from taut.notify.facts import About, Fact, drift_ended, drift_fact
from taut.notify.rules import Notice, Phase

NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z"""
WEB = About(
    key="fleet/shop/web",
    root="fleet",
    namespace="shop",
    name="web",
    project="shop",
    cluster="production",
    target_namespace="shop",
    labels={"team": "blue"},
    revision="main@1a2b3c4d",
)


def status(**changes: Any) -> AppStatus:
    """The status of shop/web, in order but for `changes`."""
    made = AppStatus(
        key=WEB.key,
        root=WEB.root,
        namespace=WEB.namespace,
        name=WEB.name,
        project=WEB.project,
        cluster=WEB.cluster,
        target_namespace=WEB.target_namespace,
        labels=WEB.labels,
        mode="automatic",
        sync=SyncStatus.SYNCED,
        health=HealthStatus.HEALTHY,
        operation="Succeeded",
        desired_revision=WEB.revision,
    )
    return msgspec.structs.replace(made, **changes)


def record(number: int = 1, path: str = "spec.replicas", **changes: Any) -> DriftRecord:
    """Somebody scaled a Deployment."""
    given: dict[str, Any] = {
        "desired": 2,
        "found": 5,
        "who": "kubectl-scale",
        "operation": "Update",
        "changed_at": NOW - 2,
        "noticed_at": NOW,
        "outcome": DriftOutcome.OPEN,
        "user": "ada@example.com",
        **changes,
    }
    ref = ObjectRef("production", "apps", "Deployment", "shop", "web")
    return DriftRecord(id=number, app=AppKey("fleet", "shop", "web"), ref=ref, path=path, **given)


def drift(path: str = "spec.replicas", **changes: Any) -> Fact:
    """It is found."""
    return drift_fact(WEB, record(path=path, **changes))


def healed(path: str = "spec.replicas", at: float = NOW + 3) -> Fact:
    """It is healed."""
    return drift_ended(WEB, record(path=path), DriftOutcome.HEALED, at, "")


def rule(*triggers: Trigger, name: str = "all", root: str = "", **spec: Any) -> AlertRule:
    """A rule in the words of documents (`for` is `for_`)."""
    words = {k.rstrip("_"): v for k, v in spec.items()}
    body = {"triggers": [t.value for t in triggers], "receivers": ["ops"], **words}
    return AlertRule(name=name, root=root, spec=msgspec.convert(body, AlertRuleSpec))


def book(*rules: AlertRule, everywhere: tuple[str, ...] = ()) -> AlertBook:
    """A book of these rules, which all tell `ops`."""
    ops = AlertReceiver(name="ops", spec=msgspec.convert({"email": {"to": ["ops@example.com"]}}, AlertReceiverSpec))
    return AlertBook(tuple((r, ("ops",)) for r in rules), {"ops": ops}, frozenset({"", *everywhere}))


def notice(fact: Fact, *, number: int = 1, phase: Phase = Phase.FIRING, receiver: str = "ops", **more: Any) -> Notice:
    """A notice of a fact."""
    given: dict[str, Any] = {"rule": "all", "severity": "warning", "since": NOW, "at": NOW, **more}
    return msgspec.convert(
        {"name": f"n{number}", "key": f"k-{fact.subject}", "receiver": receiver, "phase": phase, "fact": fact, **given},
        Notice,
        from_attributes=True,
    )
