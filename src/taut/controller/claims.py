"""Whose an object is, among the applications of this taut: the inventories' other side, which holds each object once.

A claim is made before anything of an operation is stored: in one step of the event loop, so that of two applications that planned to
make the same object the second one finds it taken. The store refuses the same in its own transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from taut.controller.state import AppState, Desired
from taut.model.errors import TautError
from taut.model.live import LiveObject
from taut.model.operation import StepState
from taut.model.plan import WRITES, InventoryItem
from taut.model.refs import AppKey, ObjectRef
from taut.planning.ownership import owner_app


class Taken(TautError):
    """Another application claimed an object between this one's plan and its start: it is to be planned anew."""

    def __init__(self, ref: ObjectRef, owner: AppKey) -> None:
        super().__init__(f"{ref} belongs to the application {owner} by now")
        self.owner = owner


@dataclass(frozen=True)
class Claim:
    """What one start claimed, and what it takes to undo that."""

    new: tuple[InventoryItem, ...] = ()
    """Items that its inventory did not have."""
    givers: Mapping[ObjectRef, AppKey] = field(default_factory=dict[ObjectRef, AppKey])
    """Who hands an object over with it."""
    given: tuple[tuple[AppState, InventoryItem], ...] = ()
    """The items that left their inventories by it."""


def hooks_of(desired: Desired | None) -> frozenset[ObjectRef]:
    """The objects that an application's hooks make."""
    return frozenset(h.ref for h in desired.hooks) if desired is not None and desired.hooks else frozenset()


def untouched(desired: Desired | None) -> frozenset[ObjectRef]:
    """The objects that an application declares and leaves as they are when they exist."""
    objects = desired.objects if desired is not None else ()
    return frozenset(w.ref for w in objects if w.options.skip or w.options.once)


def touches(state: AppState, ref: ObjectRef) -> bool:
    """Whether a request of the application that changes `ref` may be under way: nobody else writes it until the answer is known."""
    run = state.run
    if run is None:
        return False
    return any(s.ref == ref and s.state is StepState.SENT and s.action in WRITES for s in run.steps)


def marked(live: LiveObject | None) -> AppKey | None:
    """The application whose mark a live object carries."""
    return owner_app(live.owner) if live is not None and live.owner else None


class Loans:
    """Whose objects others are about to take: until that is stored they may come back, and their owner must stay."""

    def __init__(self) -> None:
        self._open: Counter[AppKey] = Counter()

    def open(self, givers: Iterable[AppKey]) -> None:
        """A claim is made on something of these."""
        self._open.update(set(givers))

    def close(self, givers: Iterable[AppKey]) -> frozenset[AppKey]:
        """It is stored, or undone; the same applications come out."""
        keys = frozenset(givers)
        self._open -= Counter(keys)
        return keys

    def is_open(self, key: AppKey) -> bool:
        """Whether something of the application is lent."""
        return key in self._open


class Awaited:
    """Of which applications it has to be known what they want before the plan of another one is complete."""

    def __init__(self) -> None:
        self._awaited: dict[AppKey, frozenset[AppKey]] = {}

    def put(self, key: AppKey, owners: Iterable[AppKey]) -> None:
        """The application `key` waits for these, and for no others."""
        self._awaited.pop(key, None)
        if waits := frozenset(owners):
            self._awaited[key] = waits

    def by(self, owner: AppKey) -> list[AppKey]:
        """Who waits for `owner`."""
        return [key for key, owners in self._awaited.items() if owner in owners]

    def all(self) -> list[AppKey]:
        """Who waits for anybody."""
        return list(self._awaited)


class Rivals:
    """Objects that two inventories hold, as an earlier taut may have left them. They are settled before anything is planned of them."""

    def __init__(self) -> None:
        self._holders: dict[ObjectRef, list[AppKey]] = {}

    def note(self, ref: ObjectRef, *holders: AppKey) -> None:
        """These applications hold it."""
        known = self._holders.setdefault(ref, [])
        known += [key for key in holders if key not in known]

    def of(self, state: AppState) -> list[ObjectRef]:
        """The objects of which the application is one of several holders."""
        return [ref for ref in self._holders if ref in state.items] if self._holders else []

    def end(self, ref: ObjectRef) -> Sequence[AppKey]:
        """It is settled; who held it comes out."""
        return self._holders.pop(ref, ())


def rightful(ref: ObjectRef, holders: Iterable[AppState], live: LiveObject | None) -> AppState:
    """Who keeps an object that several hold: whose mark it carries, else who confirmed it, else whose operation is the oldest."""
    mark = marked(live)

    def rank(state: AppState) -> tuple[bool, bool, int, AppKey]:
        begun = state.run.operation.id if state.run is not None else 0
        return (state.key != mark, state.items[ref].pending, begun, state.key)

    return min(holders, key=rank)


def left_over(states: Mapping[AppKey, AppState], keys: Iterable[AppKey], ref: ObjectRef) -> Iterator[AppState]:
    """Of these applications those that are here and hold `ref`."""
    for key in keys:
        state = states.get(key)
        if state is not None and ref in state.items:
            yield state
