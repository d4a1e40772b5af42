"""Which requests a policy or binding is about (`matchConstraints`, `matchResources` of admissionregistration.k8s.io)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taut.policy import subresources
from taut.policy.namespaces import labels_for
from taut.policy.plurals import may_be, plural
from taut.policy.review import Review


def labels_select(selector: Any, labels: Mapping[str, Any]) -> bool:
    """Whether a label selector fits labels; one that is empty fits all (metav1.LabelSelector)."""
    if not isinstance(selector, dict):
        return True
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(k) != v for k, v in wanted.items()):
        return False
    return all(_holds(e, labels) for e in selector.get("matchExpressions") or ())


def _holds(expression: dict[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = str(expression.get("key")), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False


def matches(constraints: Any, review: Review) -> bool:
    """Whether constraints (rules, exclusions, selectors) fit a request. Absent ones fit all."""
    if not isinstance(constraints, dict):
        return True
    if not _namespace_fits(constraints.get("namespaceSelector"), review):
        return False
    if not _object_fits(constraints.get("objectSelector"), review):
        return False
    equivalent = constraints.get("matchPolicy") != "Exact"
    if any(_rule_fits(r, review, equivalent=equivalent) for r in constraints.get("excludeResourceRules") or ()):
        return False
    rules = constraints.get("resourceRules")
    return not rules or any(_rule_fits(r, review, equivalent=equivalent) for r in rules)


class Named:
    """The resources that rules name."""

    def __init__(self, constraints: Any) -> None:
        rules = constraints.get("resourceRules") if isinstance(constraints, dict) else None
        self._texts = frozenset(str(r) for rule in rules or () for r in rule.get("resources") or ())
        # Plurals, without dashes, which a kind does not tell of.
        self._plurals = frozenset(t.partition("/")[0].replace("-", "") for t in self._texts)

    def may_be(self, api_version: str, kind: str, resource: str) -> bool:
        """Whether they may be about a kind (`resource`: its name, where known); rules that name none are about all, subresources have to be named."""
        if kind in subresources.KINDS:
            found = [s for s in subresources.of_kind(api_version, kind) if resource in {"", s.path}]
            return any(_is_resource(text, s.resource, s.name) for text in self._texts for s in found)
        if not self._texts or "*" in self._plurals:
            return True
        return resource.replace("-", "") in self._plurals if resource else may_be(kind, self._plurals)


def _namespace_fits(selector: Any, review: Review) -> bool:
    if not isinstance(selector, dict) or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return True
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    if review.body.get("kind") == "Namespace":
        return labels_select(selector, metadata.get("labels") or {})
    if not metadata.get("namespace"):
        return True  # what lives in no namespace is never left out by one
    return labels_select(selector, labels_for(selector, review))


def _object_fits(selector: Any, review: Review) -> bool:
    """Either of the new and the old object is enough."""
    if not isinstance(selector, dict) or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return True
    bodies = [b for b in (review.object, review.old_object) if b is not None]
    return any(labels_select(selector, (b.get("metadata") or {}).get("labels") or {}) for b in bodies)


def _rule_fits(rule: dict[str, Any], review: Review, *, equivalent: bool) -> bool:
    group, version, resource = resource_of(review)
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    operations = rule.get("operations") or ["*"]
    if "*" not in operations and str(review.operation) not in operations:
        return False
    if not _listed(rule.get("apiGroups"), group):
        return False
    if not equivalent and not _listed(rule.get("apiVersions"), version):
        return False
    if not any(_is_resource(str(r), resource, review.subresource) for r in rule.get("resources") or ()):
        return False
    names = rule.get("resourceNames")
    if names and metadata.get("name") not in names:
        return False
    scope = rule.get("scope") or "*"
    namespaced = bool(metadata.get("namespace")) if review.namespaced is None else review.namespaced
    return scope == "*" or (scope == "Namespaced") == namespaced


def _listed(values: Any, value: str) -> bool:
    return "*" in (values or ()) or value in (values or ())


def _is_resource(wanted: str, resource: str, subresource: str) -> bool:
    name, slash, sub = wanted.partition("/")
    # A resource that was guessed from its kind has no dashes, and some have them.
    if name not in {"*", resource} and name.replace("-", "") != resource:
        return False
    if not slash:
        return not subresource
    return sub in {"*", subresource}


def resource_of(review: Review) -> tuple[str, str, str]:
    """Group, version and name of the resource that a request is about."""
    if review.resource:
        group_version, _, resource = review.resource.rpartition("/")
        group, _, version = group_version.rpartition("/")
        return group, version, resource
    group, _, version = str(review.body.get("apiVersion") or "").rpartition("/")
    return group, version, plural(str(review.body.get("kind") or ""))
