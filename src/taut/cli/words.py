"""taut's words and marks for people: states, ages, names. Shape and colour and word: nothing rests on colour alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from taut.model.health import HealthStatus
from taut.model.shown import Shown, shown_health, shown_of
from taut.model.status import AppStatus, SyncStatus


@dataclass(frozen=True, slots=True)
class State:
    """One state as it is shown. `rank` orders what needs someone first; `style` is rich's."""

    word: str
    mark: str
    style: str
    rank: int


FAILED = State("Failed", "⬣", "bold red", 0)
DEGRADED = State("Degraded", "▲", "red", 1)
MISSING = State("Missing", "△", "red", 2)
HELD = State("Held", "■", "magenta", 3)
DRIFTED = State("Drifted", "◆", "yellow", 4)
UNKNOWN = State("Unknown", "◌", "yellow", 5)
DEPLOYING = State("Deploying", "◐", "cyan", 6)
BEHIND = State("Behind", "○", "default", 7)
SUSPENDED = State("Suspended", "⊘", "default", 8)
HEALTHY = State("Healthy", "✓", "dim", 9)
STATES = (FAILED, DEGRADED, MISSING, HELD, DRIFTED, UNKNOWN, DEPLOYING, BEHIND, SUSPENDED, HEALTHY)

_BY_WORD = {Shown(state.word): state for state in STATES}
_SYNC = {SyncStatus.SYNCED: "in sync", SyncStatus.OUT_OF_SYNC: "behind", SyncStatus.UNKNOWN: "unknown"}


def state_of(status: AppStatus) -> State:
    """The one state that an application is shown in."""
    return _BY_WORD[shown_of(status)]


def health_state(health: HealthStatus | None) -> State:
    """How an object's health is shown; an object without one is shown as healthy."""
    return _BY_WORD[shown_health(health)]


def sync_word(sync: SyncStatus | None) -> str:
    """`in sync`, `behind`, `unknown`; empty for an object that Git does not declare."""
    return _SYNC[sync] if sync is not None else ""


def age(moment: str, now: datetime) -> str:
    """How long ago an RFC 3339 time was (`12s`, `4m`, `3h`, `5d`), `never` when it is empty, the text itself when it is no time."""
    if not moment:
        return "never"
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """The shortest name of each key that means no other: `name`, `namespace/name`, or the key itself."""
    exact = set(keys)
    counts = Counter(form for key in exact for form in {*_forms(key), _with_root(key)})
    return {
        key: next((f for f in _forms(key) if f == key or (counts[f] == 1 and f not in exact)), key)
        for key in sorted(exact)
    }


def _forms(key: str) -> tuple[str, ...]:
    parts = key.split("/")
    return (parts[-1], "/".join(parts[1:]), key)


def _with_root(key: str) -> str:
    """The API takes `root/name` as well, so a short name must not look like it."""
    parts = key.split("/")
    return f"{parts[0]}/{parts[-1]}"


def short_revision(revision: str) -> str:
    """A commit is shown by its first 8 digits; labels and versions stay."""
    return revision[:8] if len(revision) == 40 and all(c in "0123456789abcdef" for c in revision) else revision
