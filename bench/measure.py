"""One size of one set, from an empty cluster to a restart: each scenario gives a few numbers, by name.

Seconds are of a monotonic clock, CPU seconds are of taut and all below it, requests and writes are from the API server's audit log.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from demo.ports import free_port
from tests.support.audit import AuditLog

from bench import machine, policies
from bench.api import Eyes
from bench.repositories import OBJECTS, SHARED, Repository
from bench.subject import Subject
from taut import localplane
from taut.localplane.plane import Plane
from taut.render.tools import find_kustomize

HERE = Path(__file__).parent
_REPEATS, _COMMITS, _RESTARTS = 5, 9, 3
_REST = 60.0
_IDLE = 35.0
"""After so many seconds without work the render workers have ended."""

type Say = Callable[[str], None]
type Numbers = dict[str, float]


@dataclass
class Measured:
    """What one size of one set gave: scenario → name → number."""

    kind: str
    applications: int
    objects: int = 0
    scenarios: dict[str, Numbers] = field(default_factory=dict)
    policies: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the file."""
        return asdict(self)


class Bench:
    """Measures one set at one size, in a folder of its own."""

    def __init__(self, folder: Path, kind: str, count: int, say: Say, *, policies: bool = False) -> None:
        self.folder, self.count, self._say = folder, count, say
        self._policies = policies
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.result = Measured(kind, count, count * OBJECTS, policies=policies)
        self.repository = Repository(folder / "git", kind, count)

    def run(self, *, rest: float = _REST, idle: float = _IDLE) -> Measured:
        """All scenarios, in their order, with `rest` seconds of rest, and `idle` seconds before it for workers to end."""
        if self.result.kind == "kustomize":
            self._floor()
        self.with_taut(lambda scenarios: self._scenarios(scenarios, rest, idle))
        return self.result

    def with_taut(self, work: Callable[[Scenarios], None]) -> None:
        """Have something done with a taut that is not running yet, on an empty control plane."""
        with _git_server(self.folder / "git") as url, self._plane("taut") as plane:
            self.repository.fill(f"{url}/fleet.git")
            judged = f"{url}/{policies.write(self.folder / 'git').name}" if self._policies else ""
            subject = Subject(self.folder / "taut", plane, f"{url}/fleet.git", judged)
            try:
                work(Scenarios(self, plane, subject))
            finally:
                subject.stop()

    def _scenarios(self, scenarios: Scenarios, rest: float, idle: float) -> None:
        scenarios.cold()
        scenarios.rest(rest, idle)
        scenarios.commits()
        scenarios.shared()
        scenarios.drift()
        scenarios.memory(idle)
        scenarios.restart()

    def note(self, scenario: str, **numbers: float) -> None:
        """Keep a scenario's numbers, and say them."""
        self.result.scenarios[scenario] = numbers
        said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self._say(f"{self.result.kind} {self.count}: {scenario}: {said}")

    def _floor(self) -> None:
        self.repository.fill("")
        with self._plane("floor") as plane:
            Eyes(plane).make_namespace()
            before = machine.cpu_of(plane.pid)
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "bench.floor",
                    plane.server,
                    str(plane.ca),
                    str(self.repository.clone),
                    str(find_kustomize().path),
                ],
                cwd=HERE.parent,
                env={**os.environ, "FLOOR_TOKEN": plane.token},
                stdout=subprocess.PIPE,
                check=True,
            )
            self.note("floor", **json.loads(done.stdout), plane_cpu=machine.cpu_of(plane.pid) - before)

    @contextmanager
    def _plane(self, name: str) -> Generator[Plane]:
        with localplane.start(f"bench-{name}", audit=True, keep=False, home=self.folder / "planes") as plane:
            yield plane


