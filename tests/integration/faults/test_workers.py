"""Renders that hang, eat memory, never stop talking, or whose worker dies: that application says so, and nobody else notices."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from integration.loop.harness import Taut, application
from support.kubernetes import eventually
from taut.prison.pool import descendants

pytestmark = pytest.mark.integration

HANGS = "[x for x in std.range(1, 100000) for y in std.range(1, 100000) if x + y < 0]"
EATS = "std.makeArray(30000000, function(i) 'number %d' % i)"
TALKS = "std.join('', std.makeArray(400000, function(i) 'and more '))"


def jsonnet(name: str, value: str, also: str = "''") -> str:
    """A ConfigMap, and something that has to be computed for it."""
    return (
        "local more = " + also + ";\n"
        "{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: '" + name + "' },\n"
        "  data: { a: '" + value + "', more: if std.isString(more) then more else std.toString(std.length(more)) } }\n"
    )


def files(**extra: str) -> dict[str, Any]:
    """Every application's folder: `extra` is what it has to compute, by its name; those that are not named have nothing to."""
    return {f"apps/{n}/main.jsonnet": jsonnet(n, "2" if extra else "1", extra.get(n, "''")) for n in NAMES}


NAMES = ("good", "hangs", "eats", "talks", "dies", "breaks")


def held(taut: Taut, name: str) -> str:
    """What its ConfigMap says."""
    return (taut.get("configmaps", name) or {"data": {"a": ""}})["data"]["a"]


def processes() -> set[int]:
    """All that this process has started, and they in turn."""
    return {p for p in descendants(os.getpid()) if Path(f"/proc/{p}/cwd").exists()}


def folders() -> set[str]:
    """Places that the workers of this process use."""
    return {p.name for base in ("/tmp", "/dev/shm") for p in Path(base).glob(f"taut-work-*-{os.getpid()}-*")}


def open_files() -> Counter[str]:
    """What this process holds open, without numbers that are never the same again."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{number}").partition(":[")[0]] += 1
    return found


async def strike(taut: Taut, number: int) -> None:
    """Send a signal to the innermost process of a worker that works."""
    pool = taut.controller.wanting._engine._pool

    def busy() -> list[int]:
        return [pid for worker in pool._busy for pid in (descendants(worker.pid) or [worker.pid])[-1:]]

    found = await taut.until(busy, "a worker is at work")
    os.kill(found[0], number)


async def test_one_render_after_the_other_goes_wrong(taut: Taut) -> None:
    taut.options = {"render": {"timeout": "4s", "memoryMib": 200, "outputMib": 1, "workers": 2}}
    taut.declare(*(application(n) for n in NAMES), files=files())
    before = processes(), folders(), open_files()
    async with taut.run():
        await taut.synced(*NAMES)
        # Two of them are killed from outside while they compute.
        for name, number, word in (("dies", signal.SIGKILL, "crashed"), ("breaks", signal.SIGSEGV, "crashed")):
            await taut.push({f"apps/{name}/main.jsonnet": jsonnet(name, "2", HANGS)})
            await strike(taut, number)
            await taut.says(name, word)
        commit = await taut.push(files(hangs=HANGS, eats=EATS, talks=TALKS, dies=HANGS, breaks=HANGS))
        await taut.synced("good", at=commit)
        await taut.says("eats", "more than 200 MB of memory")
        await taut.says("talks", "larger than 1 MiB")
        await taut.says("hangs", "longer than 4 s")
        for name in NAMES[1:]:
            status = taut.status(name)
            assert status is not None
            assert (status.sync, status.health, held(taut, name)) == ("Unknown", "Healthy", "1"), status
        # The last good state keeps running, and is kept.
        taut.patch("configmaps", "hangs", {"data": {"a": "9"}})
        await taut.until(lambda: held(taut, "hangs") == "1", "healed")
        assert len(taut.controller.wanting._engine._pool.pids) <= 2
        # Mended, everything goes on.
        commit = await taut.push({f"apps/{n}/main.jsonnet": jsonnet(n, "3") for n in NAMES})
        await taut.synced(*NAMES, at=commit)
        assert {held(taut, n) for n in NAMES} == {"3"}

    await eventually(lambda: not processes() - before[0], "no process is left")
    assert folders() == before[1] == set()
    gc.collect()  # Git's own packs are closed with the repositories that hold them
    assert open_files() - before[2] == Counter()


def test_what_a_killed_process_left_in_memory_is_removed() -> None:
    """Folders of processes that are no more go with the next start; those of processes that live stay."""
    namespace = os.stat("/proc/self/ns/pid").st_ino
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = Path("/dev/shm", f"taut-work-{namespace}-{int(ended.stdout)}-left")
    mine = Path("/dev/shm", f"taut-work-{namespace}-{os.getpid()}-mine")
    for folder in (left, mine):
        folder.mkdir()
        (folder / "file").write_text("x")
    code = "from taut.prison.pool import _work_folder; print(_work_folder())"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert not left.exists()
    assert (mine / "file").exists()
    assert Path(made).is_dir()
    shutil.rmtree(mine)
    shutil.rmtree(made)
