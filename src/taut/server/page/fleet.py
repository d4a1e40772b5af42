"""The fleet: which applications a page shows, in which groups and order, and how many there are of each state. Pure."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from taut.model.shown import Shown
from taut.server.page.facts import Facts
from taut.server.page.query import Query

PAGE = 200
"""Rows of one page."""
SORTS: Mapping[str, str] = {"worst": "worst first", "name": "name", "changed": "last change"}
GROUPS: Mapping[str, str] = {
    "attention": "attention",
    "project": "project",
    "cluster": "cluster",
    "environment": "environment",
    "none": "nothing",
}

type Place = tuple[int | float | str, ...]
type Placed = tuple[Place, Facts]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader's address asks for. `group` may also be `label:KEY`. `after` is the place that the page before ended at."""

    query: Query
    group: str = "attention"
    sort: str = "worst"
    after: Place = ()
    tiles: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group's head with the totals of the whole set, and its rows on this page."""

    title: str
    total: int
    urgent: int
    rows: Sequence[Facts]
    word: str = ""
    """The word of the query that asks for this group alone."""


@dataclass(frozen=True, slots=True)
class Board:
    """One page of the fleet."""

    groups: Sequence[Group]
    counts: Mapping[Shown, int]
    """Of everything that the query asks for, whatever states it names."""
    total: int
    """How many the query asks for."""
    known: int
    """How many there are at all."""
    first: int
    """The number of the first row on this page, from 1."""
    next: str = ""
    """The cursor of the next page; empty on the last one."""
    shown: int = 0


def board(fleet: Sequence[Facts], wish: Wish, now: float, page: int = PAGE) -> Board:
    """Filter, count, group, sort, and cut out one page."""
    stateless = wish.query.without("state")
    asked = [f for f in fleet if stateless.matches(f, now)] if stateless.terms else fleet
    counts = Counter(f.shown for f in asked)
    states = Query("", tuple(t for t in wish.query.terms if t.key == "state"))
    found = [f for f in asked if states.matches(f, now)] if states.terms else asked
    place = _placing(wish.sort, grouping(wish.group))
    ordered = sorted(((place(f), f) for f in found), key=lambda pair: pair[0])
    start = _start(ordered, wish.after)
    cut = ordered if wish.tiles else ordered[start : start + page]
    more = not wish.tiles and start + page < len(ordered)
    return Board(
        groups=_groups(ordered, cut, wish.group),
        counts={state: counts.get(state, 0) for state in Shown},
        total=len(found),
        known=len(fleet),
        first=start + 1,
        next=write_cursor(cut[-1][0]) if more else "",
        shown=len(cut),
    )


def grouping(group: str) -> Callable[[Facts], tuple[int, str]]:
    """The group of an application: its place among the groups, and its title. An unknown word groups by attention."""
    kind, _, label = group.partition(":")
    if kind == "label" and label:
        return lambda f: (0, f.status.labels[label]) if label in f.status.labels else (1, f"without {label}")
    return _GROUPINGS.get(kind, _attention)


def _attention(facts: Facts) -> tuple[int, str]:
    if facts.shown.urgent:
        return 0, "Needs someone"
    return (1, "Under way") if facts.shown in (Shown.DEPLOYING, Shown.BEHIND) else (2, "Quiet")


_GROUPINGS: Mapping[str, Callable[[Facts], tuple[int, str]]] = {
    "attention": _attention,
    "project": lambda f: (0, f.status.project),
    "cluster": lambda f: (0, f.status.cluster),
    "environment": lambda f: (0, f.environment),
    "none": lambda _: (0, ""),
}
_WORDS = {"project": "project", "cluster": "cluster", "environment": "env"}


def _placing(sort: str, grouped: Callable[[Facts], tuple[int, str]]) -> Callable[[Facts], Place]:
    match sort:
        case "name":
            return lambda f: (*grouped(f), f.status.name, f.status.key)
        case "changed":
            return lambda f: (*grouped(f), -f.synced_at, f.status.key)
        case _:
            return lambda f: (*grouped(f), f.shown.rank, f.status.name, f.status.key)


def _start(ordered: Sequence[Placed], after: Place) -> int:
    if not after:
        return 0
    try:
        return next((n for n, (place, _) in enumerate(ordered) if place > after), len(ordered))
    except TypeError:
        # A cursor of another order: the reader changed the address by hand.
        return 0


def _groups(ordered: Sequence[Placed], cut: Sequence[Placed], kind: str) -> list[Group]:
    """The groups of a page, with the totals of the whole set. A place begins with its group."""
    totals: Counter[Place] = Counter()
    urgent: Counter[Place] = Counter()
    for place, facts in ordered:
        totals[place[:2]] += 1
        urgent[place[:2]] += facts.shown.urgent
    rows: dict[Place, list[Facts]] = {}
    for place, facts in cut:
        rows.setdefault(place[:2], []).append(facts)
    return [
        Group(str(group[1]), totals[group], urgent[group], members, _word(kind, str(group[1])))
        for group, members in rows.items()
    ]


def _word(kind: str, title: str) -> str:
    name, _, label = kind.partition(":")
    if name == "label":
        return "" if title.startswith("without ") else f"label:{label}={title}"
    return f"{_WORDS[name]}:{title}" if name in _WORDS else ""


def labels_of(fleet: Sequence[Facts]) -> list[str]:
    """The labels that a fleet can be grouped by, the most frequent first."""
    counts = Counter(label for f in fleet for label in f.status.labels)
    return [label for label, _ in counts.most_common(8)]


def write_cursor(place: Place) -> str:
    """A place as text for an address."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_cursor(text: str) -> Place:
    """The place that a cursor means; the beginning when it means none."""
    try:
        return msgspec.json.decode(
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=tuple[int | float | str, ...]
        )
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return ()
