"""taut's own checks: what each finds, what it leaves alone, and how it is switched off."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.verdict import Outcome
from taut.policy.builtin import NAMES, check


def body(kind: str, name: str = "x", version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}, **more}


def workload(image: str, **labels: str) -> dict[str, Any]:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": image}]}}
    return body("Deployment", version="apps/v1", spec={"template": template})


PINNED = "r.io/a:1@sha256:" + "a" * 64


def names(*bodies: dict[str, Any], **more: Any) -> list[str]:
    return [v.policy for _, v in check(bodies, **more)]


@pytest.mark.parametrize(
    ("objects", "wanted"),
    [
        ([workload(PINNED)], []),
        ([workload("r.io:5000/a:1")], ["image-digest"]),
        ([workload("r.io:5000/a")], ["image-tag", "image-digest"]),
        ([workload("a:latest")], ["image-tag", "image-digest"]),
        ([body("Secret", stringData={"a": "canary"})], ["raw-secret"]),
        ([body("Secret", data={"a": "ENC[AES256_GCM,data:x]"})], []),
        ([body("Secret", data={"a": ""})], []),
        ([body("Secret", data={"token": "x"}, type="kubernetes.io/service-account-token")], []),
        ([body("SealedSecret", version="bitnami.com/v1alpha1", spec={"encryptedData": {"a": "x"}})], []),
        ([body("Ingress", version="extensions/v1beta1")], ["removed-api"]),
        ([body("CronJob", version="batch/v1beta1")], ["removed-api"]),
        ([body("CronJob", version="batch/v1")], []),
        ([body("ConfigMap"), body("ConfigMap")], ["duplicate"]),
        (
            [body("Deployment", version="apps/v1"), body("Deployment", version="apps/v1beta2")],
            ["removed-api", "duplicate"],
        ),
        ([body("ConfigMap"), body("ConfigMap", "y")], []),
        ([body("Service", spec={"selector": {"app": "web"}}), workload(PINNED, app="api")], ["service-selector"]),
        ([body("Service", spec={"selector": {"app": "web"}}), workload(PINNED, app="web", tier="x")], []),
        ([body("Service", spec={"selector": {"app": "web"}})], []),
    ],
)
def test_what_is_found(objects: list[dict[str, Any]], wanted: list[str]) -> None:
    assert names(*objects) == wanted


def test_a_secret_is_raw_by_the_field_not_by_the_object() -> None:
    secret = body("Secret", stringData={"a": "out of a file", "b": "in the chart"})
    found = [v for _, v in check([secret], decrypted=[(("stringData", "a"),)])]
    assert [(v.policy, v.path) for v in found] == [("raw-secret", "stringData.b")]
    assert names(secret, decrypted=[(("stringData", "a"), ("stringData", "b"))]) == []


def test_what_sops_adds_is_no_unknown_field() -> None:
    encrypted = body("Secret", stringData={"a": "ENC[AES256_GCM,data:x]"}, sops={"mac": "ENC[x]", "version": "3.9.0"})
    assert names(encrypted) == []
    assert names(body("ConfigMap", sops={"note": "by hand"})) == ["unknown-field"]


def test_ingresses() -> None:
    def ingress(name: str, port: Any) -> dict[str, Any]:
        backend = {"service": {"name": name, "port": {"name" if isinstance(port, str) else "number": port}}}
        return body(
            "Ingress",
            version="networking.k8s.io/v1",
            spec={"rules": [{"http": {"paths": [{"path": "/", "backend": backend}]}}]},
        )

    service = body("Service", "web", spec={"ports": [{"port": 80, "name": "http"}]})
    assert names(service, ingress("web", 80)) == []
    assert names(service, ingress("web", "http")) == []
    (found,) = check([service, ingress("web", 81)])
    assert (found[0], found[1].path, found[1].found) == (1, "spec.rules[0].http.paths[0].backend.service.port", "81")
    assert names(service, ingress("other", 80)) == ["ingress-backend"]
    assert names(ingress("other", 80)) == [], "what is declared elsewhere cannot be told"


def test_a_value_is_never_told() -> None:
    assert "canary" not in str(list(check([body("Secret", stringData={"a": "canary"})])))


def test_switched_off_by_name_and_by_annotation() -> None:
    assert names(workload("a"), without=["image-tag"]) == ["image-digest"]
    quiet = workload("a")
    quiet["metadata"]["annotations"] = {"checks.taut.dev/image-tag": "a mirror of our own"}
    first = next(iter(check([quiet])))[1]
    assert first.result is Outcome.SKIP
    assert "a mirror of our own" in first.message
    quiet["metadata"]["annotations"] = {"checks.taut.dev/image-tag": " "}
    assert next(iter(check([quiet])))[1].result is Outcome.FAIL, "a reason has to be given"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"kind": "Deployment", "spec": 1},
        {"kind": "Service", "apiVersion": "v1", "spec": {"selector": []}},
        {"kind": "Secret", "apiVersion": "v1", "data": []},
    ],
)
def test_objects_of_the_wrong_shape_do_no_harm(broken: dict[str, Any]) -> None:
    list(check([broken]))


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
