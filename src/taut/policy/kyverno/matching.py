"""Which objects a rule is about (Kyverno, `match` and `exclude`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from taut.policy.kyverno.selectors import selects
from taut.policy.kyverno.wildcard import matches
from taut.policy.namespaces import labels_for
from taut.policy.review import Review
from taut.policy.subresources import EPHEMERAL, SUBRESOURCES, parent_of

_VERSION = re.compile(r"^(?:v\d+(?:(?:alpha|beta)\d+)?|\*)$")
_USER_FIELDS = ("subjects", "roles", "clusterRoles")


@lru_cache(maxsize=1024)
def parse_kind(text: str) -> tuple[str, str, str, str]:
    """A kind selector: group, version, kind, subresource (`Pod`, `v1/Pod`, `apps/v1/Deployment`, `Pod/exec`, `*/*`)."""
    parts = text.split("/")
    if len(parts) >= 2 and (_VERSION.match(parts[0]) and (parts[0] != "*" or len(parts) == 2)):
        parts = ["*", *parts]
    elif len(parts) < 3 or not _VERSION.match(parts[1]):
        parts = ["*", "*", *parts]
    group, version, kind = parts[:3]
    kind, dot, subresource = kind.partition(".")
    rest = "/".join(parts[3:]) if len(parts) > 3 else subresource if dot else ""
    return group, version, kind, rest


def named_kinds(text: str) -> Iterator[str]:
    """The kinds that requests hold which a selector is about: of `Pod/exec` it is PodExecOptions."""
    _, _, kind, subresource = parse_kind(text)
    if not subresource:
        yield kind
        return
    yield from (s.kind for s in SUBRESOURCES if matches(subresource, s.name) and matches(kind, s.parent))
    if matches(subresource, EPHEMERAL) and matches(kind, "Pod"):
        yield "Pod"


def names_subresource(text: str, kind: str, path: str) -> bool:
    """Whether a selector is about requests for a subresource that hold an object of `kind`; `path` (`pods/exec`) says of which, where known."""
    _, _, wanted, subresource = parse_kind(text)
    if not subresource:
        return wanted == kind
    found = (s for s in SUBRESOURCES if s.kind == kind and path in {"", s.path})
    return any(matches(subresource, s.name) and matches(wanted, s.parent) for s in found)


def blocks(section: Any) -> Iterator[dict[str, Any]]:
    """The resource descriptions of a `match` or `exclude`, whatever its shape."""
    if not isinstance(section, dict):
        return
    listed = [*(section.get("any") or ()), *(section.get("all") or ())]
    for block in listed or [section]:
        if isinstance(block, dict) and isinstance(block.get("resources"), dict):
            yield block["resources"]


def kinds_of(section: Any) -> frozenset[str]:
    """The kinds that a section names, as it writes them."""
    return frozenset(str(k) for block in blocks(section) for k in block.get("kinds") or ())


def matched(rule: dict[str, Any], review: Review) -> bool:
    """Whether a rule is about what is reviewed."""
    section = rule.get("match")
    if not isinstance(section, dict) or not _section(section, review, empty=False):
        return False
    exclude = rule.get("exclude")
    return not (isinstance(exclude, dict) and _section(exclude, review, empty=False))


def _section(section: dict[str, Any], review: Review, *, empty: bool) -> bool:
    some, every = section.get("any"), section.get("all")
    if some:
        return any(_filter(f, review, empty) for f in some)
    if every:
        return all(_filter(f, review, empty) for f in every)
    return _filter(section, review, empty)


def _filter(block: Any, review: Review, empty: bool) -> bool:
    if not isinstance(block, dict):
        return False
    resources = block.get("resources")
    has_resources = isinstance(resources, dict) and bool(resources)
    users = {k: block[k] for k in _USER_FIELDS if block.get(k)}
    if not review.user.known:
        # Off the cluster nobody knows who will do it: what is said of users does not narrow.
        users = {}
    if not has_resources and not users:
        return empty
    if has_resources and not _described(resources, review):  # pyright: ignore[reportArgumentType]
        return False
    return not users or _by_user(users, review)


def _described(wanted: dict[str, Any], review: Review) -> bool:
    body = review.body
    metadata: dict[str, Any] = body.get("metadata") or {}
    operations = wanted.get("operations")
    if operations and str(review.operation) not in {str(o) for o in operations}:
        return False
    if wanted.get("kinds") and not any(_is_kind(str(k), review) for k in wanted["kinds"]):
        return False
    name = str(metadata.get("name") or metadata.get("generateName") or "")
    if wanted.get("name") and not matches(str(wanted["name"]), name):
        return False
    if wanted.get("names") and not any(matches(str(n), name) for n in wanted["names"]):
        return False
    namespace = name if body.get("kind") == "Namespace" else str(metadata.get("namespace") or "")
    if wanted.get("namespaces") and not any(matches(str(n), namespace) for n in wanted["namespaces"]):
        return False
    if wanted.get("annotations") and not _has_all(wanted["annotations"], metadata.get("annotations") or {}):
        return False
    if wanted.get("selector") and not selects(wanted["selector"], metadata.get("labels") or {}):
        return False
    return not wanted.get("namespaceSelector") or _in_namespace(wanted["namespaceSelector"], review)


def _in_namespace(selector: Any, review: Review) -> bool:
    if review.body.get("kind") == "Namespace":
        return False
    return selects(selector, labels_for(selector, review))


def _has_all(wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    return all(
        any(matches(str(k), str(key)) and matches(str(v), str(value)) for key, value in found.items())
        for k, v in wanted.items()
    )


def _is_kind(text: str, review: Review) -> bool:
    group, version, kind, subresource = parse_kind(text)
    if subresource:
        resource = review.resource.rpartition("/")[2]
        parent = parent_of(resource, review.subresource) or str(review.body.get("kind") or "")
        return matches(kind, parent) and matches(subresource, review.subresource)
    own_group, slash, own_version = str(review.body.get("apiVersion") or "").partition("/")
    if not slash:
        own_group, own_version = "", own_group
    # Kyverno asks about ephemeral containers wherever it asks about Pods; other subresources hold kinds of their own.
    if kind == "*" and review.subresource not in {"", EPHEMERAL}:
        return False
    return (
        matches(kind, str(review.body.get("kind") or ""))
        and matches(group, own_group)
        and matches(version, own_version)
    )


def _by_user(wanted: dict[str, Any], review: Review) -> bool:
    user = review.user
    if wanted.get("roles") and not any(matches(str(r), own) for r in wanted["roles"] for own in user.roles):
        return False
    if wanted.get("clusterRoles") and not any(
        matches(str(r), own) for r in wanted["clusterRoles"] for own in user.cluster_roles
    ):
        return False
    subjects = wanted.get("subjects")
    return not subjects or any(_is_subject(s, review) for s in subjects if isinstance(s, dict))


def _is_subject(subject: dict[str, Any], review: Review) -> bool:
    name = str(subject.get("name") or "")
    match subject.get("kind"):
        case "ServiceAccount":
            return matches(f"system:serviceaccount:{subject.get('namespace') or ''}:{name}", review.user.name)
        case "User":
            return matches(name, review.user.name)
        case "Group":
            return any(matches(name, group) for group in review.user.groups)
        case _:
            return False
