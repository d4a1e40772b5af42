"""A ClusterPolicy or Policy: its rules, those made from them, and what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from taut.model.manifests import Body
from taut.model.verdict import Enforcement, Outcome, Verdict
from taut.policy import subresources
from taut.policy.kyverno import cel_rule
from taut.policy.kyverno.conditions import hold
from taut.policy.kyverno.context import NO_MOCKS, Context, Mocks, context_of
from taut.policy.kyverno.errors import PolicyError
from taut.policy.kyverno.exceptions import Exemption
from taut.policy.kyverno.matching import kinds_of, matched, named_kinds, names_subresource
from taut.policy.kyverno.mutating import mutated
from taut.policy.kyverno.outcome import Result, broken, skipped
from taut.policy.kyverno.selectors import selects
from taut.policy.kyverno.validation import validated
from taut.policy.kyverno.wildcard import matches
from taut.policy.namespaces import labels_for
from taut.policy.review import Lookup, NotKnown, Review

_SCORED = "policies.kyverno.io/scored"
_SHORT = 120


@dataclass(frozen=True)
class Rule:
    """One rule."""

    name: str
    body: dict[str, Any]

    @property
    def validates(self) -> bool:
        """Whether it judges."""
        return isinstance(self.body.get("validate"), dict)

    @property
    def mutates(self) -> bool:
        """Whether it completes."""
        return isinstance(self.body.get("mutate"), dict)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds it is about, without group and version, of subresources the kinds of their requests; empty: all but those."""
        found = {kind for k in kinds_of(self.body.get("match")) for kind in named_kinds(k)}
        return frozenset() if not found or any("*" in k or "?" in k for k in found) else frozenset(found)


