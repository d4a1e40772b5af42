"""The bench in short: the same scenarios on a few applications. Times are not asserted, counts are."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.measure import Bench

pytestmark = pytest.mark.integration
COUNT = 60


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["kustomize", "helm"])
def test_cost_follows_change(tmp_path: Path, kind: str) -> None:
    found = Bench(tmp_path / "bench", kind, COUNT, print).run(rest=3, idle=0).scenarios
    assert found["cold"]["writes"] == 4 * COUNT
    assert found["rest"]["requests"] == 0
    for commit in (found["commit, first"], found["commit"]):
        assert (commit["writes"], commit["renders"]) == (1, 1)
        assert commit["requests"] <= 8
    assert (found["base of 50"]["writes"], found["base of 50"]["renders"]) == (50, 50)
    assert found["base of 50"]["requests"] <= 8 * 50
    assert found["drift"]["writes"] == 1
    assert found["drift"]["records"] == 5
    assert (found["restart"]["renders"], found["restart"]["writes"]) == (0, 0)
    assert found["restart"]["lists"] <= found["cold"]["lists"]
    if kind == "kustomize":
        assert found["floor"]["objects"] == 4 * COUNT
