"""Completing an object by one rule: strategic merge, JSON patch, for each element of a list (Kyverno, engine/mutate)."""

from __future__ import annotations

from typing import Any

from taut.documents.yaml import load_one
from taut.model.errors import TautError
from taut.model.verdict import Outcome
from taut.policy.json_patch import PatchError, patched
from taut.policy.kyverno.conditions import hold
from taut.policy.kyverno.context import Context
from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.mutation import NotApplicable, merged
from taut.policy.kyverno.outcome import Result, broken, skipped
from taut.policy.kyverno.validation import elements

_DEEPEST = 10


def mutated(section: dict[str, Any], context: Context, body: dict[str, Any]) -> Result:
    """What a rule's `mutate` makes of an object that the rule is about. SKIP when it changes nothing."""
    try:
        if section.get("targets"):
            return skipped("existing objects are changed by Kyverno in the cluster, not by who applies another one")
        made = _foreach(section, context, body, 0) if section.get("foreach") else _changed(section, context, body)
    except NotApplicable:
        return skipped("an anchor in the patch is not met")
    except (PolicyError, PatchError) as error:
        return broken(str(error))
    return skipped("the patch changes nothing") if made == body else Result(Outcome.PASS, "mutated", body=made)


def _changed(section: dict[str, Any], context: Context, body: dict[str, Any]) -> dict[str, Any]:
    if "patchStrategicMerge" in section:
        patch = context.put(section["patchStrategicMerge"])
        if not isinstance(patch, dict):
            raise PolicyError("patchStrategicMerge has to be a mapping")
        return merged(body, patch)
    if "patchesJson6902" in section:
        return patched(body, _json_patch(context.put(section["patchesJson6902"])))
    raise PolicyError("mutate has neither patchStrategicMerge nor patchesJson6902 nor foreach")


def _json_patch(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = load_one(value.encode())
        except TautError:
            raise PolicyError("patchesJson6902 is no YAML") from None
    if not isinstance(value, list):
        raise PolicyError("patchesJson6902 has to be a list of operations")
    return value


def _foreach(section: dict[str, Any], context: Context, body: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise PolicyError(f"foreach is nested more than {_DEEPEST} deep")
    for each in section["foreach"]:
        if not isinstance(each, dict):
            raise PolicyError("foreach has to be a list of mappings")
        # From the last to the first, so that what a patch removes does not move what comes after it.
        order = each if "order" in each or "patchStrategicMerge" in each else {**each, "order": "Descending"}
        for made in elements(order, context, depth):
            body = _element(each, made.with_object(body), body, depth)
        context = context.with_object(body)
    return body


def _element(section: dict[str, Any], context: Context, body: dict[str, Any], depth: int) -> dict[str, Any]:
    context = context.load(section.get("context") or ())
    if not hold(section.get("preconditions"), context.condition)[0]:
        return body
    if section.get("foreach"):
        return _foreach(section, context, body, depth + 1)
    try:
        return _changed(section, context, body)
    except NotApplicable:
        return body
