"""Answers as errors for people."""

from __future__ import annotations

from typing import Any

import pytest

from taut.clients.kubernetes.errors import conflicting_managers, status_error, without_values


def status(code: int, reason: str, message: str, *causes: tuple[str, str, str]) -> dict[str, Any]:
    listed = [{"reason": r, "field": f, "message": m} for r, f, m in causes]
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": {"causes": listed}}


def test_the_object_the_reason_and_the_advice_are_named() -> None:
    payload = status(403, "Forbidden", 'configmaps is forbidden: User "u" cannot create resource')
    error = status_error(403, payload, subject="ConfigMap shop/web")
    assert str(error).startswith("ConfigMap shop/web: configmaps is forbidden")
    assert error.advice
    assert (error.status, error.reason) == (403, "Forbidden")


@pytest.mark.parametrize("payload", [None, "<html>no</html>", [1], {"kind": "Other"}, {"kind": "Status"}])
def test_whatever_a_proxy_answers_becomes_an_error(payload: Any) -> None:
    error = status_error(502, payload, subject="x")
    assert "502" in error.what
    assert "<html>" not in str(error)


def test_conflicts_name_manager_field_and_subresource() -> None:
    message = 'conflict with "hpa" with subresource "scale" using apps/v1 at 2026-01-01T00:00:00Z'
    causes = (
        ("FieldManagerConflict", ".spec.replicas", message),
        ("FieldManagerConflict", ".data.k", 'conflict with "mallory" using v1'),
        ("Other", "x", "y"),
    )
    error = status_error(409, status(409, "Conflict", "Apply failed", *causes))
    assert conflicting_managers(error) == ((".spec.replicas", "hpa", "scale"), (".data.k", "mallory", ""))
    assert "hpa, mallory" in error.advice


def test_retry_after_is_of_the_header_or_the_body() -> None:
    assert status_error(429, None, retry_after=3.0).retry_after == 3.0
    payload = {"kind": "Status", "details": {"retryAfterSeconds": 7}}
    assert status_error(429, payload).retry_after == 7.0


ADVICE: list[Any] = [
    (status(403, "Forbidden", "x", ("NamespaceTerminating", "", "")), "being deleted"),
    (status(404, "NotFound", "the server could not find the requested resource"), "CRD"),
    (status(404, "NotFound", 'namespaces "shop" not found'), "createNamespace"),
    (status(500, "InternalError", 'failed calling webhook "x": connection refused'), "webhook"),
    (status(403, "Forbidden", 'admission webhook "x" denied the request: no'), "policy"),
]


@pytest.mark.parametrize(("payload", "word"), ADVICE)
def test_advice(payload: dict[str, Any], word: str) -> None:
    assert word in status_error(payload["code"], payload).advice


QUOTES = [
    'expected string, got &value.valueUnstructured{Value:"hidden"}',
    "expected map, got &{[hidden]}",
    'spec: Invalid value: "hidden: hidden": may not be so',
    'Unsupported value: "hidden": supported values: "a"',
    "json: cannot unmarshal string hidden into Go value",
]


@pytest.mark.parametrize("text", QUOTES)
def test_quoted_values_are_removed_for_secrets(text: str) -> None:
    assert "hidden" not in without_values(text)
    payload = status(422, "Invalid", text, ("FieldValueInvalid", "data", text))
    error = status_error(422, payload, secret=True)
    assert "hidden" not in str(error) + repr(error.causes)
    assert "hidden" in status_error(422, payload).what


@pytest.mark.parametrize(
    "message",
    [
        "failed to create typed patch object (t/field; /v1, Kind=ConfigMap): .date: field not declared in schema",
        "failed to convert new object (t/s; /v1, Kind=Secret) to proper version: illegal base64 data at input byte 7",
    ],
)
def test_an_object_that_no_schema_fits_is_no_trouble_of_the_server(message: str) -> None:
    error = status_error(500, status(500, "InternalError", message))
    assert (error.status, error.reason, error.what) == (422, "Invalid", message)
    assert error.advice == "correct the named fields in Git"
    assert status_error(500, status(500, "InternalError", "etcdserver: no leader")).status == 500
