"""The cache of renders: sealed, compressed, bounded, and in a file of its own.

It is apart from the store because it is no memory, only saved work: a damaged or missing cache is made anew without a question,
a full disk makes it miss, and its bytes never slow down a commit of the store.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from taut.model.errors import StoreError
from taut.store.keys import Keyring

DEFAULT_LIMIT = 512 * 1024 * 1024
_TABLE = """CREATE TABLE IF NOT EXISTS blobs (
    name BLOB PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, used INTEGER NOT NULL
)"""
_INDEX = "CREATE INDEX IF NOT EXISTS blobs_used ON blobs (used)"


class BlobCache:
    """Values by key. All methods may be called from any thread; none of them raises when the cache cannot be used."""

    def __init__(self, path: Path, keyring: Keyring, *, limit: int = DEFAULT_LIMIT) -> None:
        self._path = path
        self._keyring = keyring
        self._limit = limit
        self._lock = threading.Lock()
        self._touched: dict[bytes, int] = {}
        self._connection = self._open() or self._anew()
        self._size, newest = self._measure()
        self._clock = itertools.count(newest + 1)

    def get(self, key: str) -> bytes | None:
        """The value put under `key`; None when it is not there, or no longer readable."""
        name = self._keyring.name(key)
        with self._lock:
            if self._connection is None:
                return None
            try:
                row = self._connection.execute("SELECT value FROM blobs WHERE name = ?", (name,)).fetchone()
            except sqlite3.Error:
                self._connection = self._anew()
                return None
            if row is None:
                return None
            # Uses are noted in memory and written with the next put: a read stays a read.
            self._touched[name] = next(self._clock)
        try:
            return zlib.decompress(self._keyring.unseal(row[0], f"blob:{name.hex()}"))
        except (StoreError, zlib.error):
            return None

    def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`, and let go of what was not used for longest when there is too much."""
        name = self._keyring.name(key)
        sealed = self._keyring.seal(zlib.compress(value, 1), f"blob:{name.hex()}")
        if len(sealed) > self._limit // 4:
            return  # One giant would drive out everything else.
        with self._lock:
            if self._connection is None:
                return
            try:
                self._write(self._connection, name, sealed)
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self, connection: sqlite3.Connection, name: bytes, sealed: bytes) -> None:
        connection.execute("BEGIN IMMEDIATE")
        old = connection.execute("SELECT size FROM blobs WHERE name = ?", (name,)).fetchone()
        connection.execute(
            "INSERT OR REPLACE INTO blobs (name, value, size, used) VALUES (?, ?, ?, ?)",
            (name, sealed, len(sealed), next(self._clock)),
        )
        connection.executemany("UPDATE blobs SET used = ? WHERE name = ?", [(t, n) for n, t in self._touched.items()])
        size = self._size + len(sealed) - (old[0] if old else 0)
        if size > self._limit:
            size = self._evict(connection, size)
        connection.execute("COMMIT")
        self._size = size
        self._touched.clear()

    def _evict(self, connection: sqlite3.Connection, size: int) -> int:
        """Delete down to nine tenths of the limit, so that not every put has to delete."""
        doomed: list[tuple[bytes]] = []
        for name, length in connection.execute("SELECT name, size FROM blobs ORDER BY used"):
            if size <= self._limit * 9 // 10:
                break
            doomed.append((name,))
            size -= length
        connection.executemany("DELETE FROM blobs WHERE name = ?", doomed)
        return size

    def _open(self) -> sqlite3.Connection | None:
        connection: sqlite3.Connection | None = None
        try:
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(_TABLE)
            connection.execute(_INDEX)
            connection.execute("SELECT sum(size), max(used) FROM blobs").fetchone()
        except (sqlite3.Error, OSError):
            if connection is not None:
                connection.close()
            return None
        return connection

    def _anew(self) -> sqlite3.Connection | None:
        """Throw the cache's files away and start again; None when even that fails (the cache is then off)."""
        old: sqlite3.Connection | None = getattr(self, "_connection", None)
        if old is not None:
            old.close()
        try:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return None
        self._size = 0
        return self._open()

    def _measure(self) -> tuple[int, int]:
        if self._connection is None:
            return 0, 0
        row = self._connection.execute("SELECT coalesce(sum(size), 0), coalesce(max(used), 0) FROM blobs").fetchone()
        return int(row[0]), int(row[1])


def copy_sealed(source: Path, to: Path, old: Keyring, new: Keyring) -> None:
    """Write the cache at `source`, whose values `old` sealed, to the file `to`, sealed with `new`: the names stay.

    What cannot be read is left out: a cache is no memory. Raises OSError and sqlite3.Error when `to` cannot be written.
    """
    to.unlink(missing_ok=True)
    to.touch(mode=0o600)
    with contextlib.closing(sqlite3.connect(to, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = FULL")
        copy.execute("BEGIN IMMEDIATE")
        copy.execute(_TABLE)
        copy.execute(_INDEX)
        for name, sealed, used in _rows(source):
            with contextlib.suppress(StoreError):
                value = new.seal(old.unseal(sealed, f"blob:{name.hex()}"), f"blob:{name.hex()}")
                copy.execute(
                    "INSERT INTO blobs (name, value, size, used) VALUES (?, ?, ?, ?)", (name, value, len(value), used)
                )
        copy.execute("COMMIT")


def _rows(source: Path) -> Iterator[tuple[bytes, bytes, int]]:
    if not source.exists():
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(source)) as cache:
        yield from cache.execute("SELECT name, value, used FROM blobs")
