"""Watching a collection: the initial state and every change after it, over one connection that renews itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import msgspec

from taut.clients.kubernetes.client import JSON, PARTIAL, PARTIAL_LIST, KubernetesClient
from taut.clients.kubernetes.errors import is_starting, status_error, unreachable
from taut.clients.kubernetes.frames import Frame, ObjectMeta, read_body, read_frame, read_meta, read_page
from taut.model.errors import TargetError, Where

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
PAGE = 500
SERVER_TIMEOUT = (1200, 2400)
"""The server ends a watch after a time in this range (seconds): at different times, so that not all come back at once."""
LONGEST_UNSURE = 600.0
"""The longest such time (seconds) while the server was not seen to send bookmarks: only its end shows that a connection lives."""
GRACE = 30.0
"""Seconds after that time in which the server has to have ended the watch, or the connection is dead."""
BOOKMARK_INTERVAL = 75.0
"""API servers send a bookmark at least so often (seconds), to who asked for them."""
FIRST_SILENCE = 10.0
"""Seconds without a word before the initial state is complete: the server does not know `sendInitialEvents`."""
SILENCE = 150.0
"""Seconds without a word, from a server that sends bookmarks (about one a minute), after which the connection is dead."""
STANDS = 1.0
"""A connection stands when it has brought something, or has not ended after so many seconds."""
LONGEST_PAUSE = 30.0
SILENT = "Silent"
"""The reason of a failure: the connection stands, and brings nothing."""
EXPIRY_SPAN = 60.0
"""Reading everything again is dear: a server that says "too old" twice within so many seconds is asked less and less often."""
FORBIDDEN_PAUSE = 60.0
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
        server_timeout: tuple[int, int] | None = None,
        grace: float | None = None,
        silence: float = SILENCE,
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
        self._grace = min(GRACE, silence / 5) if grace is None else grace
        self._silence = silence
        self._version = ""
        self._failures = 0
        self._not_found = 0
        self._bookmarks = 0
        self._regular = False
        """The server was seen to send bookmarks while nothing happened."""
        self._ends = 0
        self._trial = False
        """How many connections the server ended in time without having sent bookmarks."""
        self._stands_after = STANDS
        self._stood = False
        """The present connection stands, or the last one did."""
        self._expiries = 0
        self._expired_at = -EXPIRY_SPAN
        self._reading: asyncio.Timeout | None = None
        self._renewing = False

    @property
    def version(self) -> str:
        """The resource version up to which everything was told; empty before the state is complete."""
        return self._version

    def renew(self) -> None:
        """Leave the present connection, and go on where it was with another: it does not bring what it should."""
        if self._reading is not None and self._version:
            with contextlib.suppress(RuntimeError):  # its time is over by itself
                self._reading.reschedule(asyncio.get_running_loop().time())
                self._renewing = True

    async def run(self) -> None:
        """Watch until cancelled, or until the collection is not served any more."""
        while True:
            try:
                await self._round()
            except _ExpiredError:
                await self._expired()
            except _NoStreamingError:
                self._streaming = False
            except TargetError as e:
                if e.status == 410:
                    await self._expired()
                    continue
                if e.status == 0 and e.reason != SILENT and self._stood:
                    # Connections break. It is news when the next one does not stand either.
                    self._stood = False
                    await asyncio.sleep(random.uniform(0.0, 0.2))  # noqa: S311 -- spreading load, no secret
                    continue
                if e.status == 404:
                    self._not_found += 1
                    if self._not_found >= NOT_FOUND_TRIES:
                        self._handler.gone()
                        return
                elif not is_starting(e):
                    self._handler.failing(e)
                await self._pause(e)

    async def _expired(self) -> None:
        """What was known is too old; everything is read again, at once when that is rare."""
        now = asyncio.get_running_loop().time()
        self._expiries = self._expiries + 1 if now - self._expired_at < EXPIRY_SPAN else 0
        self._expired_at = now
        self._version = ""
        if self._expiries:
            jitter = random.uniform(0.7, 1.3)  # noqa: S311 -- spreading load, no secret
            await asyncio.sleep(min(0.1 * 2**self._expiries, LONGEST_PAUSE) * jitter)

    async def _round(self) -> None:
        """Bring the state up to date if need be, and follow the changes until the connection ends."""
        if not self._version and not self._streaming:
            await self._list()
        await self._follow(initial=not self._version)
        if not self._version or not self._stood:
            when = "as soon as it began" if self._version else "before it had brought everything"
            raise TargetError(
                f"the watch ended {when}",
                where=Where(object=self._subject),
                reason="Unreachable",
                advice="is there a proxy that cuts connections?",
            )

    def _term(self) -> int:
        """For how many seconds the server shall keep the next connection.

        Long, where bookmarks tell that it lives. Else it is the end that tells, and comes after the time that silence may last;
        later and later from servers that keep to it.
        """
        if self._server_timeout or self._regular or self._trial:
            low, high = self._server_timeout or SERVER_TIMEOUT
        else:
            longest = LONGEST_UNSURE if self._can_be_regular() else self._silence
            high = max(int(min(self._silence * 2 ** min(self._ends, 10), longest)), 1)
            low = max(high * 4 // 5, 1)
        return random.randint(low, high)  # noqa: S311 -- spreading load, no secret

    def _can_be_regular(self) -> bool:
        """Whether who waits for bookmarks has the patience for two of them."""
        return self._silence >= 2 * BOOKMARK_INTERVAL

    async def _follow(self, *, initial: bool) -> None:
        """Read one connection to its end."""
        # Who streams the initial state sends bookmarks as well, as far as anybody knows: the first connection is there to see.
        self._trial = initial and self._streaming and self._can_be_regular()
        seconds = self._term()
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        if initial:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._handler.begin()
        else:
            query["resourceVersion"] = self._version
        self._bookmarks, self._renewing = 0, False
        begun = asyncio.get_running_loop().time()
        accept = PARTIAL if self._metadata_only else JSON
        try:
            async with self._client.stream(self._path, query=query, accept=accept, subject=self._subject) as response:
                self._stood = False
                self._stands_after = min(STANDS, seconds / 2)
                async for line in self._lines(response, seconds + self._grace):
                    self._frame(read_frame(line))
                    del line  # it may be large, and the next one may be long in coming
                self._ends += asyncio.get_running_loop().time() - begun >= seconds / 2
        except TargetError as e:
            if initial and e.status in (400, 422):
                raise _NoStreamingError from e
            raise
        except msgspec.DecodeError as e:
            raise self._broken(e) from e

    async def _lines(self, response: aiohttp.ClientResponse, silence: float) -> AsyncIterator[bytes]:
        """The lines of the body. Raises TargetError when the connection breaks, or is silent for too long."""
        rest = bytearray()
        while chunk := await self._chunk(response, silence):
            rest += chunk
            if len(rest) > _LONGEST_LINE:
                raise self._broken(ValueError("a line without end"))
            if b"\n" not in chunk:
                continue
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            del chunk
            lines.reverse()
            while lines:
                if lines[-1]:
                    yield lines.pop()
                else:
                    lines.pop()

    async def _chunk(self, response: aiohttp.ClientResponse, silence: float) -> bytes:
        """The next bytes; empty at the end. Raises TargetError when the connection breaks, or is silent for too long."""
        while True:
            new = bool(self._version) and not self._stood
            try:
                async with asyncio.timeout(self._stands_after if new else self._patience(silence)) as self._reading:
                    return await response.content.readany()
            except TimeoutError as e:
                if not self._version:
                    raise _NoStreamingError from e
                if self._trial and not (new or self._regular or self._renewing):
                    self._ends += 1
                    return b""
                if not new or self._renewing:
                    raise self._silent() from e
                self._works()
            except (
                aiohttp.ClientError,
                OSError,
                RuntimeError,
            ) as e:  # RuntimeError: read after the connection was lost
                raise self._broken(e) from e
            finally:
                self._reading = None

    def _patience(self, silence: float) -> float:
        if not self._version:
            return self._first_silence
        return min(self._silence, silence) if self._regular or self._trial else silence

    def _silent(self) -> TargetError:
        what = "a change that taut made did not come" if self._renewing else "nothing was heard for too long"
        self._renewing = False
        return unreachable(self._client.config.server, TimeoutError(what), subject=self._subject, reason=SILENT)

    def _broken(self, error: Exception) -> TargetError:
        return unreachable(self._client.config.server, error, subject=self._subject)

    def _frame(self, frame: Frame) -> None:
        if frame.type == "ERROR":
            self._error(frame)
        meta = read_meta(frame.object)
        if frame.type == "BOOKMARK":
            self._bookmarks += 1
            self._regular |= self._bookmarks > 1 and self._can_be_regular()
            if (meta.annotations or {}).get(INITIAL_EVENTS_END) == "true":
                self._complete(meta.resource_version)
            elif self._version:
                self._advance(meta.resource_version)
            return
        self._handler.item(frame.type, meta, frame.object)
        if self._version:
            self._advance(meta.resource_version)

    def _advance(self, resource_version: str) -> None:
        self._version = resource_version
        if not self._stood:
            self._works()

    def _error(self, frame: Frame) -> None:
        status = read_body(frame.object)
        code = said if isinstance(said := status.get("code"), int) else 0
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
            try:
                page = read_page(answer.body)
            except msgspec.DecodeError as e:
                raise self._broken(e) from e
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
        self._stood = True
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
