"""Errors as JSON: what, where, advice, and the exit code the command line ends with."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taut.model.errors import BadInput, SourceError, StoreError, TargetError, TautError
from taut.server.access.asking import ForbiddenError
from taut.server.names import AmbiguousName, UnknownName
from taut.server.views import ErrorView

log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[TautError], int], ...] = (
    (ForbiddenError, 403),
    (UnknownName, 404),
    (AmbiguousName, 409),
    (BadInput, 400),
    (StoreError, 503),
    (TargetError, 502),
    (SourceError, 502),
    (TautError, 409),
)


def answer(error: ErrorView, status: int, headers: dict[str, str] | None = None) -> Response:
    """An error as a response: a problem (RFC 9457), with the words that the command line tells."""
    told = msgspec.structs.replace(error, title=error.what, status=status, detail=error.advice)
    return Response(msgspec.json.encode(told), status, headers, media_type="application/problem+json")


async def on_taut_error(_: Request, error: Exception) -> Response:
    """An error that says itself what is wrong."""
    if not isinstance(error, TautError):
        raise error
    view = ErrorView(what=error.what, where=str(error.where), advice=error.advice, code=error.code)
    return answer(view, status_code(error))


def status_code(error: TautError) -> int:
    """The HTTP status that goes with an error."""
    return next(code for kind, code in _STATUS if isinstance(error, kind))


async def on_http_error(request: Request, error: Exception) -> Response:
    """An address or a method that is not there."""
    if not isinstance(error, HTTPException):
        raise error
    what = http_words(error)
    advice = "the client may be of another version; compare `taut version`"
    return answer(
        ErrorView(what=what, where=request.url.path, advice=advice), error.status_code, dict(error.headers or {})
    )


def http_words(error: HTTPException) -> str:
    """What such an error says to people."""
    words = {404: "There is nothing at this address", 405: "This address does not take that method"}
    return words.get(error.status_code, str(error.detail))


class CatchBugs:
    """Answers 500 for anything else that is raised: a fault of taut.

    The log gets where it happened and never the error's text, which could hold a value. A handler of Starlette's would not do: the
    error is raised again after it, and uvicorn then logs all of it.
    """

    def __init__(
        self, app: ASGIApp, show: Callable[[str, ErrorView], Response | None] = lambda _path, _error: None
    ) -> None:
        self._app = app
        self._show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. `show` may answer in its own way, by the path and the error."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 (this is the outermost place: whatever comes here would be logged with its text)
            place = _log(error, scope)
            if not started:
                bug = _bug(error, place)
                await (self._show(place, bug) or answer(bug, 500))(scope, receive, send)


def _log(error: Exception, scope: Scope) -> str:
    path = str(scope.get("path", ""))
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in reversed(frames)
    )
    log.error("%s in answering %s %s: %s", type(error).__name__, scope.get("method", ""), path, place)
    return path


def _bug(error: Exception, place: str) -> ErrorView:
    return ErrorView(
        what=f"taut failed inside ({type(error).__name__})",
        where=place,
        advice="the log of `taut run` says where; please report it",
    )
