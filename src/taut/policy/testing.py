"""The result of running other tools' test files, and what the worker that runs them is told and tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

type Runner = Literal["kyverno", "gator"]


@dataclass(frozen=True, slots=True)
class TestFailure:
    """One case that came out otherwise than its file says. `case` tells it apart within the file; `why` is for people."""

    __test__ = False

    file: str
    case: str
    wanted: str
    found: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class TestReport:
    """How many cases there were and how many came out as their files say. A file that cannot be read is a failed case."""

    __test__ = False

    passed: int
    total: int
    failures: tuple[TestFailure, ...] = ()

    def plus(self, other: TestReport) -> TestReport:
        """Both reports as one."""
        return TestReport(self.passed + other.passed, self.total + other.total, (*self.failures, *other.failures))


class Trial(msgspec.Struct, frozen=True):
    """Run these files; those that they name lie below `root`. `folder` is where relative names begin, empty where there is none. Each file
    may compute for `cpu_seconds`.
    """

    runner: Runner
    root: str
    folder: str
    files: list[str]
    cpu_seconds: int


class Starts(msgspec.Struct, frozen=True, tag="starts"):
    """Told: a file is begun, by its place."""

    place: int


class Ran(msgspec.Struct, frozen=True, tag="ran"):
    """Told: what came of a file."""

    place: int
    report: TestReport


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The result: all files were run."""


type Word = Starts | Ran | Done
"""What this worker says."""
