"""The webhook's HTTPS listener: `/admit/<cluster>/open`, `/closed` and `/record`, and `/healthz`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import PurePath

from aiohttp import web

from taut.admission.decision import Policies, Reviewer
from taut.admission.reviews import BODY_LIMIT, Answer, Question, read, write
from taut.admission.words import answer, without_reviewer
from taut.model.durations import seconds
from taut.model.errors import BadInput, TautError

log = logging.getLogger("taut.admission")

SHARE = 0.9
"""Of the time that the API server waits: what is answered later nobody hears."""
AT_ONCE = 256
"""How many questions are before the reviewers at the same time; others wait for their turn, within their own time."""
READ_SECONDS = 10.0
_IDLE = 300.0
"""Longer than API servers keep an idle connection (90 s): who closes first must not be who is asked."""
_STOP_SECONDS = 3.0

type Record = Callable[[str, Question], None]
"""Told of a change in a cluster."""


class Door(StrEnum):
    """Where a question comes in: what happens when nobody can judge it, or that nobody has to."""

    OPEN = "open"
    CLOSED = "closed"
    RECORD = "record"


class AdmissionServer:
    """Answers the API servers of `clusters`. `timeout` (seconds) is what they were told to wait."""

    def __init__(self, clusters: Collection[str], policies: Policies, record: Record, *, timeout: float) -> None:
        self._clusters = frozenset(clusters)
        self._policies = policies
        self._record = record
        self._timeout = timeout
        self._turns = asyncio.Semaphore(AT_ONCE)

    def app(self) -> web.Application:
        """The application, for a listener."""
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_catch_bugs])
        app.router.add_get("/healthz", _health)
        app.router.add_post("/admit/{cluster}/{door}", self._admit)
        return app

    async def _admit(self, request: web.Request) -> web.Response:
        cluster, door = request.match_info["cluster"], request.match_info["door"]
        if cluster not in self._clusters or door not in Door:
            return _said(404, "There is nothing at this address; it is /admit/<cluster>/open, closed or record")
        try:
            async with asyncio.timeout(READ_SECONDS):
                data = await request.read()
            question = read(data)
        except web.HTTPRequestEntityTooLarge:
            return _said(413, f"The question is larger than {BODY_LIMIT} bytes")
        except TimeoutError:
            return _said(408, f"The question did not arrive in {READ_SECONDS:.0f} seconds")
        except BadInput as error:
            return _said(400, f"The question cannot be read: {error.what}")
        if door == Door.RECORD:
            self._record(cluster, question)
            return _json(write(question.uid, Answer(True)))
        found = await self._judged(cluster, Door(door), question, self._patience(request.query.get("timeout", "")))
        return _json(write(question.uid, found))

    def _patience(self, asked: str) -> float:
        """How long there is: what the API server says in the query, or what it was told."""
        with contextlib.suppress(ValueError):
            return min(seconds(asked), self._timeout) * SHARE
        return self._timeout * SHARE

    async def _judged(self, cluster: str, door: Door, question: Question, patience: float) -> Answer:
        closed = door is Door.CLOSED
        reviewer: Reviewer = self._policies.closed if closed else self._policies.open
        try:
            async with asyncio.timeout(patience), self._turns:
                return answer(await reviewer.review(cluster, question.review), question.review)
        except TimeoutError:
            return without_reviewer(f"it took longer than {patience:.1f} s", closed=closed)
        except TautError as error:
            return without_reviewer(error.what, closed=closed)
        except Exception as error:  # noqa: BLE001 (whatever a reviewer raises, the API server waits for a word)
            _log(error, "judging")
            return without_reviewer(f"taut failed inside ({type(error).__name__})", closed=closed)


@asynccontextmanager
async def listening(server: AdmissionServer, sock: socket.socket, context: ssl.SSLContext) -> AsyncGenerator[None]:
    """Serve on a bound socket for as long as the context is open. `context` may be given another certificate meanwhile."""
    runner = web.AppRunner(
        server.app(), access_log=None, handle_signals=False, keepalive_timeout=_IDLE, shutdown_timeout=_STOP_SECONDS
    )
    await runner.setup()
    try:
        await web.SockSite(runner, sock, ssl_context=context, backlog=1024).start()
        yield
    finally:
        await runner.cleanup()
        sock.close()


def bind(listen: str) -> socket.socket:
    """A socket on `host:port`; port 0 takes a free one. Raises TautError when it is taken, or no address of this machine."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    host = "127.0.0.1" if host == "localhost" else host
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, int(port)))
    except OSError as error:
        sock.close()
        raise TautError(
            f"taut cannot listen on {listen} for admission: {error.strerror or error}",
            advice="another program may use the port, or the address is not this machine's: change admission.listen",
        ) from error
    sock.setblocking(False)
    return sock


@web.middleware
async def _catch_bugs(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
    """A fault of taut's is a 500 in a sentence; the log gets where it happened, and never a text that may hold a value."""
    try:
        return await handler(request)  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
    except web.HTTPException as error:
        return _said(error.status, error.reason)
    except Exception as error:  # noqa: BLE001
        _log(error, "answering")
        return _said(500, f"taut failed inside ({type(error).__name__})")


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _said(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, text=sentence + "\n")


def _log(error: Exception, doing: str) -> None:
    trace, places = error.__traceback__, list[str]()
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_name} ({PurePath(code.co_filename).name}:{trace.tb_lineno})")
        trace = trace.tb_next
    log.error("%s in %s a question at admission: %s", type(error).__name__, doing, " < ".join(reversed(places)))
