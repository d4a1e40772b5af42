"""The outbox: what is to be told to others, kept until they have it. Functions on a connection.

A channel is who sends (`alert`, `commit-status`), a key is what keeps an order: of one key the oldest is sent first, and nothing overtakes it.
The name of a message is its identity at the other end: posted twice, it is there once, and a repeat carries it again. Payloads are sealed
(DESIGN.md, rule 7): they quote what Git and clusters say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taut.store.keys import Keyring


@dataclass(frozen=True, slots=True)
class Post:
    """A message as it is written. `due` is the Unix time before which it is not sent.

    Of messages that are too many the least `worth` go first, then the oldest: 0 is what has ended, 1 everything else.
    """

    channel: str
    key: str
    name: str
    payload: bytes
    due: float = 0.0
    worth: int = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits: when it was written, how often it was tried, and what was said the last time."""

    id: int
    key: str
    name: str
    payload: bytes
    at: float
    due: float
    tries: int
    said: str


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits, without its payload."""

    channel: str
    key: str
    name: str
    at: float
    due: float
    tries: int
    said: str


def post(connection: sqlite3.Connection, posts: Iterable[Post], keyring: Keyring, at: float) -> None:
    """Write messages; those whose names are known already are left out."""
    connection.executemany(
        "INSERT OR IGNORE INTO outbox (channel, key, name, sealed, worth, at, due) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (p.channel, p.key, p.name, keyring.seal(p.payload, _context(p.channel, p.name)), p.worth, at, p.due)
            for p in posts
        ],
    )


def waiting(connection: sqlite3.Connection, channel: str, keyring: Keyring, limit: int) -> list[Waiting]:
    """The oldest messages of a channel, in the order in which they were written."""
    return _read(connection, "channel = ? ORDER BY id LIMIT ?", (channel, limit), keyring)


def heads(connection: sqlite3.Connection, channel: str, keyring: Keyring) -> list[Waiting]:
    """Of each key of a channel the message whose turn it is."""
    where = "id IN (SELECT min(id) FROM outbox WHERE channel = ? GROUP BY key) ORDER BY id"
    return _read(connection, where, (channel,), keyring)


def sent(connection: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Forget messages that have arrived, or never will."""
    connection.executemany("DELETE FROM outbox WHERE id = ?", [(number,) for number in ids])


def put_off(connection: sqlite3.Connection, number: int, due: float, said: str) -> None:
    """Note that a message could not be sent, why, and when it is tried again."""
    connection.execute("UPDATE outbox SET tries = tries + 1, due = ?, said = ? WHERE id = ?", (due, said, number))


def trim(connection: sqlite3.Connection, channel: str, most: int) -> int:
    """Let go of what is too much in a channel; how many messages that were."""
    over = counts(connection).get(channel, 0) - most
    if over <= 0:
        return 0
    which = "SELECT id FROM outbox WHERE channel = ? ORDER BY worth, id LIMIT ?"
    return connection.execute(f"DELETE FROM outbox WHERE id IN ({which})", (channel, over)).rowcount  # noqa: S608 (fixed words)


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait in each channel."""
    return dict(connection.execute("SELECT channel, count(*) FROM outbox GROUP BY channel"))


def queued(connection: sqlite3.Connection, channels: Sequence[str], limit: int) -> list[Queued]:
    """What waits in these channels, the oldest first."""
    marks = ", ".join("?" for _ in channels)
    rows = connection.execute(
        f"SELECT channel, key, name, at, due, tries, said FROM outbox WHERE channel IN ({marks}) ORDER BY id LIMIT ?",  # noqa: S608
        (*channels, limit),
    )
    return [Queued(*row) for row in rows]


def _read(connection: sqlite3.Connection, where: str, values: tuple[object, ...], keyring: Keyring) -> list[Waiting]:
    rows = connection.execute(
        f"SELECT channel, id, key, name, sealed, at, due, tries, said FROM outbox WHERE {where}",  # noqa: S608 (fixed words)
        values,
    )
    return [
        Waiting(number, key, name, keyring.unseal(sealed, _context(channel, name)), at, due, tries, said)
        for channel, number, key, name, sealed, at, due, tries, said in rows
    ]


# Alerts that are open: what was told, so that it is told once, and its end too.


def open_alerts(connection: sqlite3.Connection, keyring: Keyring) -> dict[str, bytes]:
    """The alerts that are open, by their keys."""
    rows = connection.execute("SELECT key, sealed FROM alerts")
    return {key: keyring.unseal(sealed, f"alert:{key}") for key, sealed in rows}


def put_alerts(connection: sqlite3.Connection, alerts: Iterable[tuple[str, bytes | None]], keyring: Keyring) -> None:
    """Remember alerts by their keys; None forgets one."""
    for key, value in alerts:
        if value is None:
            connection.execute("DELETE FROM alerts WHERE key = ?", (key,))
        else:
            connection.execute(
                "INSERT OR REPLACE INTO alerts (key, sealed) VALUES (?, ?)", (key, keyring.seal(value, f"alert:{key}"))
            )


def seal_anew(connection: sqlite3.Connection, old: Keyring, new: Keyring) -> None:
    """Seal everything here with another key."""
    for number, channel, name, sealed in connection.execute("SELECT id, channel, name, sealed FROM outbox").fetchall():
        context = _context(channel, name)
        value = new.seal(old.unseal(sealed, context), context)
        connection.execute("UPDATE outbox SET sealed = ? WHERE id = ?", (value, number))
    put_alerts(connection, open_alerts(connection, old).items(), new)


def _context(channel: str, name: str) -> str:
    return f"outbox:{channel}:{name}"
