"""When to look at a source: polling with jitter, a webhook that makes taut look at once, and what a move of a branch means."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from taut.controller.fleet import Fleet
from taut.controller.queue import Reason, WorkQueue
from taut.controller.readers import Readers, Spot
from taut.controller.state import AppState
from taut.controller.status import problem_of
from taut.model.application import Application, Source
from taut.model.errors import TautError
from taut.model.refs import AppKey
from taut.model.snapshot import Snapshot
from taut.render.closure import Closure
from taut.sources.service import Sources
from taut.sources.webhook import same_repository

JITTER = 0.1
FIRST_RETRY = 2.0
"""Seconds until a source that did not answer is looked at again; twice as long after each further failure."""
LONGEST_RETRY = 120.0
log = logging.getLogger("taut.sources")


type Place = tuple[str, ...]
"""A repository, a chart or an artifact; the address comes first."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An address that has to be looked at. `git` tells a repository, which is fetched whole, from a place of charts and artifacts."""

    url: str
    seconds: float
    credentials: str | None = None
    git: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """How a source moved: where it is now (None: it cannot be told), where it was looked at before, and which paths lie between (None: any)."""

    head: Snapshot | None
    before: str = ""
    touched: frozenset[str] | None = None


class SourceWatch:
    """One task for each address that applications or roots read from; one fetch serves them all.

    `on_root` is called with the address of a repository that a root reads, after every fetch that moved something.
    """

    def __init__(
        self, sources: Sources, fleet: Fleet, queue: WorkQueue, on_root: Callable[[str], Awaitable[None]]
    ) -> None:
        self._sources = sources
        self._fleet = fleet
        self._queue = queue
        self._on_root = on_root
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._pokes: dict[str, asyncio.Event] = {}
        self._watched: dict[str, Watched] = {}
        self._failures: dict[str, int] = {}
        self._versions: dict[Place, str] = {}
        self._owed: set[str] = set()
        self._looking: set[str] = set()
        self._moves: dict[str, int] = {}
        self._heads: dict[Spot, Snapshot] = {}
        self._spots: dict[Source, Spot] = {}
        self._unlearned: set[str] = set()
        """Addresses where applications came or went since it was last asked where their sources are."""
        self._settled = Readers()
        self._placed: dict[AppKey, tuple[Application, tuple[Spot, ...]]] = {}
        self.on_poke: Callable[[], None] = lambda: None
        """Hears that something was pushed, before it is fetched."""
        self.fetches = 0
        self.failing: dict[Place, TautError] = {}
        """What is wrong with a repository, a chart or an artifact."""

    def track(self, wanted: Iterable[Watched]) -> None:
        """Watch exactly these addresses; others are no longer looked at."""
        found: dict[str, Watched] = {}
        for each in wanted:
            known = found.get(each.url)
            found[each.url] = each if known is None or each.seconds < known.seconds else known
        for url in [u for u in self._tasks if u not in found]:
            self._tasks.pop(url).cancel()
            self._pokes.pop(url, None)
            self._failures.pop(url, None)
            self._owed.discard(url)
            self.failing = {p: e for p, e in self.failing.items() if p[0] != url}
        self._watched = found
        self._unlearned = set(found)
        self._forget()
        for url in found:
            if url not in self._tasks:
                self._moves[url] = self._sources.moves(url)
                self._pokes[url] = asyncio.Event()
                self._pokes[url].set()  # the first look is at once: what was pushed while taut was down is seen
                self._tasks[url] = asyncio.create_task(self._watch(url), name=f"source {url}")

    def _forget(self) -> None:
        """Applications that are gone, and places that nobody reads, are not remembered."""
        known = self._fleet.states
        for gone in [key for key in self._placed if key not in known]:
            del self._placed[gone]
        self._settled.keep(known.values())
        read = {place for _, places in self._placed.values() for place in places}
        self._heads = {place: head for place, head in self._heads.items() if place in read}
        self._spots = {source: spot for source, spot in self._spots.items() if spot in read}

    def poke(self, urls: Iterable[str] | None = None) -> int:
        """Look at once, at these repositories (in any spelling of their address) or at all. How many is the answer."""
        asked = None if urls is None else list(urls)
        count = 0
        for url, event in self._pokes.items():
            if asked is None or any(same_repository(url, u) for u in asked):
                event.set()
                count += 1
        if count:
            self.on_poke()
        return count

    def poke_failing(self) -> None:
        """Look again at what did not answer: credentials have changed."""
        for url in self._failures.keys() & self._pokes.keys():
            self._pokes[url].set()

    @property
    def tracked(self) -> frozenset[str]:
        """The addresses that are looked at."""
        return frozenset(self._watched)

    @property
    def owed(self) -> frozenset[str]:
        """The addresses where something moved that is not taken in completely yet."""
        return frozenset(self._owed)

    @property
    def looking(self) -> frozenset[str]:
        """The addresses that are looked at in this moment."""
        return frozenset(self._looking)

    def failure(self, url: str) -> TautError | None:
        """What is wrong with a repository now."""
        return self.failing.get((url,))

    async def close(self) -> None:
        """End all tasks."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _watch(self, url: str) -> None:
        while True:
            event = self._pokes[url]
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause(url)):
                    await event.wait()
            event.clear()
            try:
                await self._look(url)
            except Exception as error:  # noqa: BLE001 (a watch that dies unseen would leave taut deaf to this source)
                # Of an error that taut does not know only the kind is said: its text may hold a value.
                known = isinstance(error, TautError)
                log.warning("%s: what moved was not taken in: %s", url, error if known else type(error).__name__)
                self._failures[url] = self._failures.get(url, 0) + 1

    def _pause(self, url: str) -> float:
        seconds = self._watched[url].seconds
        failures = self._failures.get(url, 0)
        if failures:
            seconds = min(seconds, LONGEST_RETRY, FIRST_RETRY * 2 ** (failures - 1))
        return seconds * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311 (spreads load)

    async def _look(self, url: str) -> None:
        self._looking.add(url)
        try:
            await self._look_at(url)
        finally:
            self._looking.discard(url)

    async def _look_at(self, url: str) -> None:
        self.fetches += 1
        before = {p: str(e) for p, e in self.failing.items() if p[0] == url}
        moved, failed = await self._ask(url)
        self.failing = {p: e for p, e in self.failing.items() if p[0] != url} | failed
        if failed:
            self._failures[url] = self._failures.get(url, 0) + 1
        else:
            self._failures.pop(url, None)
        for place, error in failed.items():
            if before.get(place) != str(error):
                log.warning("%s", error)
        if failed or before:
            self._tell(url)
        if moved or before.keys() - failed.keys():
            self._owed.add(url)  # told once: what is not taken in now is owed until it is
        if url in self._owed:
            await self._moved(url)
            self._owed.discard(url)
        if url in self._unlearned:
            await self._learn(url)
            self._unlearned.discard(url)

    async def _ask(self, url: str) -> tuple[bool, dict[Place, TautError]]:
        """Look at an address: whether anything moved, and what cannot be read."""
        watched = self._watched[url]
        if watched.git:
            try:
                await self._sources.fetch(url, credentials=watched.credentials)
            except TautError as error:
                return False, {(url,): error}
            # Others fetch too, when they miss something: what that brought is news here all the same.
            before, self._moves[url] = self._moves[url], self._sources.moves(url)
            return before != self._moves[url], {}
        moved = False
        failed: dict[Place, TautError] = {}
        asked: set[str | None] = set()
        for place, source in self._artifacts(url).items():
            # One answer of a Helm repository tells of all its charts; a registry is asked for each tag.
            fetch = source.oci is not None or source.credentials not in asked
            asked.add(source.credentials)
            try:
                found = await self._sources.resolve(source, fetch=fetch)
            except TautError as error:
                failed[place] = error
                asked.discard(source.credentials)
                continue
            moved |= self._versions.get(place) != found.revision.id
            self._versions[place] = found.revision.id
        return moved, failed

    def _artifacts(self, url: str) -> dict[Place, Source]:
        """The charts and artifacts that applications read at an address."""
        every = (s for state in self._readers(url) for s in state.app.spec.all_sources if s.url == url)
        return {place_of(s): s for s in every if not s.git}

    async def _moved(self, url: str) -> None:
        changed = await self.changed(url)
        # All are marked before any is looked at: an application must not find one that it depends on in its old state.
        for state in changed:
            state.mark_stale()
        await self._on_root(url)
        for state in changed:
            self._queue.add(state.key, Reason.PUSH, project=state.app.spec.project)

    def _tell(self, url: str) -> None:
        """Say on every application that reads from `url` what is wrong with its sources now, or no longer."""
        for state in self._readers(url):
            errors = [e for s in state.app.spec.all_sources if (e := self.failing.get(place_of(s))) is not None]
            state.source_problems = tuple(problem_of(e, "source") for e in errors)
            self._fleet.publish(state)

    def _readers(self, url: str) -> list[AppState]:
        return [s for s in self._fleet.states.values() if _reads(self._places(s), url)]

    async def changed(self, url: str) -> list[AppState]:
        """Something moved at `url`: the applications whose inputs really changed, and only those."""
        doubted: dict[tuple[str, str], bool] = {}
        unsettled = [s for s in self._settled.unsettled(self._fleet.states.values()) if _reads(self._places(s), url)]
        places = {place for state in unsettled for place in self._places(state)}
        moves = {p: await self._move(p) for p in places.union(self._settled.spots(url)) if p.url == url}
        concerned = self._concerned(url, moves, doubted).union(unsettled)
        places |= {place for state in concerned for place in self._places(state)}
        # Elsewhere nothing is taken for looked at: others read there as well, and are judged when that address has its turn.
        known = moves | {place: await self._as_looked_at(place) for place in places if place.url != url}
        asked = [s for s in self._fleet.states.values() if s in concerned] if concerned else []
        changed = [s for s in asked if self._in_doubt(s, doubted) or not self._same(s, known)]
        self._heads |= {place: move.head for place, move in moves.items() if move.head is not None}
        return changed

    def _concerned(self, url: str, moves: Mapping[Spot, Move], doubted: dict[tuple[str, str], bool]) -> set[AppState]:
        """The settled applications that what moved may concern, by the paths that they looked at."""
        found: set[AppState] = set()
        for place, move in moves.items():
            found |= self._settled.at(place, move.touched)
        for rule, one in self._settled.rules():
            if self._in_doubt(one, doubted):
                found |= {s for s in self._settled.under(rule) if _reads(self._places(s), url)}
        return found

    def _in_doubt(self, state: AppState, known: dict[tuple[str, str], bool]) -> bool:
        """Whether the application's project asks for more than equal inputs: each commit has to be signed, or nothing is allowed at all."""
        rule = (state.key.root, state.app.spec.project)
        if rule not in known:
            barred = self._fleet.barred(state) is not None
            known[rule] = barred or self._fleet.project_of(state).spec.signatures.require != "none"
        return known[rule]

    async def _learn(self, url: str) -> None:
        """Remember where the sources at an address are, so that their first move can be told by what lies between."""
        read = {place for state in self._readers(url) for place in self._places(state) if place.url == url}
        for place in read - self._heads.keys():
            head = (await self._move(place)).head
            if head is not None:
                self._heads.setdefault(place, head)

    def head(self, state: AppState) -> str:
        """The revision (as people see it) up to which nothing moved for an application since it was rendered; empty when nobody looked."""
        places = self._places(state)
        head = self._heads.get(places[0]) if places else None
        return head.revision.label if head is not None and self._as_judged(state) else ""

    async def _as_looked_at(self, place: Spot) -> Move:
        """A source where nothing is said to have moved: it is where it was looked at last."""
        head = self._heads.get(place)
        return Move(head, head.revision.id, frozenset()) if head is not None else await self._move(place)

    async def _move(self, place: Spot) -> Move:
        """Where a source is now, and what lies between that and where it was looked at last."""
        try:
            head = await self._sources.resolve(place.source, fetch=False)
        except TautError:
            return Move(None)
        before = self._heads.get(place)
        if before is None:
            return Move(head)
        between = await asyncio.to_thread(self._sources.touched, before, head)
        return Move(head, before.revision.id, between.paths if between is not None else None)

    def _same(self, state: AppState, moves: dict[Spot, Move]) -> bool:
        """Whether a render would read exactly the same; then only the revision that people see moves on (`head`)."""
        closure = _closure(state)
        if state.removed or closure is None:
            return False
        places = self._places(state)
        found = [moves[place] for place in places if place in moves]
        heads = [move.head for move in found if move.head is not None]
        if len(heads) != len(closure.sources):
            return False
        quick = self._as_judged(state) or (not state.stale and _at(state, [move.before for move in found]))
        for inputs, move, head in zip(closure.sources, found, heads, strict=True):
            passed = quick and move.touched is not None and inputs.untouched(move.touched)
            if not passed and not inputs.same_in(head.tree):
                return False
        if not state.stale:
            state.judged = state.desired
            if self._settled.unsettled((state,)):
                self._settled.settle(state, places)
        return True

    def _as_judged(self, state: AppState) -> bool:
        """Whether what Git wants is still what was found to be the same at all heads that were looked at."""
        return not state.stale and state.desired is not None and state.judged is state.desired

    def _places(self, state: AppState) -> tuple[Spot, ...]:
        """Where the application's sources are."""
        known = self._placed.get(state.key)
        if known is None or known[0] is not state.app:
            spots = tuple(self._spot(address_of(s)) for s in state.app.spec.all_sources)
            known = self._placed[state.key] = (state.app, spots)
        return known[1]

    def _spot(self, source: Source) -> Spot:
        if source not in self._spots:
            self._spots[source] = Spot(source, source.url)
        return self._spots[source]


def _reads(places: tuple[Spot, ...], url: str) -> bool:
    return places[0].url == url if len(places) == 1 else any(place.url == url for place in places)


def _at(state: AppState, revisions: list[str]) -> bool:
    """Whether the application was rendered at just these revisions of its sources."""
    return state.desired is not None and [s.revision.id for s in state.desired.snapshots] == revisions


def _closure(state: AppState) -> Closure | None:
    """What the last search for what Git wants has read, whether it found something or failed; None when another one is due anyway."""
    if not state.stale:
        return state.desired.closure if state.desired is not None else None
    failed = state.failed
    return failed.closure if failed is not None and failed.marks == state.marks else None


_ADDRESS = ("git", "helm", "oci", "ref", "tag_prefix", "chart", "version", "credentials", "submodules")


def address_of(source: Source) -> Source:
    """What decides which snapshot a source is, and nothing else of it."""
    return Source(**{f: getattr(source, f) for f in _ADDRESS})


def place_of(source: Source) -> Place:
    """What is looked at as one: a repository, or one chart or artifact at its address."""
    if source.git:
        return (source.git,)
    return (source.url, *(str(getattr(source, f) or "") for f in _ADDRESS))
