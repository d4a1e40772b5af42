"""The policies that taut reads from Git, as the webhook asks them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from taut.admission.decision import NOTHING, Decision, Interests, Reviewer
from taut.admission.interests import WRITES, Reach, rules_about
from taut.controller.fleet import Fleet
from taut.controller.policing import Policies, Policing
from taut.controller.policy_lookups import ClusterLookups
from taut.model.errors import PolicyError
from taut.model.refs import ObjectRef
from taut.model.verdict import Enforcement, Outcome, Verdict
from taut.policy.messages import KindName
from taut.policy.review import Operation, Review
from taut.policy.subresources import SUBRESOURCES, parent_of
from taut.policy.waivers import content_of, waived

_LARGE = 128 * 1024
_DELETES = (*WRITES, Operation.DELETE)


class PolicedAdmission:
    """Judges what is written into clusters. `lenient`: policies that do not say it let pass when nobody can judge."""

    def __init__(self, policing: Policing, fleet: Fleet, *, lenient: bool) -> None:
        self._policing = policing
        self._fleet = fleet
        self._lenient = lenient

    @property
    def open(self) -> Reviewer:
        """By the policies that let pass when nobody can judge."""
        return _Door(self, lets_pass=True)

    @property
    def closed(self) -> Reviewer:
        """By those that refuse then."""
        return _Door(self, lets_pass=False)

    async def interests(self, cluster: str) -> Interests:
        """The kinds that policies are about. Raises PolicyError when they could never be read, TargetError."""
        policies = await self._policing.anywhere_in(cluster)
        if policies is None:
            return NOTHING
        served = await self._fleet.clusters[cluster].kinds()
        kinds = [
            (f"{info.ref.group}/{version}" if info.ref.group else version, info.ref.kind, info.plural)
            for info in served
            for version in info.versions
        ]
        kinds += ((s.api_version, s.kind, s.path) for s in SUBRESOURCES)
        described = (await self._policing.service.describe(policies.set, kinds)).policies
        operations = _DELETES if _mentions_deletion(policies) else WRITES
        doors = {True: list[Reach](), False: list[Reach]()}
        for policy in described:
            doors[self._lets_pass(policy.fails_open)].append(_Known(frozenset(kinds[n] for n in policy.kinds)))
        return Interests(*(rules_about(doors[door], served, lambda _: operations) for door in (True, False)))

    async def judge(self, cluster: str, review: Review, *, lets_pass: bool) -> Decision:
        """What the policies of one door say. Raises PolicyError when they cannot be asked."""
        place = self._fleet.clusters.get(cluster)
        if place is None:
            raise PolicyError(f"there is no cluster {cluster}")
        policies = await self._policing.in_cluster(cluster, self._project(cluster, review))
        if policies is None:
            return Decision()
        without = tuple(n for n, p in enumerate(policies.about) if self._lets_pass(p.fails_open) is not lets_pass)
        if len(without) == len(policies.about):
            return Decision()
        namespace = review.subject.namespace
        if namespace and review.namespace_object is None:
            review = replace(review, namespace_object=await self._policing.namespace(place, namespace))
        lookups = (_LargeLookups if _is_large(review) else _Lookups)(place, policies.synced)
        (said,) = await self._policing.service.validate(policies.set, [review], lookups, without=without)
        return _decided(waived(said.verdicts, policies.waivers, content_of(review.body), self._policing.now))

    def _lets_pass(self, says: bool | None) -> bool:
        return self._lenient if says is None else says

    def _project(self, cluster: str, review: Review) -> str:
        """The project of the application that manages the object; empty for one that no application does."""
        subject = review.subject
        group, kind = subject.api_version.rpartition("/")[0], subject.kind
        parent = parent_of(review.resource.rpartition("/")[2], review.subresource) if review.subresource else ""
        if parent:
            parts = review.resource.split("/")
            group, kind = parts[0] if len(parts) > 2 else "", parent
        owner = self._fleet.owner(ObjectRef(cluster, group, kind, subject.namespace, subject.name))
        state = self._fleet.states.get(owner) if owner is not None else None
        return state.app.spec.project if state is not None else ""


class _Lookups(ClusterLookups):
    """Questions that are asked with different lookups are different jobs: those of plans are no others' turn."""


class _LargeLookups(ClusterLookups):
    """Of large objects: whoever asks about one keeps only others like them waiting."""


def _is_large(review: Review) -> bool:
    return len(msgspec.msgpack.encode((review.object, review.old_object))) > _LARGE


@dataclass(frozen=True)
class _Door:
    admission: PolicedAdmission
    lets_pass: bool

    async def review(self, cluster: str, review: Review) -> Decision:
        """What the policies of this door say."""
        return await self.admission.judge(cluster, review, lets_pass=self.lets_pass)


@dataclass(frozen=True)
class _Known:
    kinds: frozenset[KindName]

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """Whether it is among those that the engines named."""
        return (api_version, kind, resource) in self.kinds


def _decided(verdicts: Iterable[Verdict]) -> Decision:
    listed = list(verdicts)
    warned = (v for v in listed if v.enforcement is Enforcement.WARN and v.result in (Outcome.FAIL, Outcome.WARN))
    return Decision(tuple(v for v in listed if v.denies), tuple(warned))


def _mentions_deletion(policies: Policies) -> bool:
    """Whether a policy may be about deletions: asking about them is for nothing otherwise."""
    return any(b"DELETE" in msgspec.json.encode(given.body) for given in policies.set.documents)
