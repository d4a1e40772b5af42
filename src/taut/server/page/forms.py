"""Forms of the page: what they carry against forged requests, and how they are read.

The token (CSRF) is made of the session's own secret and masked anew for each answer: a compressed page that repeats what somebody typed would give
an unmasked one away, guess by guess (BREACH).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from taut.model.errors import BadInput
from taut.server.access.asking import ForbiddenError
from taut.server.access.routes import session_of

_FORM_LIMIT = 64 * 1024
_BYTES = 32
FIELD = "csrf"


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
    if not hmac.compare_digest(secret, _secret(request)):
        raise ForbiddenError(
            "This form is too old, or from elsewhere", advice="go back, load the page again, and repeat"
        )


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
    found = session_of(request)
    return hashlib.sha256(b"taut page: forms\0" + (found[1] if found is not None else "").encode()).digest()
