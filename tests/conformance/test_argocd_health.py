"""Argo CD's public health suite, case by case, and that its run can fail."""

import shutil

import pytest

from conformance import __main__ as runner
from conformance.cases import ARGOCD, Case, argocd_cases, expected_kinds, missing
from taut.health.assess import assess

CASES = list(argocd_cases())


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_health_is_what_the_suite_expects(case: Case):
    assert assess(case.body) == case.expected


def test_all_kinds_are_there():
    assert len(expected_kinds()) == 119
    assert missing(CASES) == []


def test_the_run_passes_and_counts(capsys):
    assert runner.main(["--set", "argocd-health"]) == 0
    assert f"{len(CASES)}/{len(CASES)} cases of 119 kinds passed" in capsys.readouterr().out


def test_the_run_fails_with_inverted_expectations(capsys):
    assert runner.main(["--invert"]) == 1
    out = capsys.readouterr().out
    assert f"argocd-health: 0/{len(CASES)} cases" in out
    assert out.count("\n    expected ") == len(CASES)


@pytest.mark.parametrize("lost", ["keda.sh/ScaledJob/testdata/keda-healthy.yaml", "kafka.strimzi.io/Kafka", ""])
def test_the_run_fails_when_a_fixture_is_missing(tmp_path, capsys, lost):
    root = tmp_path / "argocd-health"
    shutil.copytree(ARGOCD, root)
    target = root / lost
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    assert runner.main(["--fixtures", str(root)]) == 1
    assert (lost or "0 of") in capsys.readouterr().out