class Scenarios:
    """The scenarios on one control plane, each after the one before it."""

    def __init__(self, bench: Bench, plane: Plane, subject: Subject) -> None:
        self._bench, self._plane, self.subject = bench, plane, subject
        self._eyes = Eyes(plane)
        self._audit = AuditLog(plane.audit_log)
        self._values = iter(f"changed-{n}" for n in range(1_000))
        self._eyes.make_namespace()

    def cold(self) -> None:
        """From the start of the process with an empty store to the last application in sync and healthy."""
        self._audit.mark()
        plane = machine.cpu_of(self._plane.pid)
        start = time.monotonic()
        self.subject.start()
        with machine.Peak(self.subject.pid) as peak:
            self.subject.until(lambda: self._eyes.ready() >= self._bench.count, "every Deployment is ready", 0.5)
            self.subject.until(self._in_sync, "every application is in sync")
            seconds, cpu = time.monotonic() - start, self.subject.cpu
            plane = machine.cpu_of(self._plane.pid) - plane
            self.subject.quiet()
        self._bench.note(
            "cold",
            seconds=seconds,
            cpu=cpu,
            plane_cpu=plane,
            peak=peak.most,
            cpu_quiet=self.subject.cpu,
            **self._counts(),
        )

    def rest(self, seconds: float, idle: float) -> None:
        """Nothing happens. Before it, idle workers have ended."""
        time.sleep(idle)
        self.subject.quiet()
        self._audit.mark()
        before = self.subject.cpu
        time.sleep(seconds)
        self._bench.note("rest", seconds=seconds, cpu=self.subject.cpu - before, **self._counts())

    def commits(self) -> None:
        """One commit that touches one application: the first when all workers have ended, then some more."""
        found = [self._commit(self._bench.repository.one(next(self._values))) for _ in range(_COMMITS)]
        self._bench.note("commit, first", **found[0])
        usual = {name: statistics.median(f[name] for f in found[1:]) for name in found[0]}
        worst = {name: max(f[name] for f in found) for name in ("requests", "writes", "renders")}
        # The system tells CPU time in hundredths of a second: the mean of several commits is finer than any of them.
        self._bench.note("commit", **{**usual, "cpu": statistics.mean(f["cpu"] for f in found[1:]), **worst})

    def shared(self) -> None:
        """One commit that touches what SHARED applications read."""
        self._bench.note(f"base of {SHARED}", **self._commit(self._bench.repository.shared(next(self._values))))

    def _commit(self, change: Any) -> Numbers:
        self.subject.quiet()
        renders = self.subject.metrics()["taut_renders_total"]
        seen = self._eyes.seen(change.objects, change.key, change.value)
        self._audit.mark()
        cpu = self.subject.cpu
        self._bench.repository.push(change.value, change)
        start = time.monotonic()
        self.subject.webhook()
        latency = seen.at() - start
        self.subject.quiet()
        used = self.subject.cpu - cpu
        renders = self.subject.metrics()["taut_renders_total"] - renders
        return {"seconds": latency, "cpu": used, **self._counts(), "renders": renders}

    def drift(self) -> None:
        """A change by hand, until it is healed."""
        middle = self._bench.count // 2
        names = [f"{name}-features" for name in self._bench.repository.names[middle : middle + _REPEATS]]
        healed = [self._healed(name) for name in names]
        numbers = {n: statistics.median(h[n] for h in healed) for n in healed[0]}
        self._bench.note("drift", **numbers, records=sum(min(1, self._records(name)) for name in names))

    def _healed(self, name: str) -> Numbers:
        self.subject.quiet()
        self._audit.mark()
        cpu = self.subject.cpu
        seen = self._eyes.seen([name], "key-00", "first")
        start = time.monotonic()
        self._eyes.patch(name, {"key-00": "by hand"})
        latency = seen.at() - start
        self.subject.quiet()
        return {"seconds": latency, "cpu": self.subject.cpu - cpu, **self._counts()}

    def _records(self, name: str) -> float:
        argv = [*self.subject.cli, "drift", "-o", "json"]
        found = json.loads(subprocess.run(argv, env=self.subject.environment, check=True, capture_output=True).stdout)
        return sum(name in json.dumps(record) for record in found)

    def memory(self, idle: float) -> None:
        """What it holds when nothing has happened for a while, so that idle workers have ended."""
        time.sleep(idle)
        self.subject.quiet()
        pid = self.subject.pid
        self._bench.note(
            "memory",
            resident=machine.resident(pid),
            held=machine.held(pid),
            processes=len(machine.family(pid)),
        )

    def restart(self) -> None:
        """A restart while everything is in sync: the median of several, for a moment of a busy machine is not what is asked."""
        seconds, cpus, renders = list[float](), list[float](), 0.0
        counts: Numbers = {}
        for _ in range(_RESTARTS):
            self.subject.stop()
            self._audit.mark()
            start = time.monotonic()
            self.subject.start()
            self.subject.until(self._in_sync, "every application is in sync again")
            seconds.append(time.monotonic() - start)
            cpus.append(self.subject.cpu)
            self.subject.quiet()
            renders += self.subject.metrics()["taut_renders_total"]
            counts = self._counts()
            if counts["writes"]:
                break
        middle = {"seconds": statistics.median(seconds), "cpu": statistics.median(cpus)}
        self._bench.note("restart", **middle, renders=renders, **counts)

    def _in_sync(self) -> bool:
        return self.subject.in_sync(self._bench.count)

    def _counts(self) -> Numbers:
        found = self._audit.requests()
        asked = [a for a in found if not a.watches]
        return {
            "requests": len(asked),
            "writes": sum(a.writes for a in asked),
            "reads": sum(a.verb == "get" for a in asked),
            "lists": sum(a.initial for a in found),
            "watches": sum(a.watches for a in found),
        }


@contextmanager
def _git_server(folder: Path) -> Generator[str]:
    """The repositories of a folder over HTTP; the answer is the URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(HERE.parent / "demo" / "git_http.py"), str(folder), str(port)])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
