"""Who gets in by the page's door, over a real socket; and what a form must carry."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from support.memory_backend import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with running(tmp_path_factory.mktemp("store")) as up:
            yield up


def ask(
    server: Running, path: str, form: dict[str, str] | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = urlencode(form) if form is not None else None
    connection.request("GET" if form is None else "POST", path, body, sent)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, answer.headers, text


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


HERE = {"Sec_Fetch_Site": "same-origin"}


def signed_in(server: Running) -> str:
    form = {"token": server.token, "next": "/held"}
    status, headers, _ = ask(server, "/auth/token", form, **HERE)
    assert (status, headers["Location"]) == (303, "/held")
    return headers["Set-Cookie"].partition(";")[0]


def test_nobody_sees_the_page_without_signing_in(server: Running) -> None:
    for path in ("/", "/?q=web", "/held", "/app/prod/shop/web"):
        status, headers, body = ask(server, path, Accept="text/html")
        assert status == 303
        assert headers["Location"].startswith("/sign-in?next=%2F")
        assert "web" not in body
    assert ask(server, "/live", Accept="text/event-stream")[0] == 401
    assert ask(server, "/", Authorization="Bearer wrong")[0] == 401


def test_the_sign_in_says_why_somebody_is_back(server: Running) -> None:
    status, headers, _ = ask(server, "/auth/token", {"token": "wrong"}, **HERE)
    assert (status, headers["Location"]) == (303, "/sign-in")
    _, _, page = ask(server, "/sign-in?error=call+0800-1234", Cookie=headers["Set-Cookie"].partition(";")[0])
    assert "this is not the administrator&#39;s token" in page
    assert "0800" not in page


def test_a_form_from_elsewhere_is_refused(server: Running) -> None:
    cookie = signed_in(server)
    _, _, page = ask(server, "/", Cookie=cookie)
    for form, headers in (
        ({}, {}),
        ({"csrf": "x"}, {}),
        ({"csrf": csrf(page)[:-8] + "AAAAAAA="}, {}),
        ({"csrf": csrf(page)}, {"Sec_Fetch_Site": "cross-site"}),
    ):
        assert ask(server, "/theme", form, Cookie=cookie, **{**HERE, **headers})[0] == 403
    other = csrf(ask(server, "/", Cookie=signed_in(server))[2])
    assert ask(server, "/theme", {"csrf": other}, Cookie=cookie, **HERE)[0] == 403
    assert ask(server, "/theme", {"csrf": csrf(page)}, Cookie=cookie, **HERE)[0] == 303
    assert ask(server, "/auth/logout", {}, Cookie=cookie, **HERE)[0] == 303
    assert ask(server, "/", Cookie=cookie, Accept="text/html")[0] == 303


def test_a_forms_token_reads_otherwise_each_time(server: Running) -> None:
    cookie = signed_in(server)
    pages = {csrf(ask(server, "/", Cookie=cookie)[2]) for _ in range(3)}
    assert len(pages) == 3


@pytest.mark.parametrize("path", ["/", "/sign-in", "/static/taut.css", "/app/none", "/live?app=none"])
def test_headers_are_strict(server: Running, path: str) -> None:
    _, headers, _ = ask(server, path, Cookie=signed_in(server))
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"]


def test_files_are_kept_by_browsers_for_good_and_pages_never(server: Running) -> None:
    _, headers, page = ask(server, "/", Cookie=signed_in(server))
    assert headers["Cache-Control"] == "no-store"
    for address in re.findall(r'"(/static/[^"]+)"', page):
        status, headers, _ = ask(server, address)
        assert status == 200
        assert "immutable" in headers["Cache-Control"]
        assert ask(server, address, If_None_Match=headers["ETag"])[0] == 304
    assert ask(server, "/static/../auth.py")[0] in (303, 401, 404)
    assert ask(server, "/static/nothing.js")[0] == 404


def test_errors_are_pages_for_people_and_json_for_programs(server: Running) -> None:
    status, headers, body = ask(server, "/app/shop/wbe", Cookie=signed_in(server))
    assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is no application &#39;shop/wbe&#39;" in body
    assert "prod/shop/web" in body
    status, headers, body = ask(server, "/v2/applications", Authorization=f"Bearer {server.token}")
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert json.loads(body)["what"] == "There is nothing at this address"
