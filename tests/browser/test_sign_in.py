"""Signing in at a real provider, in a real browser: Gitea's own pages, and back to the page of taut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser.conftest import visiting
from servers.forge import Forge
from support.memory_backend import MemoryBackend, running
from taut.dialects.access_config import AccessConfig, OidcConfig

pytestmark = pytest.mark.integration


def test_somebody_signs_in_at_gitea_and_out_again(
    browser: Browser, forge: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    app = {"name": "taut in a browser", "confidential_client": True, "redirect_uris": ["http://127.0.0.1/x"]}
    made = forge.api("POST", "/user/applications/oauth2", app)
    secret = tmp_path / "secret"
    oidc = OidcConfig(
        name="gitea", issuer=forge.url, client_id=made["client_id"], client_secret_file=str(secret),
        username_claim="preferred_username",
    )  # fmt: skip
    access = AccessConfig(oidc=(oidc,), default_role="role:readonly")
    with running(tmp_path, MemoryBackend(), access=access) as server:
        app["redirect_uris"] = [f"{server.url}/auth/gitea/callback"]
        secret.write_text(forge.api("PATCH", f"/user/applications/oauth2/{made['id']}", app)["client_secret"])
        with visiting(browser, server.url, "") as visit:
            page = visit.page
            page.goto(f"{server.url}/?q=web")
            expect(page).to_have_url(re.compile("/sign-in"))
            assert not visit.barriers()
            page.get_by_role("link", name="Sign in with gitea").click()
            page.fill("#user_name", forge.user)
            page.fill("#password", forge.password)
            page.press("#password", "Enter")
            page.wait_for_load_state()
            if "/login/oauth/authorize" in page.url:
                page.locator("#authorize-app").click()
            expect(page).to_have_url(f"{server.url}/?q=web")
            expect(page.get_by_text(forge.user)).to_be_visible()
            page.get_by_role("button", name="Leave").click()
            expect(page).to_have_url(re.compile("/sign-in"))
            page.goto(f"{server.url}/")
            expect(page).to_have_url(re.compile("/sign-in"))
            visit.faults.clear()  # of Gitea's pages, whose scripts are not in its module
