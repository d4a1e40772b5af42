"""The one state in which an application is shown: what needs somebody comes before what does not."""

from __future__ import annotations

from enum import StrEnum

from taut.model.health import HealthStatus
from taut.model.status import AppStatus, SyncStatus


class Shown(StrEnum):
    """In the order in which they are listed: the first needs somebody most."""

    FAILED = "Failed"
    DEGRADED = "Degraded"
    MISSING = "Missing"
    HELD = "Held"
    DRIFTED = "Drifted"
    UNKNOWN = "Unknown"
    DEPLOYING = "Deploying"
    BEHIND = "Behind"
    SUSPENDED = "Suspended"
    HEALTHY = "Healthy"

    @property
    def rank(self) -> int:
        """Its place in that order."""
        return _RANK[self]

    @property
    def urgent(self) -> bool:
        """Whether it waits for a person."""
        return self.rank <= _RANK[Shown.UNKNOWN]


_RANK = {shown: n for n, shown in enumerate(Shown)}
_BY_HEALTH = {
    HealthStatus.HEALTHY: Shown.HEALTHY,
    HealthStatus.SUSPENDED: Shown.SUSPENDED,
    HealthStatus.PROGRESSING: Shown.DEPLOYING,
    HealthStatus.MISSING: Shown.MISSING,
    HealthStatus.DEGRADED: Shown.DEGRADED,
    HealthStatus.UNKNOWN: Shown.UNKNOWN,
}


def shown_of(status: AppStatus) -> Shown:
    """The first state that applies."""
    working = status.operation == "Running" or status.health is HealthStatus.PROGRESSING
    cases = (
        (bool(status.problems) or status.operation == "Failed", Shown.FAILED),
        (status.health is HealthStatus.DEGRADED, Shown.DEGRADED),
        (bool(status.held_for), Shown.HELD),
        (status.drift > 0 or status.contested, Shown.DRIFTED),
        (working, Shown.DEPLOYING),
        (status.suspended or status.health is HealthStatus.SUSPENDED, Shown.SUSPENDED),
        (status.health is HealthStatus.MISSING and bool(status.last_sync), Shown.MISSING),
        (status.sync is SyncStatus.UNKNOWN or status.health is HealthStatus.UNKNOWN, Shown.UNKNOWN),
        (status.sync is SyncStatus.OUT_OF_SYNC, Shown.BEHIND),
    )
    return next((shown for applies, shown in cases if applies), _BY_HEALTH[status.health])


def shown_health(health: HealthStatus | None) -> Shown:
    """How an object's health is shown; an object without one is shown as healthy."""
    return _BY_HEALTH[health or HealthStatus.HEALTHY]
