"""Sign-in at an OpenID Connect provider: authorization code with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0), and what its tokens say.

What is believed of an ID token: its signature by a key that the provider publishes, by an asymmetric algorithm; its issuer, audience, time and nonce.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from taut.clients.credentials import Credentials
from taut.clients.http import HttpClient
from taut.dialects.access_config import OidcConfig
from taut.model.errors import SourceError, TautError, Where

FLOW_SECONDS = 600.0
_LEEWAY = 60
_MOST_FLOWS = 1000
_KEYS_AGAIN = 30.0
"""Seconds between two reads of a provider's keys: a token with an invented key id must not make taut ask each time."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class SignInError(TautError):
    """Somebody could not be signed in; the sentence is for them."""


class RefusedError(SignInError):
    """The provider knows the person no more, or lets them in no more."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in, as the provider says. `refresh` renews it; `ends` is when it has to be (Unix seconds, 0: never)."""

    name: str
    groups: tuple[str, ...]
    refresh: str = ""
    ends: float = 0.0


@dataclass(frozen=True, slots=True)
class _Flow:
    """A sign-in under way. `browser` is the hash of what its cookie holds: nobody else may end it."""

    browser: str
    nonce: str
    verifier: str
    back: str
    redirect: str
    ends: float


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: float = 0.0


