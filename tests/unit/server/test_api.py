"""The API over a real socket: addresses, names, errors, the token."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.memory_backend import API, DB, OPS_WEB, WEB, MemoryBackend, Running, plan, running
from taut.model.errors import TargetError
from taut.model.refs import AppKey
from taut.server.views import SyncRequest


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with running(tmp_path_factory.mktemp("store")) as up:
            yield up


def call(
    server: Running, path: str, body: Any = None, *, method: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, method=method)
    for name, value in {"Authorization": f"Bearer {server.token}", **(headers or {})}.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            status, raw, kind = response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        status, raw, kind = error.code, error.read(), error.headers["Content-Type"]
    return status, json.loads(raw) if kind in ("application/json", "application/problem+json") else raw.decode()


def test_the_list_has_what_the_contract_names(server: Running) -> None:
    status, apps = call(server, "/v1/applications")
    assert status == 200
    assert [a["key"] for a in apps] == ["prod/db", "prod/ops/web", "prod/shop/api", "prod/shop/web"]
    needed = {"name", "sync", "health", "operation", "heldFor", "revision", "message", "lastSync"}
    assert all(needed <= a.keys() for a in apps)
    assert call(server, "/v1/applications?root=other") == (200, [])
    assert [a["name"] for a in call(server, "/v1/applications?selector=team%3Dweb")[1]] == ["web"]


@pytest.mark.parametrize("name", ["prod/shop/api", "shop/api", "api", "prod/api"])
def test_names_resolve(server: Running, name: str) -> None:
    status, found = call(server, f"/v1/applications/{name}")
    assert status == 200
    assert found["status"]["key"] == "prod/shop/api"
    assert [o["kind"] for o in found["objects"]] == ["Deployment", "Service"]


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("/v1/applications/web", 409, 2, "prod/ops/web, prod/shop/web"),
        ("/v1/applications/shop/wbe", 404, 2, "prod/shop/web"),
        ("/v1/applications/nothing-like-it:tree", 404, 2, "taut status"),
        ("/v1/applications?selector=a%20b%20c", 400, 2, "selector"),
        ("/v1/drift?limit=many", 400, 2, "limit=many"),
        ("/v2/applications", 404, 1, "nothing at this address"),
        ("/v1/refresh", 405, 1, "method"),
    ],
)
def test_errors_say_what_and_what_to_do(server: Running, path: str, status: int, code: int, words: str) -> None:
    answered, error = call(server, path)
    assert (answered, error["code"]) == (status, code)
    assert words in json.dumps(error)


def test_without_the_token_nothing_is_told(server: Running) -> None:
    for headers in (
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {server.token}"},
    ):
        for path in ("/v1/applications", "/v1/watch", "/metrics", "/nowhere"):
            status, error = call(server, path, headers=headers)
            assert status == 401, path
            assert "token" in error["what"]
    assert call(server, "/healthz", headers={"Authorization": ""}) == (200, "ok\n")
    assert stat.S_IMODE(server.token_file.stat().st_mode) == 0o600


def test_ready_says_why_not(server: Running) -> None:
    assert call(server, "/readyz", headers={"Authorization": ""}) == (200, "ok\n")
    server.backend.not_ready = "the first look at prod is not done"
    assert call(server, "/readyz") == (503, "the first look at prod is not done\n")
    server.backend.not_ready = ""


def test_a_plan_never_shows_a_secret(server: Running) -> None:
    status, found = call(server, "/v1/applications/shop/web:plan")
    text = json.dumps(found, ensure_ascii=False)
    assert status == 200
    assert found["hash"] == plan(WEB).hash
    assert "hunter" not in text
    assert "•••••• differs" in text
    assert found["unchanged"] == 1
    assert [c["action"] for c in found["changes"]] == ["update", "update", "delete"]
    assert "hunter" not in json.dumps(call(server, "/v1/applications/shop/web:drift")[1])


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (":sync", {"objects": ["Deployment/web"], "prune": False},
         ("sync", WEB, SyncRequest(objects=("Deployment/web",), prune=False, by="anna"))),
        (":abort", {}, ("abort", WEB, "anna")),
        (":suspend", {"reason": "night"}, ("suspend", WEB, "anna", "night")),
        (":resume", {}, ("resume", WEB, "anna")),
        (":restart", {"object": "Deployment/web"}, ("restart", WEB, "Deployment/web", "anna")),
        (":approve", {"plan": plan(WEB).hash, "reason": "ok"}, ("approve", WEB, plan(WEB).hash, "anna", "ok")),
    ],
)  # fmt: skip
def test_verbs_reach_the_backend(server: Running, path: str, body: Any, expected: tuple[Any, ...]) -> None:
    status, said = call(server, f"/v1/applications/prod/shop/web{path}", body, headers={"X-Taut-Actor": "an\tna"})
    assert status in (200, 202), said
    assert said["message"]
    assert server.backend.calls[-1] == expected


def test_refresh_names_an_application_a_root_or_all(server: Running) -> None:
    for body, expected in (
        ({"name": "db"}, ("refresh", None, DB)),
        ({"root": "prod"}, ("refresh", "prod", None)),
        ({}, ("refresh", None, None)),
    ):
        assert call(server, "/v1/refresh", body)[0] == 202
        assert server.backend.calls[-1] == expected


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"plan": 1}', b'{"plan": "x", "force": true}', b"{}", b"x" * 300_000])
def test_a_bad_body_is_refused(server: Running, body: bytes) -> None:
    status, error = call(server, "/v1/applications/db:approve", body)
    assert status == 400, error
    assert error["what"].startswith("The request")


def test_an_old_hash_does_not_approve(server: Running) -> None:
    status, error = call(server, "/v1/applications/db:approve", {"plan": "0" * 64})
    assert (status, error["code"]) == (409, 1)
    assert "changed since" in error["what"]


def test_lists_of_what_happened(server: Running) -> None:
    [entry] = call(server, "/v1/applications/db:history")[1]
    assert (entry["started"], entry["author"]) == ("2026-01-02T03:04:05Z", "Anna")
    assert [d["outcome"] for d in call(server, "/v1/drift")[1]] == ["open", "healed"]
    assert [d["outcome"] for d in call(server, "/v1/drift?open=1")[1]] == ["open"]
    assert call(server, "/v1/applications/db:drift")[1] == []
    assert call(server, "/v1/orphans?namespace=shop")[1][0]["name"] == "left"
    assert call(server, "/v1/orphans?namespace=none")[1] == []
    assert call(server, "/v1/events")[1][0]["at"] == "2026-01-02T03:04:05Z"
    assert call(server, "/v1/audit")[1][0]["actor"] == "anna"
    assert [n["kind"] for n in call(server, "/v1/applications/db:tree")[1]] == [
        "Deployment",
        "ReplicaSet",
        "Pod",
        "Service",
    ]


def test_metrics_are_prometheus_text(server: Running) -> None:
    call(server, "/nowhere")
    _, text = call(server, "/metrics")
    lines = text.splitlines()
    assert 'taut_applications{sync="Synced"} 2' in lines
    assert 'taut_applications_health{health="Missing"} 0' in lines
    assert "taut_applications_held 1" in lines
    assert 'taut_renders_total{renderer="he\\"lm"} 3' in lines
    assert any(line.startswith('taut_http_requests_total{method="GET",status="404"}') for line in lines)
    assert all(line.startswith(("# HELP taut_", "# TYPE taut_", "taut_")) for line in lines)


class Away(MemoryBackend):
    """A backend whose cluster cannot be reached."""

    async def objects(self, key: AppKey) -> Any:
        raise TargetError("the cluster does not answer")


def test_an_application_is_shown_when_its_cluster_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running(tmp_path, Away()) as up:
        status, found = call(up, "/v1/applications/db")
    assert (status, found["status"]["name"], found["objects"]) == (200, "db", [])


class Broken(MemoryBackend):
    """A backend with a bug."""

    async def tree(self, key: AppKey) -> Any:
        raise KeyError("s3cret-value")


def test_a_bug_is_said_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running(tmp_path, Broken()) as up:
        status, error = call(up, "/v1/applications/db:tree")
        assert call(up, "/v1/applications/db")[0] == 200
    assert status == 500
    assert "KeyError" in error["what"]
    assert "s3cret-value" not in json.dumps(error) + caplog.text
    assert "test_api.py" in caplog.text


def test_the_fleet_has_the_keys_that_these_tests_use(server: Running) -> None:
    assert {WEB, API, DB, OPS_WEB} == set(server.backend.keys())
