"""`/v1/alerts`: only with rights, and of applications that who asks may see."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette

from support.memory_backend import OPS_WEB, WEB, MemoryBackend
from support.ruled import gate_with
from taut.server.access.principal import Action, Principal, Resource, Target
from taut.server.access.rules import read_rules
from taut.server.api import make_app


class Only:
    """Rights that allow some things, whoever asks."""

    def __init__(self, *allowed: tuple[Resource, Action]) -> None:
        self._allowed = allowed

    def allows(self, who: Principal, action: Action, target: Target) -> bool:
        """Whether it is among them; of applications only shop/web is seen."""
        seen = target.resource is not Resource.APPLICATIONS or any("shop/web" in name for name in target.names)
        return (target.resource, action) in self._allowed and seen


@dataclass
class Answer:
    """What the API answered."""

    status_code: int
    text: str

    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)


@dataclass
class Client:
    """Asks the application itself, without a socket."""

    app: Starlette
    token: str = ""

    def get(self, path: str) -> Answer:
        """Read."""
        return asyncio.run(self._ask("GET", path, b""))

    def post(self, path: str, json: Any) -> Answer:
        """Ask for something."""
        return asyncio.run(self._ask("POST", path, dumped(json)))

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        sent: list[Any] = []
        headers = [(b"authorization", f"Bearer {self.token}".encode())] if self.token else []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await self.app(scope, receive, send)
        return Answer(sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]).decode())


def dumped(value: Any) -> bytes:
    """A value as JSON."""
    return json.dumps(value).encode()


def client(rights: Any, token: str = "token") -> Client:
    return Client(make_app(MemoryBackend(), gate_with(rights, "token")), token)


SEES = (Resource.ALERTS, Action.GET)
APPS = (Resource.APPLICATIONS, Action.GET)


def test_open_alerts_are_those_of_applications_that_one_may_see() -> None:
    some = client(Only(SEES, APPS)).get("/v1/alerts").json()
    assert [a["application"] for a in some["open"]] == [str(WEB)]
    every = client(read_rules("")).get("/v1/alerts").json()
    assert [a["application"] for a in every["open"]] == [str(WEB), str(OPS_WEB)]


@pytest.mark.parametrize(
    ("rights", "send", "status"),
    [
        (Only(), False, 403),
        (Only(SEES), False, 200),
        (Only(SEES), True, 403),
        (Only((Resource.ALERTS, Action.CREATE)), True, 200),
    ],
)
def test_who_may_look_may_not_send(rights: Only, send: bool, status: int) -> None:
    answer = client(rights).post("/v1/alerts:test", json={"name": "ops", "send": send})
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["sent"] is send


def test_without_rights_nothing_is_told() -> None:
    assert client(Only(APPS)).get("/v1/alerts").status_code == 403
    nobody = client(read_rules(""), "")
    assert nobody.get("/v1/alerts").status_code == 401
    assert nobody.post("/v1/alerts:test", json={"name": "ops"}).status_code == 401


def test_an_application_that_one_may_not_see_has_no_name() -> None:
    asked = {"name": "ops", "application": str(OPS_WEB)}
    answer = client(Only(SEES, APPS)).post("/v1/alerts:test", json=asked)
    assert answer.status_code >= 400
    assert "is held" not in answer.text
    assert (
        client(Only(SEES, APPS)).post("/v1/alerts:test", json={"name": "ops", "application": str(WEB)}).status_code
        == 200
    )
