"""Tokens and sessions through a restart, in the real store; and what becomes of a session when its provider is asked again."""

from __future__ import annotations

import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from support.issuer import issuing
from support.memory_backend import running
from taut.clients.http import HttpClient
from taut.dialects.access_config import AccessConfig, OidcConfig, TlsConfig
from taut.model.errors import BadInput
from taut.server.access.accounts import Accounts
from taut.server.access.gate import FileRights, Gate
from taut.server.access.oidc import Provider
from taut.server.serve import bind
from taut.store.store import Store

pytestmark = pytest.mark.integration
HOUR = 3600.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "taut.db")
    yield opened
    await opened.close()


async def _accounts(store: Store, clock: list[float]) -> Accounts:
    found = Accounts(store, idle=2 * HOUR, longest=12 * HOUR, clock=lambda: clock[0])
    await found.load()
    return found


async def test_a_restart_forgets_nobody_and_keeps_nothing_plain(store: Store, tmp_path: Path) -> None:

    clock = [time.time()]
    accounts = await _accounts(store, clock)
    secret, token = await accounts.make_token("ci", ["role:ci"], "ann", clock[0] + HOUR)
    cookie, session = await accounts.open("ann@example.test", provider="corp", groups=["team"], refresh="renew-me")
    again = await _accounts(store, clock)
    found = await again.token(secret)
    assert found is not None
    assert (found.id, found.roles) == (token.id, ("role:ci",))
    kept = await again.session(cookie)
    assert kept == session
    raw = b"".join(p.read_bytes() for p in tmp_path.glob("taut.db*"))
    for hidden in (secret, cookie, "renew-me", "ann@example.test"):
        assert hidden.encode() not in raw
    await again.end(session)
    await again.revoke("ci")
    third = await _accounts(store, clock)
    assert await third.session(cookie) is None
    assert await third.token(secret) is None


async def test_a_session_ends_when_nobody_uses_it_and_at_the_latest_after_its_time(store: Store) -> None:

    clock = [time.time()]
    accounts = await _accounts(store, clock)
    cookie, _ = await accounts.open("ann", provider="")
    for _ in range(7):
        clock[0] += 1.7 * HOUR
        alive = await accounts.session(cookie)
    assert alive is not None
    clock[0] += 0.2 * HOUR
    assert await accounts.session(cookie) is None
    idle, _ = await accounts.open("ben", provider="")
    clock[0] += 2.1 * HOUR
    assert await accounts.session(idle) is None


async def test_what_the_provider_says_later_counts(store: Store) -> None:

    clock = [time.time()]
    accounts = await _accounts(store, clock)
    rights = FileRights(None, default="", anonymous="")
    with issuing() as issuer:
        async with HttpClient() as http:
            provider = Provider(OidcConfig(name="corp", issuer=issuer.url, client_id="taut"), http)
            gate = Gate("x" * 40, rights, accounts, {"corp": provider}, clock=lambda: clock[0])
            name = "ann@example.test"
            cookie, _ = await accounts.open(name, provider="corp", groups=["team"], refresh="r", renew_at=clock[0] + 1)
            issuer.claims = {"groups": ["other"], "nonce": None}
            clock[0] += 2
            renewed = await gate.cookie(cookie)
            assert renewed is not None
            assert renewed.groups == ("other",)
            asked = len(issuer.asked)
            assert await gate.cookie(cookie) == renewed
            assert len(issuer.asked) == asked
            issuer.refuse = "invalid_grant"
            clock[0] = renewed.renew_at + 1
            assert await gate.cookie(cookie) is None
            assert await accounts.session(cookie) is None
            away, _ = await accounts.open(name, provider="corp", groups=["team"], refresh="r", renew_at=clock[0] - 1)
            provider.config = msgspec.structs.replace(provider.config, issuer="http://127.0.0.1:9")
            issuer.refuse = ""
            gate.providers["corp"] = Provider(provider.config, http)  # pyright: ignore[reportIndexIssue]
            kept = await gate.cookie(away)
            assert kept is not None
            assert kept.groups == ("team",)


def _certificate(folder: Path, name: str) -> TlsConfig:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return TlsConfig(certificate_file=str(certificate), key_file=str(key))


def test_tls_by_files_and_no_other_address_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    with pytest.raises(BadInput, match="listens on this machine only"):
        bind("0.0.0.0:0")
    tls = _certificate(tmp_path, "one")
    with running(tmp_path, access=AccessConfig(tls=tls)) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=tls.certificate_file)
        with urllib.request.urlopen(f"{server.url}/healthz", context=context) as answer:
            assert answer.read() == b"ok\n"
    broken = TlsConfig(certificate_file=tls.certificate_file, key_file=_certificate(tmp_path, "two").key_file)
    with (
        pytest.raises(BadInput, match="certificate cannot be used"),
        running(tmp_path, access=AccessConfig(tls=broken)),
    ):
        pass


def test_only_a_proxy_that_is_trusted_says_from_where_somebody_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    for number, (trusted, wanted) in enumerate(((("127.0.0.1",), 401), ((), 429))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with running(folder, access=AccessConfig(trusted_proxies=trusted)) as server:
            statuses = set[int]()
            for n in range(12):
                request = urllib.request.Request(f"{server.url}/v1/me")
                request.add_header("Authorization", "Bearer wrong")
                request.add_header("X-Forwarded-For", f"192.0.2.{n}")
                try:
                    urllib.request.urlopen(request)
                except urllib.error.HTTPError as error:
                    statuses.add(error.code)
            assert max(statuses) == wanted
