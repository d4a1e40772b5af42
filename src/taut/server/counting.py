"""Counts the API's own requests by method and status."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CountRequests:
    """Counts answers in `counts[(method, status)]`. Addresses are no labels: anybody could make up endless ones."""

    def __init__(self, app: ASGIApp, counts: dict[tuple[str, int], int]) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = scope["method"] in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        method = scope["method"] if known else "other"

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = (method, int(message["status"]))
                self._counts[kind] = self._counts.get(kind, 0) + 1
            await send(message)

        await self._app(scope, receive, noting)
