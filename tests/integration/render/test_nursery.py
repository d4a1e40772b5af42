"""Where workers come from: it is started once, forks what is asked for, and takes them with it when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from support.kubernetes import eventually
from taut.model.errors import RenderError
from taut.prison.forking import Nursery
from taut.prison.limits import Limits
from taut.prison.pool import Pool, Worker, descendants
from taut.prison.walls import Prison
from taut.render.wire import Job, JsonnetTask
from taut.render.workers import RENDERING, run_job

pytestmark = pytest.mark.integration


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_one_nursery_forks_many_and_hears_how_they_ended() -> None:
    nursery = Nursery(RENDERING)
    workers = [await Worker.start(Prison(), nursery) for _ in range(3)]
    assert len({w.pid for w in workers}) == 3
    assert set(descendants(nursery.pid)) >= {w.pid for w in workers}
    for worker in workers:
        await worker.kill("done")
    assert not any(w.alive or _alive(w.pid) for w in workers)
    assert descendants(nursery.pid) == []
    await nursery.close()


async def test_a_nursery_that_died_takes_its_workers_along_and_is_started_anew() -> None:
    nursery = Nursery(RENDERING)
    worker = await Worker.start(Prison(), nursery)
    first, below = nursery.pid, descendants(nursery.pid)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not worker.alive, "its end is heard of")
    with pytest.raises(RenderError, match="crashed"):
        await run_job(worker, Job([], [], JsonnetTask((), ()), Limits()))
    await eventually(lambda: not any(map(_alive, below)), "the workers ended with it")
    again = await Worker.start(Prison(), nursery)
    assert nursery.pid != first
    assert again.alive
    await nursery.close()
    await eventually(lambda: not again.alive, "closing ends the workers too")


async def test_a_pool_leaves_nothing_behind() -> None:
    pool = Pool(RENDERING, Prison, size=2, idle_seconds=60)
    await run_job(pool, Job([], [], JsonnetTask((), ()), Limits()))
    (pid,) = pool.pids
    await pool.close()
    assert not _alive(pid)


async def test_nothing_of_the_parent_is_seen_by_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nursery is started with an empty environment and only its socket; what it forks has its three pipes, and nothing else."""
    monkeypatch.setenv("TAUT_TEST_SECRET", "very-secret")
    nursery = Nursery(RENDERING)
    await nursery.prepare()
    worker = await Worker.start(Prison(namespaces=False, landlock=False), nursery)
    for pid in (nursery.pid, worker.pid):
        assert b"very-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    kinds = {os.readlink(f"/proc/{worker.pid}/fd/{n}").partition(":")[0] for n in os.listdir(f"/proc/{worker.pid}/fd")}
    assert kinds <= {"pipe", "/dev/null"}
    await nursery.close()


CROWDED = """
import os, sys
from taut.prison import nursery

fork = os.fork
def sometimes():
    os.fork = fork
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = sometimes
sys.exit(nursery.main(sys.argv[1:]))
"""


async def test_a_worker_that_cannot_be_forked_is_no_other_ones_failure() -> None:
    nursery = Nursery(RENDERING, ("-c", CROWDED))
    with pytest.raises(RenderError, match="did not start") as caught:
        await Worker.start(Prison(), nursery)
    assert "Resource temporarily unavailable" in caught.value.advice
    pid = nursery.pid
    worker = await Worker.start(Prison(), nursery)
    assert nursery.pid == pid
    await worker.kill("done")
    await nursery.close()


async def test_a_fork_that_nobody_waits_for_any_more_is_not_mistaken_for_the_next() -> None:
    nursery = Nursery(RENDERING)
    await nursery.prepare()
    given_up = asyncio.create_task(Worker.start(Prison(), nursery))
    await asyncio.sleep(0)
    while not nursery._answers:  # pyright: ignore[reportPrivateUsage] (the very moment in which it waits)
        await asyncio.sleep(0)
    given_up.cancel()
    worker = await Worker.start(Prison(), nursery)
    reply = await run_job(worker, Job([], [], JsonnetTask((), ()), Limits()))
    assert reply.error == ""
    await eventually(lambda: descendants(nursery.pid) == [worker.pid, *descendants(worker.pid)], "one is left")
    await nursery.close()


async def test_a_worker_that_retires_leaves_its_use_to_who_started_it() -> None:
    """What ended workers have computed is counted with taut: the kernel adds it to the process that saw the end."""
    nursery = Nursery(RENDERING)
    worker = await Worker.start(Prison(), nursery)
    before = _children_cpu(nursery.pid)
    await run_job(worker, Job([], [], JsonnetTask((), ()), Limits()))
    await worker.retire()
    assert not worker.alive
    assert descendants(nursery.pid) == []
    assert _children_cpu(nursery.pid) > before
    await nursery.close()


def _children_cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[13]) + int(fields[14])
