"""The API server's words for "this cannot change", as gathered from one (see the integration tests for the live table)."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.errors import TargetError
from taut.targets.kubernetes.immutable import immutable_cause, immutable_fields

INVALID, FORBIDDEN = "FieldValueInvalid", "FieldValueForbidden"
STATEFUL_SET = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
YES: list[Any] = [
    (INVALID, "spec.selector", "Invalid value: {}: field is immutable"),
    (FORBIDDEN, "spec", STATEFUL_SET),
    (INVALID, "spec.template", "Invalid value: {}: field is immutable"),
    (INVALID, "spec.clusterIPs[0]", 'Invalid value: ["10.0.0.1"]: may not change once set'),
    (INVALID, "roleRef", "Invalid value: {}: cannot change roleRef"),
    (
        FORBIDDEN,
        "spec",
        "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
    ),
    (FORBIDDEN, "data", "Forbidden: field is immutable when `immutable` is set"),
    (FORBIDDEN, "value", "Forbidden: may not be changed in an update."),
    (FORBIDDEN, "parameters", "Forbidden: updates to parameters are forbidden."),
]
NO: list[Any] = [
    (INVALID, "spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
    ("FieldValueRequired", "spec.ports", "Required value"),
    (INVALID, "spec.template.metadata.labels", "Invalid value: {}: `selector` does not match template `labels`"),
    ("FieldValueRequired", "spec", "Required value: field is immutable"),
]


def error(*causes: Any, reason: str = "Invalid", status: int = 422) -> TargetError:
    return TargetError("refused", status=status, reason=reason, causes=causes)


@pytest.mark.parametrize("cause", YES)
def test_immutable(cause: Any) -> None:
    assert immutable_cause(error(cause))
    assert immutable_fields(error(cause)) == (cause[1],)


@pytest.mark.parametrize("cause", NO)
def test_not_immutable(cause: Any) -> None:
    assert not immutable_cause(error(cause))
    assert immutable_fields(error(cause)) == ()


def test_all_causes_must_say_so() -> None:
    assert immutable_cause(error(YES[0], YES[1]))
    assert not immutable_cause(error(YES[0], NO[0]))
    assert not immutable_cause(error())


def test_only_an_invalid_answer_counts() -> None:
    assert not immutable_cause(error(YES[0], reason="Forbidden", status=403))
    assert not immutable_cause(error(YES[0], reason="Conflict", status=409))
