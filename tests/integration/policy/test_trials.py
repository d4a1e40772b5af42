"""Test files of policies in a worker: as in the program itself, and to an end whatever a policy does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from taut.policy import trials
from taut.policy.engines import build
from taut.policy.kyverno.cli_tests import files_below, run_tests
from taut.prison.limits import Limits
from taut.prison.pool import descendants

pytestmark = pytest.mark.integration
SHORT = Limits(wall_seconds=1.5, cpu_seconds=10, memory_mb=512)
MANY = "`[" + ",".join(["1"] * 80) + "]`"


def _loops(depth: int) -> dict[str, Any]:
    if depth:
        return {"list": MANY, "foreach": [_loops(depth - 1)]}
    return {"list": MANY, "deny": {"conditions": {"all": [{"key": "{{ element }}", "operator": "Equals", "value": 2}]}}}


TEAM = {"message": "m", "pattern": {"metadata": {"labels": {"team": "?*"}}}}
ENDLESS = {"message": "m", "foreach": [_loops(5)]}


def put(folder: Path, validate: dict[str, Any], *, names: str = "map.json") -> None:
    folder.mkdir(parents=True)
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    spec = {"rules": [{"name": "only", "match": match, "validate": validate}]}
    documents = {
        "policy": {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": spec},
        "map": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "default"}},
        "kyverno-test": {
            "apiVersion": "cli.kyverno.io/v1alpha1",
            "kind": "Test",
            "metadata": {"name": "t"},
            "policies": ["policy.json"],
            "resources": [names],
            "results": [{"policy": "p", "rule": "only", "resources": ["one"], "kind": "ConfigMap", "result": "fail"}],
        },
    }
    for name, body in documents.items():
        suffix = "yaml" if name == "kyverno-test" else "json"
        (folder / f"{name}.{suffix}").write_text(json.dumps(body))


@pytest.mark.parametrize("way", ["absolute", "relative", "link", "above", "file"])
def test_however_a_folder_is_named(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cases with the same words come out as without a worker."""
    copy = tmp_path / "copy"
    put(copy / "tests/good", TEAM)
    put(copy / "tests/gone", TEAM, names="gone.json")
    put(copy / "tests/outside", TEAM, names="../../../secret.json")
    (copy / ".git").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "link").symlink_to(copy)
    monkeypatch.chdir({"relative": copy, "above": copy / "tests/good"}.get(way, tmp_path))
    folder = {
        "absolute": copy,
        "relative": Path("tests"),
        "link": tmp_path / "link",
        "above": Path("../../../copy/tests"),
        "file": copy / "tests/good/kyverno-test.yaml",
    }[way]
    found = trials.run("kyverno", folder, files_below(folder))
    wanted = run_tests(folder, build)
    assert (found.passed, found.total) == (wanted.passed, wanted.total)
    assert [(f.file, f.case, f.wanted, f.found) for f in found.failures] == [
        (f.file, f.case, f.wanted, f.found) for f in wanted.failures
    ]
    if way in {"absolute", "relative", "file"}:
        assert found == wanted
    assert found.passed == 1


def test_a_file_without_end_fails_alone(tmp_path: Path) -> None:
    put(tmp_path / "a", TEAM)
    put(tmp_path / "b", ENDLESS)
    put(tmp_path / "c", TEAM)
    before = set(descendants(os.getpid()))
    report = trials.run("kyverno", tmp_path, files_below(tmp_path), SHORT)
    assert (report.passed, report.total) == (2, 3)
    (failure,) = report.failures
    assert failure.file == str(tmp_path / "b/kyverno-test.yaml")
    assert "running a test file took longer than 1.5 s and was stopped" in failure.why
    assert set(descendants(os.getpid())) <= before


def test_many_files_without_end_come_to_an_end(tmp_path: Path) -> None:
    for number in range(8):
        put(tmp_path / str(number), ENDLESS)
    report = trials.run("kyverno", tmp_path, files_below(tmp_path), SHORT)
    assert (report.passed, report.total) == (0, 8)
    assert [f.why for f in report.failures[5:]] == ["5 test files were stopped, and this one was not run"] * 3
