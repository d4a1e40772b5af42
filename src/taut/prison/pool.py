"""Workers, seen from outside: started when needed, killed when they take too much, ended when idle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from taut.clients.fair import FLOW, FairSlots, Turn
from taut.model.errors import TautError
from taut.prison.forking import Child, Nursery
from taut.prison.frames import HEADER, Hello
from taut.prison.limits import Limits
from taut.prison.trade import Trade
from taut.prison.walls import Held, Prison

_STDERR_BYTES = 16_384
_WATCH_SECONDS = 0.05
_START_SECONDS = 30.0
_RETIRE_SECONDS = 2.0
_OWN_TASKS = 8
SLOW = 2.0
"""Seconds from which on a flow's job counts as slow the next time."""
_MOST_REMEMBERED = 4096
_PASSES = 3
_MAX_JOBS = 500
_WORK = "taut-work-"
_OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "MemoryError", "memory allocation of ")
"""What Go, the system, Python and Rust say when they are refused memory."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """An answer after which the worker has this many seconds, whatever it has used."""

    data: bytes
    seconds: float


type Answer = Callable[[bytes], Awaitable[bytes | Renewed | None]]
"""What the parent says to a message that a worker sent while it works; None: the message is the result."""


@dataclass
class _Clock:
    """The time that a worker has for a job, from when it was last set."""

    timeout: asyncio.Timeout
    seconds: float

    def set(self, seconds: float) -> None:
        self.seconds = seconds
        self.timeout.reschedule(asyncio.get_running_loop().time() + seconds)


class WorkerGoneError(Exception):
    """A worker ended without an answer; the text says why, as far as that is known."""


class Worker:
    """One worker process with its pipes. Not to be used by two tasks at once."""

    def __init__(self, process: Child, prison: Prison, trade: Trade) -> None:
        self._process = process
        self._trade = trade
        self._prison = prison
        self._errors = bytearray()
        self._reader = asyncio.create_task(self._read_errors())
        self._killed = ""
        self._ended = False
        self.held = Held()
        self.jobs = 0
        self.idle_since = 0.0

    @classmethod
    async def start(cls, prison: Prison, nursery: Nursery) -> Worker:
        """Have the nursery fork a worker, and wait until it is in its prison. Raises the trade's error when it does not get there."""
        trade = nursery.trade
        work = "" if prison.work else _work_folder()
        try:
            await nursery.prepare()
            place = prison.work or work
            prison = msgspec.structs.replace(prison, work=place, in_memory=is_in_memory(place), parent=nursery.pid)
            process = await nursery.fork(msgspec.json.encode(prison).decode())
        except OSError as error:
            raise trade.error(f"a {trade.worker} did not start", advice=str(error)) from None
        worker = cls(process, prison, trade)
        try:
            async with asyncio.timeout(_START_SECONDS):
                hello = msgspec.msgpack.decode(await worker._receive(1 << 16), type=Hello)
        except (TimeoutError, WorkerGoneError, asyncio.CancelledError) as error:
            await worker.kill("it did not start")
            if isinstance(error, asyncio.CancelledError):
                raise
            raise trade.error(f"a {trade.worker} did not start", advice=worker.said() or "see the log") from None
        worker.held = hello.held
        return worker

    @property
    def pid(self) -> int:
        """The process id of the outermost process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    def said(self) -> str:
        """What it wrote to standard error since the job began; a crash says at its beginning what it is, and then lists every thread."""
        text = bytes(self._errors).decode(errors="replace")
        return text.partition("\n\ngoroutine ")[0].strip()[:2000]

    async def run(self, job: bytes, limits: Limits, answer: Answer | None = None) -> bytes:
        """Have a job done, within limits. `answer` is asked what to say to each message; without it the first one is the result.

        Raises the trade's error when the worker is killed for its use, or dies.
        """
        self.jobs += 1
        self._errors.clear()
        watch = asyncio.create_task(self._watch(limits))
        timeout = asyncio.timeout(limits.wall_seconds)
        clock = _Clock(timeout, limits.wall_seconds)
        try:
            async with timeout:
                return await self._conversation(job, limits, answer, clock)
        except TimeoutError:
            await self.kill("time")
            raise self._trade.error(
                f"{self._trade.doing} took longer than {clock.seconds:g} s and was stopped",
                advice=self._trade.advice,
            ) from None
        except WorkerGoneError:
            await self.kill("")
            raise self._post_mortem(limits) from None
        except BaseException:  # whatever the one who answers raises: the worker is in the middle of a sentence
            await self.kill("cancelled")
            raise
        finally:
            watch.cancel()

    async def kill(self, reason: str) -> None:
        """End it and everything it started, at once."""
        self._killed = self._killed or reason
        if not self._ended:
            self._ended = True
            if self.alive:
                end(self._process.pid)
        await self._process.wait()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self._reader, 2)
        if self._prison.work:
            shutil.rmtree(self._prison.work, ignore_errors=True)

    async def retire(self) -> None:
        """End it in good order, between two jobs: it goes when nobody speaks to it any more, and its parents see what it has used."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RETIRE_SECONDS):
                await self._process.wait()
        await self.kill("retired")

    async def _conversation(self, job: bytes, limits: Limits, answer: Answer | None, clock: _Clock) -> bytes:
        said = await self._exchange(job, limits)
        while answer is not None and (reply := await answer(said)) is not None:
            if isinstance(reply, Renewed):
                clock.set(reply.seconds)
                reply = reply.data
            said = await self._exchange(reply, limits)
        return said

    async def _exchange(self, data: bytes, limits: Limits) -> bytes:
        stdin = self._process.stdin
        if stdin is None:
            raise WorkerGoneError
        try:
            stdin.write(HEADER.pack(len(data)))
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise WorkerGoneError from None
        return await self._receive(limits.output_bytes + (1 << 20))

    async def _receive(self, bound: int) -> bytes:
        stdout = self._process.stdout
        if stdout is None:
            raise WorkerGoneError
        try:
            size = HEADER.unpack(await stdout.readexactly(HEADER.size))[0]
            if size > bound:
                self._killed = "output"
                raise WorkerGoneError
            return await stdout.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            raise WorkerGoneError from None

    async def _read_errors(self) -> None:
        stream = self._process.stderr
        while stream is not None and (chunk := await stream.read(4096)):
            self._errors += chunk[: _STDERR_BYTES - len(self._errors)]

    async def _watch(self, limits: Limits) -> None:
        """Kill the worker when its processes together hold too much, or are too many. Only while a job runs."""
        bound = limits.memory_mb * 1024 * 1024
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if not self.alive:
                return
            size, tasks = usage(self._process.pid)
            if tasks > limits.processes + _OWN_TASKS:
                self._killed = "processes"
            elif size > bound and proportional(self._process.pid) > bound:
                self._killed = "memory"
            if self._killed:
                end(self._process.pid)
                return

    def _post_mortem(self, limits: Limits) -> TautError:
        said, trade = self.said(), self._trade
        if self._killed == "memory" or any(words in said for words in _OUT_OF_MEMORY):
            return trade.error(
                f"{trade.doing} needs more than {limits.memory_mb} MB of memory and was stopped", advice=trade.advice
            )
        if self._killed == "processes":
            return trade.error(f"{trade.doing} started more than {limits.processes} processes and was stopped")
        if self._killed == "output":
            return trade.error(f"the result is larger than {limits.output_bytes // (1024 * 1024)} MiB")
        code = self._process.returncode or 0
        if code in {128 + signal.SIGXCPU, -signal.SIGXCPU}:
            return trade.error(f"{trade.doing} computed for more than {limits.cpu_seconds} s and was stopped")
        return trade.error(f"{trade.doer} crashed (code {code})" + (f": {said[:1000]}" if said else ""))


