"""States, ages and short names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from support.memory_backend import DB, status
from taut.cli.words import age, short_names, short_revision, state_of
from taut.model.health import HealthStatus
from taut.model.status import HeldFor, Problem, SyncStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "Healthy"),
        ({"problems": (Problem("no"),), "held_for": (HeldFor("x", "y"),)}, "Failed"),
        ({"operation": "Failed"}, "Failed"),
        ({"health": HealthStatus.DEGRADED, "operation": "Running"}, "Degraded"),
        ({"held_for": (HeldFor("x", "y"),), "drift": 1}, "Held"),
        ({"drift": 1}, "Drifted"),
        ({"contested": True}, "Drifted"),
        ({"operation": "Running", "sync": SyncStatus.UNKNOWN}, "Deploying"),
        ({"health": HealthStatus.PROGRESSING}, "Deploying"),
        ({"suspended": True, "sync": SyncStatus.OUT_OF_SYNC}, "Suspended"),
        ({"health": HealthStatus.MISSING, "sync": SyncStatus.OUT_OF_SYNC}, "Missing"),
        ({"health": HealthStatus.MISSING, "last_sync": "", "sync": SyncStatus.OUT_OF_SYNC}, "Behind"),
        ({"sync": SyncStatus.UNKNOWN}, "Unknown"),
        ({"sync": SyncStatus.OUT_OF_SYNC}, "Behind"),
    ],
)
def test_what_needs_someone_comes_before_what_does_not(changes: dict[str, Any], word: str) -> None:
    assert state_of(status(DB, **changes)).word == word


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("", "never"),
        ("2026-01-02T03:04:05Z", "0s"),
        ("2026-01-02T03:05:05Z", "0s"),
        ("2026-01-02T03:03:35Z", "30s"),
        ("2026-01-02T02:04:05Z", "1h"),
        ("2025-12-01T00:00:00Z", "32d"),
        ("yesterday", "yesterday"),
    ],
)
def test_ages(moment: str, shown: str) -> None:
    assert age(moment, NOW) == shown


def test_short_names_mean_one_application() -> None:
    keys = ["prod/shop/web", "prod/ops/web", "prod/db", "shop/web", "test/a/api", "prod/a/api"]
    assert short_names(keys) == {
        "prod/shop/web": "prod/shop/web",  # `shop/web` is the exact key of another one
        "prod/ops/web": "ops/web",
        "prod/db": "db",
        "shop/web": "shop/web",
        "test/a/api": "test/a/api",
        "prod/a/api": "prod/a/api",
    }


def test_revisions() -> None:
    assert short_revision("1a2b3c4d" * 5) == "1a2b3c4d"
    assert short_revision("main@1a2b3c4d") == "main@1a2b3c4d"
