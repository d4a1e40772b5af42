"""What a cold sync spends its time on: taut runs below py-spy, which looks 200 times a second at who holds the interpreter's lock."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench import machine
from bench.measure import Bench, Say, Scenarios
from bench.report import markdown

GROUPS: tuple[tuple[str, str], ...] = (
    ("loading Python modules", "importlib._bootstrap"),
    ("TLS and sockets", "asyncio/sslproto.py"),
    ("what the watches tell", "taut/clients/kubernetes/watch.py"),
    ("requests to the API server", "taut/clients/kubernetes/client.py"),
    ("the store", "taut/store/"),
    ("sources (Git)", "taut/sources/"),
    ("rendering, without the workers", "taut/render/"),
    ("planning: diff, order, guards", "taut/planning/"),
    ("planning: around it", "taut/controller/planner.py"),
    ("operations: steps and waits", "taut/controller/"),
    ("health rules", "taut/health/"),
    ("taut's own API", "taut/server/"),
    ("HTTP", "aiohttp/"),
    ("the event loop", "asyncio/"),
)
"""A sample belongs to the innermost frame that one of these names; the first that fits wins where several do."""


def cold(folder: Path, count: int, say: Say) -> list[str]:
    """Profile a cold sync of `count` kustomize applications; the answer is a table, the raw stacks stay in the folder."""
    bench = Bench(folder, "kustomize", count, say)
    raw = folder / "stacks.txt"

    def spied(scenarios: Scenarios) -> None:
        scenarios.subject.profile = raw
        scenarios.cold()
        for pid in machine.family(scenarios.subject.pid)[1:]:
            if b"taut\0run" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)
                break
        scenarios.subject.wait()

    bench.with_taut(spied)
    deadline = time.monotonic() + 30
    while not raw.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return _table(raw.read_text().splitlines())


def _table(stacks: Iterable[str]) -> list[str]:
    groups: Counter[str] = Counter()
    for line in stacks:
        stack, _, samples = line.rpartition(" ")
        groups[_group(stack.split(";"))] += int(samples)
    total = sum(groups.values())
    rows = [["where", "share"], *([name, f"{n / total:.0%}"] for name, n in groups.most_common())]
    return markdown(rows)


def _group(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, mark in GROUPS:
            if mark in frame:
                return name
    return "the rest"