@dataclass(frozen=True)
class KyvernoPolicy:
    """A policy with its rules (those made for Pod controllers among them) and the exceptions that name it."""

    document: Body
    rules: tuple[Rule, ...]
    exemptions: tuple[Exemption, ...] = ()
    engine: str = field(default="kyverno", init=False)

    @property
    def _metadata(self) -> dict[str, Any]:
        return self.document.get("metadata") or {}

    @property
    def _spec(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    @property
    def namespace(self) -> str:
        """Where a Policy lives, and holds; empty for a ClusterPolicy."""
        return str(self._metadata.get("namespace") or "default") if self.document.get("kind") == "Policy" else ""

    @property
    def name(self) -> str:
        """Its name, with the namespace ahead of a Policy's."""
        own = str(self._metadata.get("name") or "")
        return f"{self.namespace}/{own}" if self.namespace else own

    @property
    def hash(self) -> str:
        """Of the document and the exceptions."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        parts = [self.document, [e.document for e in self.exemptions]]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def mutates(self) -> bool:
        """Whether one of its rules does."""
        return any(rule.mutates for rule in self.rules)

    @property
    def fails_open(self) -> bool | None:
        """As `webhookConfiguration.failurePolicy` says, or the older `failurePolicy`."""
        webhook = self._spec.get("webhookConfiguration")
        newer = webhook.get("failurePolicy") if isinstance(webhook, dict) else None
        return {"Ignore": True, "Fail": False}.get(str(newer or self._spec.get("failurePolicy")))

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """Whether a rule may be about a kind."""
        if kind in subresources.KINDS:
            return any(
                names_subresource(k, kind, resource) for rule in self.rules for k in kinds_of(rule.body.get("match"))
            )
        return any(not rule.kinds or kind in rule.kinds for rule in self.rules)

    def validate(self, review: Review, lookup: Lookup) -> list[Verdict]:
        """What its rules say of an object."""
        return [self._verdict(rule, review, result) for rule, result in self.judged(review, lookup)]

    def judged(self, review: Review, lookup: Lookup, mocks: Mocks = NO_MOCKS) -> Iterator[tuple[Rule, Result]]:
        """The result of each rule that is about an object, mutations left out."""
        for rule in self.rules:
            if not rule.validates:
                continue
            try:
                if self._is_about(rule, review):
                    yield rule, self._one(rule, review, lookup, mocks)
            except NotKnown as unknown:
                yield rule, broken(str(unknown))

    def mutate(self, review: Review, lookup: Lookup) -> tuple[Body, list[Verdict]]:
        """The object as its rules complete it."""
        body, verdicts = review.body, list[Verdict]()
        for rule, result in self.completed(review, lookup):
            if result.body is not None:
                body = result.body
            elif result.outcome is Outcome.ERROR:
                verdicts.append(self._verdict(rule, review, result))
        return body, verdicts

    def completed(self, review: Review, lookup: Lookup, mocks: Mocks = NO_MOCKS) -> Iterator[tuple[Rule, Result]]:
        """The result of each mutation that is about an object, each on what the one before left."""
        current = review
        for rule in self.rules:
            try:
                if not rule.mutates or not self._is_about(rule, current):
                    continue
            except NotKnown as unknown:
                yield rule, broken(str(unknown))
                continue
            result = self._one(rule, current, lookup, mocks)
            if result.body is not None:
                current = _with_object(current, result.body)
            yield rule, result
            if self._spec.get("applyRules") == "One" and result.body is not None:
                return

    def _is_about(self, rule: Rule, review: Review) -> bool:
        kind = str(review.body.get("kind") or "")
        if rule.kinds and kind not in rule.kinds:
            return False
        if self.namespace and (review.body.get("metadata") or {}).get("namespace") != self.namespace:
            return False
        return matched(rule.body, review)

    def _one(self, rule: Rule, review: Review, lookup: Lookup, mocks: Mocks) -> Result:
        for exemption in self.exemptions:
            if exemption.covers(self.name, rule.name, review):
                done = skipped(f"rule is skipped due to policy exception {exemption.name}")
                return Result(done.outcome, done.message, exception=exemption.name)
        try:
            context = context_of(review, lookup, mocks, rule.body.get("imageExtractors")).load(
                rule.body.get("context") or ()
            )
            if not hold(rule.body.get("preconditions"), context.condition)[0]:
                return skipped("preconditions not met")
            return self._evaluated(rule, context, review, lookup)
        except PolicyError as error:
            return broken(str(error))

    def _evaluated(self, rule: Rule, context: Context, review: Review, lookup: Lookup) -> Result:
        if rule.mutates:
            return mutated(rule.body["mutate"], context, review.body)
        section = rule.body["validate"]
        if "cel" in section:
            ignore = self._spec.get("failurePolicy") == "Ignore"
            return cel_rule.validated(section, rule.body.get("celPreconditions"), review, lookup, ignore=ignore)
        return validated(rule.name, section, context, review)

    def _verdict(self, rule: Rule, review: Review, result: Result) -> Verdict:
        outcome = result.outcome
        if outcome is Outcome.FAIL and (self._metadata.get("annotations") or {}).get(_SCORED) == "false":
            outcome = Outcome.WARN
        return Verdict(
            self.name,
            rule.name,
            self.engine,
            review.subject,
            outcome,
            result.message,
            self._enforcement(rule, review),
            result.path.strip("/").replace("/", "."),
            _short(result.found),
            _short(result.wanted),
            result.exception,
        )

    def _enforcement(self, rule: Rule, review: Review) -> Enforcement:
        section: dict[str, Any] = rule.body.get("validate") or {}
        action = str(section.get("failureAction") or self._spec.get("validationFailureAction") or "Audit")
        overrides: Sequence[Any] = (
            section.get("failureActionOverrides") or self._spec.get("validationFailureActionOverrides") or ()
        )
        namespace = str((review.body.get("metadata") or {}).get("namespace") or "")
        for override in overrides:
            wanted, selector = override.get("namespaces"), override.get("namespaceSelector")
            named = not wanted or any(matches(str(n), namespace) for n in wanted)
            try:
                if named and selects(selector, labels_for(selector, review)):
                    action = str(override.get("action") or action)
                    break
            except NotKnown:  # the stricter of what it may be
                action = "Enforce" if "enforce" in {action.lower(), str(override.get("action")).lower()} else action
        if action.lower() == "enforce":
            return Enforcement.DENY
        return Enforcement.WARN if self._spec.get("emitWarning") else Enforcement.AUDIT


def _with_object(review: Review, body: Body) -> Review:
    from dataclasses import replace

    return replace(review, object=body)


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= _SHORT else text[:_SHORT] + "…"
