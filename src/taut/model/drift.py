"""Drift with a name: who changed which field, when, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from taut.model.refs import AppKey, ObjectRef


class DriftOutcome(StrEnum):
    """What became of a drift."""

    OPEN = "open"
    HEALED = "healed"
    REVERTED = "reverted"
    """Somebody else put it back."""
    REPORTED = "reported"
    """Report-only, or self-heal is off."""
    CONTESTED = "contested"
    ADOPTED = "adopted"
    """Git now says what was found."""


@dataclass(frozen=True, slots=True)
class DriftRecord:
    """One field (or a whole object, with an empty path) that somebody changed. Secret values are redacted.

    Times are Unix seconds; `changed_at` is the field manager's time, 0 when unknown. `who` is the field manager, `operation` its operation.
    """

    id: int
    app: AppKey
    ref: ObjectRef
    path: str
    desired: Any
    found: Any
    who: str
    operation: str
    changed_at: float
    noticed_at: float
    outcome: DriftOutcome
    user: str = ""
    healed_at: float = 0.0
    reason: str = ""
    missing: bool = False
    """The object was deleted."""
    secret: bool = False
