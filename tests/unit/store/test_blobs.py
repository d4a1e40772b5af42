"""The cache of renders: bounded, sealed, and never in the way."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from taut.store.blobs import BlobCache
from taut.store.keys import Keyring

KEYS = Keyring(bytes(32))


def test_values_come_back_also_after_a_restart(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", KEYS)
    assert cache.get("a") is None
    cache.put("a", b"one")
    cache.put("a", b"two")
    cache.put("empty", b"")
    cache.close()
    again = BlobCache(tmp_path / "c", KEYS)
    assert again.get("a") == b"two"
    assert again.get("empty") == b""
    assert BlobCache(tmp_path / "c", Keyring(b"k" * 32)).get("a") is None
    again.close()


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", KEYS, limit=100_000)
    for n in range(9):
        cache.put(f"k{n}", os.urandom(10_000))
        assert cache.get("k0") is not None
    cache.put("k9", os.urandom(20_000))
    kept = [n for n in range(10) if cache.get(f"k{n}") is not None]
    assert 0 in kept, "it was used all the time"
    assert 9 in kept
    assert 1 not in kept
    size = sqlite3.connect(tmp_path / "c").execute("SELECT sum(size) FROM blobs").fetchone()[0]
    assert size <= 100_000
    cache.close()


def test_a_giant_is_not_kept(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", KEYS, limit=1000)
    cache.put("small", b"x")
    cache.put("giant", os.urandom(5000))
    assert cache.get("giant") is None
    assert cache.get("small") == b"x"
    cache.close()


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"no database at all " * 500)
    cache = BlobCache(tmp_path / "c", KEYS)
    cache.put("a", b"one")
    assert cache.get("a") == b"one"
    cache.close()


def test_a_changed_value_is_a_miss(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "c", KEYS)
    cache.put("a", b"one")
    cache.put("b", b"two")
    with sqlite3.connect(tmp_path / "c") as other:
        rows = other.execute("SELECT name, value FROM blobs ORDER BY used").fetchall()
        other.execute("UPDATE blobs SET value = ? WHERE name = ?", (rows[0][1], rows[1][0]))
    assert cache.get("b") is None, "a sealed value cannot be moved under another name"
    assert cache.get("a") == b"one"
    cache.close()


def test_a_place_that_cannot_hold_a_cache_always_misses(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "absent" / "c", KEYS)
    cache.put("a", b"one")
    assert cache.get("a") is None
    cache.close()