def end(pid: int) -> None:
    """Kill the leader's process group, and below it whoever left the group. The leader adopts orphans, so that none is lost."""
    _signal(pid, signal.SIGSTOP)
    for _ in range(_PASSES):
        for one in descendants(pid):
            _signal(one, signal.SIGKILL)
    _signal(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, parents before children."""
    found: list[int] = []
    pending = [pid]
    while pending:
        current = pending.pop(0)
        try:
            for thread in os.listdir(f"/proc/{current}/task"):
                children = [int(p) for p in Path(f"/proc/{current}/task/{thread}/children").read_text().split()]
                found += children
                pending += children
        except OSError:
            continue
    return found


def usage(pid: int) -> tuple[int, int]:
    """Bytes of memory and number of tasks of a process and all its descendants. What has ended meanwhile counts nothing."""
    total, tasks = 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    for current in [pid, *descendants(pid)]:
        try:
            shared = Path(f"/proc/{current}/statm").read_text().split()
            total += (int(shared[1]) - int(shared[2])) * page
            tasks += len(os.listdir(f"/proc/{current}/task"))
        except (OSError, IndexError):
            continue
    return total, tasks


def proportional(pid: int) -> int:
    """Bytes of memory of a process and all its descendants, where what several share counts once in all. Slower than `usage`, which counts
    what a fork shares with its parent twice; the same as that where the system does not tell.
    """
    total = 0
    for current in [pid, *descendants(pid)]:
        try:
            lines = Path(f"/proc/{current}/smaps_rollup").read_text().splitlines()
        except PermissionError:
            return usage(pid)[0]
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total * 1024


def _work_folder() -> str:
    """A private folder in memory, used where a worker cannot have a file system of its own."""
    places = ("/dev/shm", f"/run/user/{os.geteuid()}")  # noqa: S108 (mkdtemp makes it private)
    base = next((p for p in places if os.access(p, os.W_OK) and is_in_memory(p)), tempfile.gettempdir())
    _sweep(Path(base))
    return tempfile.mkdtemp(prefix=f"{_WORK}{_pid_namespace()}-{os.getpid()}-", dir=base)


def is_in_memory(folder: str) -> bool:
    """Whether a folder is on a file system that has no disk; False where the system does not tell."""
    real = os.path.realpath(folder)
    found, kind = "", ""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        _, at, type_, *_ = line.split(" ")
        if (real == at or real.startswith(at.rstrip("/") + "/")) and len(at) >= len(found):
            found, kind = at, type_
    return kind in {"tmpfs", "ramfs"}


@cache
def _sweep(base: Path) -> None:
    """Remove, once, what processes left behind that were killed. A process is told by its number, where numbers mean the same."""
    for folder in base.glob(f"{_WORK}{_pid_namespace()}-*-*"):
        pid = folder.name.removeprefix(_WORK).split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


class Pool:
    """At most `size` workers at a time. An idle worker ends after `idle_seconds`; each serves at most some hundred jobs.

    With `ends_nursery` the process that starts workers ends with the last of them: then nothing is held while nothing is to do, and the next
    worker takes a few hundred milliseconds longer to start.
    """

    def __init__(
        self,
        trade: Trade,
        prison: Callable[[], Prison],
        *,
        size: int,
        idle_seconds: float,
        on_start: Callable[[Held], None] | None = None,
        ends_nursery: bool = False,
    ) -> None:
        self._ends_nursery = ends_nursery
        self._starting = 0
        self._trade = trade
        self._prison = prison
        self._nursery = Nursery(trade)
        self._slots = FairSlots(size)
        self._most_slow = max(size - 1, 1)
        self._slow: dict[str, None] = {}
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._idle_seconds = idle_seconds
        self._on_start = on_start
        self._reaper: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, job: bytes, limits: Limits, answer: Answer | None = None) -> bytes:
        """Have a job done by a worker, a new one if none is idle. Raises the trade's error as `Worker.run` does."""
        async with self._turn():
            if self._closed:
                raise self._trade.error("taut is stopping")
            worker = await self._take()
            self._busy.add(worker)
            began = time.monotonic()
            try:
                return await worker.run(job, limits, answer)
            finally:
                self._remember(time.monotonic() - began)
                self._busy.discard(worker)
                await self._give_back(worker)

    def _turn(self) -> Turn:
        """A worker's turn. Jobs that took long the last time leave one worker to the others, and take turns with them."""
        if FLOW.get() in self._slow:
            return self._slots.turn("slow", most=self._most_slow)
        return self._slots.turn("")

    def _remember(self, seconds: float) -> None:
        flow = FLOW.get()
        self._slow.pop(flow, None)
        if flow and seconds > SLOW:
            self._slow[flow] = None
            while len(self._slow) > _MOST_REMEMBERED:
                del self._slow[next(iter(self._slow))]

    async def close(self) -> None:
        """End all workers. Jobs that are still running fail."""
        self._closed = True
        if self._reaper:
            self._reaper.cancel()
        workers = [*self._idle, *self._busy]
        self._idle.clear()
        await asyncio.gather(*(worker.kill("closed") for worker in workers))
        await self._nursery.close()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of all workers, for those who watch."""
        return tuple(w.pid for w in [*self._idle, *self._busy])

    async def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.kill("")
        self._starting += 1
        try:
            worker = await Worker.start(self._prison(), self._nursery)
        finally:
            self._starting -= 1
        if self._on_start:
            self._on_start(worker.held)
        return worker

    async def _give_back(self, worker: Worker) -> None:
        if self._closed or not worker.alive or worker.jobs >= _MAX_JOBS:
            await worker.retire()
            return
        worker.idle_since = time.monotonic()
        self._idle.append(worker)
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._reap())

    async def _reap(self) -> None:
        while self._idle:
            oldest = min(worker.idle_since for worker in self._idle)
            await asyncio.sleep(max(0.01, oldest + self._idle_seconds - time.monotonic()))
            bound = time.monotonic() - self._idle_seconds
            old = [w for w in self._idle if w.idle_since <= bound]
            self._idle = [w for w in self._idle if w.idle_since > bound]
            await asyncio.gather(*(w.retire() for w in old))
        if self._ends_nursery and not self._busy and not self._starting and not self._idle:
            await self._nursery.close()
