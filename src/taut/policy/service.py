"""Policies, asked from outside: sets of documents by their hash, workers that judge by them, and results kept by content.

A policy is as hostile as a repository. What it costs is bounded; one that takes too much on an object is left out for that object, which is
a verdict of ERROR, and the others are judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
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
from taut.prison.pool import Pool
from taut.prison.serving import packed
from taut.prison.trade import Trade
from taut.prison.walls import Prison

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
_MOST_STOPPED = 3
_MOST_NOTED = 1000
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


@dataclass(frozen=True)
class Said:
    """What a set says of one review. `body` is the object as it was completed, None if it was not; `looked`: it may be another answer
    tomorrow, for something besides the review was looked up.
    """

    verdicts: tuple[Verdict, ...] = ()
    body: Body | None = None
    looked: bool = False


class _Stopped:
    """On how many objects a policy (its set's hash, and its place there) was stopped."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}

    def note(self, set_hash: str, place: int) -> None:
        """It was stopped once more."""
        if len(self._counts) >= _MOST_NOTED:
            self._counts.clear()
        self._counts[set_hash, place] = self._counts.get((set_hash, place), 0) + 1

    def given_up(self, set_hash: str) -> list[int]:
        """The policies of a set that are not asked again."""
        return [place for (name, place), count in self._counts.items() if name == set_hash and count >= _MOST_STOPPED]


type _Waiting = tuple[Judging, asyncio.Future[list[Answer]]]


@dataclass
class _Crowd:
    """Those who ask the same set in the same way."""

    waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    task: asyncio.Task[None] | None = None


def _tell(waiting: Iterable[_Waiting], error: Exception) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(error)


class PolicyService:
    """Judges in workers. To be used by one event loop. `most_kept` results are kept in memory.

    `gives_up`: a policy that was stopped on some objects is not asked about others. Only for objects of one author: else somebody's objects would
    decide whether others are judged.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        limits: Limits = LIMITS,
        idle_seconds: float = _IDLE_SECONDS,
        most_kept: int = _KEPT,
        gives_up: bool = False,
    ) -> None:
        self._limits = limits
        self._most_kept = most_kept
        self._pool = Pool(
            JUDGING, lambda: Prison(limits=limits), size=workers, idle_seconds=idle_seconds, ends_nursery=True
        )
        self._kept: OrderedDict[bytes, tuple[Verdict, ...]] = OrderedDict()
        self._not_about: set[tuple[str, str, str]] = set()
        self._stopped = _Stopped() if gives_up else None
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

    async def describe(self, policies: PolicySet, kinds: Sequence[KindName] = ()) -> Description:
        """What is in a set, and which of these kinds each of its policies is about. Raises PolicyError."""
        job = Describing(policies.hash, list(kinds), self._limits.cpu_seconds)
        found = await self._ask(policies, packed(job), None, [])
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

    async def judge(
        self, policies: PolicySet, reviews: Sequence[Review], lookups: Lookups | None, *, brief: bool = True
    ) -> list[Said]:
        """Each object completed, and what the policies say of the result; `brief` as for `validate`."""
        return await self._said(policies, reviews, lookups, completes=True, validates=True, brief=brief)

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
        if not answer.concerned and sum(map(len, _kind(review))) > _LONGEST_KIND:
            return  # no kind is called like that, and it is not worth remembering
        if not answer.concerned:
            if len(self._not_about) >= _MOST_KINDS:
                self._not_about.clear()
            self._not_about.add((policies.hash, *_kind(review)))
        elif not answer.looked and answer.body is None:
            self._kept[key] = answer.verdicts
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)

    async def _answers(self, policies: PolicySet, job: Judging, lookups: Lookups | None) -> list[Answer]:
        self.evaluations += len(job.reviews)
        given_up = self._given_up(policies, job)
        asked = msgspec.structs.replace(job, without=(*job.without, *given_up)) if given_up else job
        try:
            answers = await self._judged(policies, asked, lookups, [])
        except PolicyError as error:
            answers = []
            for review in asked.reviews:
                one = msgspec.structs.replace(asked, reviews=[review])
                answers.append(await self._without_the_guilty(policies, one, lookups, error))
        for place in given_up:
            answers = await self._with_given_up(policies, place, job.reviews, answers)
        return answers

    async def _without_the_guilty(
        self, policies: PolicySet, job: Judging, lookups: Lookups | None, error: TautError
    ) -> Answer:
        """The answer for one review, where a policy may take too much: each is named before it is asked, the last one named is left out."""
        (review,) = job.reviews
        found: list[Verdict] = []
        for place in self._given_up(policies, job):
            job = msgspec.structs.replace(job, without=(*job.without, place))
            (answer,) = await self._with_given_up(policies, place, [review], [Answer()])
            found += answer.verdicts
        for _ in range(_MOST_GUILTY):
            begun: list[int] = []
            try:
                (answer,) = await self._judged(policies, msgspec.structs.replace(job, tells=True), lookups, begun)
            except PolicyError as failed:
                error = failed
                if not begun:
                    break
                guilty = (await self.describe(policies)).policies[begun[-1]]
                if self._stopped is not None:
                    self._stopped.note(policies.hash, begun[-1])
                found.append(_stopped(guilty.name, guilty.engine, review, error))
                job = msgspec.structs.replace(job, without=(*job.without, begun[-1]))
            else:
                return msgspec.structs.replace(answer, verdicts=(*found, *answer.verdicts))
        return Answer((*found, _stopped("policies", "taut", review, error)))

    def _given_up(self, policies: PolicySet, job: Judging) -> list[int]:
        """The places of policies that a job would ask and that are no longer asked."""
        if self._stopped is None:
            return []
        return [p for p in self._stopped.given_up(policies.hash) if p not in job.without]

    async def _with_given_up(
        self, policies: PolicySet, place: int, reviews: Sequence[Review], answers: Sequence[Answer]
    ) -> list[Answer]:
        """The answers, with an error on each object that a policy is about which is no longer asked."""
        kinds = sorted({_kind(review) for review in reviews})
        about = (await self.describe(policies, [(*kind, "") for kind in kinds])).policies[place]
        concerned = {kinds[n] for n in about.kinds}
        error = PolicyError(
            f"it was stopped on {_MOST_STOPPED} objects, and is asked no more",
            advice=JUDGING.advice,
        )
        return [
            msgspec.structs.replace(a, verdicts=(_stopped(about.name, about.engine, r, error), *a.verdicts))
            if _kind(r) in concerned
            else a
            for r, a in zip(reviews, answers, strict=True)
        ]

    async def _judged(
        self, policies: PolicySet, job: Judging, lookups: Lookups | None, begun: list[int]
    ) -> list[Answer]:
        job = msgspec.structs.replace(job, cpu_seconds=self._limits.cpu_seconds)
        found = await self._ask(policies, packed(job), lookups, begun)
        if not isinstance(found, Answers) or len(found.answers) != len(job.reviews):
            raise PolicyError("the policy worker answered something else than it was asked")
        return found.answers

    async def _ask(
        self, policies: PolicySet, job: bytes, lookups: Lookups | None, begun: list[int]
    ) -> Answers | Description:
        result: Answers | Description | None = None

        async def answer(message: bytes) -> bytes | None:
            nonlocal result
            try:
                question = msgspec.msgpack.decode(message, type=Question)
            except msgspec.MsgspecError:
                raise PolicyError("the policy worker said what cannot be read") from None
            match question:
                case NeedSet():
                    return packed(Documents(list(policies.documents)))
                case Begins(place):
                    begun.append(place)
                    return b""
                case Looks():
                    return packed(await _seen(lookups, question))
                case _:
                    result = question
                    return None

        await self._pool.run(job, self._limits, answer)
        if result is None:
            raise PolicyError("the policy worker did not answer")
        return result


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


def _stopped(policy: str, engine: str, review: Review, error: TautError) -> Verdict:
    return Verdict(
        policy, "", engine, review.subject, Outcome.ERROR, f"{error.what} ({error.advice})".removesuffix(" ()")
    )
