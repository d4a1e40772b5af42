"""Which namespaces a ClusterExternalSecret goes to, and which may use a ClusterSecretStore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from taut.model.errors import BadInput, Where
from taut.model.manifests import Body
from taut.secrets.external.documents import ClusterExternalSecret, ExternalSecret, place
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.stores import Store
from taut.secrets.sops.errors import SopsError
from taut.secrets.sops.expressions import found


def selects(selector: Mapping[str, Any], labels: Mapping[str, str], where: Where) -> bool:
    """Whether a label selector (matchLabels, matchExpressions) fits; an empty one fits all. Raises BadInput for what is none."""
    unknown = set(selector) - {"matchLabels", "matchExpressions"}
    wanted, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if unknown or not isinstance(wanted, dict) or not isinstance(expressions, list):
        raise BadInput("this is no label selector", where=where, advice="write matchLabels or matchExpressions")
    if any(labels.get(str(k)) != str(v) for k, v in wanted.items()):
        return False
    return all(_holds(e, labels, where) for e in expressions)


def _holds(expression: Any, labels: Mapping[str, str], where: Where) -> bool:
    given: dict[str, Any] = expression if isinstance(expression, dict) else {}
    key, values = str(given.get("key") or ""), [str(v) for v in given.get("values") or ()]
    match given.get("operator"):
        case "In" if key and values:
            return labels.get(key) in values
        case "NotIn" if key and values:
            return labels.get(key) not in values
        case "Exists" if key:
            return key in labels
        case "DoesNotExist" if key:
            return key not in labels
        case other:
            raise BadInput(
                f"the operator {other!r} with key {key!r} cannot be meant",
                where=where,
                advice="In and NotIn (with values), Exists, DoesNotExist",
            )


def may_use(store: Store, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a namespace may use a store: its own, or a cluster's whose conditions fit (none: all). Raises BadInput for a condition that is none."""
    if not store.cluster_wide:
        return store.namespace == namespace
    if not store.conditions:
        return True
    for number, condition in enumerate(store.conditions):
        where = place(store.where, f"spec.conditions[{number}]")
        if namespace in condition.namespaces:
            return True
        if any(matches(r, namespace, where) for r in condition.namespace_regexes):
            return True
        if condition.namespace_selector is not None and selects(condition.namespace_selector, labels, where):
            return True
    return False


def matches(pattern: str, text: str, where: Where) -> bool:
    """Whether a regular expression (RE2, anywhere in the text) fits. Raises BadInput for one that cannot be read."""
    try:
        return found(pattern, text)
    except SopsError as error:
        raise BadInput(error.what, where=where) from None


def fits(pattern: str, text: str) -> bool:
    """The same, for what is asked of a store. Raises ProviderError for an expression that cannot be read."""
    try:
        return found(pattern, text)
    except SopsError as error:
        raise ProviderError(error.what, "correct find.name.regexp") from None


def expand(cluster: ClusterExternalSecret, namespaces: Iterable[Body]) -> Iterator[ExternalSecret]:
    """One ExternalSecret for each of the Namespace objects that is selected. Raises BadInput for a selector that is none."""
    spec = cluster.spec
    selectors = [*([spec.namespace_selector] if spec.namespace_selector is not None else []), *spec.namespace_selectors]
    where = place(cluster.where, "spec.namespaceSelectors")
    for namespace in namespaces:
        metadata: dict[str, Any] = namespace.get("metadata") or {}
        name, labels = str(metadata.get("name") or ""), labels_of(namespace)
        chosen = name in spec.namespaces or any(selects(s, labels, where) for s in selectors)
        if chosen and not metadata.get("deletionTimestamp"):
            yield ExternalSecret(
                namespace=name,
                name=spec.external_secret_name or cluster.name,
                spec=spec.external_secret_spec,
                labels=dict(spec.external_secret_metadata.labels),
                annotations=dict(spec.external_secret_metadata.annotations),
                api_version=cluster.api_version,
                where=cluster.where,
                origin=cluster.name,
            )


def labels_of(body: Body | None) -> dict[str, str]:
    """The labels of an object, empty when there are none."""
    labels = ((body or {}).get("metadata") or {}).get("labels") or {}
    return {str(k): str(v) for k, v in labels.items()}
