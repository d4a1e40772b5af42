"""Group commit: one thread owns the connection, and whatever waits is written in one transaction.

A commit that must survive a power failure costs one fsync. Calls that arrive while it runs share the next one, so a hundred
applications that start at once do not pay for a hundred fsyncs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.model.errors import StoreError, Where
from taut.store.faults import fault

log = logging.getLogger("taut.store")

type Work = Callable[[sqlite3.Connection], Any]
"""Reads or writes with the connection it is given; may run a second time when the transaction around it was lost."""

PROBE_SECONDS = 5.0
"""So often a store that could not be written is tried again while nobody else does."""
_PROBE_BYTES = 64 * 1024
_BATCH = 512
"""So many calls share a transaction at most: the first of them should not wait for an endless stream of others."""


@dataclass(slots=True)
class _Call:
    work: Work
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = field(default=None)

    def settle(self) -> None:
        """Release the caller. Runs in the caller's loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Owns `connection` from the first call on. Its methods may be called from any thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        close: Callable[[sqlite3.Connection], None] = sqlite3.Connection.close,
    ) -> None:
        self._connection = connection
        self._close = close
        self._path = path
        self._queue: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._full: bool | None = None
        self._probe_at = 0.0
        self.failing: StoreError | None = None
        """Why the store cannot be written, since a write failed and until a try of the writer's own went well."""
        self._thread = threading.Thread(target=self._loop, name="taut-store", daemon=True)
        self._thread.start()

    async def run(self, work: Work, *, durable: bool = False) -> Any:
        """Run `work` inside a transaction and return its result after the commit.

        `durable`: the commit survives a power failure (synchronous=FULL); otherwise it survives the end of the process only.
        What `work` raises is raised here, without harm to other calls; SQLite's errors come out as StoreError. A call that
        was queued is carried out even when the waiting task is cancelled.
        """
        loop = asyncio.get_running_loop()
        call = _Call(work, durable, loop, loop.create_future())
        with self._closing:
            if self._closed:
                raise StoreError(
                    "taut's store is closed",
                    where=Where(file=str(self._path)),
                    advice="taut is stopping; start it again",
                )
            self._queue.put(call)
        return await call.future

    def close(self) -> None:
        """Carry out what is queued, then close the connection. Blocks; harmless when called twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        more = True
        while more:
            batch, more = self._gather()
            if batch:
                self._commit(batch)
                _release(batch)
            if self.failing is not None and time.monotonic() >= self._probe_at:
                self._probe()
        self._close(self._connection)

    def _gather(self) -> tuple[list[_Call], bool]:
        """Wait for a call, then take along all that wait; False when the writer is to stop after them.

        While the store fails nothing comes back when nobody calls for some seconds.
        """
        batch: list[_Call] = []
        try:
            patience = max(self._probe_at - time.monotonic(), 0.01) if self.failing is not None else None
            call = self._queue.get(timeout=patience)
        except queue.Empty:
            return [], True
        while call is not None:
            batch.append(call)
            if len(batch) == _BATCH:
                return batch, True
            try:
                call = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: Sequence[_Call]) -> None:
        if self._together(batch) or len(batch) == 1:
            return
        # SQLite gives up the whole transaction on some errors (a full disk, for one). Each call alone then: those that
        # fit are kept, and only those that fail say so.
        for call in batch:
            call.error, call.result = None, None
            self._together([call])

    def _together(self, batch: Sequence[_Call]) -> bool:
        """Run `batch` in one transaction; False when that transaction was lost (each call then holds an error)."""
        connection = self._connection
        try:
            self._safety(full=any(call.durable for call in batch))
            connection.execute("BEGIN IMMEDIATE")
            for call in batch:
                self._one(call)
                if not connection.in_transaction:
                    raise StoreError("taut's store gave up a transaction", where=Where(file=str(self._path)))
            connection.execute("COMMIT")
        except (sqlite3.Error, StoreError) as error:
            # On a disk that fails even this may fail: SQLite rolls back by itself then, and this thread must live on.
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            shown = fault(error, self._path) if isinstance(error, sqlite3.Error) else error
            if isinstance(error, sqlite3.Error):
                self._fails(fault(error, self._path))
            for call in batch:
                call.error = call.error or shown
            return False
        return True

    def _probe(self) -> None:
        """Try whether there is room again: as much as a big record takes is written, and let go of."""
        connection = self._connection
        try:
            for sql, values in (
                ("INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', zeroblob(?))", (_PROBE_BYTES,)),
                ("DELETE FROM meta WHERE key = 'probe'", ()),
            ):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(sql, values)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            self._fails(fault(error, self._path))
            return
        self.failing = None
        log.warning("%s: taut's store can be written again", self._path)

    def _fails(self, error: StoreError) -> None:
        if self.failing is None or self.failing.what != error.what:
            log.error("%s; nothing is written to a cluster before it can be recorded", error)
        self.failing = error
        self._probe_at = time.monotonic() + PROBE_SECONDS

    def _one(self, call: _Call) -> None:
        """Run one call under a savepoint, so that its failure undoes its own writes only."""
        connection = self._connection
        connection.execute("SAVEPOINT call")
        try:
            call.result = call.work(connection)
        except sqlite3.Error as error:
            call.error = fault(error, self._path)
            if not isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                self._fails(call.error)
        except Exception as error:  # noqa: BLE001 (whatever the work raises belongs to its caller, not to this thread)
            call.error = error
        if connection.in_transaction:  # what fails here is the transaction's failure: the caller of this one tells all
            if call.error is not None:
                connection.execute("ROLLBACK TO call")
            connection.execute("RELEASE call")

    def _safety(self, *, full: bool) -> None:
        """Set how safe the next commit is; the pragma is only allowed between transactions."""
        if self._full is not full:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full


def _release(batch: Sequence[_Call]) -> None:
    """Wake each loop once, not once for each call."""
    loops: dict[asyncio.AbstractEventLoop, list[_Call]] = {}
    for call in batch:
        loops.setdefault(call.loop, []).append(call)
    for loop, calls in loops.items():
        # When the loop is closed, nobody waits any more; the writes are kept.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, calls)


def _settle(calls: Sequence[_Call]) -> None:
    for call in calls:
        call.settle()
