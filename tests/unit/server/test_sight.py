"""What is remembered of rights follows the rights, the person and the project."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from support.memory_backend import WEB, MemoryBackend
from taut.server.access.asking import admit
from taut.server.access.principal import Principal, Rights
from taut.server.access.rules import read_rules
from taut.server.sight import Sight


def request(name: str, rights: Rights) -> Request:
    state: dict[str, object] = {}
    admit(state, Principal(name, frozenset({name}), "token"), rights)
    return Request({"type": "http", "headers": [], "state": state})


def names(sight: Sight, asked: Request) -> list[str]:
    return [s.key for s in sight.statuses(asked)]


def test_each_person_sees_what_their_rights_say_now() -> None:
    backend = MemoryBackend()
    sight = Sight(backend)
    few = read_rules("p, anna, applications, get, default/prod/shop/*, allow")
    assert names(sight, request("anna", few)) == ["prod/shop/api", "prod/shop/web"]
    assert names(sight, request("ben", few)) == []
    assert names(sight, request("anna", read_rules("p, anna, applications, get, */*, allow"))) == [
        s.key for s in backend.statuses()
    ]
    assert names(sight, request("anna", few)) == ["prod/shop/api", "prod/shop/web"]


def test_an_application_that_moves_to_another_project_is_asked_for_again() -> None:
    backend = MemoryBackend()
    sight = Sight(backend)
    asked = request("anna", read_rules("p, anna, applications, get, default/*, allow"))
    assert str(WEB) in names(sight, asked)
    backend.apps[WEB] = msgspec.structs.replace(backend.apps[WEB], project="secret")
    assert str(WEB) not in names(sight, asked)


def test_without_a_door_nobody_sees_anything() -> None:
    assert Sight(MemoryBackend()).statuses(Request({"type": "http", "headers": []})) == []
