"""Rules that change objects which are there already (`mutate.targets`): in tests only, for in a cluster that is Kyverno's own work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taut.model.manifests import Body
from taut.policy.kyverno.conditions import hold
from taut.policy.kyverno.context import Context, Mocks, context_of
from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.matching import matched
from taut.policy.kyverno.mutating import mutated
from taut.policy.kyverno.outcome import Result, broken, skipped
from taut.policy.kyverno.policy import Rule
from taut.policy.kyverno.selectors import selects
from taut.policy.kyverno.wildcard import matches
from taut.policy.review import Lookup, Review


def changed(
    rule: Rule, review: Review, lookup: Lookup, mocks: Mocks, candidates: Sequence[Body]
) -> Iterator[tuple[Body, Result]]:
    """Each of the candidates that the rule's targets name, with what the rule makes of it when the reviewed object triggers it."""
    if not matched(rule.body, review):
        return
    section: dict[str, Any] = rule.body["mutate"]
    for target in section.get("targets") or ():
        try:
            context = context_of(review, lookup, mocks).load(rule.body.get("context") or ())
            if not hold(rule.body.get("preconditions"), context.condition)[0]:
                return
            wanted = context.put(target)
        except PolicyError as error:
            yield review.body, broken(str(error))
            continue
        for body in candidates:
            if _is_target(wanted, body):
                yield body, _one(section, target, context, body)


def _one(section: dict[str, Any], target: dict[str, Any], context: Context, body: Body) -> Result:
    try:
        inner = context.child(target=body).load(target.get("context") or ())
        if not hold(target.get("preconditions"), inner.condition)[0]:
            return skipped("the target's preconditions are not met")
        return mutated({k: v for k, v in section.items() if k != "targets"}, inner, body)
    except PolicyError as error:
        return broken(str(error))


def _is_target(wanted: dict[str, Any], body: Body) -> bool:
    metadata: dict[str, Any] = body.get("metadata") or {}
    pairs = (
        (wanted.get("apiVersion"), body.get("apiVersion")),
        (wanted.get("kind"), body.get("kind")),
        (wanted.get("name"), metadata.get("name")),
        (wanted.get("namespace"), metadata.get("namespace")),
    )
    if any(w and not matches(str(w), str(found or "")) for w, found in pairs):
        return False
    return not wanted.get("selector") or selects(wanted["selector"], metadata.get("labels") or {})
