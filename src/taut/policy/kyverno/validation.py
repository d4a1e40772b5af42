"""Judging an object by one rule: patterns, conditions, elements of a list, Pod security, CEL (Kyverno, engine/validation)."""

from __future__ import annotations

from typing import Any

from taut.model.verdict import Outcome
from taut.policy.kyverno.conditions import hold
from taut.policy.kyverno.context import Context
from taut.policy.kyverno.errors import NotResolvedError, PolicyError
from taut.policy.kyverno.outcome import PASSED, Result, broken, failed, mismatched, skipped
from taut.policy.kyverno.patterns import Mismatch, match
from taut.policy.kyverno.substitution import has_variables
from taut.policy.review import Operation, Review

_DEEPEST = 10


def validated(name: str, section: dict[str, Any], context: Context, review: Review) -> Result:
    """The result of a rule's `validate` for an object that the rule is about, its context loaded and its preconditions met."""
    try:
        return _validate(name, section, context, review, review.body, 0)
    except PolicyError as error:
        return broken(str(error))


def _validate(name: str, section: dict[str, Any], context: Context, review: Review, body: Any, depth: int) -> Result:
    if depth > _DEEPEST:
        raise PolicyError(f"foreach is nested more than {_DEEPEST} deep")
    if "deny" in section:
        return _deny(section, context)
    if "pattern" in section or "anyPattern" in section:
        if review.operation is Operation.DELETE and not depth:
            return skipped("a pattern says nothing of a deletion")
        return _by_pattern(name, section, context, body)
    if "podSecurity" in section:
        return _pod_security(section, context, review)
    if "foreach" in section:
        return _foreach(name, section, context, review, depth)
    kind = next((k for k in ("assert", "manifests") if k in section), "nothing that is known here")
    raise PolicyError(f"validate with {kind} is not supported")


def _message(section: dict[str, Any], context: Context) -> str:
    text = str(section.get("message") or "")
    try:
        found = context.put(text) if has_variables(text) else text
    except PolicyError:
        return text
    return found if isinstance(found, str) else text


def _deny(section: dict[str, Any], context: Context) -> Result:
    deny = section.get("deny")
    conditions = deny.get("conditions") if isinstance(deny, dict) else None
    denied, said = hold(conditions, context.condition)
    return failed(said or _message(section, context)) if denied else PASSED


def _by_pattern(name: str, section: dict[str, Any], context: Context, body: Any) -> Result:
    if "pattern" in section:
        found = match(body, _put(section["pattern"], context))
        if found is None:
            return PASSED
        return skipped(_why(found)) if found.skip else mismatched(_message(section, context), name, found)
    patterns = section["anyPattern"]
    if not isinstance(patterns, list) or not patterns:
        raise PolicyError("anyPattern has to be a list of patterns")
    return _any_pattern(name, [_put(p, context) for p in patterns], section, context, body)


def _put(pattern: Any, context: Context) -> Any:
    return context.put(pattern) if has_variables(pattern) else pattern


def _any_pattern(name: str, patterns: list[Any], section: dict[str, Any], context: Context, body: Any) -> Result:
    mismatches: list[Mismatch] = []
    for pattern in patterns:
        found = match(body, pattern)
        if found is None:
            return PASSED
        mismatches.append(found)
    real = [m for m in mismatches if not m.skip]
    if not real:
        return skipped(_why(mismatches[0]))
    places = "; ".join(f"rule {name}[{i}] failed at path {m.path}" for i, m in enumerate(mismatches) if not m.skip)
    said = _message(section, context).strip()
    text = f"validation error: {said}{'.' if said and not said.endswith('.') else ''} {places}"
    return Result(Outcome.FAIL, text.replace("  ", " "), real[0].path, real[0].found, real[0].wanted)


def _why(mismatch: Mismatch) -> str:
    return f"an anchor at {mismatch.path} is not met: {mismatch.message}"


def _pod_security(section: dict[str, Any], context: Context, review: Review) -> Result:
    from taut.policy.kyverno.images import pod_of
    from taut.policy.kyverno.pod_security import remaining, violations

    wanted: dict[str, Any] = section.get("podSecurity") or {}
    pod = pod_of(review.body)
    if pod is None:
        return skipped("the object runs no Pods")
    found = remaining(violations(pod, str(wanted.get("level") or "baseline")), wanted.get("exclude"))
    if not found:
        return PASSED
    said = _message(section, context)
    first = found[0]
    controls = sorted({v.control for v in found})
    text = (
        f'Validation rule failed. It violates PodSecurity "{wanted.get("level")}:{wanted.get("version", "latest")}": '
    )
    text = (said + " " if said else "") + text + ", ".join(controls)
    return Result(Outcome.FAIL, text, first.path, first.value)


def _foreach(name: str, section: dict[str, Any], context: Context, review: Review, depth: int) -> Result:
    applied = 0
    for each in section.get("foreach") or ():
        if not isinstance(each, dict):
            raise PolicyError("foreach has to be a list of mappings")
        for made in elements(each, context, depth):
            part = {"message": section.get("message"), **each}
            result = _element(name, part, made, review, depth)
            if result is None or result.outcome is Outcome.SKIP:
                continue
            if result.outcome is not Outcome.PASS:
                return result
            applied += 1
    return PASSED if applied else skipped("no element to judge")


def _element(name: str, section: dict[str, Any], context: Context, review: Review, depth: int) -> Result | None:
    context = context.load(section.get("context") or ())
    if not hold(section.get("preconditions"), context.condition)[0]:
        return None
    element = context.query("element")
    scoped = section.get("elementScope")
    body = element if (scoped if scoped is not None else isinstance(element, dict)) else review.body
    return _validate(name, section, context, review, body, depth + 1)


def elements(section: dict[str, Any], context: Context, depth: int) -> list[Context]:
    """The context of each element of a foreach's list: `element`, `elementIndex`, and the same with the nesting level."""
    try:
        found = context.query(str(context.put(str(section.get("list") or ""), nothing=True)))
    except NotResolvedError:
        return []
    values = found if isinstance(found, list) else [] if found is None else [found]
    pairs = list(reversed(list(enumerate(values)))) if section.get("order") == "Descending" else list(enumerate(values))
    level = str(depth)
    return [
        context.element(i, {"element": v, "elementIndex": i, f"element{level}": v, f"elementIndex{level}": i})
        for i, v in pairs
        if v is not None
    ]
