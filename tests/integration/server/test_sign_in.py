"""Sign-in at a real provider: Gitea, its own pages, its own groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from servers.forge import Forge
from support.memory_backend import MemoryBackend, running
from taut.dialects.access_config import AccessConfig, OidcConfig

pytestmark = pytest.mark.integration
_HIDDEN = re.compile(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"')


@pytest.fixture
def browser() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def _agree(browser: requests.Session, forge: Forge, url: str) -> requests.Response:
    """Sign in on Gitea's own pages and let taut know who it is; the answer is Gitea's last one, a redirect to taut."""
    page = browser.get(f"{forge.url}/user/login")
    form = dict(_HIDDEN.findall(page.text))
    signed = browser.post(
        f"{forge.url}/user/login",
        data={**form, "user_name": forge.user, "password": forge.password},
        allow_redirects=False,
    )
    assert signed.status_code in (302, 303), signed.text[:500]
    asked = browser.get(url, allow_redirects=False)
    if asked.status_code in (302, 303):
        return asked
    grant = {**dict(_HIDDEN.findall(asked.text)), "granted": "true"}
    return browser.post(f"{forge.url}/login/oauth/grant", data=grant, allow_redirects=False)


def test_somebody_of_gitea_signs_in_with_the_rights_of_their_team(
    forge: Forge, browser: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    forge.api("POST", "/orgs", {"username": "shop"})
    policy, secret = tmp_path / "policy.csv", tmp_path / "secret"
    policy.write_text("p, role:shop, applications, sync, default/web, allow\ng, shop:owners, role:shop\n")
    made = forge.api(
        "POST",
        "/user/applications/oauth2",
        {"name": "taut", "confidential_client": True, "redirect_uris": ["http://127.0.0.1/auth/gitea/callback"]},
    )
    oidc = OidcConfig(
        name="gitea",
        issuer=forge.url,
        client_id=made["client_id"],
        client_secret_file=str(secret),
        username_claim="preferred_username",
    )
    access = AccessConfig(policy_file=str(policy), oidc=(oidc,), default_role="role:readonly")
    backend = MemoryBackend()
    with running(tmp_path, backend, access=access) as server:
        # The address is known only now; Gitea makes a new secret with each change.
        app = {"name": "taut", "confidential_client": True, "redirect_uris": [f"{server.url}/auth/gitea/callback"]}
        secret.write_text(forge.api("PATCH", f"/user/applications/oauth2/{made['id']}", app)["client_secret"])
        begun = browser.get(f"{server.url}/auth/gitea/login", params={"next": "/v1/me"}, allow_redirects=False)
        back = _agree(browser, forge, begun.headers["Location"])
        assert back.headers["Location"].startswith(f"{server.url}/auth/gitea/callback?")
        came = browser.get(back.headers["Location"], allow_redirects=False)
        assert came.headers["Location"] == "/v1/me"
        me = browser.get(f"{server.url}/v1/me").json()
        assert me["name"] == forge.user
        assert {"shop", "shop:owners", "role:shop", "role:readonly"} <= set(me["subjects"])
        may = browser.get(f"{server.url}/v1/can-i?action=sync&resource=applications&object=default/web").json()
        assert may["allowed"]
        assert (forge.user, "sign-in") in [n[:2] for n in backend.noted]
