"""A store that is damaged: `taut run` says what is wrong and what to do, touches no cluster, and never begins anew by itself."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, job, yaml
from integration.loop.written import Writes
from taut.model.errors import StoreError
from taut.store.files import set_aside

pytestmark = pytest.mark.integration


def files() -> dict[str, Any]:
    return {
        "apps/web/web.yaml": yaml(deployment("web"), *(config_map(f"settings-{n}") for n in range(8))),
        "apps/web/hook.yaml": yaml(annotate(job("migrate"), hook="PreSync", hook_delete_policy="HookSucceeded")),
    }


def objects(taut: Taut) -> dict[str, str]:
    """Uids of everything that was applied, by kind and name."""
    found: dict[str, str] = {}
    for path in ("api/v1/namespaces/{}/configmaps", "apis/apps/v1/namespaces/{}/deployments"):
        status, body = taut.api.request("GET", "/" + path.format(taut.namespace))
        assert status == 200
        for item in json.loads(body)["items"]:
            if item["metadata"]["name"] == "kube-root-ca.crt":
                continue
            found[f"{path} {item['metadata']['name']}"] = item["metadata"]["uid"]
    return found


def cut(to: float) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        os.truncate(store, int(store.stat().st_size * to))

    return damage


def garble(store: Path) -> None:
    """Random bytes over the middle half."""
    size = store.stat().st_size
    with store.open("r+b") as file:
        file.seek(size // 4)
        file.write(random.Random(4).randbytes(size // 2))


def overwrite(store: Path) -> None:
    with store.open("r+b") as file:
        file.write(b"This was a store once, and is a text now.".ljust(100))


def other_key(store: Path) -> None:
    store.with_name("taut.db.key").write_bytes(random.Random(5).randbytes(32))


def no_key(store: Path) -> None:
    store.with_name("taut.db.key").unlink()


def log_of(store: Path) -> Path:
    return store.with_name("taut.db-wal")


def no_log(store: Path) -> None:
    log_of(store).unlink()


def log_without_store(store: Path) -> None:
    store.unlink()


def log_of_garbage(store: Path) -> None:
    log_of(store).write_bytes(random.Random(6).randbytes(log_of(store).stat().st_size))


CLOSED = {
    "cut to nothing": (cut(0), "the file is empty"),
    "cut to half": (cut(0.5), "damaged"),
    "garbled in the middle": (garble, "damaged"),
    "header overwritten": (overwrite, "no taut store"),
    "another key": (other_key, "does not belong"),
    "no key": (no_key, "key file of this store is missing"),
}
KILLED = {
    "no log": (no_log, "write-ahead log is missing"),
    "a log of garbage": (log_of_garbage, "write-ahead log is none"),
    "a log without its store": (log_without_store, "file is missing"),
}


def kept(folder: Path) -> dict[str, bytes]:
    """What the store's files hold."""
    files_there = (p for p in folder.glob("taut.db*") if p.is_file() and not p.name.endswith((".lock", "-shm")))
    return {p.name: data for p in files_there if (data := p.read_bytes())}


async def made(taut: Taut) -> tuple[Path, Path]:
    """Sync an application; the folder of a store that was closed, and the copy of one whose process was killed."""
    taut.declare(application("web"), files=files())
    state, killed = taut.folder / "state", taut.folder / "killed"
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: taut.get("jobs", "migrate", "batch/v1") is None, "the hook's object is gone")
        await taut.until(lambda: taut.controller.queue.idle, "quiet")
        shutil.copytree(state, killed)
    return state, killed


async def refuses(taut: Taut, words: str) -> StoreError:
    """A start ends with these words, and with what to do."""
    with pytest.raises(StoreError, match=words) as caught:
        async with taut.run():
            pass
    assert caught.value.code == 1
    assert caught.value.advice
    assert str(taut.folder / "state") in str(caught.value)
    return caught.value


