"""What the store takes and gives besides the shared model."""

from __future__ import annotations

from dataclasses import dataclass, field

from taut.model.asking import ASKED_FROM
from taut.model.drift import DriftOutcome
from taut.model.operation import StepState
from taut.model.plan import InventoryItem


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one step came, and what that means for the inventory, written in one transaction.

    `sent_at` 0 and `uid` "" leave what is stored. `item` replaces the object's inventory item; `drop` removes it (a deletion
    was confirmed, or the object was released). Never both.
    """

    number: int
    state: StepState
    message: str = ""
    sent_at: float = 0.0
    uid: str = ""
    item: InventoryItem | None = None
    drop: bool = False


@dataclass(frozen=True, slots=True)
class AuditNote:
    """Who did what to whom; becomes an AuditEntry when it is written. No secret's value in any of them."""

    actor: str
    action: str
    subject: str
    detail: str = ""
    source: str = field(default_factory=ASKED_FROM.get)
    """From where, and by what they signed in."""


@dataclass(frozen=True, slots=True)
class EventNote:
    """A line of the timeline that is written together with what it tells of."""

    at: float
    kind: str
    message: str
    object: str = ""


@dataclass(frozen=True, slots=True)
class DriftEnd:
    """What became of these drift records."""

    ids: tuple[int, ...]
    outcome: DriftOutcome
    at: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline behind `taut events`. `app` is the text form of an application's key, `at` in Unix seconds."""

    id: int
    app: str
    at: float
    kind: str
    message: str
    object: str = ""
