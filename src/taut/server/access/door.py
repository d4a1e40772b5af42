"""The door: every request passes it once, and comes out with the name of who asks."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from taut.model.asking import ASKED_FROM
from taut.server.access import cookies
from taut.server.access.asking import admit
from taut.server.access.gate import Gate
from taut.server.access.principal import NOBODY, Principal
from taut.server.access.throttle import Throttle
from taut.server.problems import answer
from taut.server.views import ErrorView

SIGN_IN = "/sign-in"
_OPEN = frozenset({"/healthz", "/readyz", SIGN_IN})
_OPEN_BELOW = ("/hooks/", "/auth/", "/static/")
"""Addresses for everybody: probes say yes or no, a webhook carries its own signature, and one has to be able to sign in."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

type Refusal = Callable[[], Response]


class Door:
    """Lets in who is known, as who they are; others as nobody, where the rules give nobody a role, or the address is open."""

    def __init__(self, app: ASGIApp, gate: Gate, throttle: Throttle) -> None:
        self._app = app
        self._gate = gate
        self._throttle = throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it: 401 not known, 403 a write that no page of taut made, 429 too many failures."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        who = await self._who(request)
        if isinstance(who, Response):
            await who(scope, receive, send)
            return
        admit(scope.setdefault("state", {}), who, self._gate.rights.current)
        told = ASKED_FROM.set(f"{address_of(request)} ({who.how})" if who.how else address_of(request))
        try:
            await self._app(scope, receive, send)
        finally:
            ASKED_FROM.reset(told)

    async def _who(self, request: Request) -> Principal | Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self._of_token(request, token.strip())
        secret = request.cookies.get(cookies.session_name(request), "")
        session = await self._gate.cookie(secret) if secret else None
        if session is not None:
            request.scope.setdefault("state", {})["session"] = (session, secret)
            if request.method not in _SAFE and not cookies.is_from_here(request):
                return answer(
                    ErrorView(what="This was not asked for by a page of taut", advice="open taut and try again"), 403
                )
            return session.principal
        if request.url.path in _OPEN or request.url.path.startswith(_OPEN_BELOW) or self._gate.rights.book.anonymous:
            return NOBODY
        return _unknown(request)

    async def _of_token(self, request: Request, token: str) -> Principal | Response:
        """A good token always lets in: others behind the same address must not lock its holder out."""
        who = await self._gate.bearer(token, request.headers.get("x-taut-actor", ""))
        if who is not None:
            return who
        address = address_of(request)
        if wait := self._throttle.wait(address):
            return too_many(wait)
        self._throttle.failed(address)
        return _unknown(request)


def address_of(request: Request) -> str:
    """From where a request comes: of those who come through a proxy that is trusted, what it says."""
    return request.client.host if request.client is not None else "this machine"


def too_many(wait: float) -> Response:
    """Too many failures from there."""
    refused = ErrorView(
        what="There were too many failed sign-ins from your address", advice="wait a minute, and try again"
    )
    return answer(refused, 429, {"Retry-After": str(int(wait) + 1)})


def wants_page(headers: Headers) -> bool:
    """Whether it is a browser that looks at a page."""
    return "text/html" in headers.get("accept", "")


def _unknown(request: Request) -> Response:
    if request.method in _SAFE and wants_page(request.headers) and "authorization" not in request.headers:
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(back, safe='')}", 303)
    refused = ErrorView(
        what="The token is missing or wrong",
        advice="the token is in the file that `taut run` names when it starts; pass it with --token-file",
    )
    return answer(refused, 401, {"WWW-Authenticate": "Bearer"})
