"""The policies by which a cluster's objects are judged while they run, project by project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taut.controller.policing import Policies, Policing
from taut.model.manifests import content_hash
from taut.policy.report import Trait, policy_name, traits_of
from taut.policy.review import Given

type Type = tuple[str, str]
"""API version and kind."""


@dataclass(frozen=True)
class Rules:
    """What holds for the objects of one project. `without` are the places of policies that are not about what runs."""

    policies: Policies
    traits: Mapping[str, Trait]
    without: tuple[int, ...]
    types: frozenset[Type]
    """The types that were asked about."""
    about: frozenset[Type]
    """Those of them that a policy is about."""

    @property
    def hash(self) -> str:
        """Of the policies, exceptions among them; waivers are none of them."""
        return self.policies.set.hash

    @property
    def bound(self) -> bool:
        """Whether a waiver is bound to what an object's author wrote."""
        return any(w.hash for w in self.policies.waivers)

    def waivers_at(self, now: float) -> str:
        """Stands for the waivers that hold at a time."""
        waivers = self.policies.waivers
        return content_hash([repr(w) for w in waivers if now <= w.until]) if waivers else ""

    def next_end(self, now: float) -> float | None:
        """When the next waiver ends; None when none does."""
        return min((w.until for w in self.policies.waivers if now <= w.until), default=None)


class RuleBook:
    """The rules of one cluster, as long as neither they nor the kinds that there are change."""

    def __init__(self, policing: Policing, cluster: str) -> None:
        self._policing = policing
        self._cluster = cluster
        self._known: dict[str, Rules | None] = {}

    def forget(self) -> None:
        """The policies have changed."""
        self._known.clear()

    def known(self) -> Iterable[Rules]:
        """The rules that were asked for."""
        return [rules for rules in self._known.values() if rules is not None]

    async def of(self, project: str, types: frozenset[Type]) -> Rules | None:
        """The rules for a project's objects of these types; None when there are no policies. Raises PolicyError when they could never be read."""
        if project in self._known:
            known = self._known[project]
            if known is None or types <= known.types:
                return known
        policies = await self._policing.in_cluster(self._cluster, project)
        self._known[project] = None if policies is None else await self._described(policies, types)
        return self._known[project]

    async def _described(self, policies: Policies, types: frozenset[Type]) -> Rules:
        listed = sorted(types)
        described = (await self._policing.service.describe(policies.set, [(*each, "") for each in listed])).policies
        admission_only = _not_in_background(policies.set.documents)
        without = tuple(n for n, p in enumerate(described) if p.name in admission_only and p.engine == "kyverno")
        about = {listed[n] for place, p in enumerate(described) if place not in without for n in p.kinds}
        return Rules(policies, traits_of(policies.set.documents), without, types, frozenset(about))


def _not_in_background(documents: Iterable[Given]) -> frozenset[str]:
    """Kyverno's policies that say that they are about requests alone."""
    return frozenset(policy_name(given.body) for given in documents if _says_no(given.body.get("spec")))


def _says_no(spec: Any) -> bool:
    if not isinstance(spec, dict):
        return False
    evaluation = spec.get("evaluation")
    background = evaluation.get("background") if isinstance(evaluation, dict) else None
    return spec.get("background") is False or (isinstance(background, dict) and background.get("enabled") is False)