async def test_damage_is_said_and_nothing_is_touched(taut: Taut) -> None:
    """Each damage alone: no start, no write, not a byte of the damaged file changed; and what the advice says works."""
    closed, killed = await made(taut)
    before, writes = objects(taut), Writes(taut)
    whole = taut.folder / "whole"
    shutil.move(closed, whole)
    for name, (damage, words) in (CLOSED | KILLED).items():
        shutil.copytree(killed if name in KILLED else whole, closed)
        damage(closed / "taut.db")
        left = kept(closed)
        error = await refuses(taut, words)
        assert "set-aside" in error.advice or "put" in error.advice, name
        assert kept(closed) == left, name
        shutil.rmtree(closed)
    assert writes.all() == []
    assert objects(taut) == before
    # A store that was killed and is whole goes on.
    shutil.move(killed, closed)
    async with taut.run():
        await taut.synced("web")
        assert [e.result for e in await taut.history("web")] == ["Succeeded"]
        assert await taut.controller.store.verify_audit() is None
    assert writes.all() == []


@pytest.mark.parametrize(
    "damage",
    ["garbled in the middle", *(pytest.param(d, marks=pytest.mark.faults) for d in ("cut to nothing", "no key"))],
)
async def test_set_aside_loses_history_and_nothing_else(taut: Taut, damage: str) -> None:
    closed, _ = await made(taut)
    before, writes = objects(taut), Writes(taut)
    change, words = CLOSED[damage]
    change(closed / "taut.db")
    await refuses(taut, words)
    moved = set_aside(closed / "taut.db")
    assert all(p.exists() for p in moved)
    async with taut.run():
        await taut.synced("web")
        assert await taut.history("web") == []
        state = taut.state("web")
        assert state is not None
        assert {i.uid for i in state.items.values()} == set(before.values())
        assert writes.all() == [], "nothing was written, and no hook ran again"
        # What leaves Git now is pruned when somebody has looked at it.
        taut.repo.commit(
            {"apps/web/web.yaml": yaml(deployment("web"), *(config_map(f"settings-{n}") for n in range(7)))}
        )
        await taut.poke()
        await taut.held("web", "rebuilt-inventory")
        await taut.approve("web")
        await taut.until(lambda: taut.get("configmaps", "settings-7") is None, "pruned")
        await taut.synced("web")
        assert await taut.controller.store.verify_audit() is None
    assert objects(taut).items() <= before.items()


async def test_a_rebuilding_that_was_cut_short_is_taken_up(taut: Taut) -> None:
    """The process ended when it knew one of two applications again: the other one's objects are found by the next."""
    for name in ("one", "two"):
        taut.repo.commit({f"apps/{name}/c.yaml": yaml(config_map(f"{name}-a"), config_map(f"{name}-b"))})
    taut.declare(application("one"), application("two"))
    async with taut.run():
        await taut.synced("one", "two")
    shutil.rmtree(taut.folder / "state")
    # What left Git meanwhile is known by its mark alone.
    taut.repo.commit({"apps/two/c.yaml": yaml(config_map("two-a"))})
    async with taut.run():
        await taut.held("two", "rebuilt-inventory")
    store = taut.folder / "state" / "taut.db"
    with sqlite3.connect(store) as connection:
        # As it is when the process is killed between the two: one is stored, the other is not, and the work is not concluded.
        connection.execute("DELETE FROM apps WHERE key LIKE '%/two'")
        connection.execute("DELETE FROM inventory WHERE app LIKE '%/two'")
        connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('rebuilding', 'yes')")
    connection.close()
    async with taut.run():
        await taut.held("two", "rebuilt-inventory")
        await taut.approve("two")
        await taut.until(lambda: taut.get("configmaps", "two-b") is None, "what left Git is gone")
        await taut.synced("one", "two")
        await taut.until(lambda: taut.controller.queue.idle, "quiet")
        assert await taut.controller.store.noted("rebuilding") is None


async def test_a_broken_cache_of_renders_is_made_anew(taut: Taut) -> None:
    closed, _ = await made(taut)
    writes = Writes(taut)
    cache = closed / "taut.db.renders"
    for damage in (cut(0), cut(0.5), garble, overwrite):
        damage(cache)
        async with taut.run():
            await taut.synced("web")
    assert writes.all() == []
