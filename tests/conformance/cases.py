"""The conformance cases: an input object, and the health that the public suite expects for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taut.documents.yaml import load_documents, load_one
from taut.model.health import Health, HealthStatus

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
ARGOCD = FIXTURES / "argocd-health"
EXPECTED_KINDS = HERE / "argocd-health.txt"
"""One line a kind, `group/Kind cases`: what has to be there, so that a lost fixture is noticed."""


@dataclass(frozen=True)
class Case:
    """One expectation of a suite. `id` is unique in it."""

    id: str
    kind: str
    body: dict[str, Any]
    expected: Health


def expected_kinds() -> dict[str, int]:
    """How many cases there have to be for each kind."""
    lines = EXPECTED_KINDS.read_text().split("\n")
    return {kind: int(count) for kind, _, count in (line.partition(" ") for line in lines if line)}


def argocd_cases(root: Path = ARGOCD) -> Iterator[Case]:
    """All cases of Argo CD's suite below `root`. Raises FileNotFoundError for an input that is missing.

    Two traps of the data: the input's key is also spelt `inputpath`, and of an input with several documents the first one counts.
    """
    for suite in sorted(root.rglob("health_test.yaml")):
        kind = suite.parent.relative_to(root).as_posix()
        for number, test in enumerate(load_one(suite.read_bytes(), file=str(suite))["tests"]):
            path = suite.parent / (test.get("inputPath") or test["inputpath"])
            body = load_documents(path.read_bytes(), file=str(path))[0].body
            health = test["healthStatus"]
            expected = Health(HealthStatus(health["status"]), health.get("message") or "")
            yield Case(f"{kind}/{path.stem}-{number}", kind, body, expected)


def missing(cases: list[Case]) -> list[str]:
    """What is not there as often as it has to be, in words."""
    found: dict[str, int] = {}
    for case in cases:
        found[case.kind] = found.get(case.kind, 0) + 1
    return [
        f"{kind}: {found.get(kind, 0)} of {count} cases are there"
        for kind, count in expected_kinds().items()
        if found.get(kind, 0) < count
    ]
