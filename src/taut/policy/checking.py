"""Many objects, judged once by one set: in workers, and to an end whatever the policies do.

Objects are judged many at a time, and several workers share them. Where that takes too much, each is judged by itself, with a clock for each
policy: so a large check is never cut off because it is large, and the policy that takes too much is known. It is left out on that object, and
after the second one for good; so is one that is slow on all of them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from taut.model.errors import PolicyError
from taut.model.manifests import Body
from taut.model.verdict import Verdict
from taut.policy.documents import Objects
from taut.policy.engines import is_policy
from taut.policy.messages import Description
from taut.policy.review import Given, Review, Trouble
from taut.policy.service import Hears, Lookups, PolicyService, PolicySet, stopped

_MOST_AT_ONCE, _FEWEST_AT_ONCE = 64, 16
_MOST_QUESTIONS = 10_000
"""Objects times policies in one job: a second or two, of the ten that it may take."""
_PATIENCE = 2
"""On how many objects a policy may take too much before it is not asked any more."""
_MOST_SECONDS, _SECONDS_EACH = 60.0, 0.1
"""What a policy may take for all objects together, and for each where there are many."""
_MOST_STOPS = 12
"""How often anything may take too much before the rest is not judged any more: a check ends, whoever wrote the policies."""
_MOST_BUILT_ALONE = 3
"""How many documents that cannot be built are looked for."""
_BUILDING_SECONDS = 0.1
"""What building one document may take on top of the time that each job has."""

type Told = Callable[[int, int], None]
"""Hears how many of how many objects have been judged."""
type Words = tuple[Verdict, ...]


@dataclass(frozen=True)
class Rules:
    """A set that was built, what is in it, and how long that took. `kinds` are the places in the description of the policies about a kind."""

    set: PolicySet
    about: Description
    troubles: tuple[Trouble, ...]
    kinds: dict[tuple[str, str], tuple[int, ...]]
    seconds: float


async def build(service: PolicyService, documents: Sequence[Given], reviews: Iterable[Review]) -> Rules:
    """The policies of documents, built in a worker to judge these reviews.

    A document that takes too much is left out, and told. Raises PolicyError when no worker can be had, or the rest still takes too much.
    """
    kinds = list(dict.fromkeys(_kind(r) for r in reviews))
    more = math.ceil(len(documents) * _BUILDING_SECONDS)
    troubles: list[Trouble] = []
    policies = PolicySet.in_order(documents)
    began = time.monotonic()
    try:
        about = await service.describe(policies, [(*kind, "") for kind in kinds], more_seconds=more)
    except PolicyError as error:
        guilty = await _guilty(service, documents)
        if not guilty:
            raise PolicyError(f"the policies cannot be built: {error.what}", advice=error.advice) from None
        troubles = list(guilty.values())
        policies = PolicySet.in_order(g for n, g in enumerate(documents) if n not in guilty)
        began = time.monotonic()
        about = await service.describe(policies, [(*kind, "") for kind in kinds], more_seconds=more)
    seconds = time.monotonic() - began
    of = {k: tuple(n for n, p in enumerate(about.policies) if place in p.kinds) for place, k in enumerate(kinds)}
    return Rules(policies, about, (*troubles, *about.troubles), of, seconds)


async def _guilty(service: PolicyService, documents: Sequence[Given]) -> dict[int, Trouble]:
    """The documents of policies, by their places, that cannot even be built alone. Raises PolicyError when no worker can be had."""
    others = [g for g in documents if not _is_policy(g)]
    await service.describe(PolicySet.in_order(others))
    found: dict[int, Trouble] = {}
    for place, given in enumerate(documents):
        if not _is_policy(given):
            continue
        try:
            await service.describe(PolicySet.in_order([given, *others]))
        except PolicyError as error:
            found[place] = Trouble(given.origin, _name(given), f"it cannot be built: {error.what}", error.advice)
            if len(found) >= _MOST_BUILT_ALONE:
                break
    return found


@dataclass
class _Course:
    """How a check goes on: who took too much, how often, and whether each object is judged by itself."""

    careful: bool = False
    stops: int = 0
    guilty: Counter[int] = field(default_factory=Counter[int])
    seconds: defaultdict[int, float] = field(default_factory=lambda: defaultdict[int, float](float))

    def spent(self, place: int, seconds: float, most: float) -> None:
        """A policy took so long on an object; with more than `most` in all it is not asked any more."""
        self.seconds[place] += seconds
        if self.seconds[place] > most and self.guilty[place] < _PATIENCE:
            self.guilty[place] = _PATIENCE
            self.stops += 1

    @property
    def left_out(self) -> tuple[int, ...]:
        """The places of policies that are not asked any more."""
        return tuple(sorted(place for place, count in self.guilty.items() if count >= _PATIENCE))


class _Clock:
    """Hears which policies begin, and how long each takes."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, float]] = []
        self._last: int | None = None
        self._since = 0.0

    @property
    def last(self) -> int | None:
        """The place of the policy that began last."""
        return self._last

    def __call__(self, place: int) -> None:
        """A policy begins."""
        self.ends()
        self._last, self._since = place, time.monotonic()

    def ends(self) -> None:
        """Whoever began last has come to an end."""
        if self._last is not None:
            self.taken.append((self._last, time.monotonic() - self._since))


