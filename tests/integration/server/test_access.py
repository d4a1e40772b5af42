"""Signing in over a real socket: tokens, sessions, what an ID token has to hold, and everything that is refused."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey

from support.issuer import Issuer, issuing
from support.memory_backend import MemoryBackend, Running, running
from taut.dialects.access_config import AccessConfig, OidcConfig

pytestmark = pytest.mark.integration
POLICY = """
p, role:shop, applications, *, default/web, allow
p, role:ci, applications, get, */*, allow
p, role:ci, applications, sync, */*, allow
g, team, role:shop
"""
PAGE = {"Accept": "text/html"}
HERE = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Served:
    server: Running
    issuer: Issuer
    backend: MemoryBackend
    policy: Path

    @property
    def admin(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.token}"}

    def browser(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        return session

    def to_provider(self, browser: requests.Session, back: str = "/v1/me") -> str:
        answer = browser.get(f"{self.server.url}/auth/corp/login", params={"next": back}, allow_redirects=False)
        assert answer.status_code == 303
        return answer.headers["Location"]

    def sign_in(self, browser: requests.Session) -> requests.Response:
        back = self.issuer.authorize(self.to_provider(browser))
        return browser.get(back, allow_redirects=False)


def why(answer: requests.Response) -> str:
    """The reason for which somebody was sent back to the sign-in."""
    return unquote(answer.cookies.get("taut-refused", "").strip('"'))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    policy = tmp_path / "policy.csv"
    policy.write_text(POLICY)
    backend = MemoryBackend()
    with issuing() as issuer:
        oidc = OidcConfig(name="corp", issuer=issuer.url, client_id="taut")
        access = AccessConfig(policy_file=str(policy), oidc=(oidc,))
        with running(tmp_path, backend, access=access) as server:
            yield Served(server, issuer, backend, policy)


def test_somebody_signs_in_and_has_the_rights_of_their_groups(served: Served) -> None:
    browser = served.browser()
    answer = served.sign_in(browser)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/v1/me")
    cookie = next(c for c in browser.cookies if c.name == "taut")
    assert cookie.has_nonstandard_attr("HttpOnly")
    me = browser.get(f"{served.server.url}/v1/me").json()
    assert me == {"name": "ann@example.test", "how": "session", "subjects": ["ann@example.test", "role:shop", "team"]}
    names = [a["key"] for a in browser.get(f"{served.server.url}/v1/applications").json()]
    assert names == ["prod/ops/web", "prod/shop/web"]
    synced = browser.post(f"{served.server.url}/v1/applications/prod/shop/web:sync", json={}, headers=HERE)
    assert synced.status_code == 202
    assert served.backend.calls[-1][-1].by == "ann@example.test"
    hidden = browser.get(f"{served.server.url}/v1/applications/prod/shop/api")
    assert hidden.status_code == 404
    assert "prod/shop/api" not in hidden.json()["advice"]
    assert ("ann@example.test", "sign-in", "corp", "team") in served.backend.noted


def test_who_is_not_signed_in_gets_a_page_to_do_so_and_machines_an_error(served: Served) -> None:
    page = requests.get(f"{served.server.url}/v1/applications?root=prod", headers=PAGE, allow_redirects=False)
    assert page.status_code == 303
    assert page.headers["Location"] == "/sign-in?next=%2Fv1%2Fapplications%3Froot%3Dprod"
    assert requests.get(f"{served.server.url}/v1/applications").status_code == 401


def _other_key(issuer: Issuer, said: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, said, RSAKey.generate_key(2048, {"kid": "one"}))


def _symmetric(issuer: Issuer, said: dict[str, Any]) -> str:
    """The trick of signing with the public key as if it were a shared secret."""
    _, payload, _ = jwt.encode({"alg": "RS256", "kid": "one"}, said, issuer.key).split(".")
    signed = f"{base64.urlsafe_b64encode(b'{"alg": "HS256", "kid": "one"}').rstrip(b'=').decode()}.{payload}"
    mac = hmac.digest(issuer.key.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _unsigned(issuer: Issuer, said: dict[str, Any]) -> str:
    _, payload, _ = jwt.encode({"alg": "RS256", "kid": "one"}, said, issuer.key).split(".")
    none = "eyJhbGciOiJub25lIn0"
    return f"{none}.{payload}."


@pytest.mark.parametrize(
    ("claims", "sign", "words"),
    [
        ({"exp": 1_000_000_000}, None, "not good"),
        ({"exp": None}, None, "not good"),
        ({"aud": "another"}, None, "not good"),
        ({"aud": ["taut", "another"], "azp": "another"}, None, "another client"),
        ({"iss": "https://elsewhere.example.test"}, None, "not good"),
        ({"nonce": "replayed"}, None, "not good"),
        ({"nonce": None}, None, "not good"),
        ({"sub": None}, None, "not good"),
        ({}, _other_key, "not good"),
        ({}, _symmetric, "not good"),
        ({}, _unsigned, "not good"),
    ],
)
def test_a_bad_token_lets_nobody_in(
    served: Served, claims: dict[str, Any], sign: Callable[[Issuer, dict[str, Any]], str] | None, words: str
) -> None:
    served.issuer.claims, served.issuer.sign = claims, sign
    browser = served.browser()
    answer = served.sign_in(browser)
    assert answer.headers["Location"] == "/sign-in"
    assert words in why(answer)
    assert "taut" not in [c.name for c in browser.cookies]
    assert browser.get(f"{served.server.url}/v1/me").status_code == 401
    assert served.backend.noted[-1][1] == "sign-in-refused"


def test_an_answer_counts_once_and_in_the_browser_that_asked(served: Served) -> None:
    browser, thief = served.browser(), served.browser()
    back = served.issuer.authorize(served.to_provider(browser))
    assert "another browser" in why(thief.get(back, allow_redirects=False))
    assert "not known" in why(browser.get(back, allow_redirects=False))
    other = served.issuer.authorize(served.to_provider(browser))
    assert browser.get(other, allow_redirects=False).headers["Location"] == "/v1/me"
    assert "not known" in why(browser.get(other, allow_redirects=False))
    invented = f"{served.server.url}/auth/corp/callback?code=x&state=invented"
    assert "not known" in why(browser.get(invented, allow_redirects=False))


def test_an_unverified_address_is_nobodys_name(served: Served) -> None:
    served.issuer.claims = {"email_verified": False}
    browser = served.browser()
    served.sign_in(browser)
    assert browser.get(f"{served.server.url}/v1/me").json()["name"] == "s-1"


def test_a_group_of_the_provider_is_no_role_of_taut(served: Served) -> None:
    served.issuer.claims = {"groups": ["role:admin", "token:ci"]}
    browser = served.browser()
    served.sign_in(browser)
    assert browser.get(f"{served.server.url}/v1/me").json()["subjects"] == ["ann@example.test"]
    assert browser.get(f"{served.server.url}/v1/audit").status_code == 403


def test_groups_may_come_from_userinfo(served: Served) -> None:
    served.issuer.claims, served.issuer.userinfo = {"groups": None}, {"groups": ["team"]}
    browser = served.browser()
    served.sign_in(browser)
    assert "role:shop" in browser.get(f"{served.server.url}/v1/me").json()["subjects"]


def test_a_new_key_of_the_provider_is_taken(served: Served) -> None:
    served.sign_in(served.browser())
    served.issuer.key = RSAKey.generate_key(2048, {"kid": "two"})
    served.issuer.sign = lambda issuer, said: jwt.encode({"alg": "RS256", "kid": "two"}, said, issuer.key)
    browser = served.browser()
    assert why(served.sign_in(browser))  # not within half a minute of the last look
    asked = served.issuer.asked.count("/keys")
    served.sign_in(browser)
    assert served.issuer.asked.count("/keys") == asked


@pytest.mark.parametrize("back", ["https://evil.example.test/", "//evil.example.test", "/\\evil.example.test", "x"])
def test_nobody_is_sent_elsewhere_after_signing_in(served: Served, back: str) -> None:
    browser = served.browser()
    answer = browser.get(served.issuer.authorize(served.to_provider(browser, back)), allow_redirects=False)
    assert answer.headers["Location"] == "/"


def test_signing_out_ends_the_session_here_and_there(served: Served) -> None:
    browser = served.browser()
    served.sign_in(browser)
    kept = browser.cookies.copy()
    assert browser.post(f"{served.server.url}/auth/logout", allow_redirects=False).status_code == 403
    answer = browser.post(f"{served.server.url}/auth/logout", headers=HERE, allow_redirects=False)
    assert answer.headers["Location"] == "/sign-in"
    assert f'<a href="{served.issuer.url}/logout?' in browser.get(f"{served.server.url}/sign-in").text
    browser.cookies = kept
    assert browser.get(f"{served.server.url}/v1/me").status_code == 401


def test_another_site_writes_nothing_with_somebodys_cookie(served: Served) -> None:
    browser = served.browser()
    served.sign_in(browser)
    url = f"{served.server.url}/v1/applications/prod/shop/web:sync"
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example.test"},
        {},
    ):
        assert browser.post(url, json={}, headers=headers).status_code == 403
    assert browser.post(url, json={}, headers={"Origin": served.server.url}).status_code == 202


def test_whom_the_provider_lets_in_no_more_is_signed_out(served: Served) -> None:
    served.issuer.expires_in = 1
    browser = served.browser()
    served.sign_in(browser)
    [session] = requests.get(f"{served.server.url}/v1/sessions", headers=served.admin).json()
    assert session["name"] == "ann@example.test"
    ended = requests.delete(f"{served.server.url}/v1/sessions/ann@example.test", headers=served.admin)
    assert "1 session" in ended.json()["message"]
    assert browser.get(f"{served.server.url}/v1/me").status_code == 401


def test_tokens_are_told_once_do_what_their_roles_allow_and_end(served: Served) -> None:
    url = f"{served.server.url}/v1/tokens"
    made = requests.post(url, json={"name": "ci", "roles": ["role:ci"], "expires": "1h"}, headers=served.admin)
    assert made.status_code == 201
    secret = made.json()["token"]
    assert secret.startswith("taut_")
    assert secret not in requests.get(url, headers=served.admin).text
    machine = {"Authorization": f"Bearer {secret}"}
    assert requests.get(f"{served.server.url}/v1/me", headers=machine).json()["name"] == "token ci"
    sync = f"{served.server.url}/v1/applications/prod/shop/web:"
    assert requests.post(f"{sync}sync", json={}, headers=machine).status_code == 202
    refused = requests.post(f"{sync}suspend", json={}, headers=machine)
    assert refused.status_code == 403
    assert "token ci may not suspend applications default/web" in refused.json()["what"]
    assert requests.get(f"{served.server.url}/v1/audit", headers=machine).status_code == 403
    assert requests.post(url, json={"name": "b", "roles": ["role:admin"]}, headers=machine).status_code == 403
    again = requests.post(url, json={"name": "ci", "roles": ["role:ci"]}, headers=served.admin)
    assert again.status_code == 400
    assert requests.delete(f"{url}/ci", headers=served.admin).status_code == 200
    assert requests.get(f"{served.server.url}/v1/me", headers=machine).status_code == 401
    short = requests.post(url, json={"name": "s", "roles": ["role:ci"], "expires": "500ms"}, headers=served.admin)
    time.sleep(0.6)
    ended = {"Authorization": f"Bearer {short.json()['token']}"}
    assert requests.get(f"{served.server.url}/v1/me", headers=ended).status_code == 401


def test_who_may_make_tokens_gives_no_more_than_they_have(served: Served) -> None:
    served.policy.write_text(POLICY + "p, role:shop, accounts, create, *, allow\n")
    browser = served.browser()
    served.sign_in(browser)
    url = f"{served.server.url}/v1/tokens"
    wish = {"name": "mine", "roles": ["role:shop"]}
    deadline = time.monotonic() + 30
    while browser.post(url, json=wish, headers=HERE).status_code == 403 and time.monotonic() < deadline:
        time.sleep(0.3)  # the file is looked at every few seconds
    assert browser.post(url, json={**wish, "name": "other"}, headers=HERE).status_code == 201
    refused = browser.post(url, json={"name": "more", "roles": ["role:shop", "role:ci"]}, headers=HERE)
    assert refused.status_code == 403
    assert "role:ci" in refused.json()["what"]


def test_rules_that_cannot_be_read_change_nothing(served: Served) -> None:
    served.policy.write_text("p, nonsense\n")
    time.sleep(5.2)
    browser = served.browser()
    served.sign_in(browser)
    assert "role:shop" in browser.get(f"{served.server.url}/v1/me").json()["subjects"]


def test_after_many_failures_an_address_waits_but_for_the_administrator(served: Served) -> None:
    url = f"{served.server.url}/v1/me"
    answers = [requests.get(url, headers={"Authorization": f"Bearer wrong{n}"}).status_code for n in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert requests.get(url, headers=served.admin).status_code == 200
    form = requests.post(
        f"{served.server.url}/auth/token", data={"token": "wrong"}, headers=HERE, allow_redirects=False
    )
    assert form.status_code == 429


def test_the_administrator_signs_in_with_the_token(served: Served) -> None:
    browser = served.browser()
    url = f"{served.server.url}/auth/token"
    data = {"token": served.server.token, "next": "/v1/me"}
    assert "page of taut" in why(browser.post(url, data=data, allow_redirects=False))
    wrong = browser.post(url, data={"token": "no"}, headers=HERE, allow_redirects=False)
    assert "not the administrator" in why(wrong)
    assert browser.post(url, data=data, headers=HERE).json()["subjects"] == ["admin", "role:admin"]
    assert browser.get(f"{served.server.url}/v1/audit").status_code == 200


def test_can_i_says_the_rule(served: Served) -> None:
    browser = served.browser()
    served.sign_in(browser)
    url = f"{served.server.url}/v1/can-i"
    asked = {"action": "sync", "resource": "applications", "object": "default/web"}
    assert browser.get(url, params=asked).json() == {
        "allowed": True,
        "rule": "p, role:shop, applications, *, default/web, allow",
    }
    assert browser.get(url, params={**asked, "object": "other/web"}).json() == {"allowed": False, "rule": ""}
    assert browser.get(url, params={**asked, "action": "fly"}).status_code == 400


def test_a_session_is_in_no_answer_and_nowhere_plain(served: Served, tmp_path: Path) -> None:
    browser = served.browser()
    served.sign_in(browser)
    secret = next(c.value for c in browser.cookies if c.name == "taut")
    told = requests.get(f"{served.server.url}/v1/sessions", headers=served.admin).text
    assert secret is not None
    assert secret not in told
    assert "refresh-1" not in told
    assert msgspec.json.decode(told)[0]["groups"] == ["team"]
