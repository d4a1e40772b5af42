"""From documents to policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taut.policy.kyverno_cel.policy import MUTATING, VALIDATING, CelPolicy
from taut.policy.review import Built, Given, Trouble

_GROUP, _EXCEPTION = "policies.kyverno.io/", "PolicyException"
_ELSEWHERE = {
    "GeneratingPolicy": "generating objects is left to Kyverno in the cluster: declare what it would generate in Git",
    "NamespacedGeneratingPolicy": "generating objects is left to Kyverno in the cluster: declare what it would generate in Git",
    "DeletingPolicy": "deleting objects is left to Kyverno in the cluster",
    "NamespacedDeletingPolicy": "deleting objects is left to Kyverno in the cluster",
    "ImageValidatingPolicy": "signatures of images are verified by Kyverno in the cluster, where the registry can be reached",
    "NamespacedImageValidatingPolicy": "signatures of images are verified by Kyverno in the cluster, where the registry can be reached",
}


class _Engine:
    def reads(self, api_version: str, kind: str) -> bool:
        """Documents of policies.kyverno.io, and the context of Kyverno's tests."""
        return api_version.startswith(_GROUP) or (api_version.startswith("cli.kyverno.io/") and kind == "Context")

    def build(self, documents: Sequence[Given]) -> Built:
        """The policies, each with the exceptions that name it."""
        documents = [g for g in documents if self.reads(str(g.body.get("apiVersion")), str(g.body.get("kind")))]
        exceptions = [g.body for g in documents if g.body.get("kind") == _EXCEPTION]
        images = dict(pair for g in documents if g.body.get("kind") == "Context" for pair in _images(g.body))
        policies: list[CelPolicy] = []
        troubles: list[Trouble] = []
        for given in documents:
            kind = str(given.body.get("kind"))
            name = str((given.body.get("metadata") or {}).get("name") or "")
            if kind in VALIDATING | MUTATING:
                if not isinstance(given.body.get("spec"), dict):
                    troubles.append(Trouble(given.origin, name, "spec has to be a mapping"))
                    continue
                own = tuple(e for e in exceptions if _names(e, kind, name))
                policy = CelPolicy(given.body, own, images)
                troubles += [Trouble(given.origin, name, fault) for fault in policy.variants[0][1].faults()]
                policies.append(policy)
            elif kind not in {_EXCEPTION, "Context"}:
                what = _ELSEWHERE.get(kind, f"{kind} is no policy that is evaluated here")
                troubles.append(Trouble(given.origin, name, what, elsewhere=True))
        return Built(tuple(policies), tuple(troubles))


ENGINE = _Engine()


def _names(exception: dict[str, Any], kind: str, name: str) -> bool:
    references = (exception.get("spec") or {}).get("policyRefs") or ()
    return any(r.get("name") == name and r.get("kind") in {None, kind} for r in references)


def _images(context: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for entry in (context.get("spec") or {}).get("images") or ():
        if isinstance(entry, dict) and entry.get("image"):
            yield str(entry["image"]), {k: v for k, v in entry.items() if k != "image"}
