"""What one job of a worker may cost. Whatever it works on is hostile input: nothing runs past these."""

from __future__ import annotations

import os

import msgspec

GO_THREADS = str(min(4, os.cpu_count() or 1))
"""On a machine with many cores Go would start more threads than a prison allows."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one job.

    `wall_seconds` is the time until a worker is killed, `cpu_seconds` what its processes may compute, `memory_mb` what they may hold
    together, `output_bytes` what may come back, `processes` how many tasks (threads count) may exist, `open_files` how many files a
    process may hold open, `file_bytes` how big one file may be, `input_bytes` and `input_files` what goes into the closed directory.
    """

    wall_seconds: float = 60
    cpu_seconds: int = 120
    memory_mb: int = 1024
    output_bytes: int = 64 * 1024 * 1024
    processes: int = 128
    open_files: int = 1024
    file_bytes: int = 16 * 1024 * 1024
    input_bytes: int = 256 * 1024 * 1024
    input_files: int = 20_000
