"""Rules in CEL (`validate.cel`), with the variables of admission policies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from taut.model.verdict import Outcome
from taut.policy.cel import Activation, CelError, Environment
from taut.policy.cel.authorizer import VALUE as AUTHORIZER
from taut.policy.kyverno.outcome import PASSED, Result, broken, skipped
from taut.policy.review import Lookup, NotKnown, Operation, Review

NAMES = ("object", "oldObject", "request", "params", "namespaceObject", "authorizer")


@cache
def environment() -> Environment:
    """The one environment of all rules."""
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
    variables = {str(v["name"]): str(v["expression"]) for v in cel.get("variables") or () if isinstance(v, dict)}
    try:
        parameters = _parameters(cel, review, lookup)
    except NotKnown as unknown:
        return broken(f"the parameters are not known: {unknown}")
    if parameters == []:
        return PASSED if (cel.get("paramRef") or {}).get("parameterNotFoundAction") == "Allow" else broken("no parameters were found")  # fmt: skip
    for params in parameters or [None]:
        activation = environment().activation({**values(review), "params": params})
        result = _judged(cel, variables, preconditions, section, activation)
        if result.outcome is not Outcome.PASS:
            return result
    return PASSED


def values(review: Review) -> dict[str, Any]:
    """The values of the variables that every rule has."""
    return {
        "object": None if review.operation is Operation.DELETE else review.object,
        "oldObject": review.old_object,
        "request": request_of(review),
        "namespaceObject": review.namespace_object,
        "authorizer": AUTHORIZER,
    }


def request_of(review: Review) -> dict[str, Any]:
    """The admission request, as CEL sees it."""
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    group, slash, version = str(review.body.get("apiVersion") or "").partition("/")
    if not slash:
        group, version = "", group
    kind = {"group": group, "version": version, "kind": review.body.get("kind") or ""}
    resource = {"group": group, "version": version, "resource": review.resource.rpartition("/")[2]}
    return {
        "kind": kind,
        "resource": resource,
        "subResource": review.subresource,
        "requestKind": kind,
        "requestResource": resource,
        "name": metadata.get("name") or "",
        "namespace": metadata.get("namespace") or "",
        "operation": str(review.operation),
        "userInfo": {
            "username": review.user.name,
            "uid": review.user.uid,
            "groups": list(review.user.groups),
            "extra": {k: list(v) for k, v in review.user.extra.items()},
        },
        "dryRun": review.dry_run,
        "uid": review.uid,
        "options": {},
    }


def _judged(
    cel: dict[str, Any], variables: dict[str, str], preconditions: Any, section: dict[str, Any], activation: Activation
) -> Result:
    try:
        for condition in preconditions or ():
            if not environment().compile(str(condition.get("expression")), variables).test(activation):
                return skipped(f"the precondition {condition.get('name')!r} is not met")
        for expression in cel.get("expressions") or ():
            result = _expression(expression, variables, section, activation)
            if result is not None:
                return result
    except CelError as error:
        return broken(str(error))
    return PASSED


def _expression(
    expression: dict[str, Any], variables: dict[str, str], section: dict[str, Any], activation: Activation
) -> Result | None:
    text = str(expression.get("expression"))
    try:
        if environment().compile(text, variables).test(activation):
            return None
    except CelError as error:
        return broken(f"expression '{text}' resulted in error: {error}")
    return Result(Outcome.FAIL, message_of(expression, variables, section, activation, environment()), wanted=text)


def message_of(
    expression: Mapping[str, Any],
    variables: dict[str, str],
    section: Mapping[str, Any],
    activation: Activation,
    with_: Environment,
) -> str:
    """A validation's message: its message expression, its message, the rule's, or what failed."""
    if expression.get("messageExpression"):
        try:
            text = with_.compile(str(expression["messageExpression"]), variables).text(activation).strip()
        except CelError:
            text = ""
        if text and "\n" not in text:
            return text
    message = str(expression.get("message") or section.get("message") or "").strip()
    return message or f"failed expression: {str(expression.get('expression')).strip()}"


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
    from taut.policy.kyverno.selectors import selects

    return [
        o for o in lookup.list(version, name, namespace)
        if selects(reference.get("selector"), (o.get("metadata") or {}).get("labels") or {})
    ]  # fmt: skip
