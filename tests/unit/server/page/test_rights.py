"""What somebody may not see has no name for them on any page, and a button that they may not use is not drawn."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from support.ruled import gate_with
from support.shop_backend import CHECKOUT, MEDIA, ShopBackend, shop_backend
from taut.server.access.rules import ADMIN, read_rules
from taut.server.api import make_app

TOKEN = "t" * 40
NOW = time.time()
HIDDEN = """
p, admin, applications, get, payments/*, deny
p, admin, repositories, get, *, deny
"""
READ_ONLY = """
p, admin, applications, sync, *, deny
p, admin, applications, approve, *, deny
p, admin, applications, suspend, *, deny
p, admin, applications, restart, *, deny
p, admin, logs, get, *, deny
"""
PATHS = ("/", "/?as=tiles", "/?q=payments", "/drift?span=30d", "/held", "/environments", "/?group=project")


async def ask(backend: ShopBackend, rights: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    gate = gate_with(read_rules(rights), TOKEN)
    app = make_app(backend, gate)
    route, _, query = path.partition("?")
    body = urlencode(form).encode() if form is not None else b""
    secret, _ = await gate.accounts.open("admin", provider="", roles=[ADMIN])
    cookie = f"taut={secret}"
    scope = {
        "type": "http", "method": "GET" if form is None else "POST", "path": route, "raw_path": route.encode(), "query_string": query.encode(),
        "headers": [(b"cookie", cookie.encode()), (b"host", b"taut"), (b"sec-fetch-site", b"same-origin")], "scheme": "http", "server": ("taut", 80), "client": None, "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    text = b"".join(m.get("body", b"") for m in sent[1:]).decode()
    return sent[0]["status"], text.partition('id="keys"')[0]


@pytest.mark.parametrize("path", PATHS)
async def test_what_may_not_be_seen_has_no_name(path: str) -> None:
    backend = shop_backend(NOW)
    status, everything = await ask(backend, "", path)
    assert status == 200
    assert re.search(r"checkout|billing", everything) or path == "/held"
    status, text = await ask(backend, HIDDEN, path)
    assert status == 200
    assert not re.findall(r"checkout|ledger|fraud-rules|billing|deploy\.git", text)


@pytest.mark.parametrize("part", ["", ":history", ":drift", ":events", ":now", ":sync", ":logs?pod=x", ":object?id=x"])
async def test_its_address_is_unknown(part: str) -> None:
    status, text = await ask(shop_backend(NOW), HIDDEN, f"/app/{CHECKOUT}{part}")
    assert status == 404
    assert "There is no application" in text
    assert (await ask(shop_backend(NOW), HIDDEN, f"/live?app={CHECKOUT}"))[0] == 404


async def test_buttons_that_may_not_be_used_are_not_drawn() -> None:
    backend = shop_backend(NOW)
    for key in (CHECKOUT, MEDIA):
        everything, less = (await ask(backend, "", f"/app/{key}"))[1], (await ask(backend, READ_ONLY, f"/app/{key}"))[1]
        assert re.search('class="btn[ "]', everything)
        assert not re.search('class="btn[ "]', less)
    assert ":logs?" in (await ask(backend, "", f"/app/{CHECKOUT}:object?id=/Pod:checkout/checkout-cache-0"))[1]
    assert (
        ":logs?" not in (await ask(backend, READ_ONLY, f"/app/{CHECKOUT}:object?id=/Pod:checkout/checkout-cache-0"))[1]
    )
    held = (await ask(backend, READ_ONLY, "/held"))[1]
    assert held.count("You may not approve this.") == 2
    assert '<form class="decide"' not in held


@pytest.mark.parametrize("verb", ["sync", "refresh", "suspend", "restart", "abort"])
async def test_what_may_not_be_done_is_not_done(verb: str) -> None:
    backend = shop_backend(NOW)
    assert (await ask(backend, READ_ONLY, f"/app/{CHECKOUT}:{verb}"))[0] == 403
    assert (await ask(backend, READ_ONLY, f"/app/{CHECKOUT}:{verb}", {}))[0] == 403
    assert (await ask(backend, "", f"/app/{CHECKOUT}:{verb}", {}))[0] == 403, "without the form's token"
    assert (await ask(backend, READ_ONLY, f"/app/{CHECKOUT}:logs?pod=checkout-cache-0&namespace=checkout"))[0] == 403
    assert not backend.calls


async def test_no_page_shows_a_secret() -> None:
    backend = shop_backend(NOW)
    for path in (*PATHS, f"/app/{CHECKOUT}", f"/app/{CHECKOUT}:sync", "/app/deploy/prod-eu/catalog:drift"):
        status, text = await ask(backend, "", path)
        assert status == 200, path
        assert "hunter" not in text, path
