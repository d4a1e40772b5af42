"""The store's tables, as numbered migrations. A migration that was released is never edited: add another one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from taut.model.errors import StoreError, Where

_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # `record` is the AppRecord as JSON without the two sealed columns: a document may hold secret values inline.
    "CREATE TABLE apps (key TEXT PRIMARY KEY, record BLOB NOT NULL, spec BLOB NOT NULL, closure BLOB NOT NULL)",
    """CREATE TABLE inventory (
        app TEXT NOT NULL, cluster TEXT NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL,
        namespace TEXT NOT NULL, name TEXT NOT NULL, item BLOB NOT NULL,
        PRIMARY KEY (app, cluster, grp, kind, namespace, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE operations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, state TEXT NOT NULL, operation BLOB NOT NULL
    )""",
    # One operation an application at a time (DESIGN.md, Supersede): the database itself refuses a second one.
    "CREATE UNIQUE INDEX operations_running ON operations (app) WHERE state = 'Running'",
    "CREATE INDEX operations_app ON operations (app, id)",
    """CREATE TABLE steps (
        operation INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        step BLOB NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL, sent_at REAL NOT NULL, uid TEXT NOT NULL,
        PRIMARY KEY (operation, number)
    ) WITHOUT ROWID""",
    # Apart from `steps`, so that marking a step does not rewrite its manifest.
    """CREATE TABLE manifests (
        operation INTEGER NOT NULL REFERENCES operations (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        sealed BLOB NOT NULL, PRIMARY KEY (operation, number)
    )""",
    "CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, entry BLOB NOT NULL)",
    "CREATE INDEX history_app ON history (app, id)",
    """CREATE TABLE drift (
        id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, outcome TEXT NOT NULL,
        healed_at REAL NOT NULL, reason TEXT NOT NULL, record BLOB NOT NULL
    )""",
    "CREATE INDEX drift_app ON drift (app, id)",
    "CREATE INDEX drift_open ON drift (id) WHERE outcome = 'open'",
    """CREATE TABLE approvals (
        app TEXT NOT NULL, plan_hash TEXT NOT NULL, approval BLOB NOT NULL, PRIMARY KEY (app, plan_hash)
    ) WITHOUT ROWID""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, at REAL NOT NULL,
        kind TEXT NOT NULL, message TEXT NOT NULL, object TEXT NOT NULL
    )""",
    "CREATE INDEX events_app ON events (app, id)",
    "CREATE TABLE runs (run_key TEXT PRIMARY KEY, result TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    """CREATE TABLE audit (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
        subject TEXT NOT NULL, detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
    )""",
)

_PINS = (
    # Which application was deployed from which revision: a revision is kept in its mirror as long as any of them may go back to it.
    "CREATE TABLE pins (app TEXT NOT NULL, url TEXT NOT NULL, revision TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (app, url, revision)) WITHOUT ROWID",
    "CREATE INDEX pins_revision ON pins (url, revision)",
)

_HOLDERS = (
    # Whose inventory holds an object: asked whenever one is put into an inventory.
    "CREATE INDEX inventory_object ON inventory (name, namespace, kind, grp, cluster)",
)

_ACCOUNTS = (
    # Tokens of the API and sessions of browsers, sealed; `id` is a hash or a public name, never what is signed in with.
    "CREATE TABLE accounts (kind TEXT NOT NULL, id TEXT NOT NULL, sealed BLOB NOT NULL, ends REAL NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID",
    "ALTER TABLE audit ADD COLUMN source TEXT NOT NULL DEFAULT ''",
)

_OUTBOX = (
    # What is to be told to others (`store.outbox`). AUTOINCREMENT: the order of ids is the order in which messages were written.
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
        sealed BLOB NOT NULL, worth INTEGER NOT NULL, at REAL NOT NULL, due REAL NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, said TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE UNIQUE INDEX outbox_name ON outbox (channel, name)",
    "CREATE INDEX outbox_turn ON outbox (channel, key, id)",
    "CREATE TABLE alerts (key TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _PINS, _HOLDERS, _ACCOUNTS, _OUTBOX)
"""The statements that lead from version n to n + 1."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version, all in one transaction.

    Raises StoreError when the file was written by a newer taut, sqlite3.Error when the file cannot be written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise StoreError(
                f"The store was written by a newer taut (schema {version}; this one knows {len(MIGRATIONS)})",
                where=Where(file=str(path)),
                advice="run the newer taut, or give this one its own store",
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(MIGRATIONS):
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
