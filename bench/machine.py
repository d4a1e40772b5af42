"""What processes cost, read from /proc: CPU seconds and memory of a process and everything below it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PEAK_SECONDS = 0.1


@dataclass(frozen=True)
class Usage:
    """CPU in seconds (user and system, children that have ended included), memory in MiB (proportional where pages are shared)."""

    cpu: float
    memory: float
    processes: int


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found, pending = [], [pid]
    while pending:
        current = pending.pop()
        found.append(current)
        try:
            for thread in os.listdir(f"/proc/{current}/task"):
                pending += [int(p) for p in Path(f"/proc/{current}/task/{thread}/children").read_text().split()]
        except OSError:
            continue
    return found


def usage(pid: int) -> Usage:
    """What a process and all below it have used until now, and what they hold."""
    cpu, memory, count = 0.0, 0.0, 0
    for one in family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        cpu += sum(int(f) for f in fields[11:15]) / _TICKS
        memory += next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0) / 1024
        count += 1
    return Usage(cpu, memory, count)


def cpu(pids: list[int]) -> float:
    """CPU seconds of several processes with all below them."""
    return sum(cpu_of(pid) for pid in pids)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process with all below it, without the cost of looking at its memory."""
    total = 0
    for one in family(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(f) for f in fields[11:15])
    return total / _TICKS


def resident(pid: int) -> float:
    """Resident memory of a process and all below it, in MiB. Shared pages count once a process."""
    total = 0
    for one in family(pid):
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


class Peak:
    """The most memory that a process and all below it held while this was open, in MiB, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.resident = 0.0

    def _look(self) -> None:
        while not self._stop.is_set():
            self.resident = max(self.resident, resident(self._pid))
            self._stop.wait(_PEAK_SECONDS)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
