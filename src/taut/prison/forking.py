"""The nursery, seen from outside: starts it, has it fork workers, and hears how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from typing import Protocol

from taut.prison.frames import NURSERY_BYTES
from taut.prison.trade import Trade

_ANSWER_SECONDS = 30.0


class Child(Protocol):
    """A process with three pipes, as `asyncio.subprocess.Process` has it."""

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        ...

    async def wait(self) -> int:
        """Wait for its end."""
        ...


class Forked:
    """A worker that the nursery forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._ended = asyncio.Event()

    def end(self, code: int) -> None:
        """It has ended."""
        if self.returncode is None:
            self.returncode = code
            self._ended.set()

    async def wait(self) -> int:
        """Wait for its end; the answer is how it ended: an exit code, or a signal as a negative number."""
        await self._ended.wait()
        if self.stdin is not None:
            self.stdin.close()
        return self.returncode or 0


class Nursery:
    """One nursery process, started with the first worker, and again when it has died. To be used by one event loop."""

    def __init__(self, trade: Trade, command: tuple[str, ...] = ("-m", "taut.prison.nursery")) -> None:
        self.trade = trade
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._answers: deque[asyncio.Future[int]] = deque()
        """Who waits for a worker, in the order in which they asked: the nursery answers one after the other."""
        self._children: dict[int, Forked] = {}
        self._ended: dict[int, int] = {}

    @property
    def pid(self) -> int:
        """Its process id: the parent of all workers. 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def prepare(self) -> None:
        """Start it when it does not run."""
        await self._ready()

    async def fork(self, settings: str) -> Forked:
        """A new worker with these settings (JSON of a prison). Raises OSError when there can be none."""
        channel = await self._ready()
        inner_in, outer_in = os.pipe2(os.O_CLOEXEC)
        outer_out, inner_out = os.pipe2(os.O_CLOEXEC)
        outer_err, inner_err = os.pipe2(os.O_CLOEXEC)
        outer = [outer_in, outer_out, outer_err]
        try:
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            socket.send_fds(channel, [settings.encode()], [inner_in, inner_out, inner_err])
            self._answers.append(answer)
            child = Forked(await self._pid(answer))
        except BaseException:
            # Whoever is forked nevertheless finds its pipes closed, and ends by itself.
            for descriptor in outer:
                os.close(descriptor)
            raise
        finally:
            for descriptor in (inner_in, inner_out, inner_err):
                os.close(descriptor)
        if child.pid in self._ended:
            child.end(self._ended.pop(child.pid))
        else:
            self._children[child.pid] = child
        child.stdin = await _writer(outer_in)
        child.stdout = await _reader(outer_out)
        child.stderr = await _reader(outer_err)
        return child

    async def _pid(self, answer: asyncio.Future[int]) -> int:
        """The answer, in time: a nursery that says nothing is ended, and the next worker starts a new one."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            self._lost()
            raise OSError(f"the process that starts {self.trade.worker}s does not answer") from None

    async def _ready(self) -> socket.socket:
        async with self._lock:
            return await self._running()

    async def close(self) -> None:
        """End it; workers that are left end with it."""
        process, self._process = self._process, None
        self._lost()
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _running(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.returncode is None:
            return self._channel
        self._lost()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            mine.setblocking(False)
            arguments = [
                sys.executable,
                "-I",
                *self._command,
                str(theirs.fileno()),
                str(os.getpid()),
                self.trade.module,
            ]
            self._process = await asyncio.create_subprocess_exec(
                *arguments,
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        self._channel = mine
        asyncio.get_running_loop().add_reader(mine.fileno(), self._hear, mine)
        return mine

    def _hear(self, channel: socket.socket) -> None:
        try:
            said = channel.recv(NURSERY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._lost()
            return
        message = json.loads(said)
        if "ended" in message:
            child = self._children.pop(message["ended"], None)
            if child is None:
                self._ended[message["ended"]] = message["code"]
            else:
                child.end(message["code"])
            return
        answer = self._answers.popleft() if self._answers else None
        if answer is None or answer.done():  # nobody waits for this worker any more
            return
        if "pid" in message:
            self._ended.pop(message["pid"], None)  # of an earlier process with the same number
            answer.set_result(message["pid"])
        else:
            answer.set_exception(OSError(message.get("error", "no worker could be started")))

    def _lost(self) -> None:
        """It is gone, and with it all workers."""
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        while self._answers:
            if not (answer := self._answers.popleft()).done():
                answer.set_exception(OSError(f"the process that starts {self.trade.worker}s has ended"))
        for child in self._children.values():
            child.end(-signal.SIGKILL)
        self._children.clear()
        self._ended.clear()


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb", buffering=0))
    return reader


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(descriptor, "wb", buffering=0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
