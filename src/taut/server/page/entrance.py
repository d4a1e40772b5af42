"""How a browser gets in: the administrator's token, given once at /sign-in, becomes a signed cookie of twelve hours.

Each form carries a token against forged requests (CSRF), made of the cookie and masked anew for each answer: a compressed page that
repeats what somebody typed would give an unmasked one away, guess by guess (BREACH).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from taut.model.errors import BadInput
from taut.server.access.asking import ForbiddenError

COOKIE = "taut-page"
LASTS = 12 * 3600
_FORM_LIMIT = 64 * 1024
_BYTES = 32
FIELD = "csrf"


class Doorkeeper:
    """Makes and checks the cookies of one token."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._key = hmac.digest(token.encode(), b"taut page: cookies", hashlib.sha256)
        self._clock = clock

    def opens(self, token: str) -> bool:
        """Whether this is the administrator's token; compared in constant time."""
        return hmac.compare_digest(token.strip().encode(), self._token.encode())

    def new_cookie(self) -> str:
        """A cookie for somebody who gave the token."""
        body = f"{int(self._clock()) + LASTS}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self._signature(body)}"

    def lets_in(self, cookie: str) -> bool:
        """Whether a cookie is from here, and has not run out."""
        body, _, signature = cookie.rpartition(".")
        if not body or not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return False
        ends = body.partition(".")[0]
        return ends.isdigit() and self._clock() < int(ends)

    def bearer(self) -> bytes:
        """The header by which the API's own door knows the administrator."""
        return b"Bearer " + self._token.encode()

    def _signature(self, body: str) -> str:
        return hmac.digest(self._key, body.encode(), hashlib.sha256).hex()


class Entrance:
    """Lets browsers with a cookie pass to the page, and sends others to /sign-in. Every other address is left to the door behind it."""

    def __init__(self, app: ASGIApp, keeper: Doorkeeper, ours: Callable[[str], bool], front: ASGIApp) -> None:
        self._app = app
        self._keeper = keeper
        self._ours = ours
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not self._ours(path):
            await self._app(scope, receive, send)
        elif is_open(path):
            await self._front(scope, receive, send)
        elif self._keeper.lets_in(Request(scope).cookies.get(COOKIE, "")):
            headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
            known = {**scope, "headers": [*headers, (b"authorization", self._keeper.bearer())]}
            await self._app(known, receive, send)
        elif any(name == b"authorization" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
        else:
            query = scope.get("query_string", b"").decode("latin-1")
            back = quote(path + (f"?{query}" if query else ""), safe="")
            await RedirectResponse(f"/sign-in?to={back}", 303)(scope, receive, send)


def is_open(path: str) -> bool:
    """Addresses for which nobody has to sign in: they tell nothing of what taut looks after."""
    return path in ("/sign-in", "/sign-out") or path.startswith("/static/")


def inner_address(text: str) -> str:
    """`text` when it is an address of this page, else `/`: after signing in nobody is sent elsewhere."""
    inner = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if inner else "/"


def csrf_of(request: Request) -> str:
    """The token for the forms of an answer."""
    mask = secrets.token_bytes(_BYTES)
    masked = bytes(a ^ b for a, b in zip(mask, _secret(request), strict=True))
    return base64.urlsafe_b64encode(mask + masked).decode()


def check_csrf(request: Request, form: Mapping[str, str]) -> None:
    """Raises ForbiddenError when a form was not made here for this browser."""
    try:
        given = base64.urlsafe_b64decode(form.get(FIELD, ""))
    except (binascii.Error, ValueError):
        given = b""
    secret = bytes(a ^ b for a, b in zip(given[:_BYTES], given[_BYTES:], strict=False))
    if not from_here(request) or not hmac.compare_digest(secret, _secret(request)):
        raise ForbiddenError(
            "This form is too old, or from elsewhere", advice="go back, load the page again, and repeat"
        )


def from_here(request: Request) -> bool:
    """Whether the browser says that one of our own pages sent this. Old browsers say nothing."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form that was sent. Raises BadInput when it is too large or no form."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _FORM_LIMIT:
            raise BadInput(f"The form is larger than {_FORM_LIMIT} bytes")
    try:
        return dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise BadInput("This is no form") from error


def _secret(request: Request) -> bytes:
    return hashlib.sha256(b"taut page: forms\0" + request.cookies.get(COOKIE, "").encode()).digest()
