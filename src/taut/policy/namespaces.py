"""The labels of the namespace that an object is in: known, known to be told by its name alone, or not known, which is an error and never a pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taut.policy.review import NotKnown, Review

_NAME = "kubernetes.io/metadata.name"


def labels_for(selector: Any, review: Review) -> Mapping[str, Any]:
    """The labels that a namespaceSelector is held against. Raises NotKnown where it asks for labels that nobody told."""
    found = review.body.get("metadata")
    namespace = str(found.get("namespace") or "") if isinstance(found, dict) else ""
    if review.namespace_object is None:
        if namespace and not _asked(selector) <= {_NAME}:
            raise NotKnown(
                f"the labels of the namespace {namespace} are not known, and namespaceSelector asks for them"
            )
        return {_NAME: namespace} if namespace else {}
    metadata = review.namespace_object.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return {_NAME: namespace, **(labels if isinstance(labels, dict) else {})}


def _asked(selector: Any) -> set[str]:
    """The labels that a selector asks for. A key with a wildcard asks for all."""
    if not isinstance(selector, dict):
        return set()
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    found = {str(key) for key in labels} if isinstance(labels, dict) else set[str]()
    return found | {str(e.get("key")) for e in expressions or () if isinstance(e, dict)}
