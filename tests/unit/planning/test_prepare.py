"""What is sent: exactly what Git says, and taut's mark on it."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.application import IgnoreRule
from taut.model.errors import BadInput
from taut.model.manifests import Manifest
from taut.planning.ignore import resolve, rules_hash
from taut.planning.prepare import canonical_body, for_apply, wanted_hash
from taut.planning.redact import Redactor


def secret(**parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, **parts}


@pytest.mark.parametrize(
    ("parts", "data"),
    [
        ({"stringData": {"a": "b"}}, {"a": "Yg=="}),
        ({"data": {"a": "Yg==\n"}}, {"a": "Yg=="}),
        ({"data": {"a": "eA=="}, "stringData": {"a": "b"}}, {"a": "Yg=="}),
        ({"stringData": {"a": None, "ü": "ü"}}, {"a": "", "ü": "w7w="}),
        ({"data": {"a": "no base64!"}}, {"a": "no base64!"}),
    ],
)
def test_string_data_is_folded(parts: dict[str, Any], data: dict[str, str]) -> None:
    body = canonical_body(secret(**parts))
    assert body["data"] == data
    assert "stringData" not in body


@pytest.mark.parametrize("parts", [{"stringData": {"port": 8080}}, {"stringData": ["x"]}, {"data": "x"}])
def test_a_secret_with_something_else_than_text(parts: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as error:
        canonical_body(secret(**parts))
    assert "8080" not in str(error.value)


def test_what_only_the_server_writes_is_left_out() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "uid": "1", "resourceVersion": "2", "managedFields": [], "creationTimestamp": None},
        "data": {"a": "b"},
        "status": {"x": 1},
    }
    sent = for_apply(Manifest(body), annotations={"taut.dev/owner": "me"})
    assert sent == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "annotations": {"taut.dev/owner": "me"}},
        "data": {"a": "b"},
    }
    assert body["metadata"]["uid"] == "1"


DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"replicas": 2, "paused": False},
}
REPLICAS = [IgnoreRule(pointers=("/spec/replicas",))]


def live(manager: str, replicas: int = 5) -> dict[str, Any]:
    operation = "Apply" if manager == "taut" else "Update"
    fields = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    spec = {"replicas": replicas, "paused": False}
    return {**DEPLOYMENT, "metadata": {"name": "web", "managedFields": [fields]}, "spec": spec}


@pytest.mark.parametrize(
    ("body", "spec"),
    [
        (None, {"replicas": 2, "paused": False}),
        (live("autoscaler"), {"paused": False}),
        # taut made the object and owns the field still: leaving it out would remove it, one replica would be left.
        (live("taut"), {"replicas": 5, "paused": False}),
    ],
)
def test_ignored_fields_are_sent_with_a_create_only(body: dict[str, Any] | None, spec: dict[str, Any]) -> None:
    ignore = resolve(REPLICAS, DEPLOYMENT, body)
    assert for_apply(Manifest(DEPLOYMENT), ignore=ignore, live=body)["spec"] == spec


def test_an_ignored_member_of_an_atomic_list_is_sent_as_it_is() -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "rules": [{"verbs": ["get"], "resources": ["a"]}],
    }
    there = {**role, "rules": [{"verbs": ["get", "list"], "resources": ["a"]}]}
    ignore = resolve([IgnoreRule(pointers=("/rules/0/verbs",))], role, there)
    assert for_apply(Manifest(role), ignore=ignore, live=there)["rules"] == there["rules"]


def test_another_rule_is_another_wish() -> None:
    manifest = Manifest(DEPLOYMENT)
    assert wanted_hash(manifest, rules_hash(())) == manifest.hash
    assert wanted_hash(manifest, rules_hash(REPLICAS)) != manifest.hash


def test_the_hash_of_a_secret_is_keyed() -> None:
    manifest = Manifest(secret(data={"a": "eA=="}))
    keyed = {wanted_hash(manifest, redact=Redactor(key)) for key in (b"one", b"two")}
    assert len(keyed | {manifest.hash}) == 3
    assert wanted_hash(Manifest(DEPLOYMENT), redact=Redactor(b"one")) == Manifest(DEPLOYMENT).hash
