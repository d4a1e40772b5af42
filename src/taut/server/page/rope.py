"""The rope between Git and live, and the marks of states: a shape, a tone and a word for each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from taut.model.health import HealthStatus
from taut.model.shown import Shown, shown_health
from taut.model.status import AppStatus, SyncStatus


@dataclass(frozen=True, slots=True)
class Mark:
    """A state's outline (a symbol of the page), its tone and its word."""

    symbol: str
    tone: str
    word: str


@dataclass(frozen=True, slots=True)
class Rope:
    """How Git and live hang together: straight, sagging, dashed, knotted, broken, or out of sight."""

    symbol: str
    tone: str
    word: str


MARKS = {
    Shown.FAILED: Mark("s-failed", "bad", "Failed"),
    Shown.DEGRADED: Mark("s-degraded", "bad", "Degraded"),
    Shown.MISSING: Mark("s-missing", "bad", "Missing"),
    Shown.HELD: Mark("s-held", "held", "Held"),
    Shown.DRIFTED: Mark("s-drifted", "warn", "Drifted"),
    Shown.UNKNOWN: Mark("s-unknown", "mute", "Unknown"),
    Shown.DEPLOYING: Mark("s-run", "run", "Deploying"),
    Shown.BEHIND: Mark("s-behind", "run", "Behind"),
    Shown.SUSPENDED: Mark("s-suspended", "mute", "Suspended"),
    Shown.HEALTHY: Mark("s-ok", "good", "Healthy"),
}
TODO = Mark("s-todo", "mute", "Not started")
ADOPTED = Mark("s-adopted", "run", "Adopted")


def health_mark(health: HealthStatus | None) -> Mark:
    """The mark of an object."""
    return MARKS[shown_health(health)]


def rope_of(status: AppStatus) -> Rope:
    """The rope of an application."""
    if status.problems or status.operation == "Failed":
        return Rope("r-broken", "bad", "not applied")
    if status.held_for:
        return Rope("r-knot", "held", "waits")
    if status.drift:
        return Rope("r-slack", "warn", f"{status.drift} {'field' if status.drift == 1 else 'fields'}")
    if status.sync is SyncStatus.UNKNOWN:
        return Rope("r-unseen", "mute", "not known")
    if status.sync is SyncStatus.OUT_OF_SYNC:
        return Rope("r-ahead", "run", f"{status.out_of_sync} behind" if status.out_of_sync else "behind")
    return Rope("r-taut", "mute", "in sync")
