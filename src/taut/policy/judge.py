"""Many policies on many objects: completed first, then judged; a policy that is not about a kind costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from taut.model.manifests import Body
from taut.model.verdict import Outcome, Verdict
from taut.policy.defaults import defaulted, undefaulted
from taut.policy.masking import masked
from taut.policy.review import Lookup, NotKnown, Policy, Review

type Begins = Callable[[Policy], bool]
"""Hears of each policy before it is asked; False: it is not to be asked."""


def _always(_: Policy) -> bool:
    return True


@dataclass(frozen=True)
class Judged:
    """An object as the policies completed it, and what they say of it."""

    body: Body
    verdicts: tuple[Verdict, ...]

    @property
    def denied(self) -> bool:
        """Whether it must not be written."""
        return any(v.denies for v in self.verdicts)


class Judge:
    """Policies with an index by kind."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies = sorted(policies, key=lambda p: (p.engine, p.name))
        self._about: dict[tuple[str, str], Sequence[Policy]] = {}

    @property
    def policies(self) -> Sequence[Policy]:
        """All of them, by engine and name."""
        return self._policies

    def judge(self, review: Review, lookup: Lookup) -> Judged:
        """What the policies say of a review. Mutations come first, in the order of engines and names; then the result is judged."""
        completed = self.complete(review, lookup)
        if completed.body is not review.body and review.object is not None:
            review = replace(review, object=completed.body)
        return Judged(completed.body, (*completed.verdicts, *self.validate(review, lookup).verdicts))

    def complete(self, review: Review, lookup: Lookup, begins: Begins = _always) -> Judged:
        """The object as the policies complete it, and what could not be told."""
        verdicts: list[Verdict] = []
        for policy in self._of(review.body):
            if not policy.mutates or not begins(policy):
                continue
            body, said = _completed(policy, review, lookup)
            verdicts += (v for v in said if v.result is Outcome.ERROR)
            if body is not review.body and review.object is not None:
                review = replace(review, object=body)
        return Judged(review.body, tuple(masked(v, review.body) for v in verdicts))

    def validate(self, review: Review, lookup: Lookup, begins: Begins = _always) -> Judged:
        """What the policies say of an object as it is."""
        served = _Served(review)
        verdicts = [v for p in self._of(review.body) if begins(p) for v in _judged(p, served.to(p), lookup)]
        return Judged(review.body, tuple(masked(v, review.body) for v in verdicts))

    def concerned(self, api_version: str, kind: str) -> Sequence[Policy]:
        """The policies that may have something to say of a kind."""
        return self._of({"apiVersion": api_version, "kind": kind})

    def _of(self, body: Body) -> Sequence[Policy]:
        key = (str(body.get("apiVersion") or ""), str(body.get("kind") or ""))
        found = self._about.get(key)
        if found is None:
            found = self._about[key] = [p for p in self._policies if p.concerns(*key)]
        return found


class _Served:
    """A review as each policy sees it: Kubernetes' own see the object with what the API server fills in, as they do at admission."""

    def __init__(self, review: Review) -> None:
        self._review = review
        self._filled: Review | None = None

    def to(self, policy: Policy) -> Review:
        """For this policy."""
        if policy.engine != "admission":
            return self._review
        if self._filled is None:
            self._filled = _filled(self._review)
        return self._filled


def _filled(review: Review) -> Review:
    """What the API server asks about, or has made, is filled in already."""
    body = review.object
    if body is None or review.uid or "uid" in (body.get("metadata") or {}):
        return review
    filled = defaulted(body)
    return review if filled is body else replace(review, object=filled)


def _completed(policy: Policy, review: Review, lookup: Lookup) -> tuple[Body, Sequence[Verdict]]:
    try:
        seen = _Served(review).to(policy)
        body, said = policy.mutate(seen, lookup)
        if seen is not review:
            body = undefaulted(review.body, seen.body, body)
        return body, said
    except Exception as error:  # noqa: BLE001 (a policy is hostile: what it breaks is its own verdict, and nobody else's)
        return review.body, [_broken(policy, review, error)]


def _judged(policy: Policy, review: Review, lookup: Lookup) -> Sequence[Verdict]:
    try:
        return policy.validate(review, lookup)
    except Exception as error:  # noqa: BLE001
        return [_broken(policy, review, error)]


def _broken(policy: Policy, review: Review, error: Exception) -> Verdict:
    """Of an error that nobody foresaw only the kind is told: its text may hold a value."""
    message = f"the policy cannot be judged on this object ({type(error).__name__})"
    if isinstance(error, NotKnown):
        message = str(error)
    return Verdict(policy.name, "", policy.engine, review.subject, Outcome.ERROR, message)
