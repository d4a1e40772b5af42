"""Which objects a constraint or mutator is about (Gatekeeper, `spec.match`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taut.policy.admission.constraints import labels_select
from taut.policy.gatekeeper.errors import GatekeeperError
from taut.policy.review import Lookup, NotKnown, Review

ORIGINAL, GENERATED = "Original", "Generated"


def fits(pattern: str, text: str) -> bool:
    """A name with `*` at its start or end (or both)."""
    if pattern == "*":
        return True
    head, tail = pattern.startswith("*"), pattern.endswith("*")
    core = pattern.strip("*") if head or tail else pattern
    if head and tail:
        return core in text
    if head:
        return text.endswith(core)
    return text.startswith(core) if tail else text == core


def matches(match: Any, review: Review, lookup: Lookup, source: str = ORIGINAL) -> bool:
    """Whether a match is about what is reviewed; an absent one is about all. Raises GatekeeperError when the namespace's labels are not known."""
    if not isinstance(match, dict):
        return True
    metadata: Mapping[str, Any] = review.body.get("metadata") or {}
    is_namespace = review.body.get("kind") == "Namespace" and not _group(review)
    namespace = str(metadata.get("name") if is_namespace else metadata.get("namespace") or "")
    if str(match.get("source") or "All") not in {"All", source}:
        return False
    if match.get("kinds") and not any(_kind(k, review) for k in match["kinds"]):
        return False
    if not _scope(match.get("scope"), metadata, review):
        return False
    if namespace and not _namespaces(match, namespace):
        return False
    if match.get("name") and not fits(
        str(match["name"]), str(metadata.get("name") or metadata.get("generateName") or "")
    ):
        return False
    if not _labels(match.get("labelSelector"), review):
        return False
    selector = match.get("namespaceSelector")
    if not isinstance(selector, dict) or not namespace:
        return True
    labels = metadata.get("labels") or {} if is_namespace else _namespace_labels(namespace, review, lookup)
    return labels_select(selector, labels)


def _group(review: Review) -> str:
    return str(review.body.get("apiVersion") or "").rpartition("/")[0]


def _kind(entry: Any, review: Review) -> bool:
    if not isinstance(entry, dict):
        return False
    groups, kinds = entry.get("apiGroups") or ["*"], entry.get("kinds") or ["*"]
    return ("*" in groups or _group(review) in groups) and ("*" in kinds or review.body.get("kind") in kinds)


def _scope(scope: Any, metadata: Mapping[str, Any], review: Review) -> bool:
    if scope in {None, "", "*"}:
        return True
    namespaced = bool(metadata.get("namespace")) if review.namespaced is None else review.namespaced
    return (scope == "Namespaced") == namespaced


def _namespaces(match: dict[str, Any], namespace: str) -> bool:
    wanted, excluded = match.get("namespaces"), match.get("excludedNamespaces")
    if wanted and not any(fits(str(n), namespace) for n in wanted):
        return False
    return not (excluded and any(fits(str(n), namespace) for n in excluded))


def _labels(selector: Any, review: Review) -> bool:
    if not isinstance(selector, dict):
        return True
    bodies = [b for b in (review.object, review.old_object) if b is not None]
    return any(labels_select(selector, (b.get("metadata") or {}).get("labels") or {}) for b in bodies)


def _namespace_labels(namespace: str, review: Review, lookup: Lookup) -> Mapping[str, Any]:
    body = review.namespace_object
    if body is None:
        try:
            body = lookup.get("v1", "Namespace", "", namespace)
        except NotKnown:
            body = None
    if body is None:
        raise GatekeeperError(
            f"the labels of the namespace {namespace} are not known, and namespaceSelector asks for them"
        )
    return (body.get("metadata") or {}).get("labels") or {}
