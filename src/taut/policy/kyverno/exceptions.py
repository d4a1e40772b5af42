"""Exceptions from policies (Kyverno, PolicyException)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taut.model.manifests import Body
from taut.policy.kyverno.matching import matched
from taut.policy.kyverno.wildcard import matches
from taut.policy.review import Review


@dataclass(frozen=True)
class Exemption:
    """One exception, and what it leaves out of which rules."""

    document: Body

    @property
    def name(self) -> str:
        """Its name, with the namespace ahead."""
        metadata: dict[str, Any] = self.document.get("metadata") or {}
        namespace = metadata.get("namespace")
        return f"{namespace}/{metadata.get('name')}" if namespace else str(metadata.get("name"))

    @property
    def _spec(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    def names(self, policy: str) -> bool:
        """Whether it is about a policy at all."""
        return any(matches(str(e.get("policyName")), policy) for e in self._spec.get("exceptions") or ())

    def covers(self, policy: str, rule: str, review: Review) -> bool:
        """Whether an object is excepted from a rule. Pod security controls are not excepted one by one."""
        if self._spec.get("podSecurity"):
            return False
        for entry in self._spec.get("exceptions") or ():
            if not matches(str(entry.get("policyName")), policy):
                continue
            if any(matches(str(r), rule) for r in entry.get("ruleNames") or ()):
                return matched({"match": self._spec.get("match")}, review)
        return False
