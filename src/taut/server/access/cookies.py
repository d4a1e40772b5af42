"""The cookies of a browser: names, and what makes them safe."""

from __future__ import annotations

import hashlib
import hmac

from starlette.requests import Request
from starlette.responses import Response


def session_name(request: Request) -> str:
    """The cookie of a session. Over https the prefix binds it to this host, whole and secure (RFC 6265bis)."""
    return "__Host-taut" if request.url.scheme == "https" else "taut"


def put(request: Request, response: Response, name: str, value: str, *, seconds: int, path: str = "/") -> None:
    """Set a cookie that no script reads, and that comes along when somebody follows a link here, but not with a form of another site."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=path,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def take(request: Request, response: Response, name: str, *, path: str = "/") -> None:
    """Remove a cookie."""
    response.delete_cookie(name, path=path, secure=request.url.scheme == "https", httponly=True, samesite="lax")


def form_token(secret: str) -> str:
    """What every form of a session carries, made of the session's own secret: another site cannot know it."""
    return hmac.new(secret.encode(), b"form", hashlib.sha256).hexdigest()


def is_from_here(request: Request) -> bool:
    """Whether the browser says that a request was made by a page of this taut (Fetch Metadata, else Origin)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin == f"{request.url.scheme}://{request.headers.get('host', '')}"
