"""Rules in CEL (`validate.cel`), with the variables of admission policies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from taut.model.verdict import Outcome
from taut.policy.admission.constraints import labels_select
from taut.policy.admission.expressions import NAMES, Expressions, values, variables_of
from taut.policy.cel import CelError, Environment
from taut.policy.kyverno.outcome import PASSED, Result, broken, skipped
from taut.policy.review import Lookup, NotKnown, Review


@cache
def _environment() -> Environment:
    return Environment(NAMES)


def validated(section: dict[str, Any], preconditions: Any, review: Review, lookup: Lookup, *, ignore: bool) -> Result:
    """The result of a rule's `validate.cel` for an object that the rule is about.

    An expression that fails is a failure of the object, as in admission; with `ignore` (failurePolicy) it is an error.
    """
    result = _validated(section, preconditions, review, lookup)
    if result.outcome is Outcome.ERROR and not ignore:
        return Result(Outcome.FAIL, result.message)
    return result


def _validated(section: dict[str, Any], preconditions: Any, review: Review, lookup: Lookup) -> Result:
    cel: dict[str, Any] = section.get("cel") or {}
    try:
        parameters = _parameters(cel, review, lookup)
    except NotKnown as unknown:
        return broken(f"the parameters are not known: {unknown}")
    if parameters == []:
        allowed = (cel.get("paramRef") or {}).get("parameterNotFoundAction") == "Allow"
        return PASSED if allowed else broken("no parameters were found")
    expressions = _expressions(section, cel, preconditions)
    for params in parameters or [None]:
        activation = _environment().activation({**values(review), "params": params})
        holds = expressions.condition(activation)
        if isinstance(holds, CelError):
            return broken(str(holds))
        if not holds:
            return skipped("a precondition is not met")
        for failure in expressions.failures(activation):
            if failure.error:
                return broken(failure.message)
            return Result(Outcome.FAIL, failure.message, wanted=failure.expression)
    return PASSED


def _expressions(section: dict[str, Any], cel: dict[str, Any], preconditions: Any) -> Expressions:
    """The rule as an admission policy's spec; the rule's own message stands for validations that have none."""
    message = section.get("message")
    validations = [{"message": message, **e} for e in cel.get("expressions") or () if isinstance(e, dict)]
    spec = {"matchConditions": preconditions, "validations": validations}
    return Expressions(_environment(), spec, variables_of(cel))


def _parameters(cel: dict[str, Any], review: Review, lookup: Lookup) -> list[Any] | None:
    """The parameter objects that a rule refers to; None when it refers to none."""
    kind, reference = cel.get("paramKind"), cel.get("paramRef")
    if not isinstance(kind, dict) or not isinstance(reference, dict):
        return None
    version, name = str(kind.get("apiVersion")), str(kind.get("kind"))
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    namespace = str(reference.get("namespace") or metadata.get("namespace") or "")
    if reference.get("name"):
        found = lookup.get(version, name, namespace, str(reference["name"]))
        return [found] if found is not None else []
    listed = lookup.list(version, name, namespace)
    return [
        o for o in listed if labels_select(reference.get("selector"), (o.get("metadata") or {}).get("labels") or {})
    ]
