"""A ValidatingAdmissionPolicy or MutatingAdmissionPolicy with its bindings (KEP-3488, KEP-3962)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from taut.model.manifests import Body
from taut.model.verdict import Enforcement, Outcome, Verdict
from taut.policy.admission.constraints import Named, labels_select, matches
from taut.policy.admission.expressions import NAMES, Expressions, values, variables_of
from taut.policy.admission.mutations import mutated
from taut.policy.cel import CelError, Environment
from taut.policy.review import Lookup, NotKnown, Operation, Review

ENVIRONMENT = Environment(NAMES, extensions=())
UNBOUND: Body = {"metadata": {"name": ""}, "spec": {"validationActions": ["Deny"]}}
"""What a policy is judged by where no binding is given: everything that its constraints fit, with Deny."""


@dataclass(frozen=True)
class AdmissionPolicy:
    """A policy, its bindings, and the parameter objects that were given with it."""

    document: Body
    bindings: tuple[Body, ...]
    parameters: tuple[Body, ...] = ()
    engine: str = field(default="admission", init=False)

    @property
    def _spec(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    @property
    def name(self) -> str:
        """Its name."""
        return str((self.document.get("metadata") or {}).get("name") or "")

    @property
    def hash(self) -> str:
        """Of the policy, its bindings and the parameters that were given."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        parts = [self.document, self.bindings, self.parameters]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def expressions(self) -> Expressions:
        """Its expressions."""
        return Expressions(ENVIRONMENT, self._spec, variables_of(self._spec), typed=True)

    @cached_property
    def _resources(self) -> Named:
        return Named(self._spec.get("matchConstraints"))

    @property
    def mutates(self) -> bool:
        """Of its kind."""
        return self.document.get("kind") == "MutatingAdmissionPolicy"

    @property
    def fails_open(self) -> bool | None:
        """As `failurePolicy` says."""
        return {"Ignore": True, "Fail": False}.get(str(self._spec.get("failurePolicy")))

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """By the names of the resources in its rules."""
        return self._resources.may_be(api_version, kind, resource)

    def validate(self, review: Review, lookup: Lookup) -> list[Verdict]:
        """One verdict a binding and parameter that the request is matched by."""
        if self.document.get("kind") != "ValidatingAdmissionPolicy":
            return []
        try:
            if not matches(self._spec.get("matchConstraints"), review):
                return []
        except NotKnown as unknown:
            return [self._unknown(binding, review, unknown) for binding in self.bindings]
        data = values(review)
        return [v for binding in self.bindings for v in self._by_binding(binding, review, lookup, data)]

    def _unknown(self, binding: Body, review: Review, unknown: NotKnown) -> Verdict:
        actions = (binding.get("spec") or {}).get("validationActions") or ["Deny"]
        return self._verdict(review, binding, Outcome.ERROR, str(unknown), actions)

    def _by_binding(self, binding: Body, review: Review, lookup: Lookup, data: dict[str, Any]) -> Iterator[Verdict]:
        spec: dict[str, Any] = binding.get("spec") or {}
        try:
            if not matches(spec.get("matchResources"), review):
                return
        except NotKnown as unknown:
            yield self._unknown(binding, review, unknown)
            return
        actions = spec.get("validationActions") or ["Deny"]
        try:
            parameters = self._parameters(spec, review, lookup)
        except NotKnown as unknown:
            yield self._verdict(review, binding, Outcome.ERROR, f"the parameters are not known: {unknown}", actions)
            return
        except CelError as error:
            yield self._failed(review, binding, str(error), actions)
            return
        for params in parameters:
            yield from self._with_parameter(binding, review, {**data, "params": params}, actions)

    def _with_parameter(
        self, binding: Body, review: Review, data: dict[str, Any], actions: Sequence[str]
    ) -> Iterator[Verdict]:
        activation = ENVIRONMENT.activation(data)
        holds = self.expressions.condition(activation)
        if isinstance(holds, CelError):
            yield self._failed(review, binding, str(holds), actions)
            return
        if not holds:
            yield self._verdict(review, binding, Outcome.SKIP, "a match condition is not met", actions)
            return
        failures = list(self.expressions.failures(activation))
        for failure in failures:
            if failure.error:
                yield self._failed(review, binding, failure.message, actions)
            else:
                yield self._verdict(review, binding, Outcome.FAIL, failure.message, actions, failure.expression)
        if not failures:
            yield self._verdict(review, binding, Outcome.PASS, "", actions)

    def _failed(self, review: Review, binding: Body, message: str, actions: Sequence[str]) -> Verdict:
        """An evaluation that failed: by `failurePolicy` it denies, or is passed over."""
        if self._spec.get("failurePolicy") == "Ignore":
            return self._verdict(review, binding, Outcome.SKIP, f"ignored: {message}", actions)
        return self._verdict(review, binding, Outcome.FAIL, message, ["Deny"] if "Deny" not in actions else actions)

    def _verdict(
        self, review: Review, binding: Body, outcome: Outcome, message: str, actions: Sequence[str], wanted: str = ""
    ) -> Verdict:
        enforcement = (
            Enforcement.DENY if "Deny" in actions else Enforcement.WARN if "Warn" in actions else Enforcement.AUDIT
        )
        rule = str((binding.get("metadata") or {}).get("name") or "")
        return Verdict(self.name, rule, self.engine, review.subject, outcome, message, enforcement, wanted=wanted)

    def _parameters(self, spec: dict[str, Any], review: Review, lookup: Lookup) -> list[Any]:
        """The parameters of a binding, one evaluation each. Raises NotKnown, and CelError when there is none and that denies."""
        kind, reference = self._spec.get("paramKind"), spec.get("paramRef")
        if not isinstance(kind, dict):
            return [None]
        if not isinstance(reference, dict):
            return [None]
        found = self._found(kind, reference, review, lookup)
        if found:
            return found
        if reference.get("parameterNotFoundAction") == "Allow":
            return []
        raise CelError(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        )

    def _found(self, kind: dict[str, Any], reference: dict[str, Any], review: Review, lookup: Lookup) -> list[Any]:
        version, name = str(kind.get("apiVersion") or ""), str(kind.get("kind") or "")
        namespace = str(reference.get("namespace") or (review.body.get("metadata") or {}).get("namespace") or "")
        own = [
            p for p in self.parameters
            if p.get("apiVersion") == version and p.get("kind") == name
            and (p.get("metadata") or {}).get("namespace", "") in {namespace, ""}
        ]  # fmt: skip
        if reference.get("name"):
            given = [p for p in own if (p.get("metadata") or {}).get("name") == reference["name"]]
            found = given[0] if given else lookup.get(version, name, namespace, str(reference["name"]))
            return [found] if found is not None else []
        listed = own or lookup.list(version, name, namespace)
        return [
            p for p in listed if labels_select(reference.get("selector"), (p.get("metadata") or {}).get("labels") or {})
        ]

    def mutate(self, review: Review, lookup: Lookup) -> tuple[Body, list[Verdict]]:
        """The object as the policy's mutations complete it."""
        body = review.body
        if self.document.get("kind") != "MutatingAdmissionPolicy" or review.operation is Operation.DELETE:
            return body, []
        if not matches(self._spec.get("matchConstraints"), review):
            return body, []
        verdicts: list[Verdict] = []
        for binding in self.bindings:
            spec: dict[str, Any] = binding.get("spec") or {}
            if not matches(spec.get("matchResources"), review):
                continue
            try:
                for params in self._parameters(spec, review, lookup):
                    body = self._mutated(body, review, params)
            except (CelError, NotKnown) as error:
                verdicts.append(self._failed(review, binding, str(error), ["Deny"]))
        return body, verdicts

    def _mutated(self, body: Body, review: Review, params: Any) -> Body:
        data = {**values(review), "object": body, "params": params}
        holds = self.expressions.condition(ENVIRONMENT.activation(data))
        if isinstance(holds, CelError):
            raise holds
        return mutated(body, self._spec.get("mutations"), self.expressions, ENVIRONMENT, data) if holds else body
