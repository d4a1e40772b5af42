"""From documents to policies: bindings and parameters find the policies that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taut.policy.admission.policy import UNBOUND, AdmissionPolicy
from taut.policy.review import Built, Given, Trouble

_GROUP = "admissionregistration.k8s.io/"
_POLICIES = frozenset({"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"})
_BINDINGS = frozenset({"ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"})


class _Engine:
    def reads(self, api_version: str, kind: str) -> bool:
        """Policies and bindings of admissionregistration.k8s.io."""
        return api_version.startswith(_GROUP) and kind in _POLICIES | _BINDINGS

    def build(self, documents: Sequence[Given]) -> Built:
        """The policies with their bindings; other documents are taken for parameters. A policy without a binding is judged as one that denies."""
        bindings = [g.body for g in documents if g.body.get("kind") in _BINDINGS]
        parameters = tuple(
            g.body for g in documents if not self.reads(str(g.body.get("apiVersion")), str(g.body.get("kind")))
        )
        policies: list[AdmissionPolicy] = []
        troubles: list[Trouble] = []
        for given in documents:
            if given.body.get("kind") not in _POLICIES:
                continue
            name = str((given.body.get("metadata") or {}).get("name") or "")
            if not isinstance(given.body.get("spec"), dict):
                troubles.append(Trouble(given.origin, name, "spec has to be a mapping"))
                continue
            own = tuple(b for b in bindings if _names(b, given.body, name))
            policy = AdmissionPolicy(given.body, own or (UNBOUND,), parameters)
            troubles += [Trouble(given.origin, name, fault) for fault in policy.expressions.faults()]
            policies.append(policy)
        return Built(tuple(policies), tuple(troubles))


def _names(binding: dict[str, Any], policy: dict[str, Any], name: str) -> bool:
    return (
        binding.get("kind") == f"{policy.get('kind')}Binding" and (binding.get("spec") or {}).get("policyName") == name
    )


ENGINE = _Engine()
