"""Workloads as the Pods that they would make (Gatekeeper, ExpansionTemplate)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from taut.model.manifests import Body
from taut.policy.review import Operation, Review

_MOST = 20


@dataclass(frozen=True)
class Expansion:
    """One template of expansion."""

    document: Body

    @property
    def _spec(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    @property
    def action(self) -> str:
        """The enforcement that its results have; empty: the constraint's."""
        return str(self._spec.get("enforcementAction") or "")

    def applies(self, api_version: str, kind: str) -> bool:
        """Whether it expands a kind."""
        group, _, version = api_version.rpartition("/")
        return any(
            group in (a.get("groups") or ()) and version in (a.get("versions") or ()) and kind in (a.get("kinds") or ())
            for a in self._spec.get("applyTo") or ()
            if isinstance(a, dict)
        )

    def result(self, body: Body) -> Body | None:
        """The object that an object would make: what lies at `templateSource`, as a `generatedGVK`."""
        found: Any = body
        for step in str(self._spec.get("templateSource") or "").split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            return None
        gvk: dict[str, Any] = self._spec.get("generatedGVK") or {}
        group, version = str(gvk.get("group") or ""), str(gvk.get("version") or "")
        metadata = dict(found.get("metadata") or {})
        owner: dict[str, Any] = body.get("metadata") or {}
        metadata["name"] = f"{owner.get('name') or ''}-{str(gvk.get('kind') or '').lower()}"
        if owner.get("namespace"):
            metadata["namespace"] = owner["namespace"]
        reference = {"apiVersion": body.get("apiVersion"), "kind": body.get("kind"), "name": owner.get("name")}
        metadata["ownerReferences"] = [reference]
        return {
            **found,
            "apiVersion": f"{group}/{version}" if group else version,
            "kind": str(gvk.get("kind") or ""),
            "metadata": metadata,
        }


def expanded(review: Review, expansions: Sequence[Expansion]) -> Iterator[tuple[Body, str]]:
    """What an object would make, and what that would make in turn, each with its enforcement."""
    if review.operation is Operation.DELETE or review.object is None:
        return
    waiting, made = [review.object], 0
    while waiting:
        body = waiting.pop(0)
        for expansion in expansions:
            if made < _MOST and expansion.applies(str(body.get("apiVersion")), str(body.get("kind"))):
                result = expansion.result(body)
                if result is not None:
                    made += 1
                    waiting.append(result)
                    yield result, expansion.action
