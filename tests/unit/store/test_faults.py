"""Files that cannot be used: each says in words what is wrong and what to do, and loses nothing."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taut.model.errors import StoreError
from taut.model.record import AppRecord
from taut.store.files import set_aside
from taut.store.schema import MIGRATIONS
from taut.store.store import Store


def filled(path: Path, count: int = 400) -> None:
    connection = sqlite3.connect(path)
    rows = [(f"root/app-{n}", b"{}" * 200, b"", b"") for n in range(count)]
    connection.executemany("INSERT INTO apps VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()


async def made(path: Path) -> None:
    await Store.open(path).close()


async def test_a_second_taut_is_told_who_uses_the_store(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    store = Store.open(path)
    code = f"from pathlib import Path; from taut.store.store import Store; Store.open(Path({str(path)!r}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert f"Another taut (process {os.getpid()}) uses this store" in other.stderr
    await store.close()
    await made(path)


async def test_a_newer_store_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    await made(path)
    newer = len(MIGRATIONS) + 1
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    with pytest.raises(StoreError, match=rf"newer taut \(schema {newer}") as caught:
        Store.open(path)
    assert caught.value.advice
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (newer,)


@pytest.mark.parametrize("damage", ["no database", "garbled pages", "truncated"])
async def test_damage_is_said_and_the_file_is_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "taut.db"
    await made(path)
    filled(path)
    data = path.read_bytes()
    broken = {
        "no database": b"this is a text file, longer than a header of a database: " * 40,
        "garbled pages": data[:4096] + bytes(255 - b for b in data[4096:]),
        "truncated": data[: len(data) // 2],
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(StoreError, match=r"damaged|no taut store") as caught:
        Store.open(path)
    assert "set-aside" in caught.value.advice
    assert str(path) in str(caught.value)
    assert path.read_bytes() == broken


async def test_setting_aside_is_explicit_and_makes_room_for_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    await made(path)
    path.write_bytes(b"x" * 5000)
    moved = set_aside(path)
    assert [p.read_bytes() for p in moved if not p.name.endswith(".renders")] == [b"x" * 5000]
    store = Store.open(path)
    assert await store.apps() == []
    with pytest.raises(StoreError, match="uses this store"):
        set_aside(path)
    await store.close()
    with pytest.raises(StoreError, match="no store"):
        set_aside(tmp_path / "absent.db")


async def test_the_key_belongs_to_the_store(tmp_path: Path) -> None:
    path, key = tmp_path / "taut.db", tmp_path / "taut.db.key"
    await made(path)
    secret = key.read_bytes()
    key.unlink()
    with pytest.raises(StoreError, match="key file of this store is missing"):
        Store.open(path)
    assert not key.exists()
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    with pytest.raises(StoreError, match="does not belong"):
        Store.open(path)
    key.write_bytes(secret[:-1])
    with pytest.raises(StoreError, match="31 bytes"):
        Store.open(path)
    key.write_bytes(secret)
    key.chmod(0o640)
    with pytest.raises(StoreError, match="mode 0640"):
        Store.open(path)
    key.chmod(0o600)
    await made(path)


def test_a_folder_or_a_missing_parent_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(tmp_path / "file" / "taut.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path / "folder")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes. Mounting needs root and the right to mount; where that is missing the test cannot be run."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "taut-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with pytest.raises(OSError) as caught:
        write_without_end(path)
    assert caught.value.errno == errno.ENOSPC


def write_without_end(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def test_a_full_disk_fails_one_call_and_loses_nothing(small_disk: Path) -> None:
    store = Store.open(small_disk / "taut.db")
    await store.put_app(AppRecord(key="root/first", spec=b"{}"))
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(StoreError, match="disk is full") as caught:
        await store.put_app(AppRecord(key="root/big", spec=os.urandom(300_000)))
    assert "free some space" in caught.value.advice
    store.blob_put("render", os.urandom(200_000))
    assert store.blob_get("render") is None, "a cache on a full disk misses"
    assert [r.key for r in await store.apps()] == ["root/first"]
    filler.unlink()
    await store.put_app(AppRecord(key="root/second", spec=b"{}"))
    await store.close()
    again = Store.open(small_disk / "taut.db")
    assert [r.key for r in await again.apps()] == ["root/first", "root/second"]
    await again.close()


async def test_a_disk_that_is_full_from_the_start_is_said(small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(StoreError) as caught:
        Store.open(small_disk / "taut.db")
    assert caught.value.advice


async def test_a_read_only_disk_is_said(small_disk: Path) -> None:
    path = small_disk / "taut.db"
    await made(path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"[Rr]ead-only") as caught:
        Store.open(path)
    assert caught.value.advice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    await made(path)
    path.chmod(0o400)
    with pytest.raises(StoreError, match="Permission denied") as caught:
        Store.open(path)
    assert caught.value.advice
