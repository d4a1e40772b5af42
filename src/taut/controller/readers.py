"""Who looked at what: from the paths that moved to the applications that they may concern, without asking each application."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taut.model.application import Application, Source

if TYPE_CHECKING:
    from taut.controller.state import AppState, Desired


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """A source without what does not decide which snapshot it is. One object a place: told apart by what it is, not by what is in it, for
    that is asked for every application at every commit.
    """

    source: Source
    url: str


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What an application was when it was put into the index: while it is that still, the paths alone tell what concerns it."""

    app: Application
    desired: Desired
    spots: tuple[Spot, ...]


type _Found = dict[str, AppState | set[AppState]]
"""By path. Nearly every path belongs to one application."""


class Readers:
    """Applications whose inputs were found to be the same as at the heads of their sources, by the paths that they looked at."""

    def __init__(self) -> None:
        self._paths: dict[Spot, _Found] = {}
        self._by_spot: dict[Spot, set[AppState]] = {}
        self._by_rule: dict[tuple[str, str], set[AppState]] = {}

    @staticmethod
    def unsettled(states: Iterable[AppState]) -> list[AppState]:
        """Those of which the index does not know enough. The one thing that is asked of every application at every commit."""
        return [
            s
            for s in states
            if (e := s.settled) is None or s.stale or e.desired is not s.desired or e.app is not s.app or s.removed
        ]

    def spots(self, url: str) -> list[Spot]:
        """Places at an address that settled applications read."""
        return [spot for spot in self._by_spot if spot.url == url]

    def rules(self) -> Iterator[tuple[tuple[str, str], AppState]]:
        """Each pair of a root and a project that settled applications have, with one of them."""
        for rule, states in self._by_rule.items():
            yield rule, next(iter(states))

    def under(self, rule: tuple[str, str]) -> frozenset[AppState]:
        """The settled applications of a root and a project."""
        return frozenset(self._by_rule.get(rule, ()))

    def at(self, spot: Spot, paths: Iterable[str] | None) -> set[AppState]:
        """The settled applications that looked at one of these paths of a place; None: all that read there."""
        if paths is None:
            return set(self._by_spot.get(spot, ()))
        index = self._paths.get(spot)
        found: set[AppState] = set()
        for path in paths if index else ():
            state = index.get(path) if index else None
            if isinstance(state, set):
                found |= state
            elif state is not None:
                found.add(state)
        return found

    def settle(self, state: AppState, spots: tuple[Spot, ...]) -> None:
        """From now on the paths tell: what it wants was found to be the same at the heads of all its sources.

        One whose sources and inputs do not belong together one to one stays out.
        """
        self.drop(state)
        desired = state.desired
        if desired is None or len(spots) != len(desired.closure.sources):
            return
        state.settled = Settled(state.app, desired, spots)
        self._by_rule.setdefault(_rule(state.app), set()).add(state)
        for spot, inputs in zip(spots, desired.closure.sources, strict=True):
            self._by_spot.setdefault(spot, set()).add(state)
            index = self._paths.setdefault(spot, {})
            for path in inputs.looked():
                known = index.setdefault(path, state)
                if isinstance(known, set):
                    known.add(state)
                elif known is not state:
                    index[path] = {known, state}

    def drop(self, state: AppState) -> None:
        """The index knows nothing of it any more."""
        settled = state.settled
        if settled is None:
            return
        state.settled = None
        _remove(self._by_rule, _rule(settled.app), state)
        for spot, inputs in zip(settled.spots, settled.desired.closure.sources, strict=True):
            _remove(self._by_spot, spot, state)
            index = self._paths.get(spot, {})
            for path in inputs.looked():
                known = index.get(path)
                if known is state:
                    del index[path]
                elif isinstance(known, set):
                    known.discard(state)
                    if len(known) == 1:
                        index[path] = known.pop()
            if not index:
                self._paths.pop(spot, None)

    def keep(self, alive: Iterable[AppState]) -> None:
        """Drop all others."""
        known = set(alive)
        for gone in [s for states in self._by_rule.values() for s in states if s not in known]:
            self.drop(gone)


def _rule(app: Application) -> tuple[str, str]:
    return (app.key.root, app.spec.project)


def _remove[K](index: dict[K, set[AppState]], key: K, state: AppState) -> None:
    states = index.get(key)
    if states is not None:
        states.discard(state)
        if not states:
            del index[key]
