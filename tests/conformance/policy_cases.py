"""The test files of Kyverno's policy library and the suites of Gatekeeper's library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taut.policy.engines import build
from taut.policy.gatekeeper.suites import run_suites
from taut.policy.kyverno.cli_tests import run_tests
from taut.policy.testing import TestFailure, TestReport

FIXTURES = Path(__file__).parents[1] / "fixtures"
KYVERNO, GATEKEEPER = FIXTURES / "kyverno-policies", FIXTURES / "gatekeeper-library"
EXCLUDED = Path(__file__).with_name("kyverno-excluded.txt")


@dataclass(frozen=True)
class Counted:
    """A report without the cases that are excluded by name, and how many those are."""

    report: TestReport
    excluded: int
    unknown: tuple[str, ...] = ()
    """Exclusions that no failing case needs: they are to be struck out."""

    @property
    def share(self) -> float:
        """Of the cases that passed."""
        return self.report.passed / self.report.total if self.report.total else 0.0


def excluded() -> dict[str, str]:
    """Folder → why its test cannot be run here."""
    lines = [line for line in EXCLUDED.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


def kyverno(root: Path = KYVERNO) -> Counted:
    """All test files of Kyverno's library below `root`. Raises FileNotFoundError when there is none."""
    if not any(root.rglob("kyverno-test.yaml")):
        raise FileNotFoundError(2, "no test files", str(root))
    whole, named = run_tests(root, build), excluded()
    left = tuple(f for f in whole.failures if _folder(f, root) not in named)
    out = len(whole.failures) - len(left)
    needed = {_folder(f, root) for f in whole.failures}
    return Counted(TestReport(whole.passed, whole.total - out, left), out, tuple(sorted(named.keys() - needed)))


def gatekeeper(root: Path = GATEKEEPER) -> Counted:
    """All suites of Gatekeeper's library below `root`. Raises FileNotFoundError when there is none."""
    report = run_suites(root)
    if not report.total:
        raise FileNotFoundError(2, "no suites", str(root))
    return Counted(report, 0)


def _folder(failure: TestFailure, root: Path) -> str:
    return Path(failure.file).relative_to(root).parent.parent.as_posix()
