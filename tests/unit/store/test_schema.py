"""Migrations: all or nothing, and from every earlier version to the newest."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from taut.store import schema
from taut.store.schema import MIGRATIONS, migrate
from taut.store.store import Store


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.mark.parametrize("start", range(len(MIGRATIONS) + 1))
def test_every_version_leads_to_the_newest(tmp_path: Path, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(tmp_path / "a.db")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", MIGRATIONS[:start])
        migrate(connection, tmp_path / "a.db")
    migrate(connection, tmp_path / "a.db")
    fresh = connect(tmp_path / "b.db")
    migrate(fresh, tmp_path / "b.db")
    assert version(connection) == version(fresh) == len(MIGRATIONS)
    assert tables(connection) == tables(fresh)


def test_a_failing_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(tmp_path / "a.db")
    migrate(connection, tmp_path / "a.db")
    before = tables(connection)
    broken = (*MIGRATIONS, ("CREATE TABLE later (n INTEGER)", "CREATE TABLE later (n INTEGER)"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, tmp_path / "a.db")
    assert not connection.in_transaction
    assert (tables(connection), version(connection)) == (before, len(MIGRATIONS))


async def test_what_was_stored_outlives_a_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path / "taut.db")
    await store.audit("anna", "sync", "prod/web")
    await store.close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ("ALTER TABLE events ADD COLUMN severity TEXT",)))
    again = Store.open(tmp_path / "taut.db")
    assert await again.verify_audit() is None
    assert [e.subject for e in await again.audit_entries()] == ["prod/web"]
    await again.close()
