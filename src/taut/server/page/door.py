"""The form at which a browser signs in, and the way out."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taut.server.page.entrance import COOKIE, LASTS, Doorkeeper, check_csrf, csrf_of, form_of, inner_address
from taut.server.page.rendering import page

_PAUSE = 0.3
"""Seconds before a wrong token is answered: guessing is slow."""


class Door:
    """The handlers."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper

    async def ask(self, request: Request) -> Response:
        """The form; who is let in already goes on."""
        to = inner_address(request.query_params.get("to", "/"))
        if self._keeper.lets_in(request.cookies.get(COOKIE, "")):
            return RedirectResponse(to, 303)
        return self._form(request, to)

    async def open(self, request: Request) -> Response:
        """Check the token; the cookie comes with the way to where one wanted to go."""
        form = await form_of(request)
        check_csrf(request, form)
        to = inner_address(form.get("to", "/"))
        if not self._keeper.opens(form.get("token", "")):
            await asyncio.sleep(_PAUSE)
            return self._form(request, to, "This is not the token.", 401)
        made = RedirectResponse(to, 303)
        secure = request.url.scheme == "https"
        made.set_cookie(
            COOKIE, self._keeper.new_cookie(), max_age=LASTS, httponly=True, samesite="strict", secure=secure
        )
        return made

    async def leave(self, request: Request) -> Response:
        """Forget the cookie."""
        check_csrf(request, await form_of(request))
        made = RedirectResponse("/sign-in", 303)
        made.delete_cookie(COOKIE)
        return made

    def _form(self, request: Request, to: str, refused: str = "", status: int = 200) -> Response:
        return page("sign_in.html", {"to": to, "refused": refused, "csrf": csrf_of(request)}, status)
