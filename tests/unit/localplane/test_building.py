"""What a build is made of, and what is said when it cannot be made."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from taut.localplane import building
from taut.localplane.building import (
    build,
    build_lock,
    built,
    content_hash,
    find_source,
    go_build,
    module_version,
    remove_unused,
)
from taut.model.errors import TautError

GO_MOD = "module example.test/tiny\n\ngo 1.24\n"
MAIN = 'package main\n\nvar version = "none"\n\nfunc main() { println(version) }\n'


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A Go module of one small program."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "main.go").write_text(MAIN)
    return folder


def test_the_hash_is_of_paths_and_contents(module: Path) -> None:
    first = content_hash(module)
    (module / "notes.txt").write_text("not part of the build")
    assert content_hash(module) == first
    (module / "main.go").rename(module / "other.go")
    renamed = content_hash(module)
    (module / "other.go").write_text(MAIN + "\n")
    assert len({first, renamed, content_hash(module)}) == 3


def test_what_is_not_built_is_none(module: Path, tmp_path: Path) -> None:
    assert built(source=module, cache=tmp_path / "cache") is None
    (tmp_path / "cache" / content_hash(module)).mkdir(parents=True)
    found = built(source=module, cache=tmp_path / "cache")
    assert found is not None
    assert found.kustomize.parent == found.folder
    assert built(source=tmp_path / "nowhere", cache=tmp_path / "nowhere") is None


def test_missing_go_is_said_with_advice(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(building, "_USUAL_PLACE", str(tmp_path))
    with pytest.raises(TautError, match=r"Go is needed to build the local control plane.*go\.dev"):
        build(source=module, cache=tmp_path / "cache")


def test_what_was_built_needs_no_go(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / content_hash(module)
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(building, "_USUAL_PLACE", str(tmp_path))
    assert build(source=module, cache=tmp_path / "cache").folder == folder


def test_one_builds_and_the_others_wait(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with build_lock(tmp_path, said.append):
            order.append("second")

    waiter = threading.Thread(target=second)
    with build_lock(tmp_path, said.append):
        waiter.start()
        while not said and waiter.is_alive():
            waiter.join(0.01)
        order.append("first")
    waiter.join()
    assert order == ["first", "second"]
    assert said == ["localplane: another process is building; waiting for it"]


def test_builds_that_nobody_uses_are_removed(module: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    used, unused = cache / content_hash(module), cache / "unused"
    long_ago = time.time() - 90 * 24 * 3600
    for folder in (used, unused):
        folder.mkdir(parents=True)
        os.utime(folder, (long_ago, long_ago))
    build(source=module, cache=cache)
    remove_unused(cache)
    assert used.is_dir()
    assert not unused.exists()


def test_versions_come_from_the_module(module: Path) -> None:
    assert module_version(find_source(), "k8s.io/kubernetes").startswith("v1.37.")
    assert module_version(find_source() / "kustomize", "sigs.k8s.io/kustomize/kustomize/v5").startswith("v5.")
    with pytest.raises(TautError, match=r"does not require k8s\.io/kubernetes"):
        module_version(module, "k8s.io/kubernetes")


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_a_program_is_built_with_its_stamps_or_the_compiler_is_quoted(module: Path, tmp_path: Path) -> None:
    go = shutil.which("go") or ""
    go_build(go, module, ".", tmp_path / "tiny", progress=lambda _: None, stamps={"main.version": "v9"})
    assert b"v9" in (tmp_path / "tiny").read_bytes()
    (module / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(TautError, match=r"building tiny failed.*undefined"):
        go_build(go, module, ".", tmp_path / "tiny", progress=lambda _: None)
