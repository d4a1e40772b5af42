"""What processes cost, read from /proc: CPU seconds and memory of a process and everything below it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from taut.prison.pool import descendants

_TICKS = os.sysconf("SC_CLK_TCK")
_PEAK_SECONDS = 0.5


def family(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *descendants(pid)]


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
    return sum(resident_of(one) for one in family(pid))


def held(pid: int) -> float:
    """Memory of a process and all below it in MiB: all that is resident of the first, and of the others what they have for themselves and
    their share of what several of them map. A fork's pages that nobody has written to since count once.
    """
    total = resident_of(pid)
    for one in family(pid)[1:]:
        total += _share(one)
    return total


def resident_of(pid: int) -> float:
    """Resident memory of one process, in MiB."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def _share(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        return resident_of(pid)
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


class Peak:
    """The most memory that a process and all below it held while this was open, in MiB (`held`), looked at twice a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most = 0.0

    def _look(self) -> None:
        while not self._stop.is_set():
            self.most = max(self.most, held(self._pid))
            self._stop.wait(_PEAK_SECONDS)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
