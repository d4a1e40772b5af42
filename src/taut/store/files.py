"""The store's file on disk: opening it safely, and setting a damaged one aside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path

from taut.model.errors import StoreError, Where
from taut.store.faults import AFTER_LOSS, CORRUPT_ADVICE, fault
from taut.store.journal import check_key, get_note, put_note
from taut.store.lock import StoreLock
from taut.store.schema import migrate

_SIDE_FILES = ("-wal", "-shm")
_BESIDE = (".renders", ".renders-wal", ".renders-shm", ".renders.new", ".key.new")
_OPEN = "open"
_LOG_HEADER = 32
_LOG_MAGIC = (0x377F0682, 0x377F0683)
"""The first four bytes of a write-ahead log (sqlite.org/fileformat2.html, section 4.1)."""
_CHECK_BELOW = 256 * 1024 * 1024
"""A larger file is checked where it is read only; a full check of it would make every start slow."""


def open_database(path: Path, key_check: str) -> sqlite3.Connection:
    """Open (or make) the database, check it, and bring its schema up to date.

    `key_check` is the HMAC of a constant: it ties the file to its key. Raises StoreError with what to do about it.

    A new store is made under another name and put in place when it is whole: an empty file in its place is a damaged one, never a
    new one. While a store is open it says so in itself, so that a write-ahead log that is missing afterwards is noticed.
    """
    if not path.exists():
        _make(path, key_check)
    _check_files(path)
    _make_private(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        # As long as the file says that it is open its log must not go, whatever fails.
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
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
        check_key(connection, key_check, path)
        put_note(connection, _OPEN, "yes")
        connection.execute("COMMIT")
        # In the file itself, not in its log. A reader in the way (a backup) costs this check, and nothing else.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        _close(connection)
        raise fault(error, path) from error
    except StoreError:
        _close(connection)
        raise
    return connection


def close_database(connection: sqlite3.Connection) -> None:
    """Close it well: one file, easy to copy and quick to open. With a full disk the write-ahead log stays, and is used at the next start."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("BEGIN IMMEDIATE")
        put_note(connection, _OPEN, None)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, False)
    connection.close()


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
        for extra in ("", *_SIDE_FILES, *_BESIDE, *((".key",) if key_too else ())):
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


def _make(path: Path, key_check: str) -> None:
    """Make a new, empty store. Raises StoreError, sqlite3.Error turned into one."""
    lost = [p for p in (path.with_name(path.name + s) for s in _SIDE_FILES[:1]) if p.exists() and p.stat().st_size]
    if lost:
        raise StoreError(
            "The store's file is missing, and its write-ahead log is still there",
            where=Where(file=str(lost[0])),
            advice=f"put {path.name} back beside it; or remove the log, and " + AFTER_LOSS,
        )
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    _make_private(draft)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(draft, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, draft)
        connection.execute("BEGIN IMMEDIATE")
        check_key(connection, key_check, path)
        connection.execute("COMMIT")
        connection.close()
        draft.replace(path)
    except (sqlite3.Error, OSError) as error:
        _close(connection)
        draft.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise fault(error, path) from error
        raise StoreError(
            f"taut's store cannot be made: {error.strerror}", where=Where(file=str(path)), advice="look at the folder"
        ) from error


def _check_files(path: Path) -> None:
    """What SQLite would mend in silence, by forgetting. Raises StoreError; nothing is touched."""
    if not path.is_file():
        return
    if path.stat().st_size == 0:
        raise StoreError(
            "taut's store is damaged: the file is empty", where=Where(file=str(path)), advice=CORRUPT_ADVICE
        )
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        if _was_open(path):
            raise StoreError(
                "taut's store is damaged: its write-ahead log is missing, and with it what was stored last",
                where=Where(file=str(log)),
                advice=f"put that file back beside the store; when you know that another program (sqlite3) took it in, make an empty "
                f"one (touch {log.name}); or {CORRUPT_ADVICE}",
            )
        return
    with log.open("rb") as file:
        head = file.read(_LOG_HEADER)
    if head and (len(head) < _LOG_HEADER or int.from_bytes(head[:4]) not in _LOG_MAGIC):
        raise StoreError(
            "taut's store is damaged: its write-ahead log is none, and with it what was stored last is lost",
            where=Where(file=str(log)),
            advice=CORRUPT_ADVICE,
        )


def _was_open(path: Path) -> bool:
    """Whether the process that used the store ended without closing it. A file that cannot be read says so when it is opened."""
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        return get_note(connection, _OPEN) is not None
    except sqlite3.Error:
        return False
    finally:
        _close(connection)


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
