"""The page at which a browser signs in."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taut.server.access.asking import principal_of
from taut.server.access.routes import farewell_of, refusal_of, safe_path
from taut.server.page.rendering import page


class SignInPage:
    """The handler. `providers` are those at which people sign in."""

    def __init__(self, providers: Sequence[str]) -> None:
        self._providers = providers

    async def ask(self, request: Request) -> Response:
        """The ways to sign in; who is signed in already goes on."""
        to = safe_path(request.query_params.get("next", "/"))
        if principal_of(request).how:
            return RedirectResponse(to, 303)
        ways = [(name, f"/auth/{name}/login?next={quote(to, safe='')}") for name in self._providers]
        return page(
            "sign_in.html", {"to": to, "refused": refusal_of(request), "left": farewell_of(request), "ways": ways}
        )
