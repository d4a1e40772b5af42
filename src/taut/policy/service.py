"""Policies, asked from outside: sets of documents by their hash, workers that judge by them, and results kept by content.

A policy is as hostile as a repository. What it costs is bounded; one that takes too much on an object is left out for that object, which is
a verdict of ERROR, and the others are judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from taut.model.errors import PolicyError, TautError
from taut.model.manifests import Body
from taut.model.verdict import Outcome, Verdict
from taut.policy.messages import (
    Answer,
    Answers,
    Begins,
    Describing,
    Description,
    Documents,
    Judging,
    KindName,
    Looks,
    NeedSet,
    Question,
    Seen,
)
from taut.policy.review import Given, NotKnown, Review
from taut.prison.limits import Limits
from taut.prison.pool import Pool, Renewed
from taut.prison.serving import packed
from taut.prison.trade import Trade
from taut.prison.walls import Held, Prison

_log = logging.getLogger(__name__)
JUDGING = Trade(
    module="taut.policy.worker",
    worker="policy worker",
    doing="judging",
    doer="the policy worker",
    advice="look for a policy with an endless loop",
    error=PolicyError,
)
LIMITS = Limits(wall_seconds=10, cpu_seconds=10, memory_mb=512, processes=32, output_bytes=32 * 2**20)
"""What judging a few dozen objects may cost."""
_AT_ONCE = 64
_KEPT = 20_000
_MOST_GUILTY = 3
_MOST_KINDS, _LONGEST_KIND = 2_000, 256
_IDLE_SECONDS = 30.0


class Lookups(Protocol):
    """What policies may ask for besides the object, as `taut.policy.review.Lookup`; all raise NotKnown."""

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One object; None when it is known that there is none."""
        ...

    async def list(self, api_version: str, kind: str, namespace: str) -> Sequence[Body]:
        """All objects of a kind, in a namespace or (empty) in all."""
        ...

    async def raw(self, method: str, path: str, body: Any) -> Any:
        """The answer to a request of the target's API."""
        ...

    async def inventory(self) -> dict[str, Any]:
        """The objects that Gatekeeper's templates may look up."""
        ...


@dataclass(frozen=True)
class PolicySet:
    """Policy documents that hold together, with a hash over all of them."""

    documents: tuple[Given, ...]
    hash: str = field(compare=False, default="")

    @staticmethod
    def of(documents: Iterable[Given]) -> PolicySet:
        """The set of these documents, in whatever order they come."""
        listed = tuple(sorted(documents, key=lambda g: (g.origin, msgspec.json.encode(g.body))))
        digest = hashlib.sha256(b"\0".join(msgspec.json.encode(g.body, order="sorted") for g in listed))
        return PolicySet(listed, digest.hexdigest())

    @staticmethod
    def in_order(documents: Iterable[Given]) -> PolicySet:
        """The set of these documents in this order, which decides where policies have the same name."""
        listed = tuple(documents)
        return PolicySet(listed, hashlib.sha256(packed(listed)).hexdigest())


@dataclass(frozen=True)
class Said:
    """What a set says of one review. `body` is the object as it was completed, None if it was not; `looked`: it may be another answer
    tomorrow, for something besides the review was looked up.
    """

    verdicts: tuple[Verdict, ...] = ()
    body: Body | None = None
    looked: bool = False


type Hears = Callable[[int], None]
"""Hears the place of each policy before it is asked."""


def _deaf(_: int) -> None:
    pass


type _Waiting = tuple[Judging, asyncio.Future[list[Answer]]]


@dataclass
class _Crowd:
    """Those who ask the same set in the same way."""

    waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True)
class _Hearing:
    """How a job is listened to: who hears of policies that begin, whether each of those has the whole time, and the seconds on top for a worker
    that has to build the set first.
    """

    hears: Hears = _deaf
    renews: bool = False
    builds: float = 0


def _tell(waiting: Iterable[_Waiting], error: Exception) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(error)


