"""Does the API server refuse an update because the field cannot change? Told by its own words, never guessed."""

from __future__ import annotations

import re

from taut.model.errors import TargetError

_REASONS = frozenset({"FieldValueInvalid", "FieldValueForbidden", "FieldValueNotSupported"})
# The API server's texts (k8s.io/kubernetes pkg/apis/*/validation, apimachinery's validation.ValidateImmutableField, and the
# apiextensions server), as the tests gather them from a real one.
_TEXTS = (
    re.compile(r"\b(is|are) immutable\b"),  # most fields; CRDs' rules are usually worded so as well
    re.compile(r"updates to \S+ spec for fields other than .* are forbidden"),  # StatefulSet
    re.compile(r"pod updates may not change fields other than"),
    re.compile(r"\bcannot change roleRef\b"),  # RoleBinding, ClusterRoleBinding
    re.compile(r"\bmay not change once set\b"),  # Service's clusterIPs
    re.compile(r"\bmay not be (changed|unset|modified) (in|on) (an )?update\b"),  # PriorityClass
    re.compile(r"\bupdates to \S+ are forbidden\b"),  # StorageClass
    re.compile(r"\bmay not be changed\b"),
    re.compile(r"\bcannot be changed\b"),
    re.compile(r"\bmay not be unset\b|\bcannot be unset\b"),
    re.compile(r"\bfield can not be less than previous value\b"),  # a volume claim's size
)


def immutable_cause(error: TargetError) -> bool:
    """Whether `error` is the API server's refusal to change an immutable field.

    True only when *every* cause of an `Invalid` answer says so: when something else is wrong as well, deleting and recreating the
    object would fail after the deletion.
    """
    if error.reason != "Invalid" or error.status != 422 or not error.causes:
        return False
    return all(reason in _REASONS and any(t.search(message) for t in _TEXTS) for reason, _, message in error.causes)


def immutable_fields(error: TargetError) -> tuple[str, ...]:
    """The fields that cannot change; empty when `immutable_cause` is False."""
    if not immutable_cause(error):
        return ()
    return tuple(dict.fromkeys(field for _, field, _ in error.causes))
