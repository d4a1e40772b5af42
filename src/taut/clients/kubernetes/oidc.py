"""Signing in by OpenID Connect: the kubeconfig's `auth-provider: oidc`, with the refresh of its ID token."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import orjson

from taut.clients.kubernetes.credentials import Credential, basic, bearer
from taut.clients.kubernetes.proxy import proxy_from_environment
from taut.clients.kubernetes.tls import Tls, context
from taut.model.errors import BadInput, TargetError, Where

RENEW_BEFORE = 10.0


@dataclass(frozen=True)
class OidcSettings:
    """The provider's settings, tokens included; those stay out of repr."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    ca: bytes = field(default=b"", repr=False)


class Oidc:
    """Sends the ID token, and gets a new one with the refresh token when it ran out or was refused.

    `keep` is called with the changed settings after a refresh: a provider that rotates refresh tokens accepts each only once, so
    what it gave has to go back into the kubeconfig, as kubectl does it.
    """

    def __init__(
        self,
        settings: OidcSettings,
        *,
        keep: Callable[[OidcSettings], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._keep = keep
        self._clock = clock
        self._refused = False
        self._lock = asyncio.Lock()

    async def current(self) -> Credential:
        """The ID token as a bearer token. Raises BadInput without any, TargetError when the provider gives no new one."""
        async with self._lock:
            if self._refused or not self._fresh():
                self._settings = await self._refresh()
                self._refused = False
                if self._keep is not None:
                    await asyncio.to_thread(self._keep, self._settings)
            return Credential(bearer(self._settings.id_token))

    def refused(self) -> bool:
        """Get a new ID token with the next request, if there is a refresh token."""
        self._refused = bool(self._settings.refresh_token)
        return self._refused

    def _fresh(self) -> bool:
        return bool(self._settings.id_token) and self._clock() < expiry(self._settings.id_token) - RENEW_BEFORE

    async def _refresh(self) -> OidcSettings:
        settings = self._settings
        if not settings.refresh_token:
            raise BadInput(
                "the OIDC ID token ran out, and there is no refresh token",
                where=Where(field="users.user.auth-provider.config.refresh-token"),
                advice="sign in again with the tool that wrote the kubeconfig",
            )
        tls = context(Tls(settings.ca), None)
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                endpoint = await self._token_endpoint(session, tls)
                answer = await self._ask(session, tls, endpoint)
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as e:
            raise _failure(settings, str(e) or type(e).__name__) from e
        token = answer.get("id_token")
        if not isinstance(token, str) or not token:
            raise _failure(settings, "it gave no ID token (does the client have the openid scope?)")
        rotated = answer.get("refresh_token")
        return replace(
            settings,
            id_token=token,
            refresh_token=rotated if isinstance(rotated, str) and rotated else settings.refresh_token,
        )

    async def _token_endpoint(self, session: aiohttp.ClientSession, tls: Any) -> str:
        url = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        async with session.get(url, ssl=tls, proxy=_proxy(url)) as response:
            if response.status != 200:
                raise _failure(self._settings, f"{url} answered {response.status}")
            found = orjson.loads(await response.read()).get("token_endpoint")
        if not isinstance(found, str):
            raise _failure(self._settings, f"{url} names no token_endpoint")
        return found

    async def _ask(self, session: aiohttp.ClientSession, tls: Any, endpoint: str) -> Mapping[str, Any]:
        """Refresh; the client's secret goes into a header first, then into the form: providers accept one or the other."""
        settings = self._settings
        form = {"grant_type": "refresh_token", "refresh_token": settings.refresh_token}
        ways = (
            (form, {"Authorization": basic(quote_plus(settings.client_id), quote_plus(settings.client_secret))}),
            ({**form, "client_id": settings.client_id, "client_secret": settings.client_secret}, {}),
        )
        status = 0
        for data, headers in ways:
            async with session.post(endpoint, data=data, headers=headers, ssl=tls, proxy=_proxy(endpoint)) as response:
                status = response.status
                if status == 200:
                    answer = orjson.loads(await response.read())
                    return answer if isinstance(answer, dict) else {}
        raise _failure(settings, f"{endpoint} answered {status}")


def _proxy(url: str) -> str | None:
    return proxy_from_environment(url, os.environ) or None


def _failure(settings: OidcSettings, how: str) -> TargetError:
    return TargetError(
        f"the OIDC provider {settings.issuer} gave no new token: {how}",
        advice="sign in again with the tool that wrote the kubeconfig",
        reason="Unauthorized",
    )


def expiry(token: str) -> float:
    """When a JWT ends, in Unix seconds; 0 when that cannot be read. Its signature is the API server's business."""
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return 0.0


def oidc_settings(config: Mapping[str, Any], *, file: str, folder: Path) -> OidcSettings:
    """Read the `config` of an `auth-provider: oidc`. Raises BadInput when something is missing or cannot be read."""
    where = Where(file=file, field="users.user.auth-provider.config")
    issuer, client = str(config.get("idp-issuer-url") or ""), str(config.get("client-id") or "")
    if not issuer or not client:
        raise BadInput(
            "idp-issuer-url or client-id is missing", where=where, advice="sign in again to have them written"
        )
    try:
        ca = base64.b64decode(str(config.get("idp-certificate-authority-data") or ""))
        named = str(config.get("idp-certificate-authority") or "")
        if named:
            ca = (folder / named).read_bytes()
    except (OSError, ValueError) as e:
        raise BadInput("the provider's certificate authority cannot be read", where=where, advice=str(e)) from e
    return OidcSettings(
        issuer=issuer,
        client_id=client,
        client_secret=str(config.get("client-secret") or ""),
        id_token=str(config.get("id-token") or ""),
        refresh_token=str(config.get("refresh-token") or ""),
        ca=ca,
    )
