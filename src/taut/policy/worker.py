"""A policy worker: holds compiled sets, and judges by them in its prison. What it needs to look up it asks its parent for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from taut.model.manifests import Body
from taut.model.verdict import Outcome, Verdict
from taut.policy import admission, gatekeeper, kyverno, kyverno_cel
from taut.policy.engines import build
from taut.policy.judge import Judge
from taut.policy.masking import hidden, secret_values
from taut.policy.messages import (
    About,
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
    Seen,
)
from taut.policy.review import Built, NotKnown, Policy, Review
from taut.prison import walls
from taut.prison.serving import Ask, packed, serve

_SETS = 8
_PRELOADED = (admission, gatekeeper, kyverno, kyverno_cel)
"""Loaded before a worker is forked."""
_SILENT = frozenset({Outcome.PASS, Outcome.SKIP})


def main(arguments: list[str]) -> int:
    """Enter the prison that `arguments[0]` (JSON) describes and serve. Returns the exit code."""
    return serve(arguments, Bench())


class _Set:
    def __init__(self, built: Built) -> None:
        self.judge = Judge(built.policies)
        self.troubles = built.troubles
        self.place = {id(p): n for n, p in enumerate(self.judge.policies)}


class Bench:
    """The sets that this worker has compiled."""

    def __init__(self) -> None:
        self._sets: OrderedDict[str, _Set] = OrderedDict()

    def __call__(self, frame: bytes, _held: walls.Held, ask: Ask) -> bytes:
        """The answer to a job."""
        job = msgspec.msgpack.decode(frame, type=Judging | Describing)
        walls.limit_cpu(job.cpu_seconds)
        found = self._set(job.set, ask)
        if isinstance(job, Describing):
            return packed(_described(found, job.kinds))
        known: dict[bytes, Seen] = {}
        lookups = (_Asked(ask, known if job.steady else {}) for _ in job.reviews)
        return packed(
            Answers([_answer(found, job, r, ask, lookup) for r, lookup in zip(job.reviews, lookups, strict=True)])
        )

    def _set(self, name: str, ask: Ask) -> _Set:
        found = self._sets.get(name)
        if found is None:
            given = msgspec.msgpack.decode(ask(packed(NeedSet(name))), type=Documents)
            found = self._sets[name] = _Set(build(given.policies))
            while len(self._sets) > _SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(name)
        return found


def _described(found: _Set, kinds: Sequence[KindName]) -> Description:
    policies = [
        About(
            p.name,
            p.engine,
            p.hash,
            p.mutates,
            p.fails_open,
            [n for n, kind in enumerate(kinds) if p.concerns(*kind)],
        )
        for p in found.judge.policies
    ]
    return Description(policies, list(found.troubles))


def _answer(found: _Set, job: Judging, review: Review, ask: Ask, lookup: _Asked) -> Answer:
    judge, given = found.judge, review.object
    if not judge.concerned(str(review.body.get("apiVersion") or ""), str(review.body.get("kind") or "")):
        return Answer(concerned=False)

    def begins(policy: Policy) -> bool:
        place = found.place[id(policy)]
        if job.tells:
            ask(packed(Begins(place)))
        if job.renews:
            walls.limit_cpu(job.cpu_seconds)
        return place not in job.without

    verdicts: list[Verdict] = []
    if job.completes:
        completed = judge.complete(review, lookup, begins)
        verdicts += completed.verdicts
        if review.object is not None and completed.body is not review.object:
            review = replace(review, object=completed.body)
    if job.validates:
        verdicts += judge.validate(review, lookup, begins).verdicts
    if job.brief:
        verdicts = [v for v in verdicts if v.result not in _SILENT]
    if lookup.secrets:
        verdicts = [hidden(v, lookup.secrets) for v in verdicts]
    changed = review.object if review.object is not given and review.object != given else None
    return Answer(tuple(verdicts), changed, lookup.looked)


class _Asked:
    """A lookup for one review that the parent answers. What is among `seen` it is not asked again."""

    def __init__(self, ask: Ask, seen: dict[bytes, Seen]) -> None:
        self._ask = ask
        self._seen = seen
        self.looked = False
        self._hidden: set[bytes] = set()
        self.secrets: set[str] = set()
        """Values of Secrets that were looked up: a policy may put them into what it says of another object."""

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        """One object."""
        return self._look("get", [api_version, kind, namespace, name])

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Body]:
        """All of a kind."""
        return self._look("list", [api_version, kind, namespace])

    def raw(self, method: str, path: str, body: Any = None) -> Any:
        """The target's answer to a request."""
        return self._look("raw", [method, path, body])

    def inventory(self) -> dict[str, Any]:
        """All objects that templates may look up, in Gatekeeper's tree."""
        return self._look("inventory", [])

    def _look(self, what: str, arguments: list[Any]) -> Any:
        self.looked = True
        question = packed(Looks(what, arguments))
        seen = self._seen.get(question)
        if seen is None:
            seen = self._seen[question] = msgspec.msgpack.decode(self._ask(question), type=Seen)
        if question not in self._hidden:
            self._hidden.add(question)
            self.secrets.update(secret_values(seen.value))
        if seen.unknown:
            raise NotKnown(seen.unknown)
        return seen.value
