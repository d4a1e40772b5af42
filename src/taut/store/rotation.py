"""Exchanging the store's key file: everything that is sealed is sealed anew, and the old key goes.

The order is what makes it safe to be killed at any moment. The new key (`<key>.new`) and a cache that is sealed with it (`<store>.renders.new`)
are made beside the old ones; one transaction of the store seals its records anew and says whose they are now; then the two files take
the places of the old ones. Before that transaction the old key opens the store, and what lies beside it is rubbish; after it the new one does,
and whoever opens the store next puts the files in place.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from taut.model.errors import StoreError, Where
from taut.store import outbox
from taut.store.accounts import about
from taut.store.blobs import copy_sealed
from taut.store.faults import fault
from taut.store.files import close_database, open_database
from taut.store.journal import OtherKeyError, add_audit, get_note, put_note
from taut.store.keys import Keyring, load_keyring, make_key
from taut.store.lock import StoreLock
from taut.store.records import AuditNote

_IDENTITIES = "identities"


class Opened(NamedTuple):
    """A database that is open, its keys, and whether an interrupted exchange of the key was finished."""

    connection: sqlite3.Connection
    keyring: Keyring
    finished: bool


def key_file_of(path: Path) -> Path:
    """Where the key file of a store is by default."""
    return path.with_name(path.name + ".key")


def open_sealed(path: Path, key_file: Path) -> Opened:
    """Open the database at `path` with its key, both made at first use. The caller holds the store's lock.

    An interrupted exchange of the key is finished, or what it left is removed. Raises StoreError as `open_database` and `load_keyring` do.
    """
    keyring = load_keyring(key_file, new=not path.is_file())
    finished = False
    try:
        connection = open_database(path, keyring.check)
    except OtherKeyError:
        if not _successor(key_file).exists():
            raise
        keyring = load_keyring(_successor(key_file), new=False)
        connection = open_database(path, keyring.check)
        finished = True
    try:
        if finished:
            _put_in_place(connection, path, key_file)
        else:
            _discard(path, key_file)
        kept = get_note(connection, _IDENTITIES)
        if kept is not None:
            keyring = keyring.identified(keyring.unseal(base64.b64decode(kept), _IDENTITIES))
    except StoreError:
        connection.close()
        raise
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise _told(error, path) from error
    return Opened(connection, keyring, finished)


def rotate_key(path: Path, *, by: str) -> bool:
    """Give the store at `path` a new key, and remove the old one. False: an earlier exchange had been interrupted, and was finished instead.

    `by` is who the audit names. Raises StoreError when there is no store, a taut uses it, or a file cannot be read or written.
    """
    path = path.absolute()
    if not path.is_file():
        raise StoreError("There is no store", where=Where(file=str(path)), advice="check the path")
    key_file = key_file_of(path)
    lock = StoreLock(path)
    try:
        opened = open_sealed(path, key_file)
        try:
            if not opened.finished:
                _rotate(opened, path, key_file, by)
        finally:
            close_database(opened.connection)
    except (sqlite3.Error, OSError) as error:
        raise _told(error, path) from error
    finally:
        lock.release()
    return not opened.finished


def _rotate(opened: Opened, path: Path, key_file: Path, by: str) -> None:
    make_key(_successor(key_file))
    new = load_keyring(_successor(key_file), new=False)
    copy_sealed(_renders(path), _new_renders(path), opened.keyring, new)
    _flush_folder(path.parent)
    _seal_anew(opened.connection, opened.keyring, new, by)
    _put_in_place(opened.connection, path, key_file)


def _seal_anew(connection: sqlite3.Connection, old: Keyring, new: Keyring, by: str) -> None:
    """All sealed records, in one transaction, which also says that the store belongs to the new key."""

    def anew(sealed: bytes, context: str) -> bytes:
        return new.seal(old.unseal(sealed, context), context) if sealed else b""

    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for key, spec, closure in connection.execute("SELECT key, spec, closure FROM apps").fetchall():
            values = (anew(spec, f"spec:{key}"), anew(closure, f"closure:{key}"), key)
            connection.execute("UPDATE apps SET spec = ?, closure = ? WHERE key = ?", values)
        for operation, number in connection.execute("SELECT operation, number FROM manifests").fetchall():
            which = (operation, number)
            found = connection.execute("SELECT sealed FROM manifests WHERE operation = ? AND number = ?", which)
            sealed = anew(found.fetchone()[0], f"manifest:{operation}:{number}")
            connection.execute("UPDATE manifests SET sealed = ? WHERE operation = ? AND number = ?", (sealed, *which))
        for name, value in connection.execute("SELECT key, value FROM meta WHERE key GLOB 'secret *'").fetchall():
            put_note(connection, name, base64.b64encode(anew(base64.b64decode(value), name)).decode())
        for kind, name, sealed in connection.execute("SELECT kind, id, sealed FROM accounts").fetchall():
            values = (anew(sealed, about(kind, name)), kind, name)
            connection.execute("UPDATE accounts SET sealed = ? WHERE kind = ? AND id = ?", values)
        outbox.seal_anew(connection, old, new)
        put_note(connection, _IDENTITIES, base64.b64encode(new.seal(old.identities, _IDENTITIES)).decode())
        put_note(connection, "key_check", new.check)
        add_audit(connection, AuditNote(by, "rotate-key", "store", ""), time.time())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _put_in_place(connection: sqlite3.Connection, path: Path, key_file: Path) -> None:
    """The second half: the store belongs to the new key already. The old key goes last, and what it could still open before."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")  # free pages hold what was sealed with the old key
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if _new_renders(path).exists():
        for suffix in ("-wal", "-shm"):
            _renders(path).with_name(_renders(path).name + suffix).unlink(missing_ok=True)
        _new_renders(path).replace(_renders(path))
    _flush_folder(path.parent)
    _remove_drafts(key_file)
    _successor(key_file).replace(key_file)
    _flush_folder(key_file.parent)


def _discard(path: Path, key_file: Path) -> None:
    """What an exchange left that had not come to its transaction."""
    _new_renders(path).unlink(missing_ok=True)
    _new_renders(path).with_name(_new_renders(path).name + "-journal").unlink(missing_ok=True)
    _remove_drafts(key_file)
    _successor(key_file).unlink(missing_ok=True)


def _remove_drafts(key_file: Path) -> None:
    """A key under the name that it was made under: a second one of the same file, when the process was killed right after."""
    for draft in key_file.parent.glob(f"{glob.escape(_successor(key_file).name)}.*"):
        draft.unlink(missing_ok=True)


def _successor(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + ".new")


def _renders(path: Path) -> Path:
    return path.with_name(path.name + ".renders")


def _new_renders(path: Path) -> Path:
    return path.with_name(path.name + ".renders.new")


def _flush_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot, and need not
            os.fsync(fd)
    finally:
        os.close(fd)


def _told(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    if isinstance(error, sqlite3.Error):
        return fault(error, path)
    return StoreError(
        f"The store's key cannot be exchanged: {error.strerror}",
        where=Where(file=str(error.filename or path)),
        advice="let the user that runs taut write to the folder; what was begun is finished by the next run",
    )
