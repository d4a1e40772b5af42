"""`POST /hooks/git`: a forge says that somebody pushed. It needs no token, so it is checked before it is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taut.server.backend import Backend
from taut.server.problems import answer
from taut.server.views import ErrorView, Said
from taut.sources.webhook import SIGNATURE_HEADERS, changed_ref, repository_urls, verify_signature

BODY_LIMIT = 3 * 1024 * 1024

type Verify = Callable[[Mapping[str, str], bytes], bool]
"""Tells whether a webhook is genuine, from its headers (names in lower case) and its body."""


def signed_with(secret: bytes) -> Verify:
    """A check of the HMAC that forges send with a shared secret."""

    def verify(headers: Mapping[str, str], body: bytes) -> bool:
        given = next((headers[h.lower()] for h in SIGNATURE_HEADERS if h.lower() in headers), "")
        return verify_signature(secret, body, given)

    return verify


async def receive_hook(request: Request, backend: Backend, verify: Verify | None) -> Response:
    """Check and pass on one webhook: 404 without a configured secret, 413 too large, 401 not genuine, 400 no JSON, else 202."""
    if verify is None:
        return answer(ErrorView(what="There is no webhook", advice="set a webhook secret in taut's configuration"), 404)
    body = await _read(request)
    if body is None:
        return answer(ErrorView(what=f"The webhook is larger than {BODY_LIMIT} bytes"), 413)
    if not verify({name.lower(): value for name, value in request.headers.items()}, body):
        return answer(
            ErrorView(
                what="The webhook's signature is missing or wrong",
                advice="give the forge the same secret that taut's configuration names",
            ),
            401,
        )
    try:
        payload = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return answer(
            ErrorView(what="The webhook is no JSON", advice="choose the content type application/json", code=2), 400
        )
    count = await backend.webhook(frozenset(repository_urls(payload)), changed_ref(payload))
    said = Said(message=f"{count} sources are looked at")
    return Response(msgspec.json.encode(said), 202, media_type="application/json")


async def _read(request: Request) -> bytes | None:
    """The body; None as soon as it is too large, whatever its Content-Length says."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)
