"""The fleet: one row or tile an application, searched, grouped, sorted and counted on the server, from memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from taut.model.shown import Shown
from taut.server.page.addresses import with_query
from taut.server.page.facts import Facts
from taut.server.page.fleet import GROUPS, PAGE, SORTS, Board, Group, Wish, board, labels_of, read_cursor, write_cursor
from taut.server.page.query import read_query
from taut.server.page.rendering import page
from taut.server.page.rope import MARKS, Mark
from taut.server.page.rows import Rows
from taut.server.page.sentences import fleet_lede, row_sentence
from taut.server.page.shell import Frame

_QUIET_TILES = 60
"""More quiet applications than this in a group become marks without names."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One application of a wall."""

    facts: Facts
    mark: Mark
    say: str = ""


@dataclass(frozen=True, slots=True)
class Tiles:
    """A group of a wall: what is told, what is named, and what is only marked."""

    loud: Sequence[Tile]
    quiet: Sequence[Tile]
    dots: Sequence[Tile]


class FleetPage:
    """The handler."""

    def __init__(self, frame: Frame, rows: Rows, place: Callable[[], str]) -> None:
        self._frame = frame
        self._rows = rows
        self._place = place

    async def show(self, request: Request) -> Response:
        """The page; for a search as it is typed only its board."""
        wish = read_wish(request.query_params)
        now = self._frame.now()
        fleet = self._frame.fleet(request)
        found = board(fleet, wish, now)
        values = self._values(wish, found, now)
        if request.headers.get("hx-request") == "true":
            return page("_board.html", values, headers={"HX-Replace-Url": values["address"], "Vary": "HX-Request"})
        lede = fleet_lede(whole_counts(fleet))
        labels = [(f"label:{label}", f"label {label}") for label in labels_of(fleet)]
        return self._frame.answer(request, "fleet.html", fleet, lede=lede, groups=[*GROUPS.items(), *labels], **values)

    def _values(self, wish: Wish, found: Board, now: float) -> Mapping[str, Any]:
        base = addressed(wish)
        current = {t.text.partition(":")[2].lower() for t in wish.query.terms if t.key == "state"}
        counts = [
            {
                "mark": MARKS[state],
                "count": count,
                "address": with_query("/", {**base, "q": wish.query.text_with(f"state:{state.lower()}", "state")}),
                "current": state.lower() in current,
            }
            for state, count in found.counts.items()
        ]
        mended = [wish.query.text.replace(slip.word, slip.nearest) for slip in wish.query.slips]
        return {
            "wish": wish,
            "board": found,
            "row": lambda facts: self._rows.html(facts, now),
            "tiles": tiles,
            "sorts": SORTS.items(),
            "sort_title": SORTS.get(wish.sort, ""),
            "strip": strip(found.counts),
            "counts": counts,
            "state_now": bool(current),
            "all_count": f"{sum(found.counts.values()):,}",
            "all_address": with_query("/", {**base, "q": wish.query.text_with("", "state")}),
            "address": with_query("/", base),
            "live": with_query("/live", {**base, "after": cursor_text(wish), "since": self._place()}),
            "other_look": with_query("/", {**base, "as": "" if wish.tiles else "tiles"}),
            "mended": [with_query("/", {**base, "q": text}) for text in mended],
            "group_address": lambda word: with_query("/", {**base, "q": f"{wish.query.text} {word}".strip()}),
            "first_address": with_query("/", base) if wish.after else "",
            "next_address": with_query("/", {**base, "after": found.next}) if found.next else "",
            "page_size": PAGE,
        }


def read_wish(query: Mapping[str, str]) -> Wish:
    """What an address asks for. Words that are none ask for what is usual."""
    group, sort = query.get("group", ""), query.get("sort", "")
    tiles_wanted = query.get("as") == "tiles"
    known = group in GROUPS or (group.startswith("label:") and len(group) > len("label:"))
    return Wish(
        query=read_query(query.get("q", "")),
        group=group if known else ("cluster" if tiles_wanted else "attention"),
        sort=sort if sort in SORTS else "worst",
        after=read_cursor(query.get("after", "")),
        tiles=tiles_wanted,
    )


def addressed(wish: Wish) -> dict[str, str]:
    """A wish as an address has it, what is usual left out."""
    usual = "cluster" if wish.tiles else "attention"
    return {
        "q": wish.query.text,
        "group": wish.group if wish.group != usual else "",
        "sort": wish.sort if wish.sort != "worst" else "",
        "as": "tiles" if wish.tiles else "",
    }


def cursor_text(wish: Wish) -> str:
    """The cursor of the page that is looked at."""
    return write_cursor(wish.after) if wish.after else ""


def whole_counts(fleet: Sequence[Facts]) -> dict[Shown, int]:
    """How many there are of each state."""
    counts = dict.fromkeys(Shown, 0)
    for facts in fleet:
        counts[facts.shown] += 1
    return counts


def strip(counts: Mapping[Shown, int]) -> list[dict[str, Any]]:
    """The fleet as a line: a piece for each state, as long as its share, but never too short to be seen."""
    total = sum(counts.values())
    present = [(state, counts[state]) for state in Shown if counts[state]]
    if not total:
        return []
    shares = [max(8.0, 1000 * count / total) for _, count in present]
    scale = 1000 / sum(shares)
    pieces: list[dict[str, Any]] = []
    x = 0.0
    for (state, _), share in zip(present, shares, strict=True):
        width = share * scale
        pieces.append({"tone": MARKS[state].tone, "x": round(x, 1), "width": round(max(1.0, width - 2), 1)})
        x += width
    return pieces


def tiles(group: Group) -> Tiles:
    """Those that need someone say why; of many quiet ones only marks are left."""
    loud = [f for f in group.rows if f.shown.urgent or f.shown is Shown.DEPLOYING]
    quiet = [f for f in group.rows if not (f.shown.urgent or f.shown is Shown.DEPLOYING)]
    shown = [Tile(f, MARKS[f.shown]) for f in quiet]
    few = len(shown) <= _QUIET_TILES
    return Tiles(
        loud=[Tile(f, MARKS[f.shown], row_sentence(f)) for f in loud],
        quiet=shown if few else (),
        dots=() if few else shown,
    )
