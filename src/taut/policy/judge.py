"""Many policies on many objects: completed first, then judged; a policy that is not about a kind costs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from taut.model.manifests import Body
from taut.model.verdict import Outcome, Verdict
from taut.policy.masking import masked
from taut.policy.review import Lookup, Policy, Review


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
        about = self._of(review.body)
        if not about:
            return Judged(review.body, ())
        verdicts: list[Verdict] = []
        for policy in about:
            body, said = policy.mutate(review, lookup)
            verdicts += (v for v in said if v.result is Outcome.ERROR)
            if body is not review.body and review.object is not None:
                review = replace(review, object=body)
        for policy in about:
            verdicts += policy.validate(review, lookup)
        return Judged(review.body, tuple(masked(v, review.body) for v in verdicts))

    def _of(self, body: Body) -> Sequence[Policy]:
        key = (str(body.get("apiVersion") or ""), str(body.get("kind") or ""))
        found = self._about.get(key)
        if found is None:
            found = self._about[key] = [p for p in self._policies if p.concerns(*key)]
        return found
