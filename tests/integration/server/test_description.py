"""The API against its own description: whatever is sent, no answer is a fault of taut's, and each has the form that the description says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.memory_backend import MemoryBackend, Running, running
from taut.dialects.access_config import AccessConfig

pytestmark = pytest.mark.integration
POLICY = "p, role:other, applications, *, elsewhere/*, allow\np, role:read, applications, get, default/*, allow\n"
ENDLESS = ("/v1/watch",)
OPEN = ("/healthz", "/readyz")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "policy.csv").write_text(POLICY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder / "runtime"))
        access = AccessConfig(policy_file=str(folder / "policy.csv"))
        with running(folder, MemoryBackend(), access=access) as up:
            yield up


def _headers(server: Running, role: str) -> dict[str, str]:
    if not role:
        return {}
    admin = {"Authorization": f"Bearer {server.token}"}
    if role == "role:admin":
        return admin
    wish = {"name": f"t-{role[5:]}", "roles": [role]}
    requests.delete(f"{server.url}/v1/tokens/{wish['name']}", headers=admin, timeout=30)
    made = requests.post(f"{server.url}/v1/tokens", json=wish, headers=admin, timeout=30).json()
    return {"Authorization": f"Bearer {made['token']}"}


def test_the_description_is_for_who_may_ask(server: Running) -> None:
    assert requests.get(f"{server.url}/v1/openapi.json", timeout=30).status_code == 401
    found = requests.get(f"{server.url}/v1/openapi.json", headers=_headers(server, "role:read"), timeout=30).json()
    assert found["openapi"] == "3.1.0"
    assert "/v1/applications/{name}:sync" in found["paths"]
    operations = [o["operationId"] for p in found["paths"].values() for o in p.values()]
    assert len(operations) == len(set(operations))
    assert all(o["summary"].endswith(".") for p in found["paths"].values() for o in p.values())


@pytest.mark.parametrize("role", ["role:admin", "role:read", "role:other", ""])
def test_whatever_is_sent_no_answer_is_a_fault(server: Running, role: str) -> None:
    headers = _headers(server, role)
    description = requests.get(
        f"{server.url}/v1/openapi.json", headers=_headers(server, "role:admin"), timeout=30
    ).json()
    description["paths"] = {p: o for p, o in description["paths"].items() if p not in ENDLESS}
    if role == "role:admin":  # it would end its own token, and others'
        description["paths"] = {
            p: o for p, o in description["paths"].items() if "tokens/" not in p and "sessions/" not in p
        }
    schema = schemathesis.openapi.from_dict(description)
    schema.config.update(base_url=server.url)
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=25, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def one(case: schemathesis.Case) -> None:
            answer = case.call(headers=headers, timeout=30)
            case.validate_response(answer, checks=CHECKS)
            assert role or answer.status_code in {401, 429} or case.path in OPEN, answer.text

        one()


READS = ["applications/prod/shop/web", "applications/prod/shop/web:tree", "applications/prod/shop/web:plan", "applications/prod/shop/web:history",
         "applications/prod/shop/web:drift", "applications/prod/shop/web:events"]  # fmt: skip
WRITES = ["sync", "abort", "approve", "suspend", "resume", "restart"]
BODIES = {"approve": {"plan": "x"}, "test": {"name": "ops"}}
TABLE: list[tuple[str, str, dict[str, int]]] = [
    *(("GET", p, {"": 401, "role:read": 200, "role:other": 404, "role:admin": 200}) for p in READS),
    *(
        ("POST", f"applications/prod/shop/web:{v}", {"": 401, "role:read": 403, "role:other": 404, "role:admin": 2})
        for v in WRITES
    ),
    ("GET", "applications", {"": 401, "role:read": 200, "role:other": 200, "role:admin": 200}),
    ("POST", "refresh", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 202}),
    ("GET", "roots", {"": 401, "role:read": 200, "role:other": 200, "role:admin": 200}),
    ("GET", "drift", {"": 401, "role:read": 200, "role:other": 200, "role:admin": 200}),
    ("GET", "events", {"": 401, "role:read": 200, "role:other": 200, "role:admin": 200}),
    ("GET", "orphans", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("GET", "audit", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("GET", "tokens", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("POST", "tokens", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 201}),
    ("DELETE", "tokens/none", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 400}),
    ("GET", "sessions", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("DELETE", "sessions/none", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("GET", "alerts", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("POST", "alerts:test", {"": 401, "role:read": 403, "role:other": 403, "role:admin": 200}),
    ("GET", "me", {"": 401, "role:read": 200, "role:other": 200, "role:admin": 200}),
    ("GET", "can-i?action=get&resource=audit", {"": 401, "role:read": 200, "role:other": 200, "role:admin": 200}),
]


@pytest.mark.parametrize("role", ["", "role:read", "role:other", "role:admin"])
def test_each_address_for_each_kind_of_caller(server: Running, role: str) -> None:
    headers = _headers(server, role)
    for method, path, wanted in TABLE:
        body = {"name": "x", "roles": ["role:read"]} if path == "tokens" else BODIES.get(path.rpartition(":")[2], {})
        sent = None if method == "GET" else {} if path == "refresh" else body
        answer = requests.request(method, f"{server.url}/v1/{path}", json=sent, headers=headers, timeout=30)
        expected = wanted[role]
        found = answer.status_code // 100 if expected == 2 and answer.status_code < 300 else answer.status_code
        if path.endswith(":approve") and role == "role:admin":
            assert found in (2, 409), (path, answer.text)
            continue
        assert found == expected, (method, path, answer.status_code, answer.text)
        if role == "role:other" and method == "GET" and answer.status_code == 200:
            assert "prod/shop/web" not in answer.text, path


def test_the_table_has_every_address(server: Running) -> None:
    description = requests.get(
        f"{server.url}/v1/openapi.json", headers=_headers(server, "role:admin"), timeout=30
    ).json()
    described = {(m.upper(), p) for p, of in description["paths"].items() for m in of if p.startswith("/v1/")}
    tried = {
        (m, "/v1/" + p.partition("?")[0].replace("prod/shop/web", "{name}").replace("/none", "/{name}"))
        for m, p, _ in TABLE
    }
    assert described - {("GET", "/v1/watch")} == tried


def test_what_is_known_is_not_sent_again(server: Running) -> None:
    headers = _headers(server, "role:admin")
    first = requests.get(f"{server.url}/v1/applications", headers=headers, timeout=30)
    again = requests.get(
        f"{server.url}/v1/applications", headers={**headers, "If-None-Match": first.headers["ETag"]}, timeout=30
    )
    assert (again.status_code, again.content) == (304, b"")
    other = requests.get(
        f"{server.url}/v1/applications?root=none",
        headers={**headers, "If-None-Match": first.headers["ETag"]},
        timeout=30,
    )
    assert other.status_code == 200


def test_a_write_that_is_sent_again_is_carried_out_once(server: Running) -> None:
    headers = {**_headers(server, "role:admin"), "Idempotency-Key": "one"}
    url = f"{server.url}/v1/applications/prod/shop/web:sync"
    before = len(server.backend.calls)
    answers = [requests.post(url, json={}, headers=headers, timeout=30) for _ in range(3)]
    assert len({a.text for a in answers}) == 1
    assert len(server.backend.calls) == before + 1
    other = requests.post(url, json={"prune": True}, headers=headers, timeout=30)
    assert (other.status_code, other.headers["Content-Type"]) == (422, "application/problem+json")
    reader = {**_headers(server, "role:read"), "Idempotency-Key": "one"}
    assert requests.post(url, json={}, headers=reader, timeout=30).status_code == 403


def test_pages_have_everything_once_in_order(server: Running) -> None:
    headers = _headers(server, "role:admin")
    for sort in ("key", "-key", "health", "-name"):
        url, keys = f"{server.url}/v1/applications?sort={sort}&limit=1&fields=name,health", list[str]()
        while url:
            answer = requests.get(url, headers=headers, timeout=30)
            [one] = answer.json()
            assert set(one) == {"key", "name", "health"}
            keys.append(one["key"])
            url = server.url + answer.links["next"]["url"] if "next" in answer.links else ""
        whole = requests.get(f"{server.url}/v1/applications?sort={sort}", headers=headers, timeout=30)
        assert keys == [a["key"] for a in whole.json()]
        assert whole.headers["X-Total-Count"] == str(len(keys))
    for bad in ("sort=colour", "after=x", "limit=0", "fields=secret"):
        answer = requests.get(f"{server.url}/v1/applications?{bad}", headers=headers, timeout=30)
        assert answer.status_code == 400
        assert msgspec.json.decode(answer.content, type=dict)["status"] == 400
    assert json.loads(requests.get(f"{server.url}/v1/applications?limit=0", headers=headers, timeout=30).text)["title"]
