"""`POST /hooks/git`: believed only when it is signed."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.memory_backend import Running, running
from taut.server.hooks import BODY_LIMIT

SECRET = b"webhook-secret"
PUSH = json.dumps({"ref": "refs/heads/main", "repository": {"clone_url": "https://git.example.com/shop.git"}}).encode()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running(tmp_path, webhook_secret=SECRET) as up:
        yield up


def post(server: Running, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    connection.request("POST", "/hooks/git", body, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def sign(body: bytes, secret: bytes = SECRET) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Hub-Signature-256": "sha256=" + sign(PUSH)},
        {"X-Gitea-Signature": sign(PUSH)},
        {"X-Taut-Signature": "sha256=" + sign(PUSH)},
    ],
)
def test_a_signed_push_is_taken(server: Running, headers: dict[str, str]) -> None:
    assert post(server, PUSH, headers) == 202
    assert server.backend.calls == [("webhook", frozenset({"https://git.example.com/shop.git"}), "refs/heads/main")]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (PUSH, {}, 401),
        (PUSH, {"X-Hub-Signature-256": "sha256=" + sign(PUSH, b"other")}, 401),
        (PUSH + b" ", {"X-Hub-Signature-256": "sha256=" + sign(PUSH)}, 401),
        (PUSH, {"X-Hub-Signature-256": "sha256=ü"}, 401),
        (b"no json", {"X-Hub-Signature-256": "sha256=" + sign(b"no json")}, 400),
        (b" " * (BODY_LIMIT + 1), {"X-Hub-Signature-256": "sha256=" + sign(b" " * (BODY_LIMIT + 1))}, 413),
    ],
    ids=["unsigned", "other secret", "changed body", "strange", "no json", "too large"],
)
def test_everything_else_is_refused(server: Running, body: bytes, headers: dict[str, str], status: int) -> None:
    assert post(server, body, {k: v.encode().decode("latin-1") for k, v in headers.items()}) == status
    assert server.backend.calls == []


def test_without_a_secret_there_is_no_webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running(tmp_path) as up:
        assert post(up, PUSH, {"X-Hub-Signature-256": "sha256=" + sign(PUSH)}) == 404
        assert up.backend.calls == []
