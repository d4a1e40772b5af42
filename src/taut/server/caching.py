"""What spares work over HTTP: answers that the caller has already, and writes that were carried out already."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taut.server.access.asking import principal_in
from taut.server.problems import answer
from taut.server.views import ErrorView

_MOST_KEPT = 2000
_MOST_BYTES = 256 * 1024
_DAY = 86_400.0
_LONGEST_KEY = 200


class ETags:
    """Gives each JSON answer to a GET an ETag, and says 304 to who has it (RFC 9110, 8.8.3 and 13.1.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        known = {tag.strip() for tag in Headers(scope=scope).get("if-none-match", "").split(",")}
        start: Message | None = None
        parts: list[bytes] = []

        async def held(message: Message) -> None:
            """Only whole answers of JSON are held back: a stream is passed on as it comes."""
            nonlocal start
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                if message["status"] != 200 or headers.get("content-type") != "application/json":
                    await send(message)
                    return
                start = message
                return
            if start is None:
                await send(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = b"".join(parts)
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            headers = MutableHeaders(raw=start["headers"])
            headers["ETag"] = tag
            headers["Cache-Control"] = "private, no-cache"
            headers["Vary"] = "Authorization, Cookie"
            if known & {tag, f"W/{tag}", "*"}:
                start["status"], body = 304, b""
                del headers["content-length"]
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, held)


class Idempotency:
    """Carries a write with an `Idempotency-Key` out once: who sends it again is answered as the first time. Kept in memory for a day."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, str, list[Message]]] = OrderedDict()
        self._running: set[tuple[str, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it from memory: 400 for a key that is too long, 409 for one under way, 422 for one of another request."""
        given = Headers(scope=scope).get("idempotency-key", "") if scope["type"] == "http" else ""
        if not given or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        if len(given) > _LONGEST_KEY:
            await answer(ErrorView(what=f"the key is longer than {_LONGEST_KEY} characters", code=2), 400)(
                scope, receive, send
            )
            return
        body = await _whole(receive)
        what = hashlib.sha256(b"\0".join((scope["method"].encode(), scope["path"].encode(), body))).hexdigest()
        who = principal_in(scope)
        key = (f"{who.how} {who.name}", given)
        kept = self._kept.get(key)
        if key in self._running:
            refused = ErrorView(what="a request with this key is under way", advice="wait for its answer")
            await answer(refused, 409)(scope, receive, send)
        elif kept is not None and self._clock() - kept[0] < _DAY:
            if kept[1] != what:
                refused = ErrorView(what="this key was used for another request", advice="take a new key", code=2)
                await answer(refused, 422)(scope, receive, send)
                return
            for message in kept[2]:
                await send(message)
        else:
            await self._carry_out(key, what, body, scope, send)

    async def _carry_out(self, key: tuple[str, str], what: str, body: bytes, scope: Scope, send: Send) -> None:
        said: list[Message] = []

        async def noted(message: Message) -> None:
            said.append(message)
            await send(message)

        self._running.add(key)
        try:
            await self._app(scope, _again(body), noted)
        finally:
            self._running.discard(key)
        if said and said[0].get("status", 500) < 300:  # what was refused may be asked for again
            self._kept[key] = (self._clock(), what, said)
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)


async def _whole(receive: Receive) -> bytes:
    """The body, up to one byte more than any handler takes: what is longer is refused by the handler."""
    data = bytearray()
    while len(data) <= _MOST_BYTES:
        message = await receive()
        data += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    return bytes(data)


def _again(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
