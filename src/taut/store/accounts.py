"""Rows of tokens and sessions: sealed records that end. Functions on a connection."""

from __future__ import annotations

import sqlite3

from taut.store.keys import Keyring


def put_account(
    connection: sqlite3.Connection, keyring: Keyring, kind: str, name: str, record: bytes, ends: float
) -> None:
    """Insert or replace a record; `ends` is the Unix time after which it is of no use, 0 for never."""
    connection.execute(
        "INSERT OR REPLACE INTO accounts (kind, id, sealed, ends) VALUES (?, ?, ?, ?)",
        (kind, name, keyring.seal(record, about(kind, name)), ends),
    )


def drop_account(connection: sqlite3.Connection, kind: str, name: str) -> None:
    """Remove a record."""
    connection.execute("DELETE FROM accounts WHERE kind = ? AND id = ?", (kind, name))


def accounts(connection: sqlite3.Connection, keyring: Keyring, kind: str, now: float) -> dict[str, bytes]:
    """All records of a kind that have not ended; the others are removed."""
    connection.execute("DELETE FROM accounts WHERE kind = ? AND ends > 0 AND ends < ?", (kind, now))
    rows = connection.execute("SELECT id, sealed FROM accounts WHERE kind = ?", (kind,))
    return {name: keyring.unseal(sealed, about(kind, name)) for name, sealed in rows}


def about(kind: str, name: str) -> str:
    """To what a sealed record is bound."""
    return f"account {kind} {name}"