class Check:
    """Judges by a set, `workers` jobs at once. What takes too much is remembered from one call to the next."""

    def __init__(self, service: PolicyService, rules: Rules, *, workers: int = 1, told: Told | None = None) -> None:
        self._service = service
        self._rules = rules
        self._workers = workers
        self._told = told
        self._course = _Course()
        self._most_seconds = _MOST_SECONDS

    async def judge(self, reviews: Sequence[Review], objects: Objects) -> list[Words]:
        """What the policies say of each object, completed first, with what passes and is skipped. `objects` are what policies may look up.

        What takes too much is a verdict of ERROR. Never raises for what policies or objects do.
        """
        found: list[Words] = [()] * len(reviews)
        places = [n for n, r in enumerate(reviews) if self._rules.kinds.get(_kind(r))]
        self._most_seconds = max(_MOST_SECONDS, _SECONDS_EACH * len(places))
        size, shelf = self._at_once(len(places)), _Shelf(objects)
        chunks = iter([places[first : first + size] for first in range(0, len(places), size)])
        done = 0

        async def work() -> None:
            nonlocal done
            for chunk in chunks:
                words = await self._some([reviews[n] for n in chunk], shelf)
                for place, each in zip(chunk, words, strict=True):
                    found[place] = each
                done += len(chunk)
                if self._told is not None:
                    self._told(done, len(places))

        await asyncio.gather(*(work() for _ in range(self._workers)))
        return found

    def _at_once(self, objects: int) -> int:
        """How many objects make a job: so many that its overhead does not count, so few that all workers have some, and its time is enough."""
        most = max((len(of) for of in self._rules.kinds.values()), default=0)
        share = max(_FEWEST_AT_ONCE, math.ceil(objects / self._workers))
        return max(1, min(_MOST_AT_ONCE, _MOST_QUESTIONS // max(1, most), share))

    async def _some(self, reviews: Sequence[Review], shelf: Lookups) -> list[Words]:
        """What is said of some objects: all at once, and where that takes too much, of one after the other."""
        course = self._course
        if course.stops >= _MOST_STOPS:
            return [self._given_up(r) for r in reviews]
        if not course.careful:
            left_out = course.left_out
            try:
                found = await self._attempt(reviews, shelf, left_out)
            except PolicyError:
                pass
            else:
                return [(*self._not_asked(r, left_out), *words) for r, words in zip(reviews, found, strict=True)]
        before = course.stops
        found = [await self._one(r, shelf) for r in reviews]
        # Where nobody was to blame the machine is slow, or the objects are large: all at once would fail again.
        course.careful = course.stops == before
        return found

    async def _one(self, review: Review, shelf: Lookups) -> Words:
        """What is said of one object, without the policies that take too much on it: the last one that began is to blame."""
        course, said, mine = self._course, list[Verdict](), set[int]()
        while course.stops < _MOST_STOPS:
            left_out = tuple(sorted({*course.left_out, *mine}))
            clock = _Clock()
            try:
                ((*words,),) = await self._attempt([review], shelf, left_out, clock)
            except PolicyError as error:
                course.stops += 1
                if clock.last is None:
                    return (*said, stopped("policies", "taut", review, error))
                guilty = self._rules.about.policies[clock.last]
                said.append(stopped(guilty.name, guilty.engine, review, error))
                mine.add(clock.last)
                course.guilty[clock.last] += 1
            else:
                clock.ends()
                for place, seconds in clock.taken:
                    course.spent(place, seconds, self._most_seconds)
                return (*said, *self._not_asked(review, [n for n in left_out if n not in mine]), *words)
        return (*said, *self._given_up(review))

    async def _attempt(
        self,
        reviews: Sequence[Review],
        shelf: Lookups,
        without: tuple[int, ...],
        hears: Hears | None = None,
    ) -> list[Words]:
        more = math.ceil(3 * self._rules.seconds)
        return await self._service.attempt(
            self._rules.set, reviews, shelf, without=without, hears=hears, more_seconds=more
        )

    def _not_asked(self, review: Review, left_out: Sequence[int]) -> list[Verdict]:
        """The verdicts of policies about this kind that are not asked any more: not known is never a pass."""
        about = self._rules.kinds[_kind(review)]
        names = [self._rules.about.policies[n] for n in left_out if n in about]
        why = PolicyError(
            "the policy took too much on other objects, and was not asked about this one",
            advice="see what is said of those",
        )
        return [stopped(p.name, p.engine, review, why) for p in names]

    def _given_up(self, review: Review) -> Words:
        why = PolicyError(
            f"policies were stopped {_MOST_STOPS} times, and nothing more was judged",
            advice="leave those policies out, or mend them",
        )
        return (stopped("policies", "taut", review, why),)


class _Shelf:
    """Objects as a worker's parent looks them up. All raise NotKnown for what is not among them."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One of them."""
        return self._objects.get(api_version, kind, namespace, name)

    async def list(self, api_version: str, kind: str, namespace: str) -> Sequence[Body]:
        """Those of a kind."""
        return self._objects.list(api_version, kind, namespace)

    async def raw(self, method: str, path: str, body: Any) -> Any:
        """Never known."""
        return self._objects.raw(method, path, body)

    async def inventory(self) -> dict[str, Any]:
        """All of them."""
        return self._objects.inventory()


def _is_policy(given: Given) -> bool:
    return is_policy(str(given.body.get("apiVersion") or ""), str(given.body.get("kind") or ""))


def _name(given: Given) -> str:
    metadata = given.body.get("metadata")
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def _kind(review: Review) -> tuple[str, str]:
    return str(review.body.get("apiVersion") or ""), str(review.body.get("kind") or "")
