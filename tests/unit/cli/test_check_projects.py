"""`taut check` and the rules of projects: what would be refused when it is merged is told before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taut.cli.ending import run_command
from taut.cli.main import cli

PROJECT = """\
apiVersion: taut.dev/v1
kind: Project
metadata: {name: shop}
spec:
  destinations: [{namespace: shop}]
  clusterKinds: []
  deniedNamespacedKinds: [{kind: Secret}]
"""
APPLICATION = """\
apiVersion: taut.dev/v1
kind: Application
metadata: {{name: web}}
spec:
  project: {project}
  source: {{git: 'https://git.example.com/fleet.git', path: apps/web}}
  target: {{namespace: shop}}
"""
OBJECTS = {
    "good": "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}",
    "elsewhere": "{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: bank}}",
    "cluster": "{apiVersion: v1, kind: Namespace, metadata: {name: c}}",
    "secret": "{apiVersion: v1, kind: Secret, metadata: {name: d}}",
    "custom": "{apiVersion: example.com/v1, kind: Toy, metadata: {name: e}}",
}


def _folder(base: Path, *, project: str = "shop", config: str = "", declared: bool = True) -> Path:
    (base / "apps/web").mkdir(parents=True)
    (base / "taut").mkdir()
    for name, text in OBJECTS.items():
        (base / f"apps/web/{name}.yaml").write_text(text + "\n")
    (base / "taut/web.yaml").write_text(APPLICATION.format(project=project))
    if declared:
        (base / "taut/project.yaml").write_text(PROJECT)
    if config:
        (base / "taut.yaml").write_text(config)
    return base


def _verdicts(base: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict[str, Any]]]:
    code = run_command(cli, ["check", str(base), "-o", "json", *more])
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    return code, [v for v in found["verdicts"] if v["policy"] == "project"]


def test_what_a_project_forbids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, verdicts = _verdicts(_folder(tmp_path), capsys)
    assert code == 1
    assert sorted((v["resource"]["kind"], v["resource"]["name"]) for v in verdicts) == [
        ("ConfigMap", "b"),
        ("Namespace", "c"),
        ("Secret", "d"),
    ], "a custom kind may live in namespaces, and is given the benefit of the doubt"
    assert {v["result"] for v in verdicts} == {"fail"}
    assert any("bank" in v["message"] and "destinations" in v["message"] for v in verdicts)
    assert _verdicts(tmp_path, capsys, "--without", "project") == (0, [])


def test_people_read_the_file_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(cli, ["check", str(_folder(tmp_path))]) == 1
    out = capsys.readouterr().out
    assert "apps/web/elsewhere.yaml:1  ConfigMap bank/b" in out
    assert "checks.taut.dev/project" not in out, "no annotation widens a project"


def test_a_project_that_is_declared_elsewhere_is_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _verdicts(_folder(tmp_path, declared=False), capsys) == (0, [])


CONFIG = """\
store: state/taut.db
clusters: [{{name: local}}]
roots:
- {{name: fleet, git: 'https://git.example.com/fleet.git', path: taut, projects: true, allowedProjects: [{allowed}]}}
"""


def test_with_a_configuration_all_is_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = _folder(tmp_path, project="shpo", config=CONFIG.format(allowed="'*'"))
    code, (verdict,) = _verdicts(base, capsys)
    assert (code, verdict["resource"]["kind"], verdict["resource"]["name"]) == (1, "Application", "web")
    assert "shop" in verdict["message"], "it says which one was probably meant"


def test_a_root_uses_the_projects_that_it_may(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = _folder(tmp_path, config=CONFIG.format(allowed="bank"))
    code, (verdict,) = _verdicts(base, capsys)
    assert code == 1
    assert "root fleet may not use project shop" in verdict["message"]


def test_what_the_application_itself_asks_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = _folder(tmp_path)
    text = (base / "taut/web.yaml").read_text()
    (base / "taut/web.yaml").write_text(text.replace("target: {namespace: shop}", "target: {namespace: bank}"))
    _, verdicts = _verdicts(base, capsys)
    (own,) = (v for v in verdicts if v["resource"]["kind"] == "Application")
    assert "does not allow" in own["message"]
