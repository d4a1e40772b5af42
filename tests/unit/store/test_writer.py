"""Group commit: who waits shares a transaction, and one call's failure is its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from taut.model.errors import StoreError
from taut.store.writer import Writer


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "w.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    connection.close()
    return path


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def insert(number: int):
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (number,)).lastrowid


def numbers(path: Path) -> list[int]:
    return [n for (n,) in sqlite3.connect(path).execute("SELECT n FROM t ORDER BY n")]


async def test_waiting_calls_share_a_commit_and_failures_stay_apart(database: Path) -> None:
    connection = connect(database)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    writer = Writer(connection, database)
    gate = threading.Event()

    def failing(c: sqlite3.Connection) -> None:
        c.execute("INSERT INTO t VALUES (99)")
        raise KeyError("mine")

    first = asyncio.create_task(writer.run(lambda _: gate.wait(30)))
    others = [asyncio.create_task(writer.run(insert(n), durable=n == 3)) for n in range(5)]
    twice = asyncio.create_task(writer.run(insert(2)))
    broken = asyncio.create_task(writer.run(failing))
    while not first.done() and len(statements) == 0:
        await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(first, *others, twice, broken, return_exceptions=True)
    assert results[1:6] == [0, 1, 2, 3, 4]
    assert isinstance(results[6], StoreError)
    assert isinstance(results[7], KeyError)
    assert numbers(database) == [0, 1, 2, 3, 4]
    assert statements.count("COMMIT") <= 3, statements
    assert "PRAGMA synchronous = FULL" in statements
    writer.close()


async def test_a_lost_transaction_takes_only_its_culprit_down(database: Path) -> None:
    """SQLite gives up a whole transaction on some errors; a work that rolls back by itself does the same."""
    writer = Writer(connect(database), database)
    gate = threading.Event()

    def culprit(c: sqlite3.Connection) -> None:
        c.execute("ROLLBACK")
        raise sqlite3.OperationalError("given up")

    first = asyncio.create_task(writer.run(lambda _: gate.wait(30)))
    tasks = [asyncio.create_task(writer.run(work)) for work in (insert(1), culprit, insert(2))]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert isinstance(results[2], StoreError)
    assert (results[1], results[3]) == (1, 2)
    assert numbers(database) == [1, 2]
    writer.close()


async def test_a_cancelled_caller_does_not_stop_the_writer(database: Path) -> None:
    writer = Writer(connect(database), database)
    gate = threading.Event()
    first = asyncio.create_task(writer.run(lambda _: gate.wait(30)))
    second = asyncio.create_task(writer.run(insert(7)))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    await first
    assert await writer.run(insert(8)) == 8
    assert numbers(database) == [7, 8]
    writer.close()


async def test_closing_carries_out_what_is_queued(database: Path) -> None:
    writer = Writer(connect(database), database)
    tasks = [asyncio.create_task(writer.run(insert(n))) for n in range(50)]
    await asyncio.sleep(0)
    writer.close()
    await asyncio.gather(*tasks)
    assert not database.with_name(database.name + "-wal").exists()
    assert numbers(database) == list(range(50))
    with pytest.raises(StoreError, match="closed"):
        await writer.run(insert(1))
