"""The audit chain tells when an entry was changed, removed, or cut off."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from taut.store.store import Store


async def chain(path: Path) -> None:
    store = Store.open(path)
    for n in range(5):
        await store.audit("anna", "sync", "prod/web" if n % 2 else "prod/api", f"plan {n}")
    assert await store.verify_audit() is None
    newest, *_ = await store.audit_entries(limit=2)
    assert (newest.number, newest.detail) == (5, "plan 4")
    assert [e.number for e in await store.audit_entries(subject="prod/web")] == [4, 2]
    await store.close()


@pytest.mark.parametrize(
    ("tampering", "first_broken"),
    [
        ("UPDATE audit SET actor = 'ben' WHERE number = 3", 3),
        ("UPDATE audit SET at = at + 1 WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 5", 5),
        ("DELETE FROM audit", 1),
        ("UPDATE audit SET hash = previous WHERE number = 4", 4),
    ],
)
async def test_tampering_is_found(tmp_path: Path, tampering: str, first_broken: int) -> None:
    path = tmp_path / "taut.db"
    await chain(path)
    with sqlite3.connect(path) as connection:
        connection.execute(tampering)
    store = Store.open(path)
    assert await store.verify_audit() == first_broken
    await store.close()


async def test_an_empty_chain_is_whole(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "taut.db")
    assert await store.verify_audit() is None
    await store.close()
