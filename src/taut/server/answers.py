"""JSON in and out, with bounds."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taut.model.errors import BadInput, Where

_BODY_LIMIT = 256 * 1024


def json_answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def read_body[T](request: Request, kind: type[T]) -> T:
    """A request's JSON; an empty one is `{}`. Raises BadInput for what is too large or not of that kind."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BODY_LIMIT:
            raise BadInput(f"The request is larger than {_BODY_LIMIT} bytes")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"The request cannot be read: {error}", where=Where(field=request.url.path)) from error
