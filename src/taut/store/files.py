"""The store's file on disk: opening it safely, and setting a damaged one aside."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path

from taut.model.errors import StoreError, Where
from taut.store.faults import CORRUPT_ADVICE, fault
from taut.store.journal import check_key
from taut.store.lock import StoreLock
from taut.store.schema import migrate

_SIDE_FILES = ("-wal", "-shm")
_CHECK_BELOW = 256 * 1024 * 1024
"""A larger file is checked where it is read only; a full check of it would make every start slow."""


def open_database(path: Path, key_check: str) -> sqlite3.Connection:
    """Open (or make) the database, check it, and bring its schema up to date.

    `key_check` is the HMAC of a constant: it ties the file to its key. Raises StoreError with what to do about it.
    """
    _make_private(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        connection.execute("PRAGMA foreign_keys = ON")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                "The store's folder cannot hold a write-ahead log",
                where=Where(file=str(path)),
                advice="put the store on a local disk, not on a network share",
            )
        connection.execute("PRAGMA synchronous = FULL")
        _check(connection, path)
        migrate(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        check_key(connection, key_check)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _close(connection)
        raise fault(error, path) from error
    except StoreError:
        _close(connection)
        raise
    return connection


def set_aside(path: Path, *, key_too: bool = False) -> list[Path]:
    """Rename a store's files (`.broken-<time>` is appended), so that the next start makes a new one; the new names come out.

    `key_too` renames the key file as well. Raises StoreError when a running taut uses the store or a rename fails.
    """
    path = path.absolute()
    if not path.exists():
        raise StoreError("There is no store to set aside", where=Where(file=str(path)), advice="check the path")
    lock = StoreLock(path)
    suffix = time.strftime(".broken-%Y%m%dT%H%M%SZ", time.gmtime())
    moved: list[Path] = []
    try:
        for extra in ("", *_SIDE_FILES, ".renders", ".renders-wal", ".renders-shm", *((".key",) if key_too else ())):
            old = path.with_name(path.name + extra)
            if old.exists():
                new = path.with_name(path.name + suffix + extra)
                old.rename(new)
                moved.append(new)
    except OSError as error:
        raise StoreError(
            f"The store cannot be renamed: {error.strerror}",
            where=Where(file=str(path)),
            advice="let the user that runs taut write to the folder",
        ) from error
    finally:
        lock.release()
    return moved


def _make_private(path: Path) -> None:
    """Make the file with mode 0600 before SQLite would with the process's umask."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError("The store's path is no file", where=Where(file=str(path)), advice="name a file")
    except OSError as error:
        raise StoreError(
            f"taut's store cannot be opened for writing: {error.strerror}",
            where=Where(file=str(path)),
            advice="let the user that runs taut write to the file and to its folder",
        ) from error


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Find damage now, with one clear sentence, and not in the middle of a sync."""
    if path.stat().st_size > _CHECK_BELOW:
        return
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreError(
            f"taut's store is damaged: {found}".replace("\n", " "), where=Where(file=str(path)), advice=CORRUPT_ADVICE
        )


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()
