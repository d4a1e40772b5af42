"""Which revisions applications were deployed from. What no application was deployed from any more comes out, to be let go of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

type Pin = tuple[str, str]
"""A repository's URL and a revision in it."""


def newest_pins(connection: sqlite3.Connection) -> dict[str, frozenset[Pin]]:
    """For every application (by its key) the revisions that it was deployed from last: several where it reads one repository twice."""
    found: dict[str, set[Pin]] = {}
    newest = "SELECT app, max(at) AS at FROM pins GROUP BY app"
    for app, url, revision in connection.execute(
        f"SELECT pins.app, url, revision FROM pins JOIN ({newest}) AS newest ON pins.app = newest.app AND pins.at = newest.at"  # noqa: S608
    ):
        found.setdefault(app, set()).add((url, revision))
    return {app: frozenset(pins) for app, pins in found.items()}


def pins_of(connection: sqlite3.Connection, app: str) -> list[Pin]:
    """An application's pins, the oldest first."""
    return connection.execute("SELECT url, revision FROM pins WHERE app = ? ORDER BY at", (app,)).fetchall()


def all_pins(connection: sqlite3.Connection) -> set[Pin]:
    """Every revision that some application was deployed from."""
    return set(connection.execute("SELECT DISTINCT url, revision FROM pins"))


def add_pins(connection: sqlite3.Connection, app: str, pins: Iterable[Pin], at: float, limit: int) -> list[Pin]:
    """Pin revisions for an application, and let it keep those of its newest `limit` deployments. What nobody keeps any more comes out."""
    connection.executemany(
        "INSERT OR REPLACE INTO pins (app, url, revision, at) VALUES (?, ?, ?, ?)", [(app, *pin, at) for pin in pins]
    )
    moments = "SELECT DISTINCT at FROM pins WHERE app = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
    oldest = connection.execute(moments, (app, limit - 1)).fetchone()
    if oldest is None:
        return []
    spare = connection.execute("SELECT url, revision FROM pins WHERE app = ? AND at < ?", (app, oldest[0])).fetchall()
    return _let_go(connection, app, spare)


def drop_pins(connection: sqlite3.Connection, app: str) -> list[Pin]:
    """Let go of all of an application's pins. What nobody keeps any more comes out."""
    return _let_go(connection, app, pins_of(connection, app))


def _let_go(connection: sqlite3.Connection, app: str, spare: list[Pin]) -> list[Pin]:
    connection.executemany(
        "DELETE FROM pins WHERE app = ? AND url = ? AND revision = ?", [(app, *pin) for pin in spare]
    )
    held = "SELECT 1 FROM pins WHERE url = ? AND revision = ? LIMIT 1"
    return [pin for pin in spare if connection.execute(held, pin).fetchone() is None]
