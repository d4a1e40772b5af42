"""Watching a collection: the initial state and every change after it, over one connection that renews itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import msgspec

from taut.clients.kubernetes.client import JSON, PARTIAL, PARTIAL_LIST, KubernetesClient
from taut.clients.kubernetes.errors import is_starting, status_error, unreachable
from taut.clients.kubernetes.frames import Frame, ObjectMeta, read_body, read_frame, read_meta, read_page
from taut.model.errors import TargetError

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
PAGE = 500
SERVER_TIMEOUT = (1200, 2400)
"""The server ends a watch after a time in this range (seconds): at different times, so that not all come back at once."""
GRACE = 30.0
"""Seconds after that time in which the server has to have ended the watch, or the connection is dead."""
FIRST_SILENCE = 10.0
"""Seconds without a word before the initial state is complete: the server does not know `sendInitialEvents`."""
BOOKMARK_SILENCE = 150.0
"""Seconds without a word, on a connection that has brought bookmarks (about one a minute), after which it is dead."""
LONGEST_PAUSE = 30.0
FORBIDDEN_PAUSE = 300.0
NOT_FOUND_TRIES = 4
_LONGEST_LINE = 64 * 1024 * 1024


class WatchHandler(Protocol):
    """Who is told what a watch sees. All are called from the event loop and must not take long."""

    def begin(self) -> None:
        """The whole state comes now (again): what does not come until `synced` is no longer there."""
        ...

    def item(self, change: str, meta: ObjectMeta, raw: msgspec.Raw) -> None:
        """An object: ADDED, MODIFIED or DELETED. `raw` is the whole object as JSON, valid during the call only."""
        ...

    def synced(self, resource_version: str) -> None:
        """The state is complete, as of this resource version."""
        ...

    def working(self) -> None:
        """The connection stands (again)."""
        ...

    def failing(self, error: TargetError) -> None:
        """It does not; it is tried again."""
        ...

    def gone(self) -> None:
        """The kind is not served any more; the watch has ended."""
        ...


class Recovery:
    """Shared by the watches of a cluster: when one is through again, the others need not wait for their turn."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def recovered(self) -> None:
        """Wake everybody who waits."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait for so long, or until somebody recovered."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return


class _ExpiredError(Exception):
    """The resource version is too old: read everything again."""


class _NoStreamingError(Exception):
    """The server does not stream its initial state."""


class Watch:
    """One collection. `run` never ends by itself, except when the kind vanishes."""

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        handler: WatchHandler,
        *,
        metadata_only: bool,
        recovery: Recovery,
        subject: str = "",
        streaming: bool = True,
        page: int = PAGE,
        first_silence: float = FIRST_SILENCE,
        server_timeout: tuple[int, int] = SERVER_TIMEOUT,
        grace: float = GRACE,
    ) -> None:
        self._client = client
        self._path = path
        self._handler = handler
        self._metadata_only = metadata_only
        self._recovery = recovery
        self._subject = subject or path
        self._streaming = streaming
        self._page = page
        self._first_silence = first_silence
        self._server_timeout = server_timeout
        self._grace = grace
        self._version = ""
        self._failures = 0
        self._not_found = 0
        self._bookmarks = 0

    async def run(self) -> None:
        """Watch until cancelled, or until the collection is not served any more."""
        while True:
            try:
                await self._round()
            except _ExpiredError:
                self._version = ""
            except _NoStreamingError:
                self._streaming = False
            except TargetError as e:
                if e.status == 410:
                    self._version = ""
                    continue
                if e.status == 404:
                    self._not_found += 1
                    if self._not_found >= NOT_FOUND_TRIES:
                        self._handler.gone()
                        return
                elif not is_starting(e):
                    self._handler.failing(e)
                await self._pause(e)

    async def _round(self) -> None:
        """Bring the state up to date if need be, and follow the changes until the connection ends."""
        started = asyncio.get_running_loop().time()
        if not self._version and not self._streaming:
            await self._list()
        frames = await self._follow(initial=not self._version)
        if not frames and asyncio.get_running_loop().time() - started < 1:
            raise TargetError(
                "the watch ended as soon as it began",
                reason="Unreachable",
                advice="is there a proxy that cuts connections?",
            )

    async def _follow(self, *, initial: bool) -> int:
        """Read one connection to its end; returns how many frames it brought."""
        seconds = random.randint(*self._server_timeout)  # noqa: S311 -- spreading load, no secret
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        if initial:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._handler.begin()
        else:
            query["resourceVersion"] = self._version
        self._bookmarks = frames = 0
        accept = PARTIAL if self._metadata_only else JSON
        try:
            async with self._client.stream(self._path, query=query, accept=accept, subject=self._subject) as response:
                if not initial:
                    self._works()
                async for line in self._lines(response, seconds + self._grace):
                    self._frame(read_frame(line))
                    frames += 1
        except TargetError as e:
            if initial and e.status in (400, 422):
                raise _NoStreamingError from e
            raise
        except msgspec.DecodeError as e:
            raise self._broken(e) from e
        return frames

    async def _lines(self, response: aiohttp.ClientResponse, silence: float) -> AsyncIterator[bytes]:
        """The lines of the body. Raises TargetError when the connection breaks, or is silent for too long."""
        rest = bytearray()
        while True:
            limit = BOOKMARK_SILENCE if self._bookmarks > 1 else silence
            try:
                async with asyncio.timeout(limit if self._version else self._first_silence):
                    chunk = await response.content.readany()
            except TimeoutError as e:
                if not self._version:
                    raise _NoStreamingError from e
                raise self._broken(e) from e
            except (aiohttp.ClientError, OSError) as e:
                raise self._broken(e) from e
            if not chunk:
                return
            rest += chunk
            if len(rest) > _LONGEST_LINE:
                raise self._broken(ValueError("a line without end"))
            if b"\n" not in chunk:
                continue
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            for line in lines:
                if line:
                    yield line

    def _broken(self, error: Exception) -> TargetError:
        return unreachable(self._client.config.server, error, subject=self._subject)

    def _frame(self, frame: Frame) -> None:
        if frame.type == "ERROR":
            self._error(frame)
        meta = read_meta(frame.object)
        if frame.type == "BOOKMARK":
            self._bookmarks += 1
            if (meta.annotations or {}).get(INITIAL_EVENTS_END) == "true":
                self._complete(meta.resource_version)
            elif self._version:
                self._version = meta.resource_version
            return
        self._handler.item(frame.type, meta, frame.object)
        if self._version:
            self._version = meta.resource_version

    def _error(self, frame: Frame) -> None:
        status = read_body(frame.object)
        code = int(status.get("code") or 0)
        if code == 410 or status.get("reason") in ("Expired", "Gone"):
            raise _ExpiredError
        raise status_error(code, status, subject=self._subject)

    async def _list(self) -> None:
        """Read the whole state in pages: for servers that do not stream it."""
        self._handler.begin()
        token, restarts = "", 0
        while True:
            query = {} if restarts > 2 else {"limit": str(self._page)}
            if token:
                query["continue"] = token
            try:
                answer = await self._client.send(
                    "GET",
                    self._path,
                    query=query,
                    accept=PARTIAL_LIST if self._metadata_only else JSON,
                    subject=self._subject,
                    raw=True,
                )
            except TargetError as e:
                if e.status != 410 or not token:
                    raise
                # The pages took longer than the server remembers: from the start, at last in one piece.
                token, restarts = "", restarts + 1
                self._handler.begin()
                continue
            page = read_page(answer.body)
            for raw in page.items or ():
                self._handler.item("ADDED", read_meta(raw), raw)
            token = page.metadata.continue_
            if not token:
                self._complete(page.metadata.resource_version)
                return
            await asyncio.sleep(0)

    def _complete(self, resource_version: str) -> None:
        self._version = resource_version
        self._handler.synced(resource_version)
        self._works()

    def _works(self) -> None:
        recovered = self._failures > 0
        self._failures = self._not_found = 0
        self._handler.working()
        if recovered:
            self._recovery.recovered()

    async def _pause(self, error: TargetError) -> None:
        self._failures += 1
        jitter = random.uniform(0.7, 1.3)  # noqa: S311 -- spreading load, no secret
        if error.status in (401, 403, 405):
            await asyncio.sleep(min(5.0 * 2**self._failures, FORBIDDEN_PAUSE) * jitter)
            return
        retry_after = 0.0 if is_starting(error) else error.retry_after
        seconds = max(retry_after, min(0.1 * 2**self._failures, LONGEST_PAUSE)) * jitter
        await self._recovery.wait(seconds)
