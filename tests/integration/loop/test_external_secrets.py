"""ExternalSecrets in a running loop, from a real OpenBao: created, rotated, its source down, deleted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from servers.openbao import OpenBao, openbao

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao") / "log") as server:
        yield server


def _store(taut: Taut, bao: OpenBao, kind: str = "SecretStore") -> dict[str, Any]:
    reference = {"name": "bao", "key": "token", "namespace": taut.namespace}
    vault = {"server": bao.address, "path": "secret", "auth": {"tokenSecretRef": reference}}
    name = f"bao-{taut.namespace}" if kind == "ClusterSecretStore" else "bao"
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"provider": {"vault": vault}},
    }


def _external(taut: Taut, name: str = "db", **spec: Any) -> dict[str, Any]:
    data = [{"secretKey": "password", "remoteRef": {"key": f"{taut.namespace}/{name}", "property": "password"}}]
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {"secretStoreRef": {"name": "bao"}, "refreshInterval": "1s", "data": data, **spec},
    }


def _put(taut: Taut, bao: OpenBao, password: str, name: str = "db") -> None:
    bao.write(f"secret/data/{taut.namespace}/{name}", data={"password": password})


def _remove(taut: Taut, bao: OpenBao, name: str = "db") -> None:
    url = f"{bao.address}/v1/secret/metadata/{taut.namespace}/{name}"
    requests.delete(url, headers={"X-Vault-Token": bao.token}, timeout=10).raise_for_status()


def _sign_in(taut: Taut, bao: OpenBao) -> None:
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bao"}, "stringData": {"token": bao.token}}
    status, _ = taut.api.request("POST", f"/api/v1/namespaces/{taut.namespace}/secrets", token)
    assert status == 201


def _password(taut: Taut, name: str = "db") -> str:
    found = taut.get("secrets", name)
    return base64.b64decode(found["data"]["password"]).decode() if found is not None else ""


def _using(taut: Taut) -> dict[str, Any]:
    body = annotate(deployment("web"), roll_on_secrets="true")
    source = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [source]
    return body


def _note(taut: Taut) -> str:
    found = taut.get("deployments", "web", "apps/v1")
    annotations = found["spec"]["template"]["metadata"].get("annotations", {}) if found is not None else {}
    return annotations.get("taut.dev/secrets", "")


async def test_created_rotated_and_rolled_source_down_and_deleted(taut: Taut, bao: OpenBao) -> None:
    _sign_in(taut, bao)
    _put(taut, bao, "first-password")
    store = _store(taut, bao)
    files = {"apps/web/all.yaml": yaml(store, _external(taut), _using(taut))}
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.until(lambda: _password(taut) == "first-password", "created")
        await taut.until(lambda: taut.get("deployments", "web", "apps/v1"), "the workload")
        before = _note(taut)
        assert before
        assert "first" not in before

        _put(taut, bao, "second-password")
        await taut.until(lambda: _password(taut) == "second-password", "rotated")
        await taut.until(lambda: _note(taut) not in ("", before), "rolled")

        store["spec"]["provider"]["vault"]["server"] = "http://127.0.0.1:9"
        await taut.push({"apps/web/all.yaml": yaml(store, _external(taut), _using(taut))})
        status = await taut.says("web", "stay in Secret", "127.0.0.1 cannot be reached")
        assert _password(taut) == "second-password"
        assert "second-password" not in repr(status)

    async with taut.run() as again:  # a restart has the values without the source
        await taut.says("web", "stay in Secret")
        assert _password(taut) == "second-password"
        store["spec"]["provider"]["vault"]["server"] = bao.address
        _put(taut, bao, "third-password")
        at = await taut.push({"apps/web/all.yaml": yaml(store, _external(taut), _using(taut))})
        await taut.until(lambda: _password(taut) == "third-password", "the source is back")

        _remove(taut, bao)
        await taut.says("web", "stay in Secret", "there is no such key")
        assert _password(taut) == "third-password", "deletionPolicy retains by default"
        gone = _external(taut, target={"deletionPolicy": "Delete"})
        await taut.push({"apps/web/all.yaml": yaml(store, gone, _using(taut))})
        await taut.until(lambda: taut.get("secrets", "db") is None, "deleted with its source")
        assert at
        assert again.controller.externals.asked > 1


async def test_the_document_goes_and_its_secret_with_it(taut: Taut, bao: OpenBao) -> None:
    _sign_in(taut, bao)
    _put(taut, bao, "pw-one", "one")
    _put(taut, bao, "pw-two", "two")
    one, two = _external(taut, "one"), _external(taut, "two", target={"creationPolicy": "Orphan"})
    rest = [config_map(f"m{n}") for n in range(4)]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(_store(taut, bao), one, two, *rest)})
    async with taut.run():
        await taut.until(lambda: _password(taut, "one") == "pw-one" and _password(taut, "two") == "pw-two", "made")
        await taut.push({"apps/web/all.yaml": yaml(_store(taut, bao), _external(taut, "other"), *rest)})
        await taut.until(lambda: taut.get("secrets", "one") is None, "pruned")
        assert _password(taut, "two") == "pw-two", "an orphan stays"
        await taut.says("web", "ExternalSecret", "other", "cannot be resolved", "there is no such key")


async def test_a_store_of_another_application(taut: Taut, bao: OpenBao) -> None:
    _sign_in(taut, bao)
    _put(taut, bao, "shared-password")
    store = _store(taut, bao, "ClusterSecretStore")
    asked = _external(taut, secretStoreRef={"kind": "ClusterSecretStore", "name": store["metadata"]["name"]})
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(asked)})
    async with taut.run():
        await taut.says("web", "there is no such store")
        taut.declare(application("web"), application("stores"), files={"apps/stores/all.yaml": yaml(store)})
        await taut.poke()
        await taut.until(lambda: _password(taut) == "shared-password", "the store came")


async def test_a_restart_asks_nobody_while_values_are_fresh(taut: Taut, bao: OpenBao) -> None:
    _sign_in(taut, bao)
    _put(taut, bao, "kept-password")
    external = _external(taut, refreshInterval="1h")
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(_store(taut, bao), external)})
    async with taut.run():
        await taut.synced("web")
    store = (taut.folder / "state").rglob("*")
    for file in store:
        if file.is_file():
            data = file.read_bytes()
            for form in (b"kept-password", base64.b64encode(b"kept-password").rstrip(b"=")):
                assert form not in data, file
    async with taut.run() as again:
        await taut.synced("web")
        assert again.controller.externals.asked == 0
        assert _password(taut) == "kept-password"


async def test_the_operator_keeps_its_documents_where_it_is_asked_to(taut: Taut, tmp_path: Path) -> None:
    taut.options["clusters"] = [
        {"name": "local", "kubeconfig": str(taut.plane.kubeconfig), "externalSecrets": {"mode": "operator"}}
    ]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(_external(taut))})
    async with taut.run():
        await taut.says("web", "ExternalSecret")
        assert taut.controller.externals.asked == 0
