"""What the expressions of a policy see, and how conditions, validations and messages are evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taut.policy.admission.constraints import resource_of
from taut.policy.cel import Activation, CelError, Environment
from taut.policy.cel.authorizer import VALUE as AUTHORIZER
from taut.policy.cel.tokens import variables_of as variables_in
from taut.policy.review import Operation, Review

NAMES = ("object", "oldObject", "request", "params", "namespaceObject", "authorizer")


def values(review: Review) -> dict[str, Any]:
    """The values of the names that every policy has; `params` comes in for each parameter."""
    return {
        "object": None if review.operation is Operation.DELETE else review.object,
        "oldObject": None if review.operation is Operation.CREATE else review.old_object,
        "request": request_of(review),
        "namespaceObject": review.namespace_object,
        "authorizer": AUTHORIZER,
    }


def request_of(review: Review) -> dict[str, Any]:
    """The admission request, as CEL sees it."""
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    group, version, resource = resource_of(review)
    kind = {"group": group, "version": version, "kind": review.body.get("kind") or ""}
    gvr = {"group": group, "version": version, "resource": resource}
    user: dict[str, Any] = {}
    if review.user.known:
        user = {
            "username": review.user.name,
            "uid": review.user.uid,
            "groups": list(review.user.groups),
            "extra": {k: list(v) for k, v in review.user.extra.items()},
        }
    return {
        "kind": kind,
        "resource": gvr,
        "subResource": review.subresource,
        "requestKind": kind,
        "requestResource": gvr,
        "requestSubResource": review.subresource,
        "name": metadata.get("name") or "",
        "namespace": metadata.get("namespace") or "",
        "operation": str(review.operation),
        "userInfo": user,
        "dryRun": review.dry_run,
        "uid": review.uid,
        "options": {},
    }


@dataclass(frozen=True)
class Failure:
    """A validation that did not hold, or (`error`) that could not be evaluated."""

    message: str
    expression: str
    error: bool = False


@dataclass(frozen=True)
class Expressions:
    """The expressions of one policy. Nothing raises: what goes wrong is told in the results."""

    environment: Environment
    spec: Mapping[str, Any]
    variables: dict[str, str] = field(default_factory=dict[str, str])
    typed: bool = False
    """The API server takes only conditions that are known to be truth values, and messages that are known to be texts."""

    def condition(self, activation: Activation) -> bool | CelError:
        """Whether all match conditions hold: one that does not comes before one that fails."""
        failed: CelError | None = None
        for condition in self.spec.get("matchConditions") or ():
            text = str(condition.get("expression"))
            try:
                if not self.compiled(text).test(activation):
                    return False
            except CelError as error:
                why = self._traced(text, activation, str(error))
                failed = failed or CelError(f"expression '{text.strip()}' resulted in error: {why}")
        return failed or True

    def compiled(self, text: str) -> Any:
        """A compiled expression. Raises CelError."""
        return self.environment.compile(text, self.variables)

    def failures(self, activation: Activation) -> Iterator[Failure]:
        """The validations that do not hold."""
        for validation in self.spec.get("validations") or ():
            text = str(validation.get("expression") or "")
            try:
                if self.compiled(text).test(activation):
                    continue
            except CelError as error:
                why = self._traced(text, activation, str(error))
                yield Failure(f"expression '{text.strip()}' resulted in error: {why}", text.strip(), error=True)
                continue
            yield Failure(self.message(validation, activation), text.strip())

    def _traced(self, text: str, activation: Activation, why: str) -> str:
        """An error with the name of the variable that it comes from, as the API server tells it."""
        for name in sorted(variables_in(text) & self.variables.keys(), key=lambda n: text.find(f"variables.{n}")):
            inner = self.variables[name]
            try:
                self.compiled(inner).evaluate(activation)
            except CelError as error:
                if str(error) == why:
                    return f'composited variable "{name}" fails to evaluate: {self._traced(inner, activation, why)}'
        return why

    def message(self, validation: Mapping[str, Any], activation: Activation) -> str:
        """A validation's message: its message expression, else its message, else what failed."""
        if validation.get("messageExpression"):
            try:
                text = self.compiled(str(validation["messageExpression"])).text(activation).strip()
            except CelError:
                text = ""
            if text and "\n" not in text:
                return text
        message = str(validation.get("message") or "").strip()
        return message or f"failed expression: {str(validation.get('expression')).strip()}"

    def faults(self) -> list[str]:
        """What is wrong with the expressions themselves, before anything is evaluated."""
        return [f"{path}: {fault}" for path, text, kind in self._texts() if (fault := self._fault(text, kind))]

    def _fault(self, text: str, kind: str) -> str:
        try:
            program = self.compiled(text)
        except CelError as error:
            return str(error)
        if self.typed and kind and program.shared is None and program.type != kind:
            return f"must evaluate to {kind.lower()} but got {program.type.lower()}"
        return ""

    def _texts(self) -> Iterator[tuple[str, str, str]]:
        """Where each expression is, its text, and the type that it has to have."""
        for section, key, kind in (
            ("variables", "expression", ""),
            ("matchConditions", "expression", "BOOL"),
            ("validations", "expression", "BOOL"),
            ("validations", "messageExpression", "STRING"),
            ("auditAnnotations", "valueExpression", ""),
        ):
            for index, entry in enumerate(_entries(self.spec.get(section))):
                if entry.get(key):
                    yield f"spec.{section}[{index}].{key}", str(entry[key]), kind
        for index, entry in enumerate(_entries(self.spec.get("mutations"))):
            for key in ("applyConfiguration", "jsonPatch"):
                inner = entry.get(key)
                if isinstance(inner, dict) and inner.get("expression"):
                    yield f"spec.mutations[{index}].{key}.expression", str(inner["expression"]), ""


def _entries(value: Any) -> Sequence[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def variables_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """A policy's composed variables, in order."""
    return {str(v.get("name")): str(v.get("expression")) for v in _entries(spec.get("variables"))}
