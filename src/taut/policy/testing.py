"""The result of running other tools' test files."""

from __future__ import annotations

from dataclasses import dataclass


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