class Provider:
    """One provider."""

    def __init__(self, config: OidcConfig, http: HttpClient, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._http = http
        self._clock = clock
        self._flows: dict[str, _Flow] = {}
        self._discovery: _Discovery | None = None
        self._keys: KeySet | None = None
        self._keys_at = 0.0

    async def begin(self, redirect: str, back: str) -> tuple[str, str]:
        """The address to send a browser to, and the secret for its cookie. `redirect` is where the provider sends it back, `back` the page after that.

        Raises SignInError when the provider does not answer.
        """
        found = await self._discovered()
        state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
        now = self._clock()
        self._flows = {k: f for k, f in self._flows.items() if f.ends > now}
        if len(self._flows) >= _MOST_FLOWS:
            self._flows.pop(next(iter(self._flows)))
        self._flows[state] = _Flow(_hash(browser), nonce, verifier, back, redirect, now + FLOW_SECONDS)
        query = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self.config.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": _challenge(verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in found.authorization_endpoint else "?"
        return f"{found.authorization_endpoint}{joint}{urlencode(query)}", browser

    async def end(self, query: Mapping[str, str], browser: str) -> tuple[Person, str]:
        """Who came back from the provider, and the page that they wanted. Each answer counts once.

        Raises SignInError: the answer was not asked for (or was used), by another browser, too late; the provider refused; its token is not good.
        """
        flow = self._flows.pop(query.get("state", ""), None)
        if flow is None or flow.ends < self._clock():
            raise SignInError("this sign-in is not known any more", advice="sign in again")
        if not secrets.compare_digest(flow.browser, _hash(browser)):
            raise SignInError("this sign-in was begun in another browser", advice="sign in again")
        if error := query.get("error"):
            told = query.get("error_description") or error
            raise SignInError(f"{self.config.name} did not sign you in: {_clean(told)}")
        form = {
            "grant_type": "authorization_code",
            "code": query.get("code", ""),
            "redirect_uri": flow.redirect,
            "code_verifier": flow.verifier,
        }
        tokens = await self._tokens(form)
        return await self._person(tokens, flow.nonce), flow.back

    async def renew(self, refresh: str) -> Person:
        """What the provider says of somebody now. Raises RefusedError when it lets them in no more, SignInError when it does not answer."""
        tokens = await self._tokens({"grant_type": "refresh_token", "refresh_token": refresh})
        person = await self._person(tokens, None)
        return person if person.refresh else Person(person.name, person.groups, refresh, person.ends)

    async def goodbye(self, back: str) -> str:
        """Where a browser signs out at the provider as well; empty where that is not offered."""
        try:
            found = await self._discovered()
        except SignInError:
            return ""
        if not found.end_session_endpoint:
            return ""
        query = {"client_id": self.config.client_id, "post_logout_redirect_uri": back}
        return f"{found.end_session_endpoint}?{urlencode(query)}"

    # What the provider says

    async def _person(self, tokens: _Tokens, nonce: str | None) -> Person:
        """From an ID token; where it does not tell groups, the provider's userinfo does. At a renewal there may be no ID token at all."""
        claims = await self._claims(tokens.id_token, nonce) if tokens.id_token or nonce is not None else {}
        wanted = self.config.groups_claim
        found = await self._discovered()
        if (not claims or wanted not in claims) and found.userinfo_endpoint and tokens.access_token:
            told = await self._userinfo(found.userinfo_endpoint, tokens.access_token)
            if claims and told.get("sub") != claims.get("sub"):
                raise SignInError(f"{self.config.name} tells of another person than its token")
            claims = {**told, **claims}
        if not claims:
            raise SignInError(f"{self.config.name} does not tell who signed in")
        groups = claims.get(wanted)
        listed = groups if isinstance(groups, list) else [groups] if isinstance(groups, str) else []
        ends = self._clock() + tokens.expires_in if tokens.expires_in else 0.0
        return Person(self._name(claims), tuple(str(g) for g in listed), tokens.refresh_token, ends)

    def _name(self, claims: Mapping[str, Any]) -> str:
        claim = self.config.username_claim
        value = claims.get(claim)
        trusted = claim != "email" or claims.get("email_verified", True) is True
        name = str(value) if value and trusted else str(claims.get("sub") or "")
        if not name:
            raise SignInError(f"{self.config.name} gives no name", advice=f"its tokens need the claim {claim}")
        return _clean(name)

    async def _claims(self, token: str, nonce: str | None) -> dict[str, Any]:
        if not token:
            raise SignInError(f"{self.config.name} gave no ID token", advice="the scope openid has to be allowed there")
        try:
            decoded = await self._verified(token)
            essential: dict[str, Any] = {
                "iss": {"essential": True, "value": self.config.issuer},
                "aud": {"essential": True, "value": self.config.client_id},
                "exp": {"essential": True},
                "sub": {"essential": True},
            }
            if nonce is not None:
                essential["nonce"] = {"essential": True, "value": nonce}
            jwt.JWTClaimsRegistry(now=lambda: int(self._clock()), leeway=_LEEWAY, **essential).validate(decoded)
        except (JoseError, ValueError) as error:
            raise SignInError(
                f"the token of {self.config.name} is not good ({_reason(error)})", advice="sign in again"
            ) from None
        audience = decoded.get("aud")
        if isinstance(audience, list) and len(audience) > 1 and decoded.get("azp") != self.config.client_id:
            raise SignInError(f"the token of {self.config.name} is for another client")
        return decoded

    async def _verified(self, token: str) -> dict[str, Any]:
        keys = await self._key_set(fresh=False)
        try:
            return dict(jwt.decode(token, keys, algorithms=list(_ALGORITHMS)).claims)
        except (JoseError, ValueError):
            # The provider may sign with another key since.
            again = await self._key_set(fresh=True)
            if again is keys:
                raise
            return dict(jwt.decode(token, again, algorithms=list(_ALGORITHMS)).claims)

    async def _key_set(self, *, fresh: bool) -> KeySet:
        now = self._clock()
        if self._keys is None or (fresh and now - self._keys_at > _KEYS_AGAIN):
            body = await self._get((await self._discovered()).jwks_uri)
            try:
                self._keys = KeySet.import_key_set(msgspec.json.decode(body))
            except (msgspec.DecodeError, JoseError, ValueError, KeyError, TypeError):
                raise SignInError(f"the keys of {self.config.name} cannot be read") from None
            self._keys_at = now
        return self._keys

    async def _userinfo(self, url: str, access: str) -> dict[str, Any]:
        body = await self._get(url, {"Authorization": f"Bearer {access}"})
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise SignInError(f"what {self.config.name} says of you cannot be read") from None

    # Asking it

    async def _discovered(self) -> _Discovery:
        if self._discovery is None:
            url = f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                found = msgspec.json.decode(await self._get(url), type=_Discovery)
            except msgspec.DecodeError:
                raise SignInError(f"{self.config.name} has no discovery document", where=Where(field=url)) from None
            if found.issuer != self.config.issuer:
                raise SignInError(
                    f"{self.config.name} calls itself {_clean(found.issuer)}",
                    advice=f"write that as issuer in access.oidc, if it is meant (now: {self.config.issuer})",
                )
            self._discovery = found
        return self._discovery

    async def _tokens(self, form: dict[str, str]) -> _Tokens:
        found = await self._discovered()
        headers = {"Accept": "application/json"}
        secret = self._secret()
        if secret:
            pair = f"{quote(self.config.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form = {**form, "client_id": self.config.client_id}
        try:
            answer = await self._http.post_form(
                found.token_endpoint,
                form,
                headers=headers,
                credentials=self._trust(),
                accept=frozenset({200, 400, 401, 403}),
            )
        except SourceError as error:
            raise SignInError(f"{self.config.name} cannot be asked: {error.what}", advice=error.advice) from None
        if answer.status != 200:
            raise RefusedError(f"{self.config.name} refused ({_error_of(answer.body)})", advice="sign in again")
        try:
            return msgspec.json.decode(answer.body, type=_Tokens, strict=False)
        except msgspec.DecodeError:
            raise SignInError(f"the answer of {self.config.name} cannot be read") from None

    async def _get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        try:
            return (await self._http.get(url, headers=headers, credentials=self._trust(), limit=2**20)).body
        except SourceError as error:
            raise SignInError(f"{self.config.name} cannot be asked: {error.what}", advice=error.advice) from None

    def _trust(self) -> Credentials | None:
        file = self.config.ca_file
        return Credentials(ca=_content(file)) if file else None

    def _secret(self) -> str:
        file = self.config.client_secret_file
        return _content(file).decode().strip() if file else ""


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SignInError(f"a file of the sign-in cannot be read: {error.strerror}", where=Where(file=file)) from None


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]


def _reason(error: Exception) -> str:
    """The class says it; the text could quote the token."""
    return type(error).__name__.removesuffix("Error") or "unknown"


def _error_of(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return "no reason given"
    return _clean(str(found.get("error") or "no reason given"))
