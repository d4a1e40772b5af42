"""The store's disk is full, or read-only: taut says so, writes nothing that it cannot record first, and goes on when there is room."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, job, yaml
from integration.loop.written import Writes
from support.disks import FallibleDisk, SmallDisk, fallible_disk, small_disk
from taut.model.drift import DriftOutcome
from taut.model.errors import StoreError
from taut.server.controlled import ControllerBackend

pytestmark = pytest.mark.integration

MEGABYTES = 6


@pytest.fixture
def disk(taut: Taut) -> Iterator[SmallDisk]:
    """The disk that taut keeps its store on."""
    with small_disk(taut.folder / "state", MEGABYTES) as made:
        yield made


@pytest.fixture
def failing(taut: Taut) -> Iterator[FallibleDisk]:
    """The same, and it can fail."""
    with fallible_disk(taut.folder / "image", taut.folder / "state", 24) as made:
        yield made


def files(value: str = "1", version: int = 1) -> dict[str, Any]:
    """Two waves, and a hook before and after them that takes its time."""
    hooks = [annotate(job(f"{p}-{version}".lower()), hook=p) for p in ("PreSync", "PostSync")]
    for hook in hooks:
        hook["spec"]["template"]["metadata"] = {"annotations": {"localplane.taut.dev/complete-after": "1s"}}
    return {
        "apps/web/first.yaml": yaml(config_map("first", {"a": value})),
        "apps/web/second.yaml": yaml(annotate(config_map("second", {"a": value}), wave="1")),
        "apps/web/hooks.yaml": yaml(*hooks),
    }


def held(taut: Taut, name: str) -> str:
    """The value of a ConfigMap."""
    return (taut.get("configmaps", name) or {"data": {"a": ""}})["data"]["a"]


async def whole(taut: Taut) -> None:
    """Nothing of the audit is missing, and no operation is open."""
    assert await taut.controller.store.verify_audit() is None
    assert await taut.controller.store.running() == []


async def test_nothing_is_healed_that_cannot_be_recorded(
    taut: Taut, disk: SmallDisk, caplog: pytest.LogCaptureFixture
) -> None:
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
        backend = ControllerBackend(taut.controller)
        assert backend.ready() == ""
        writes = Writes(taut)
        disk.fill()
        with caplog.at_level(logging.WARNING, "taut.store"):
            taut.patch("configmaps", "first", {"data": {"a": "9"}}, manager="somebody")
            status = await taut.says("web", "disk is full")
        assert "free some space" in status.message
        assert "taut.db" in status.message
        assert status.sync == "Unknown"
        assert "disk is full" in backend.ready()
        assert [m.samples[0].value for m in backend.metrics() if m.name == "store_failing"] == [1]
        assert "disk is full" in caplog.text
        # A person's wish is refused as well, and does not happen later in secret.
        with pytest.raises(StoreError, match="disk is full"):
            await taut.controller.suspend(taut.key("web"), by="ada", reason="")
        state = taut.state("web")
        assert state is not None
        assert not state.suspended
        assert writes.all() == []
        assert held(taut, "first") == "9"
        disk.free()
        await taut.until(lambda: held(taut, "first") == "1", "healed when there was room")
        await taut.synced("web")
        await taut.until(lambda: backend.ready() == "", "ready again")
        (record,) = await taut.drift("web")
        assert (record.who, record.found, record.outcome) == ("somebody", "9", DriftOutcome.HEALED)
        assert [e.kind for e in await taut.history("web")] == ["heal", "sync"]
        await whole(taut)


@pytest.mark.faults
async def test_a_commit_waits_until_there_is_room(taut: Taut, disk: SmallDisk) -> None:
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
        writes = Writes(taut)
        disk.fill()
        commit = await taut.push(files("2", 2))
        status = await taut.says("web", "full")
        assert writes.all() == [], status.message
        disk.free()
        await taut.synced("web", at=commit, seconds=90)
        assert (held(taut, "first"), held(taut, "second")) == ("2", "2")
        assert writes.runs() == Counter(["presync-2", "postsync-2"])
        await whole(taut)


@pytest.mark.faults
async def test_full_in_the_midst_of_a_sync_and_over_a_restart(taut: Taut, disk: SmallDisk) -> None:
    """A hook that ends meanwhile is recorded when there is room; until then nothing after it begins, and a start says why it cannot."""
    taut.declare(application("web"), files=files())
    writes = Writes(taut)
    async with taut.run():
        await taut.until(lambda: taut.get("jobs", "presync-1", "batch/v1"), "the hook is there")
        disk.fill()

        def complete() -> bool:
            found = taut.get("jobs", "presync-1", "batch/v1") or {}
            return bool(found.get("status", {}).get("completionTime"))

        await taut.until(complete, "the hook has ended")
        await taut.says("web", "disk is full")
        assert [str(w) for w in writes.all()] == ["create jobs.batch/presync-1"]
    with pytest.raises(StoreError, match="disk is full") as caught:
        async with taut.run():
            pass
    assert "free some space" in caught.value.advice
    disk.free()
    async with taut.run():
        await taut.synced("web")
        assert (held(taut, "first"), held(taut, "second")) == ("1", "1")
        assert writes.runs() == Counter(["presync-1", "postsync-1"])
        assert [e.result for e in await taut.history("web")] == ["Succeeded"]
        state = taut.state("web")
        assert state is not None
        assert not [i.ref for i in state.items.values() if i.pending or not i.uid]
        await whole(taut)


async def test_room_that_comes_back_in_the_midst_of_a_sync(taut: Taut, disk: SmallDisk) -> None:
    """The same process goes on where it stopped: what the memory knows is what the store holds."""
    taut.declare(application("web"), files=files())
    writes = Writes(taut)
    async with taut.run():
        await taut.until(lambda: taut.get("jobs", "presync-1", "batch/v1"), "the hook is there")
        disk.fill()
        await taut.says("web", "disk is full")
        disk.free()
        await taut.synced("web")
        assert writes.runs() == Counter(["presync-1", "postsync-1"])
        stored = (await taut.controller.store.inventories())[taut.key("web")]
        state = taut.state("web")
        assert state is not None
        assert stored == state.items
        assert [e.result for e in await taut.history("web")] == ["Succeeded"]
        assert [e.message for e in await taut.controller.store.events(taut.key("web"))] == [
            "sync Succeeded",
            "sync started: 4 steps",
        ]
        await whole(taut)
    async with taut.run():
        await taut.synced("web")
        assert writes.runs() == Counter(["presync-1", "postsync-1"])


async def test_a_disk_that_turns_read_only(taut: Taut, failing: FallibleDisk) -> None:
    """As after an error of the disk. A read-only disk cannot be started on, and a repaired one has lost nothing."""
    taut.declare(application("web"), files=files())
    async with taut.run():
        await taut.synced("web")
        writes = Writes(taut)
        failing.abort()
        taut.patch("configmaps", "first", {"data": {"a": "9"}}, manager="somebody")
        await taut.says("web", "store")
        backend = ControllerBackend(taut.controller)
        assert any(words in backend.ready() for words in ("read-only", "disk failed")), backend.ready()
        assert writes.all() == []
    with pytest.raises(StoreError) as caught:
        async with taut.run():
            pass
    assert caught.value.advice
    failing.repair()
    # What Git can give again is not written as carefully as the store: taut says so where it was hit, and that this is what to do.
    shutil.rmtree(taut.folder / "state" / "taut.db.sources")
    async with taut.run():
        await taut.until(lambda: held(taut, "first") == "1", "healed")
        await taut.synced("web")
        assert [e.kind for e in await taut.history("web")] == ["heal", "sync"]
        assert writes.runs() == Counter()
        await whole(taut)
