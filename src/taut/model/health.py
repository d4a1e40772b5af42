"""Health of an object and of an application."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class HealthStatus(StrEnum):
    """In the order best to worst; an application is as healthy as its worst object (DESIGN.md, Semantics)."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"


_ORDER = {status: n for n, status in enumerate(HealthStatus)}


@dataclass(frozen=True, slots=True)
class Health:
    """A status and the sentence that explains it (empty when there is nothing to say)."""

    status: HealthStatus
    message: str = ""


def worst(healths: Iterable[Health]) -> Health:
    """The worst of `healths`, the first among equals; Healthy when there are none."""
    return max(healths, key=lambda h: _ORDER[h.status], default=Health(HealthStatus.HEALTHY))
