"""`make conformance`: passed and total of each fixture set, and what differs. Exit code 1 on any difference or missing fixture.

With `--invert` every expectation is turned into its opposite, to show that the run can fail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from conformance.cases import ARGOCD, Case, argocd_cases, missing  # noqa: E402 (the tests folder comes onto the path first)
from conformance.policy_cases import Counted, gatekeeper, kyverno  # noqa: E402
from taut.health.assess import assess  # noqa: E402
from taut.model.health import Health, HealthStatus  # noqa: E402


def inverted(case: Case) -> Case:
    """The same case expecting what must not come out."""
    wrong = HealthStatus.DEGRADED if case.expected.status is HealthStatus.HEALTHY else HealthStatus.HEALTHY
    return replace(case, expected=Health(wrong, case.expected.message))


def differences(cases: Sequence[Case]) -> list[str]:
    """What differs from the expectations, in words."""
    told: list[str] = []
    for case in cases:
        found = assess(case.body)
        if found != case.expected:
            told.append(
                f"{case.id}\n    expected {case.expected.status.value}: {case.expected.message!r}"
                f"\n    found    {found.status.value}: {found.message!r}"
            )
    return told


def run(root: Path, *, invert: bool) -> int:
    """Run the set below `root`, print the result; the exit code comes out."""
    try:
        cases = list(argocd_cases(root))
    except FileNotFoundError as error:
        print(f"argocd-health: {error.filename} is missing")
        return 1
    lost = missing(cases)
    wrong = differences([inverted(case) for case in cases] if invert else cases)
    print(f"argocd-health: {len(cases) - len(wrong)}/{len(cases)} cases of {len({c.kind for c in cases})} kinds passed")
    for line in [*lost, *wrong]:
        print(f"  {line}")
    return 1 if lost or wrong or not cases else 0


def main(args: Sequence[str] | None = None) -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument(
        "--set", choices=["argocd-health", "kyverno-policies", "gatekeeper-library"], help="one set only"
    )
    parser.add_argument("--invert", action="store_true", help="expect the opposite of everything")
    parser.add_argument("--fixtures", type=Path, default=ARGOCD, help="the folder of the set")
    options = parser.parse_args(args)
    code = run(options.fixtures, invert=options.invert) if options.set in {None, "argocd-health"} else 0
    if options.invert or options.fixtures != ARGOCD:
        return code
    for name, read in (("kyverno-policies", kyverno), ("gatekeeper-library", gatekeeper)):
        if options.set in {None, name}:
            code = policies(name, read) or code
    return code


def policies(name: str, read: Callable[[], Counted]) -> int:
    """Run the test files of policies, print the result; the exit code comes out."""
    try:
        found = read()
    except FileNotFoundError as error:
        print(f"{name}: {error.filename} is missing")
        return 1
    print(f"{name}: {found.report.passed}/{found.report.total} cases passed, {found.excluded} excluded by name")
    for failure in found.report.failures:
        print(
            f"  {failure.file} {failure.case}\n    expected {failure.wanted}\n    found    {failure.found}: {failure.why}"
        )
    for unknown in found.unknown:
        print(f"  {unknown} is excluded and passes")
    return 1 if found.report.failures or found.unknown else 0


if __name__ == "__main__":
    sys.exit(main())
