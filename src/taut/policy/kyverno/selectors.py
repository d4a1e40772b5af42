"""Label selectors, with Kyverno's wildcards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taut.policy.kyverno.wildcard import matches


def selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """Whether a selector (matchLabels, matchExpressions) fits labels. One that is nothing fits all."""
    if not isinstance(selector, dict):
        return True
    wanted = selector.get("matchLabels")
    if isinstance(wanted, dict) and not all(_has(labels, str(k), str(v)) for k, v in wanted.items()):
        return False
    expressions = selector.get("matchExpressions")
    return all(_holds(e, labels) for e in expressions if isinstance(e, dict)) if isinstance(expressions, list) else True


def _has(labels: Mapping[str, Any], key: str, value: str) -> bool:
    return any(matches(key, str(k)) and matches(value, str(v)) for k, v in labels.items())


def _holds(expression: dict[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = str(expression.get("key")), [str(v) for v in expression.get("values") or ()]
    value = labels.get(key)
    match expression.get("operator"):
        case "In":
            return value is not None and any(matches(v, str(value)) for v in values)
        case "NotIn":
            return value is None or not any(matches(v, str(value)) for v in values)
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False