class PolicyService:
    """Judges in workers. To be used by one event loop. `most_kept` results are kept in memory."""

    def __init__(
        self,
        *,
        workers: int = 1,
        limits: Limits = LIMITS,
        idle_seconds: float = _IDLE_SECONDS,
        most_kept: int = _KEPT,
        namespaces: bool = True,
    ) -> None:
        self._limits = limits
        self._most_kept = most_kept
        self._pool = Pool(
            JUDGING,
            lambda: Prison(limits=limits, namespaces=namespaces),
            size=workers,
            idle_seconds=idle_seconds,
            on_start=self._started,
            ends_nursery=True,
        )
        self._held: Held | None = None
        self._kept: OrderedDict[bytes, tuple[Verdict, ...]] = OrderedDict()
        self._not_about: set[tuple[str, str, str]] = set()
        self._warming: asyncio.Task[None] | None = None
        self._crowds: dict[object, _Crowd] = {}
        self.evaluations = 0
        """How many reviews went to a worker."""

    def warm(self, policies: PolicySet) -> None:
        """Have a worker with this set started, if there is none: whoever asks in a moment does not wait for it."""
        if self._pool.pids or (self._warming is not None and not self._warming.done()):
            return

        async def ready() -> None:
            with contextlib.suppress(PolicyError):  # whoever asks then is told
                await self.describe(policies)

        self._warming = asyncio.create_task(ready(), name="policies are warmed")

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of all workers, for those who watch."""
        return self._pool.pids

    async def close(self) -> None:
        """End all workers."""
        tasks = [self._warming, *(crowd.task for crowd in self._crowds.values())]
        for task in tasks:
            if task is not None:
                task.cancel()
        await self._pool.close()

    def _started(self, held: Held) -> None:
        if self._held is None:
            _log.log(logging.INFO if held.complete else logging.WARNING, "policy workers: %s", held.describe())
        self._held = held

    async def describe(
        self, policies: PolicySet, kinds: Sequence[KindName] = (), *, more_seconds: float = 0
    ) -> Description:
        """What is in a set, and which of these kinds each of its policies is about. `more_seconds` are for building a large
        one. Raises PolicyError.
        """
        job = Describing(policies.hash, list(kinds), self._limits.cpu_seconds + math.ceil(more_seconds))
        found = await self._ask(policies, packed(job), None, _Hearing(builds=more_seconds))
        if not isinstance(found, Description):
            raise PolicyError("the policy worker answered something else than it was asked")
        return found

    async def complete(self, policies: PolicySet, reviews: Sequence[Review], lookups: Lookups | None) -> list[Said]:
        """Each object as the policies complete it, with what could not be told. Raises PolicyError where no worker can be had."""
        return await self._said(policies, reviews, lookups, completes=True, validates=False)

    async def validate(
        self,
        policies: PolicySet,
        reviews: Sequence[Review],
        lookups: Lookups | None,
        *,
        without: tuple[int, ...] = (),
        brief: bool = True,
    ) -> list[Said]:
        """What the policies say of each object as it is: failures, warnings and errors, unless `brief` is False: then what passes and what is
        skipped too. `without` are the places, in the set's description, of policies that are not asked. Raises PolicyError where no worker
        can be had.
        """
        return await self._said(
            policies, reviews, lookups, completes=False, validates=True, without=without, brief=brief
        )

    async def judge(self, policies: PolicySet, reviews: Sequence[Review], lookups: Lookups | None) -> list[Said]:
        """Each object completed, and what the policies say of the result."""
        return await self._said(policies, reviews, lookups, completes=True, validates=True)

    async def attempt(
        self,
        policies: PolicySet,
        reviews: Sequence[Review],
        lookups: Lookups | None,
        *,
        without: tuple[int, ...] = (),
        hears: Hears | None = None,
        more_seconds: float = 0,
    ) -> list[tuple[Verdict, ...]]:
        """All verdicts on each object, completed first, in one go and with nothing kept: whoever calls knows what to do when it takes too much.

        What `lookups` answer has to be the same all the while. With `hears` each policy has the whole time for each object, and its place is told
        before it is asked. `more_seconds` are what a new worker needs to build the set. Raises PolicyError.
        """
        self.evaluations += len(reviews)
        each = hears is not None
        job = Judging(
            policies.hash,
            list(reviews),
            brief=False,
            tells=each,
            without=without,
            cpu_seconds=self._limits.cpu_seconds + math.ceil(more_seconds),
            renews=each,
            steady=True,
        )
        hearing = _Hearing(hears or _deaf, renews=each, builds=more_seconds)
        found = await self._ask(policies, packed(job), lookups, hearing)
        return [answer.verdicts for answer in _answers_of(found, job)]

    async def _said(
        self,
        policies: PolicySet,
        reviews: Sequence[Review],
        lookups: Lookups | None,
        *,
        completes: bool,
        validates: bool,
        without: tuple[int, ...] = (),
        brief: bool = True,
    ) -> list[Said]:
        found: list[Said | None] = [None] * len(reviews)
        open_: list[int] = []
        keys: dict[int, bytes] = {}
        mode = packed((completes, validates, without, brief))
        for number, review in enumerate(reviews):
            if (policies.hash, *_kind(review)) in self._not_about:
                found[number] = Said()
                continue
            keys[number] = hashlib.sha256(mode + policies.hash.encode() + packed(review)).digest()
            kept = self._recall(keys[number])
            if kept is None:
                open_.append(number)
            else:
                found[number] = Said(kept)
        if open_:
            job = Judging(policies.hash, [reviews[n] for n in open_], completes, validates, brief, without=without)
            for number, answer in zip(open_, await self._together(policies, job, lookups), strict=True):
                found[number] = Said(answer.verdicts, answer.body, answer.looked)
                self._keep(policies, reviews[number], keys[number], answer)
        return [said or Said() for said in found]

    async def _together(self, policies: PolicySet, job: Judging, lookups: Lookups | None) -> list[Answer]:
        """The answers. What several ask of one set while a worker is at it goes to the worker as one job."""
        key = (policies.hash, job.completes, job.validates, job.brief, job.without, lookups)
        crowd = self._crowds.get(key)
        if crowd is None:
            crowd = self._crowds[key] = _Crowd()
            crowd.task = asyncio.create_task(self._serve(key, crowd, policies, lookups), name="policies are asked")
        waiting: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        crowd.waiting.append((job, waiting))
        return await waiting

    async def _serve(self, key: object, crowd: _Crowd, policies: PolicySet, lookups: Lookups | None) -> None:
        try:
            while crowd.waiting:
                taken, crowd.waiting = crowd.waiting, []
                asking = [(job, waiting) for job, waiting in taken if not waiting.done()]
                reviews = [review for job, _ in asking for review in job.reviews]
                answers: list[Answer] = []
                try:
                    for first in range(0, len(reviews), _AT_ONCE):
                        part = msgspec.structs.replace(asking[0][0], reviews=reviews[first : first + _AT_ONCE])
                        answers += await self._answers(policies, part, lookups)
                except Exception as error:  # noqa: BLE001 (everybody who waits has to hear of it)
                    _tell(asking, error)
                    continue
                for job, waiting in asking:
                    mine, answers = answers[: len(job.reviews)], answers[len(job.reviews) :]
                    if not waiting.done():
                        waiting.set_result(mine)
        finally:
            del self._crowds[key]
            _tell(crowd.waiting, PolicyError("taut is stopping"))

    def _recall(self, key: bytes) -> tuple[Verdict, ...] | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def _keep(self, policies: PolicySet, review: Review, key: bytes, answer: Answer) -> None:
        """What depends on nothing but the review is kept; completed objects are kept by whoever has use for them."""
        if not answer.concerned:
            if len(self._not_about) >= _MOST_KINDS:
                self._not_about.clear()
            if sum(map(len, _kind(review))) <= _LONGEST_KIND:  # nothing is called by a longer name
                self._not_about.add((policies.hash, *_kind(review)))
        elif not answer.looked and answer.body is None:
            self._kept[key] = answer.verdicts
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)

    async def _answers(self, policies: PolicySet, job: Judging, lookups: Lookups | None) -> list[Answer]:
        self.evaluations += len(job.reviews)
        try:
            return await self._judged(policies, job, lookups, [])
        except PolicyError as error:
            if len(job.reviews) == 1:
                return [await self._without_the_guilty(policies, job, lookups, error)]
        alone = (msgspec.structs.replace(job, reviews=[review]) for review in job.reviews)
        return [(await self._answers(policies, one, lookups))[0] for one in alone]

    async def _without_the_guilty(
        self, policies: PolicySet, job: Judging, lookups: Lookups | None, error: TautError
    ) -> Answer:
        """The answer for one review on which a policy takes too much: each is named before it is asked, the last one named is left out."""
        (review,) = job.reviews
        verdicts: list[Verdict] = []
        for _ in range(_MOST_GUILTY):
            begun: list[int] = []
            try:
                (answer,) = await self._judged(policies, msgspec.structs.replace(job, tells=True), lookups, begun)
            except PolicyError as failed:
                error = failed
                if not begun:
                    break
                names = (await self.describe(policies)).policies
                guilty = names[begun[-1]]
                verdicts.append(stopped(guilty.name, guilty.engine, review, error))
                job = msgspec.structs.replace(job, without=(*job.without, begun[-1]))
            else:
                return msgspec.structs.replace(answer, verdicts=(*verdicts, *answer.verdicts))
        return Answer((*verdicts, stopped("policies", "taut", review, error)))

    async def _judged(
        self, policies: PolicySet, job: Judging, lookups: Lookups | None, begun: list[int]
    ) -> list[Answer]:
        job = msgspec.structs.replace(job, cpu_seconds=self._limits.cpu_seconds)
        return _answers_of(await self._ask(policies, packed(job), lookups, _Hearing(begun.append)), job)

    async def _ask(
        self, policies: PolicySet, job: bytes, lookups: Lookups | None, hearing: _Hearing
    ) -> Answers | Description:
        result: Answers | Description | None = None

        async def answer(message: bytes) -> bytes | Renewed | None:
            nonlocal result
            try:
                question = msgspec.msgpack.decode(message, type=Question)
            except msgspec.MsgspecError:
                raise PolicyError("the policy worker said what cannot be read") from None
            match question:
                case NeedSet():
                    documents = packed(Documents(list(policies.documents)))
                    return (
                        Renewed(documents, self._limits.wall_seconds + hearing.builds) if hearing.builds else documents
                    )
                case Begins(place):
                    hearing.hears(place)
                    return Renewed(b"", self._limits.wall_seconds) if hearing.renews else b""
                case Looks():
                    return packed(await _seen(lookups, question))
                case _:
                    result = question
                    return None

        await self._pool.run(job, self._limits, answer)
        if result is None:
            raise PolicyError("the policy worker did not answer")
        return result


def _answers_of(found: Answers | Description, job: Judging) -> list[Answer]:
    if not isinstance(found, Answers) or len(found.answers) != len(job.reviews):
        raise PolicyError("the policy worker answered something else than it was asked")
    return found.answers


async def _seen(lookups: Lookups | None, asked: Looks) -> Seen:
    try:
        if lookups is None:
            raise NotKnown("there is no cluster to ask")
        match asked.what, asked.arguments:
            case "get", [version, kind, namespace, name]:
                return Seen(await lookups.get(str(version), str(kind), str(namespace), str(name)))
            case "list", [version, kind, namespace]:
                return Seen(list(await lookups.list(str(version), str(kind), str(namespace))))
            case "raw", [method, path, body]:
                return Seen(await lookups.raw(str(method), str(path), body))
            case "inventory", _:
                return Seen(await lookups.inventory())
            case _:
                raise NotKnown("the worker asks for what nobody can look up")
    except NotKnown as unknown:
        return Seen(unknown=str(unknown) or "it is not known")
    except TautError as error:
        return Seen(unknown=error.what)


def _kind(review: Review) -> tuple[str, str]:
    return str(review.body.get("apiVersion") or ""), str(review.body.get("kind") or "")


def stopped(policy: str, engine: str, review: Review, error: TautError) -> Verdict:
    """The verdict on an object of a policy that was stopped on it."""
    return Verdict(
        policy, "", engine, review.subject, Outcome.ERROR, f"{error.what} ({error.advice})".removesuffix(" ()")
    )
