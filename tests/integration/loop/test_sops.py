"""SOPS files in a running loop: keys from the configuration, from files and from Secrets of the real API server; no value is kept or told."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from integration.loop.harness import CLUSTER, Taut, application
from integration.loop.test_secrets import kept_files, shown
from taut.localplane.api import Api

pytestmark = pytest.mark.integration

PROGRAM = Path(sys.executable).with_name("sops")
WORD = "plain-Kq7xW2vB9z-word"
SECRET = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: database}}\nstringData: {{password: {WORD}}}\n"

type Pair = tuple[str, str]
type Encrypt = Callable[[str, str, Pair], bytes]


def pair() -> Pair:
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


@pytest.fixture
def encrypt(tmp_path_factory: pytest.TempPathFactory) -> Encrypt:
    folder = tmp_path_factory.mktemp("plain")

    def call(text: str, name: str, to: Pair) -> bytes:
        (folder / name).write_text(text)
        command = [str(PROGRAM), "--disable-version-check", "-e", "--age", to[1], name]
        env = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True).stdout

    return call


def put_keys(api: Api, namespace: str, **entries: str) -> None:
    """Write the Secret that holds keys, as a person does."""
    data = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in entries.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": data}
    path = f"/api/v1/namespaces/{namespace}/secrets"
    status, answer = api.request("POST", path, body)
    if status == 409:
        status, answer = api.request("PUT", f"{path}/keys", body)
    assert status in (200, 201), answer


def sops(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"secrets": {"sops": {"keys": list(keys)}}}


def password(taut: Taut, name: str = "database") -> str:
    data = (taut.get("secrets", name) or {}).get("data") or {}
    return base64.b64decode(data.get("password", "")).decode()


async def test_keys_from_a_secret_and_a_new_one_is_taken_at_once(
    taut: Taut, encrypt: Encrypt, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = pair(), pair()
    put_keys(taut.api, taut.namespace, one_agekey=first[0])
    taut.options |= sops({"secret": {"cluster": CLUSTER, "namespace": taut.namespace, "name": "keys"}})
    taut.declare(
        application("db"), files={"apps/db/s.yaml": encrypt(SECRET, "s.yaml", first), "apps/db/.sops.yaml": "{}"}
    )
    async with taut.run():
        await taut.synced("db")
        assert password(taut) == WORD
        renders = taut.controller.wanting.renders
        await taut.push({"apps/db/s.yaml": encrypt(SECRET.replace(WORD, WORD + "2"), "s.yaml", second)})
        status = await taut.says("db", "no key is here that fits", second[1])
        assert "apps/db/s.yaml" in status.message
        assert password(taut) == WORD
        put_keys(taut.api, taut.namespace, one_agekey=first[0], two_agekey=second[0])
        await taut.until(lambda: password(taut) == WORD + "2", "the new key is used")
        await taut.synced("db")
        assert taut.controller.wanting.renders == renders
        told = await shown(taut)
    async with taut.run():
        await taut.synced("db")
        told += await shown(taut)
    told += "\n".join(r.getMessage() for r in caplog.records).encode()
    encoded = base64.b64encode(WORD.encode())[:-4]
    for place, data in [("told", told), *((str(p), p.read_bytes()) for p in kept_files(taut.folder))]:
        for hidden in (WORD.encode(), encoded, first[0].encode(), second[0].encode()):
            assert hidden not in data, place


async def test_a_project_s_key_opens_nothing_for_another_project(taut: Taut, encrypt: Encrypt) -> None:
    own, common = pair(), pair()
    for name, (secret, _) in (("own", own), ("common", common)):
        (taut.folder / f"{name}.key").write_text(secret)
    taut.options |= sops({"file": "own.key", "projects": ["team-a"]}, {"file": "common.key", "type": "age"})
    taut.options["projects"] = [{"name": "team-a"}, {"name": "team-b"}]
    stolen = encrypt(SECRET, "s.yaml", own)
    shared = encrypt(SECRET.replace("database", "shared"), "s.yaml", common)
    taut.declare(
        application("a", project="team-a"),
        application("b", project="team-b"),
        files={"apps/a/s.yaml": stolen, "apps/b/s.yaml": stolen.replace(b"x", b"x"), "apps/b/t.yaml": shared},
    )
    async with taut.run():
        await taut.synced("a")
        assert password(taut) == WORD
        status = await taut.says("b", "no key is here that fits", own[1])
        assert "none of the age keys" in status.message
        assert taut.get("secrets", "shared") is None
        await taut.push({"apps/b/s.yaml": None})
        await taut.synced("b")
        assert password(taut, "shared") == WORD


async def test_a_value_in_a_config_map_is_warned_of_and_hidden_in_plans(taut: Taut, encrypt: Encrypt) -> None:
    own = pair()
    (taut.folder / "own.key").write_text(own[0])
    taut.options |= sops({"file": "own.key"})
    chart = {
        "apps/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "apps/web/templates/map.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: open}\n"
            "data: {url: 'postgres://me:{{ .Values.password }}@db', size: '{{ .Values.size }}'}\n"
        ),
        "apps/bad/Chart.yaml": "apiVersion: v2\nname: bad\nversion: 1.0.0\n",
        "apps/bad/templates/service.yaml": (
            "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\n"
            "spec: {clusterIP: '{{ .Values.password }}', ports: [{port: 80}]}\n"
        ),
    }
    values = "password: WORD\nsize_unencrypted: '1'\n"

    def file(word: str) -> bytes:
        return encrypt(values.replace("WORD", word), "values.yaml", own)

    options = {"valueFiles": ["values.yaml"]}
    bad = application("bad", source={"path": "apps/bad", "helmOptions": {"valueFiles": ["/apps/web/values.yaml"]}})
    web = application("web", source={"path": "apps/web", "helmOptions": options}, sync={"mode": "manual"})
    taut.declare(web, bad, files={**chart, "apps/web/values.yaml": file(WORD)})
    async with taut.run():
        await taut.until(lambda: (s := taut.state("web")) is not None and s.desired is not None)
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        assert WORD in (taut.get("configmaps", "open") or {})["data"]["url"]
        state = taut.state("web")
        assert state is not None
        assert any("plain value of a SOPS file lands in ConfigMap" in w for w in state.warnings)
        await taut.says("bad", "Invalid value")
        await taut.push({"apps/web/values.yaml": file(WORD[::-1])})
        await taut.until(lambda: (s := taut.status("web")) is not None and s.sync == "OutOfSync")
        await taut.says("bad", "Invalid value")
        told = await shown(taut)
        assert b"data.url" in told
        assert WORD.encode() not in told
        assert WORD[::-1].encode() not in told
    for path in kept_files(taut.folder):
        assert WORD.encode() not in path.read_bytes(), path


async def test_a_plain_value_beside_decrypted_ones_is_still_raw(taut: Taut, encrypt: Encrypt) -> None:
    key = pair()
    put_keys(taut.api, taut.namespace, one_agekey=key[0])
    taut.options |= sops({"secret": {"cluster": CLUSTER, "namespace": taut.namespace, "name": "keys"}})
    taut.options["checks"] = {"enforce": ["raw-secret"]}
    template = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: database}\ndata: {url: '{{ printf \"x://u:%s@db\" .Values.password | b64enc }}'}\n"
        "stringData: {password: '{{ .Values.password }}', mode: '{{ .Values.mode }}'"
    )
    chart = {
        "apps/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        "apps/db/values.yaml": encrypt(f"password: {WORD}\nmode: tiny\n", "values.yaml", key),
    }
    taut.declare(application("db"), files=chart | {"apps/db/templates/s.yaml": template + ", token: in-the-chart}\n"})
    async with taut.run():
        [hold] = (await taut.held("db", "policy")).held_for
        assert "raw-secret denies" in hold.message
        assert "stringData.token" in hold.message
        at = await taut.push({"apps/db/templates/s.yaml": template + "}\n"})
        await taut.synced("db", at=at)
        assert password(taut) == WORD
