"""Signing in and out with a browser."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from taut.model.errors import TautError
from taut.server.access import cookies
from taut.server.access.accounts import Session
from taut.server.access.door import SIGN_IN, address_of, too_many
from taut.server.access.gate import Gate, renew_at
from taut.server.access.oidc import FLOW_SECONDS, Provider, SignInError
from taut.server.access.rules import ADMIN
from taut.server.access.throttle import Throttle

_FLOW_COOKIE, _FLOW_PATH = "taut-sign-in", "/auth"
_FORM_LIMIT = 16 * 1024
_REFUSED, _LEFT, _TOLD_SECONDS = "taut-refused", "taut-left", 10

type Audit = Callable[[str, str, str, str], Awaitable[object]]
"""Writes down who did what to whom, with a detail."""


class SignIn:
    """The handlers. `url` is the address at which browsers reach taut; empty: the one that each names."""

    def __init__(self, gate: Gate, throttle: Throttle, audit: Audit, *, url: str, longest: float) -> None:
        self._gate = gate
        self._throttle = throttle
        self._audit = audit
        self._url = url.rstrip("/")
        self._seconds = int(longest)

    def routes(self) -> list[Route]:
        """All addresses."""
        return [
            Route("/auth/{provider}/login", self.begin),
            Route("/auth/{provider}/callback", self.end),
            Route("/auth/token", self.with_token, methods=["POST"]),
            Route("/auth/logout", self.out, methods=["POST"]),
        ]

    async def begin(self, request: Request) -> Response:
        """To the provider."""
        provider = self._provider(request)
        back = safe_path(request.query_params.get("next", "/"))
        try:
            url, browser = await provider.begin(self._redirect(request, provider), back)
        except SignInError as error:
            return refused(request, error.what)
        response = RedirectResponse(url, 303)
        cookies.put(request, response, _FLOW_COOKIE, browser, seconds=int(FLOW_SECONDS), path=_FLOW_PATH)
        return response

    async def end(self, request: Request) -> Response:
        """Back from the provider."""
        wait = self._throttle.wait(address_of(request))
        if wait:
            return too_many(wait)
        provider = self._provider(request)
        try:
            person, back = await provider.end(dict(request.query_params), request.cookies.get(_FLOW_COOKIE, ""))
        except SignInError as error:
            self._throttle.failed(address_of(request))
            await self._audit("somebody", "sign-in-refused", provider.config.name, error.what)
            response = refused(request, error.what)
            cookies.take(request, response, _FLOW_COOKIE, path=_FLOW_PATH)
            return response
        ends = renew_at(person, self._gate.now)
        secret, session = await self._gate.accounts.open(
            person.name, provider=provider.config.name, groups=person.groups, refresh=person.refresh, renew_at=ends
        )
        response = await self._opened(request, secret, session, back)
        cookies.take(request, response, _FLOW_COOKIE, path=_FLOW_PATH)
        return response

    async def with_token(self, request: Request) -> Response:
        """With the administrator's token, from a form."""
        address = address_of(request)
        wait = self._throttle.wait(address)
        form = await read_form(request)
        back = safe_path(form.get("next", "/"))
        if not cookies.is_from_here(request):
            return refused(request, "this was not asked for by a page of taut")
        if not self._gate.is_administrator(form.get("token", "").strip()):
            if wait:
                return too_many(wait)
            self._throttle.failed(address)
            await self._audit("somebody", "sign-in-refused", "token", "")
            return refused(request, "this is not the administrator's token", back)
        secret, session = await self._gate.accounts.open("admin", provider="", roles=[ADMIN])
        return await self._opened(request, secret, session, back)

    async def out(self, request: Request) -> Response:
        """Sign out here. Where the provider offers to sign out there too, the next page has the link: forms of the page lead nowhere else."""
        found = session_of(request)
        response = RedirectResponse(SIGN_IN, 303)
        if found is not None:
            session, _ = found
            await self._gate.accounts.end(session)
            await self._audit(session.name, "sign-out", session.provider or "token", "")
            provider = self._gate.providers.get(session.provider)
            elsewhere = await provider.goodbye(f"{self._base(request)}{SIGN_IN}") if provider is not None else ""
            if elsewhere:
                cookies.put(request, response, _LEFT, quote(elsewhere), seconds=_TOLD_SECONDS, path=SIGN_IN)
        cookies.take(request, response, cookies.session_name(request))
        return response

    async def _opened(self, request: Request, secret: str, session: Session, back: str) -> Response:
        await self._audit(session.name, "sign-in", session.provider or "token", ", ".join(session.groups))
        response = RedirectResponse(back, 303)
        cookies.put(request, response, cookies.session_name(request), secret, seconds=self._seconds)
        return response

    def _provider(self, request: Request) -> Provider:
        name = request.path_params["provider"]
        found = self._gate.providers.get(name)
        if found is None:
            raise TautError(f"nobody can sign in with {name!r} here", advice="see access.oidc in the configuration")
        return found

    def _base(self, request: Request) -> str:
        return self._url or f"{request.url.scheme}://{request.url.netloc}"

    def _redirect(self, request: Request, provider: Provider) -> str:
        return f"{self._base(request)}/auth/{provider.config.name}/callback"


def session_of(request: Request) -> tuple[Session, str] | None:
    """The session that a request came with, and its secret."""
    return request.scope.get("state", {}).get("session")


def refused(request: Request, why: str, back: str = "/") -> Response:
    """Back to the sign-in, with the reason: in a cookie, for what stands in an address anybody could have written."""
    response = RedirectResponse(SIGN_IN if back == "/" else f"{SIGN_IN}?next={quote(back, safe='')}", 303)
    cookies.put(request, response, _REFUSED, quote(why), seconds=_TOLD_SECONDS, path=SIGN_IN)
    return response


def refusal_of(request: Request) -> str:
    """Why a browser was sent back to the sign-in; empty where it was not."""
    return unquote(request.cookies.get(_REFUSED, ""))[:400]


def farewell_of(request: Request) -> str:
    """Where a browser that signed out here signs out at its provider as well; empty where that is not offered."""
    return unquote(request.cookies.get(_LEFT, ""))


def safe_path(text: str) -> str:
    """A path of this taut; anything that leads elsewhere becomes `/`. Browsers take a backslash for a slash."""
    parts = urlsplit(text)
    local = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if local and not parts.scheme and not parts.netloc else "/"


async def read_form(request: Request) -> dict[str, str]:
    """A small urlencoded form; what is too large is empty."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _FORM_LIMIT:
            return {}
    found = parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[-1] for name, values in found.items()}
