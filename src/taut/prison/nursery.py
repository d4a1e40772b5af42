"""Where workers come from: a small process that has loaded what every worker needs, and forks one in a few milliseconds.

Started as `python -I -m taut.prison.nursery SOCKET PARENT MODULE` with an empty environment, before any input is seen; it never looks at input itself.
Each message on the socket is the settings of a prison (JSON) with three descriptors: the new worker's standard input, output and error.
Each is answered with the worker's process id; how a worker ended is told on the same socket. It forks from one thread, and loads no library
that has threads of its own (those come into a worker when it needs them).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable

from taut.prison import kernel
from taut.prison.frames import NURSERY_BYTES

__all__ = ["main"]

_Main = Callable[[list[str]], int]


def main(arguments: list[str]) -> int:
    """Serve until the parent is gone. Returns the exit code."""
    channel = socket.socket(fileno=int(arguments[0]))
    kernel.die_with_parent()
    if os.getppid() != int(arguments[1]):
        return 0
    work: _Main = importlib.import_module(arguments[2]).main
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    while True:
        readable, _, _ = select.select([channel, woken], [], [])
        if woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            _tell_ended(channel)
        if channel in readable and not _serve(channel, work, (woken, wakes)):
            return 0


def _serve(channel: socket.socket, work: _Main, own: tuple[int, ...]) -> bool:
    settings, descriptors, _, _ = socket.recv_fds(channel, NURSERY_BYTES, 3)
    if not settings:
        return False
    answer: dict[str, int | str] = {}
    try:
        child = os.fork()
        answer["pid"] = child
    except OSError as error:  # too many processes: that is this worker's failure, and no other's
        child = -1
        answer["error"] = error.strerror or "a process could not be started"
    if child == 0:
        _be_worker(work, settings.decode(), descriptors, (channel.fileno(), *own))
    for descriptor in descriptors:
        os.close(descriptor)
    channel.send(json.dumps(answer).encode())
    return True


def _be_worker(work: _Main, settings: str, descriptors: list[int], own: tuple[int, ...]) -> None:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        for descriptor in (*descriptors, *own):
            os.close(descriptor)
        code = work([settings])
    except BaseException as error:  # noqa: BLE001 (a fork never returns into the nursery's loop, whatever happens)
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace")[:2000])
    finally:
        os._exit(code)


def _tell_ended(channel: socket.socket) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        channel.send(json.dumps({"ended": child, "code": os.waitstatus_to_exitcode(status)}).encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
