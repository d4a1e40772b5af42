"""A policy of policies.kyverno.io: one document, and its variants for Pod controllers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from taut.model.manifests import Body
from taut.model.verdict import Enforcement, Outcome, Verdict
from taut.policy.admission.constraints import Named, matches
from taut.policy.admission.expressions import Expressions, values, variables_of
from taut.policy.admission.mutations import mutated
from taut.policy.cel import CelError
from taut.policy.kyverno.images import images_of
from taut.policy.kyverno.matching import matched
from taut.policy.kyverno_cel.autogen import template_of, variants
from taut.policy.kyverno_cel.library import ENVIRONMENT, Asked, asking
from taut.policy.review import Lookup, Operation, Review

VALIDATING, MUTATING = frozenset({"ValidatingPolicy", "NamespacedValidatingPolicy"}), frozenset({"MutatingPolicy", "NamespacedMutatingPolicy"})  # fmt: skip


@dataclass(frozen=True)
class CelPolicy:
    """A ValidatingPolicy or MutatingPolicy with the exceptions that name it. `images` are what a test declares for registries."""

    document: Body
    exceptions: tuple[Body, ...] = ()
    images: Mapping[str, Any] = field(default_factory=dict[str, Any])
    engine: str = field(default="kyverno", init=False)

    @property
    def _metadata(self) -> dict[str, Any]:
        return self.document.get("metadata") or {}

    @property
    def namespace(self) -> str:
        """Where a namespaced policy lives and holds."""
        return (
            str(self._metadata.get("namespace") or "")
            if str(self.document.get("kind")).startswith("Namespaced")
            else ""
        )

    @property
    def name(self) -> str:
        """Its name, with the namespace ahead of a namespaced one's."""
        own = str(self._metadata.get("name") or "")
        return f"{self.namespace}/{own}" if self.namespace else own

    @property
    def hash(self) -> str:
        """Of the policy and its exceptions."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        parts = [self.document, self.exceptions]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def _own(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    @cached_property
    def variants(self) -> tuple[tuple[dict[str, Any], Expressions], ...]:
        """The specs that hold, the written one first, with their expressions."""
        return tuple((spec, Expressions(ENVIRONMENT, spec, variables_of(spec))) for spec in variants(self.document))

    @cached_property
    def _resources(self) -> tuple[Named, ...]:
        return tuple(Named(spec.get("matchConstraints")) for spec, _ in self.variants)

    @property
    def mutates(self) -> bool:
        """Of its kind."""
        return self.document.get("kind") in MUTATING

    @property
    def fails_open(self) -> bool | None:
        """As `failurePolicy` says."""
        return {"Ignore": True, "Fail": False}.get(str(self._own.get("failurePolicy")))

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """By the names of the resources in its rules."""
        return any(named.may_be(api_version, kind, resource) for named in self._resources)

    def validate(self, review: Review, lookup: Lookup) -> list[Verdict]:
        """One verdict, by the variant that is about the object; none when no variant is."""
        if self.document.get("kind") not in VALIDATING or not self._here(review):
            return []
        for spec, expressions in self.variants:
            if matches(spec.get("matchConstraints"), review):
                with asking(Asked(lookup, self.images)):
                    return [self._judged(spec, expressions, review)]
        return []

    def mutate(self, review: Review, lookup: Lookup) -> tuple[Body, list[Verdict]]:
        """The object as the variant that is about it completes it, with a verdict of what happened."""
        body = review.body
        if self.document.get("kind") not in MUTATING or review.operation is Operation.DELETE or not self._here(review):
            return body, []
        for spec, expressions in self.variants:
            if matches(spec.get("matchConstraints"), review):
                with asking(Asked(lookup, self.images)):
                    return self._completed(spec, expressions, review)
        return body, []

    def _here(self, review: Review) -> bool:
        return not self.namespace or (review.body.get("metadata") or {}).get("namespace") == self.namespace

    def _values(self, spec: dict[str, Any], review: Review) -> dict[str, Any]:
        pod_at = template_of(review.body, spec, self._own)
        found = {
            **values(review),
            "images": {k: [i["reference"] for i in v.values()] for k, v in images_of(review.body).items()},
        }
        found["exceptions"] = {"allowedImages": [], "allowedValues": []}
        return found | ({"element": None} if not pod_at else {})

    def _judged(self, spec: dict[str, Any], expressions: Expressions, review: Review) -> Verdict:
        for exception in self.exceptions:
            if _covers(exception, review):
                name = str((exception.get("metadata") or {}).get("name"))
                text = f"policy is skipped due to policy exception {name}"
                return self._verdict(spec, review, Outcome.SKIP, text, exception=name)
        activation = ENVIRONMENT.activation(self._values(spec, review))
        holds = expressions.condition(activation)
        if isinstance(holds, CelError):
            return self._failed(spec, review, str(holds))
        if not holds:
            return self._verdict(spec, review, Outcome.SKIP, "a match condition is not met")
        for failure in expressions.failures(activation):
            if failure.error:
                return self._failed(spec, review, failure.message)
            return self._verdict(spec, review, Outcome.FAIL, failure.message, wanted=failure.expression)
        return self._verdict(spec, review, Outcome.PASS, "success")

    def _completed(self, spec: dict[str, Any], expressions: Expressions, review: Review) -> tuple[Body, list[Verdict]]:
        body = review.body
        data = self._values(spec, review)
        holds = expressions.condition(ENVIRONMENT.activation(data))
        if isinstance(holds, CelError):
            return body, [self._verdict(spec, review, Outcome.ERROR, str(holds))]
        if not holds:
            return body, [self._verdict(spec, review, Outcome.SKIP, "a match condition is not met")]
        try:
            made = mutated(body, spec.get("mutations"), expressions, ENVIRONMENT, data)
        except CelError as error:
            return body, [self._verdict(spec, review, Outcome.ERROR, str(error))]
        outcome = Outcome.SKIP if made == body else Outcome.PASS
        return made, [
            self._verdict(spec, review, outcome, "mutated" if made != body else "the mutations change nothing")
        ]

    def _failed(self, spec: dict[str, Any], review: Review, message: str) -> Verdict:
        ignore = spec.get("failurePolicy") == "Ignore"
        return self._verdict(spec, review, Outcome.SKIP if ignore else Outcome.ERROR, message)

    def _verdict(
        self,
        spec: dict[str, Any],
        review: Review,
        outcome: Outcome,
        message: str,
        *,
        wanted: str = "",
        exception: str = "",
    ) -> Verdict:
        actions = spec.get("validationActions") or ["Deny"]
        enforcement = (
            Enforcement.DENY if "Deny" in actions else Enforcement.WARN if "Warn" in actions else Enforcement.AUDIT
        )
        return Verdict(
            self.name,
            "",
            self.engine,
            review.subject,
            outcome,
            message,
            enforcement,
            wanted=wanted,
            exception=exception,
        )


def _covers(exception: Body, review: Review) -> bool:
    """Whether an exception (its match conditions in CEL, or its match) is about an object."""
    spec: dict[str, Any] = exception.get("spec") or {}
    if spec.get("match"):
        return matched({"match": spec["match"]}, review)
    expressions = Expressions(ENVIRONMENT, spec, {})
    return expressions.condition(ENVIRONMENT.activation(values(review))) is True
