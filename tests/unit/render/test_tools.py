from __future__ import annotations

from pathlib import Path

import pytest

from taut.model.errors import BadInput
from taut.render.tools import find_kustomize


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def test_the_configured_one_comes_first(elsewhere: Path) -> None:
    program(elsewhere / "bin/kustomize")
    mine = program(elsewhere / "mine/kustomize")
    assert find_kustomize(mine).path == mine
    assert find_kustomize(program(elsewhere / "mine/kubectl-1.37")).tool == "kubectl"
    (elsewhere / "mine/text").write_text("")
    for wrong in ("mine/text", "mine", "none"):
        with pytest.raises(BadInput):
            find_kustomize(elsewhere / wrong)


def test_then_the_path_then_the_cache_then_the_package(elsewhere: Path) -> None:
    assert find_kustomize().tool == "kubectl"
    cache = elsewhere / "cache/taut/localplane"
    program(cache / "abc.partial/kustomize")
    assert find_kustomize().tool == "kubectl"
    built = program(cache / "abc/kustomize")
    assert find_kustomize().path == built
    on_path = program(elsewhere / "bin/kustomize")
    assert find_kustomize().path == on_path


def test_the_version_is_its_content(elsewhere: Path) -> None:
    one, two, same = (program(elsewhere / n, t) for n, t in (("a", "1"), ("b", "2"), ("c", "1")))
    assert find_kustomize(one).version == find_kustomize(same).version != find_kustomize(two).version
