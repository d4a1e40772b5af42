"""SealedSecrets in the loop: applied as they are, and looked into before, where taut has the controller's key."""

from __future__ import annotations

import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from servers.git import GitRepo
from taut.controller.sealed_keys import LABEL
from taut.secrets.sealed import seal

pytestmark = pytest.mark.integration
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "sealedsecrets.bitnami.com"},
    "spec": {
        "group": "bitnami.com",
        "names": {"kind": "SealedSecret", "plural": "sealedsecrets", "singular": "sealedsecret"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
VALUE = "canary-of-the-sealed-secret"


def controller() -> tuple[bytes, bytes]:
    """A controller's certificate, and its private key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sealed-secrets")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=30))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), pem


CERTIFICATE, KEY = controller()


def sealed(namespace: str, value: str = VALUE, name: str = "db", **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": value}}
    # Nobody decrypts it here: its health is not waited for.
    return annotate(seal(secret, CERTIFICATE), ignore_health="true")


def web() -> dict[str, Any]:
    body = annotate(deployment("web", replicas=0), roll_on_secrets="true")
    source = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [source]
    return body


@pytest.fixture
def taut(taut: Taut) -> Taut:
    taut.api.apply("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sealedsecrets.bitnami.com", CRD)
    return taut


def _note(taut: Taut) -> str:
    found = taut.get("deployments", "web", "apps/v1")
    assert found is not None
    return found["spec"]["template"]["metadata"].get("annotations", {}).get("taut.dev/secrets", "")


def _live(taut: Taut, name: str = "db") -> dict[str, Any] | None:
    return taut.get("sealedsecrets", name, "bitnami.com/v1alpha1")


async def test_a_workload_rolls_when_the_value_is_another_and_not_when_it_is_sealed_anew(taut: Taut) -> None:
    (taut.folder / "sealed.pem").write_bytes(KEY)
    taut.options["secrets"] = {"sealed": [{"file": "sealed.pem"}]}
    at = taut.declare(application("web"), files={"apps/web/all.yaml": yaml(web(), sealed(taut.namespace))})
    async with taut.run():
        await taut.synced("web", at=at)
        note = _note(taut)
        assert note
        before = _live(taut)
        assert before is not None
        at = await taut.push({"apps/web/all.yaml": yaml(web(), sealed(taut.namespace))})
        await taut.synced("web", at=at)
        after = _live(taut)
        assert after is not None
        assert after["spec"] != before["spec"], "it was sealed anew"
        assert _note(taut) == note
        at = await taut.push({"apps/web/all.yaml": yaml(web(), sealed(taut.namespace, VALUE + "-2"))})
        await taut.synced("web", at=at)
        assert _note(taut) not in {"", note}
    files = [p for p in (taut.folder / "state").rglob("*") if p.is_file()]
    assert files
    for file in files:
        data = file.read_bytes()
        assert VALUE.encode() not in data
        assert base64.b64encode(VALUE.encode()) not in data


async def test_what_cannot_be_opened_is_told_before_the_controller_fails(taut: Taut) -> None:
    (taut.folder / "sealed.pem").write_bytes(KEY)
    taut.options["secrets"] = {"sealed": [{"file": "sealed.pem"}]}
    moved = copy.deepcopy(sealed("elsewhere"))
    moved["metadata"]["namespace"] = taut.namespace
    moved["spec"]["template"]["metadata"]["namespace"] = taut.namespace
    at = taut.declare(application("web"), files={"apps/web/all.yaml": yaml(moved, config_map("a"))})
    async with taut.run():
        await taut.synced("web", at=at)
        (warning,) = [w for w in taut.status("web").warnings if "SealedSecret" in w]
        for words in ("apps/web/all.yaml:1", "spec.encryptedData.password", "another place", "seal it again"):
            assert words in warning
        assert _live(taut) is not None, "it is told, and stops nothing: the key may be the wrong one"
        at = await taut.push({"apps/web/all.yaml": yaml(sealed(taut.namespace), config_map("a"))})
        await taut.synced("web", at=at)
        assert not taut.status("web").warnings


async def test_keys_are_read_from_the_cluster_and_policies_judge_the_secret(taut: Taut) -> None:
    place = f"/api/v1/namespaces/{taut.namespace}/secrets/sealed-key"
    data = {"tls.crt": base64.b64encode(CERTIFICATE).decode(), "tls.key": base64.b64encode(KEY).decode()}
    metadata = {"name": "sealed-key", "labels": {LABEL: "active"}}
    taut.api.apply(
        place, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}
    )
    taut.options["secrets"] = {"sealed": [{"namespace": taut.namespace}]}
    policies: GitRepo = taut.git.repo("policies")
    match = {"any": [{"resources": {"kinds": ["Secret"], "namespaces": [taut.namespace]}}]}
    pattern = {"metadata": {"labels": {"team": "?*"}}}
    rule = {"name": "team", "match": match, "validate": {"message": "a Secret has a team", "pattern": pattern}}
    policy = {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": "teams"},
        "spec": {"validationFailureAction": "Enforce", "rules": [rule]},
    }
    policies.commit({"teams.yaml": yaml(policy)}, "rules")
    taut.options["policies"] = [{"name": "platform", "git": policies.url, "ref": "main", "poll": "1h"}]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(sealed(taut.namespace), config_map("a"))})
    async with taut.run():
        status = await taut.held("web", "policy")
        (held,) = status.held_for
        assert "a Secret has a team" in held.message
        assert VALUE not in str(status)
        assert _live(taut) is None
        at = await taut.push({"apps/web/all.yaml": yaml(sealed(taut.namespace, team="shop"), config_map("a"))})
        await taut.synced("web", at=at)
        assert _live(taut) is not None
