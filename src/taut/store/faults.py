"""SQLite's errors in words for people: what happened to the store, and what to do about it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from taut.model.errors import StoreError, Where

_PRIMARY = 0xFF
"""The low byte of an extended result code is the primary one (sqlite.org/rescode.html)."""

AFTER_LOSS = "taut rebuilds its inventories from the objects in the clusters, only history is lost"
CORRUPT_ADVICE = f"restore the file from a backup, or move it aside with `taut store set-aside`: then {AFTER_LOSS}"

_WORDS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: (
        "The disk is full, so taut's store cannot be written",
        "free some space; nothing that was stored is lost, and taut goes on from there",
    ),
    sqlite3.SQLITE_READONLY: (
        "taut's store is read-only",
        "let the user that runs taut write to the file and to its folder",
    ),
    sqlite3.SQLITE_PERM: (
        "taut's store cannot be opened for lack of rights",
        "let the user that runs taut read and write the file and its folder",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "taut's store cannot be opened",
        "check that the folder exists and that the user that runs taut may write to it",
    ),
    sqlite3.SQLITE_CORRUPT: ("taut's store is damaged", CORRUPT_ADVICE),
    sqlite3.SQLITE_NOTADB: ("This file is no taut store", CORRUPT_ADVICE),
    sqlite3.SQLITE_BUSY: (
        "taut's store is locked by another program",
        "close the program that has the file open (a backup, an sqlite3 shell)",
    ),
    sqlite3.SQLITE_IOERR: (
        "The disk failed while taut's store was read or written",
        "look at the system's log for disk errors, and put the store on a healthy local disk (not a network share)",
    ),
}


def fault(error: sqlite3.Error, path: Path) -> StoreError:
    """The StoreError that says what `error` means for the store at `path`."""
    code = getattr(error, "sqlite_errorcode", None)
    words = _WORDS.get(code & _PRIMARY) if isinstance(code, int) else None
    if words is None:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        words = (f"taut's store refused a request: {error} ({name})", "report this with the version of taut")
    return StoreError(words[0], where=Where(file=str(path)), advice=words[1])
