"""A child program that runs the real taut and kills itself (SIGKILL) at a write that it was told.

It imports everything once and then forks a process for each order, so that a start costs nothing. An order is a line of JSON on the
standard input (`Order`); when its process has ended, a line with its name and exit status goes to the standard output (-9: killed).

Nothing of this is known to taut: the places where it writes are wrapped from outside, here.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import select
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pygit2

from taut.clients.kubernetes.client import KubernetesClient
from taut.controller.run import running
from taut.dialects.config import load_config
from taut.model.refs import parse_app_key
from taut.notify.service import notifying
from taut.sources.mirror import Mirror
from taut.store import writer
from taut.store.blobs import BlobCache

DEADLINE = 120.0
READ_VERBS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Order:
    """What a process is to do.

    It runs the taut of `config` until `app` is what the commit `goal` says, or is `gone`. With `push` (path of a repository) it first waits until
    the application is what the branch says, counts from there on, and moves the branch to `goal`.
    It kills itself `before` or after write number `number`, or the first one that is called `at`, or else the first one that no line of
    the file `seen` names yet. With `stay` it goes on when the goal is reached: what it is killed at comes later.
    Every counted write is a line of `log`.
    """

    name: str
    config: str
    app: str
    goal: str
    log: str
    push: str = ""
    gone: bool = False
    number: int = 0
    at: str = ""
    before: bool = False
    seen: str = ""
    stay: bool = False

    def line(self) -> bytes:
        """The order as it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Killer:
    """Counts writes and ends the process at the right one. Called from the event loop and from the store's thread."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.armed = not order.push
        self.count = 0
        self._seen = frozenset(Path(order.seen).read_text().splitlines()) if order.seen else frozenset[str]()
        self._log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def before(self, what: str) -> bool:
        """A write is about to be made: whether the process is to end after it."""
        if not self.armed:
            return False
        self.count += 1
        os.write(self._log, what.encode() + b"\n")
        chosen = self.count == self._order.number if self._order.number else self._is_new(what)
        if chosen and self._order.before:
            self.end(what)
        return chosen

    def _is_new(self, what: str) -> bool:
        if self._order.at:
            return what == self._order.at or self._order.at in what.removeprefix("store ").split(" + ")
        return bool(self._order.seen) and what not in self._seen

    def end(self, what: str) -> None:
        """End like a machine without power, as far as a process can."""
        if self._order.seen:
            with open(self._order.seen, "a", encoding="utf-8") as seen:
                seen.write(what + "\n")
        os.kill(os.getpid(), signal.SIGKILL)


class Connection:
    """The store's connection; a commit that writes something is a write."""

    def __init__(self, real: sqlite3.Connection, killer: Killer) -> None:
        self._real = real
        self._killer = killer
        self._changes = real.total_changes
        self.works = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """As the real one."""
        if sql != "COMMIT" or self._real.total_changes == self._changes:
            return self._real.execute(sql, *args)
        self._changes = self._real.total_changes
        what = f"store {self.works}"
        last = self._killer.before(what)
        cursor = self._real.execute(sql)
        if last:
            self._killer.end(what)
        return cursor


def _work_name(work: Any) -> str:
    """What a call of the store does, without times."""
    if not isinstance(work, functools.partial):
        return work.__qualname__.removesuffix(".<locals>.work").rpartition(".")[2]
    marks = ",".join(f"{m.number}={m.state}{'+' * bool(m.uid)}" for m in work.keywords.get("marks", ()))
    detail = marks or work.keywords.get("message") or work.keywords.get("result") or ""
    return f"{work.func.__name__}({detail})"


def install(killer: Killer) -> None:
    """Wrap every place at which taut writes."""
    _wrap_store(killer)
    _wrap_api(killer)
    for owner, name in ((BlobCache, "put"), (Mirror, "pin")):
        _wrap(owner, name, killer)


def _wrap(owner: type, name: str, killer: Killer) -> None:
    real = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        last = killer.before(name)
        result = real(*args, **kwargs)
        if last:
            killer.end(name)
        return result

    setattr(owner, name, wrapped)


def _wrap_store(killer: Killer) -> None:
    init, together = writer.Writer.__init__, writer.Writer._together

    def opened(self: Any, connection: Any, *more: Any) -> None:
        init(self, Connection(connection, killer), *more)  # pyright: ignore[reportArgumentType] -- it acts as one

    def named(self: Any, batch: Sequence[Any]) -> bool:
        self._connection.works = " + ".join(sorted({_work_name(call.work) for call in batch}))
        return together(self, batch)

    writer.Writer.__init__ = opened
    writer.Writer._together = named


def _wrap_api(killer: Killer) -> None:
    send = KubernetesClient.send

    async def counted(self: KubernetesClient, method: str, path: str, **more: Any) -> Any:
        if method in READ_VERBS or "dryRun" in (more.get("query") or {}) or (more.get("body") or {}).get("dryRun"):
            return await send(self, method, path, **more)
        name = more["body"]["metadata"]["name"] if method == "POST" else ""
        what = f"{method} {path} {name}".rstrip()
        last = killer.before(what)
        answer = await send(self, method, path, **more)
        if last:
            killer.end(what)
        return answer

    KubernetesClient.send = counted


async def carry_out(order: Order, killer: Killer) -> None:
    """Run taut until the goal is reached."""
    key = parse_app_key(order.app)
    assert key is not None
    async with running(load_config(Path(order.config))) as controller, notifying(controller):
        await controller.start()

        def reached(commit: str, *, gone: bool = False) -> Callable[[], bool]:
            def fact() -> bool:
                if gone:
                    return key not in controller.fleet.states
                status, state = controller.fleet.status(key), controller.fleet.states.get(key)
                return (
                    status is not None
                    and state is not None
                    and not state.stale
                    and state.run is None
                    and state.desired is not None
                    and commit[:8] in status.desired_revision
                    and state.record.content_hash == state.desired.content_hash
                    and (status.sync, status.health) == ("Synced", "Healthy")
                )

            return fact

        if order.push:
            repo = pygit2.Repository(order.push)
            await until(reached(str(repo.references["refs/heads/main"].target)))
            await until(lambda: controller.queue.idle)
            killer.armed = True
            repo.references.create("refs/heads/main", pygit2.Oid(hex=order.goal), force=True)
            controller.watch.poke()
        await until(reached(order.goal, gone=order.gone))
        await until(lambda: controller.queue.idle)
        if order.stay:
            await asyncio.sleep(DEADLINE)
        killer.armed = False
        await controller.close()


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(DEADLINE):
        while not fact():
            await asyncio.sleep(0.01)


def child(order: Order) -> None:
    """One process: it never returns."""
    status = 1
    try:
        killer = Killer(order)
        install(killer)
        asyncio.run(carry_out(order, killer))
        status = 0
    finally:
        os._exit(status)


def main() -> None:
    """Fork a process for each order, and report how it ended."""
    running_now: dict[int, tuple[str, int]] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([0, *running_now], [], [])
        for descriptor in ready:
            if descriptor:
                name, pid = running_now.pop(descriptor)
                os.close(descriptor)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(1, json.dumps([name, status]).encode() + b"\n")
                continue
            data = os.read(0, 65_536)
            if not data:
                for _, pid in running_now.values():
                    os.kill(pid, signal.SIGKILL)
                sys.exit(0)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                order = Order(**json.loads(line))
                pid = os.fork()
                if not pid:
                    child(order)
                running_now[os.pidfd_open(pid)] = (order.name, pid)


if __name__ == "__main__":
    main()
