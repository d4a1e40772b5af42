"""Kyverno's and Gatekeeper's own test files give what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conformance.policy_cases import GATEKEEPER, KYVERNO, gatekeeper, kyverno


def test_kyverno_library() -> None:
    found = kyverno()
    assert found.report.failures == ()
    assert found.report.total > 2300
    assert found.excluded <= 0.05 * (found.report.total + found.excluded)
    assert found.unknown == (), "these are excluded and pass"


def test_gatekeeper_library() -> None:
    found = gatekeeper()
    assert found.report.failures == ()
    assert found.report.total == 156


def test_a_policy_that_says_something_else_fails_its_test(tmp_path: Path) -> None:
    source = KYVERNO / "best-practices/disallow-latest-tag"
    shutil.copytree(source, tmp_path / "a/b")
    policy = tmp_path / "a/b/disallow-latest-tag.yaml"
    policy.write_text(policy.read_text().replace("!*:latest", "*:latest"))
    report = kyverno(tmp_path).report
    assert {(f.wanted, f.found) for f in report.failures} == {("fail", "pass"), ("pass", "fail")}


def test_a_template_that_says_something_else_fails_its_suite(tmp_path: Path) -> None:
    shutil.copytree(GATEKEEPER / "general/requiredlabels", tmp_path / "a")
    constraint = next((tmp_path / "a/samples").rglob("constraint.yaml"))
    constraint.write_text(constraint.read_text().replace("key: owner", "key: nobody"))
    assert gatekeeper(tmp_path).report.failures


def test_missing_fixtures_are_told(tmp_path: Path) -> None:
    for run in (kyverno, gatekeeper):
        with pytest.raises(FileNotFoundError):
            run(tmp_path)
