"""Who judges: what the webhook asks of whoever has the policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from taut.model.verdict import Verdict
from taut.policy.review import Operation, Review


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policies say of a review: it is refused when `denied` holds anything, and `warned` is told to the author."""

    denied: tuple[Verdict, ...] = ()
    warned: tuple[Verdict, ...] = ()


class Reviewer(Protocol):
    """Judges reviews by policies."""

    async def review(self, cluster: str, review: Review) -> Decision:
        """What the policies of a cluster say. It may raise anything, and may take as long as it likes: both are handled by who asks.

        The task is cancelled when the API server no longer waits.
        """
        ...


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """Requests that are asked about: resources (`pods`, `pods/ephemeralcontainers`) of a group in some versions, and operations."""

    group: str
    versions: tuple[str, ...]
    resources: tuple[str, ...]
    operations: tuple[Operation, ...] = (Operation.CREATE, Operation.UPDATE)


@dataclass(frozen=True, slots=True)
class Interests:
    """What the policies of a cluster are about: those that let pass when nobody can judge, and those that refuse then."""

    open: tuple[Rule, ...] = ()
    closed: tuple[Rule, ...] = ()


NOTHING = Interests()


class Policies(Protocol):
    """The policies of all clusters, as the webhook needs them. Both reviewers may be one; each is asked about its own door."""

    @property
    def open(self) -> Reviewer:
        """Judges by the policies that let pass when nobody can judge."""
        ...

    @property
    def closed(self) -> Reviewer:
        """Judges by the policies that refuse when nobody can judge."""
        ...

    async def interests(self, cluster: str) -> Interests:
        """What they are about. May raise TautError when it cannot be told now: what is registered stays, until `Admission.refresh` is called."""
        ...


class NoPolicies:
    """No policies: nothing but who changes what is asked about."""

    @property
    def open(self) -> Reviewer:
        """Judges by nothing."""
        return self

    @property
    def closed(self) -> Reviewer:
        """Judges by nothing."""
        return self

    async def review(self, cluster: str, review: Review) -> Decision:
        """Nothing is refused."""
        return Decision()

    async def interests(self, cluster: str) -> Interests:
        """Nothing is of interest."""
        return NOTHING


def joined(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The same requests in as few rules as there are (group, versions, operations), in a fixed order."""
    found: dict[tuple[str, tuple[str, ...], tuple[Operation, ...]], set[str]] = {}
    for rule in rules:
        key = (rule.group, tuple(sorted(set(rule.versions))), tuple(sorted(set(rule.operations))))
        found.setdefault(key, set()).update(rule.resources)
    return tuple(
        sorted(Rule(group, versions, tuple(sorted(names)), does) for (group, versions, does), names in found.items())
    )
