"""A constraint: a template with parameters, and what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from taut.model.manifests import Body
from taut.model.verdict import Enforcement, Outcome, Verdict
from taut.policy import subresources
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.gatekeeper.expansion import Expansion, expanded
from taut.policy.gatekeeper.matching import GENERATED, ORIGINAL, matches
from taut.policy.gatekeeper.native import Native
from taut.policy.gatekeeper.parameters import with_defaults
from taut.policy.gatekeeper.template import Template
from taut.policy.review import Lookup, NotKnown, Operation, Review

_ACTIONS = {"deny": Enforcement.DENY, "warn": Enforcement.WARN, "dryrun": Enforcement.AUDIT}
_POINTS = frozenset({"validation.gatekeeper.sh", "*", "gator.gatekeeper.sh"})


@dataclass(frozen=True)
class Constraint:
    """A constraint with its template, and the expansions that lead to the Pods of workloads."""

    document: Body
    template: Template
    expansions: tuple[Expansion, ...] = ()
    engine: str = field(default="gatekeeper", init=False)

    @property
    def _spec(self) -> dict[str, Any]:
        return self.document.get("spec") or {}

    @property
    def name(self) -> str:
        """Its kind and name, as people speak of it: `K8sRequiredLabels/all-must-have-owner`."""
        return f"{self.document.get('kind')}/{(self.document.get('metadata') or {}).get('name') or ''}"

    @property
    def hash(self) -> str:
        """Of the constraint, its template and the expansions."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        parts = [self.document, self.template.document, [e.document for e in self.expansions]]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def parameters(self) -> Any:
        """The parameters, with the schema's defaults."""
        return with_defaults(self._spec.get("parameters") or {}, self.template.schema)

    @cached_property
    def _kinds(self) -> frozenset[str] | None:
        entries = (self._spec.get("match") or {}).get("kinds") or ()
        found = {str(k) for e in entries if isinstance(e, dict) for k in e.get("kinds") or ["*"]}
        return None if not found or "*" in found else frozenset(found)

    @property
    def mutates(self) -> bool:
        """Constraints change nothing."""
        return False

    @property
    def fails_open(self) -> bool | None:
        """Gatekeeper has this in its own webhook, and not in documents."""
        return None

    def concerns(self, api_version: str, kind: str, resource: str = "") -> bool:
        """By its kinds, and those that expand into them. Kinds of subresources have to be named."""
        if kind in subresources.KINDS:
            return self._kinds is not None and kind in self._kinds
        return self._kinds is None or kind in self._kinds or any(e.applies(api_version, kind) for e in self.expansions)

    @property
    def enforcement(self) -> Enforcement:
        """What follows from a violation; of scoped actions the strictest one at admission."""
        action = str(self._spec.get("enforcementAction") or "deny")
        if action != "scoped":
            return _ACTIONS.get(action, Enforcement.AUDIT)
        found = [
            _ACTIONS.get(str(s.get("action")), Enforcement.AUDIT)
            for s in self._spec.get("scopedEnforcementActions") or ()
            if isinstance(s, dict) and any(p.get("name") in _POINTS for p in s.get("enforcementPoints") or ())
        ]
        order = (Enforcement.DENY, Enforcement.WARN, Enforcement.AUDIT)
        return next((e for e in order if e in found), Enforcement.AUDIT)

    def validate(self, review: Review, lookup: Lookup) -> list[Verdict]:
        """Its violations, of the object and of the Pods it would make; PASS when it is about it and finds none."""
        found: list[Verdict] = []
        about = False
        for each, source, action in self._reviews(review):
            try:
                if not matches(self._spec.get("match"), each, lookup, source):
                    continue
                about = True
                for violation in self.violations(each, lookup):
                    prefix = "" if source == ORIGINAL else f"[Implied by {review.body.get('kind')}] "
                    found.append(self._verdict(review, Outcome.FAIL, prefix + str(violation.get("msg") or ""), action))
            except (GatekeeperError, NotKnown) as error:
                about = True
                found.append(self._verdict(review, Outcome.ERROR, str(error), action))
        if about and not found:
            return [self._verdict(review, Outcome.PASS, "", None)]
        return found

    def _reviews(self, review: Review) -> list[tuple[Review, str, Enforcement | None]]:
        listed: list[tuple[Review, str, Enforcement | None]] = [(review, ORIGINAL, None)]
        for body, action in expanded(review, self.expansions):
            made = Review(
                body, None, review.operation, review.user,
                namespace_object=review.namespace_object, namespaced=True, dry_run=review.dry_run,
            )  # fmt: skip
            listed.append((made, GENERATED, _ACTIONS.get(action) if action else None))
        return listed

    def violations(self, review: Review, lookup: Lookup) -> list[dict[str, Any]]:
        """What the template says of a review that the constraint is about. Raises GatekeeperError, NotKnown."""
        code = self.template.code
        if isinstance(code, Native):
            return code.violations(review, self.parameters)
        inventory = _inventory(lookup) if code.inventory else None
        return code.violations({"review": review_input(review), "parameters": self.parameters}, inventory)

    def mutate(self, review: Review, lookup: Lookup) -> tuple[Body, list[Verdict]]:
        """Constraints change nothing."""
        return review.body, []

    def _verdict(self, review: Review, outcome: Outcome, message: str, action: Enforcement | None) -> Verdict:
        name = str((self.document.get("metadata") or {}).get("name") or "")
        return Verdict(
            name,
            str(self.document.get("kind") or ""),
            self.engine,
            review.subject,
            outcome,
            message,
            action or self.enforcement,
        )


def review_input(review: Review) -> dict[str, Any]:
    """The `input.review` of a template. A deletion shows the object that goes as the object."""
    group, _, version = str(review.body.get("apiVersion") or "").rpartition("/")
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    made: dict[str, Any] = {
        "kind": {"group": group, "version": version, "kind": review.body.get("kind") or ""},
        "operation": str(review.operation),
        "name": metadata.get("name") or "",
        "object": review.old_object if review.operation is Operation.DELETE else review.object,
        "userInfo": {"username": review.user.name, "groups": list(review.user.groups), "uid": review.user.uid},
        "dryRun": review.dry_run,
        "uid": review.uid,
    }
    if metadata.get("namespace"):
        made["namespace"] = metadata["namespace"]
    if review.old_object is not None:
        made["oldObject"] = review.old_object
    if review.namespace_object is not None:
        made["namespaceObject"] = review.namespace_object
    return made


def _inventory(lookup: Lookup) -> dict[str, Any]:
    ask = getattr(lookup, "inventory", None)
    if ask is None:
        raise NotKnown("data.inventory: there is no cluster to ask, and no objects were given")
    return ask()
