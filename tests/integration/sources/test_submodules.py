"""Submodules: left alone unless asked for, and then only from where they may come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taut.model.application import Source
from taut.model.errors import SourceError
from taut.model.snapshot import EntryKind
from taut.sources import Sources

from .conftest import Repo, git

pytestmark = pytest.mark.integration
type NewRepo = Callable[..., Repo]


def everywhere(_: str) -> bool:
    return True


def add_submodule(repo: Repo, path: str, url: str, commit: str, extra: str = "") -> None:
    """Commit a submodule beside what the repository has."""
    gitmodules = f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n{extra}'
    index = {"GIT_INDEX_FILE": str(repo.path / "module-index")}
    git(repo.path, "read-tree", "refs/heads/main", env=index)
    lines = f"160000 {commit}\t{path}\n100644 {repo.blob(gitmodules.encode())}\t.gitmodules\n"
    git(repo.path, "update-index", "--index-info", data=lines.encode(), env=index)
    repo.commit(tree=git(repo.path, "write-tree", env=index))


async def test_they_are_off_by_default(sources: Sources, repo: Repo, new_repo: NewRepo) -> None:
    lib = new_repo("lib")
    add_submodule(repo, "vendor/lib", lib.url, lib.commit({"x": "1"}))
    tree = (await sources.resolve(Source(git=repo.url), fetch=True)).tree
    entry = tree.entry("vendor/lib")
    assert entry is not None
    assert entry.kind is EntryKind.SUBMODULE


@pytest.mark.parametrize("relative", [False, True])
async def test_they_are_grafted_when_asked_for(sources: Sources, repo: Repo, new_repo: NewRepo, relative: bool) -> None:
    lib, deep = new_repo("lib"), new_repo("deep")
    lib.commit({"x": "old", "dir/y": "y"})
    add_submodule(lib, "deep", deep.url, deep.commit({"z": "deep"}))
    wanted = lib.refs()["refs/heads/main"]
    lib.commit({"x": "newer"})
    add_submodule(repo, "vendor/lib", "../lib.git" if relative else lib.url, wanted)
    source = Source(git=repo.url, submodules=True)
    snapshot = await sources.resolve(source, fetch=True, allowed=everywhere)
    assert snapshot.tree.read("vendor/lib/x") == b"old"
    assert snapshot.tree.read("vendor/lib/deep/z") == b"deep"
    assert snapshot.tree.read("README.md") == b"hello\n"
    again = await sources.resolve(source, fetch=False, allowed=everywhere)
    assert again.tree.hash == snapshot.tree.hash
    assert snapshot.revision.id == repo.refs()["refs/heads/main"]


async def test_only_from_where_they_may_come(sources: Sources, repo: Repo, new_repo: NewRepo) -> None:
    lib = new_repo("lib")
    add_submodule(repo, "lib", lib.url, lib.commit({"x": "1"}))
    with pytest.raises(SourceError, match="the submodule 'lib' comes from a place the project does not list"):
        await sources.resolve(Source(git=repo.url, submodules=True), fetch=True)
    asked: list[str] = []

    def ask(url: str) -> bool:
        asked.append(url)
        return url == lib.url

    await sources.resolve(Source(git=repo.url, submodules=True), fetch=True, allowed=ask)
    assert asked == [lib.url]


@pytest.mark.parametrize(
    "url",
    [
        "-u./payload",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c id",
        "ssh://-oProxyCommand=id/x",
        "fd::17",
        "relative/path",
    ],
)
async def test_hostile_addresses(sources: Sources, repo: Repo, url: str) -> None:
    add_submodule(repo, "lib", url, "1" * 40)
    with pytest.raises(SourceError, match="no address of a repository"):
        await sources.resolve(Source(git=repo.url, submodules=True), fetch=True, allowed=everywhere)


async def test_a_submodule_without_an_address(sources: Sources, repo: Repo) -> None:
    repo.commit(tree=repo.tree(("160000", "1" * 40, "lib")))
    with pytest.raises(SourceError, match="the submodule 'lib' has no address"):
        await sources.resolve(Source(git=repo.url, submodules=True), fetch=True, allowed=everywhere)


async def test_a_commit_that_is_gone(sources: Sources, repo: Repo, new_repo: NewRepo) -> None:
    lib = new_repo("lib")
    lib.commit({"x": "1"})
    add_submodule(repo, "lib", lib.url, "1" * 40)
    with pytest.raises(SourceError, match="is not in the repository"):
        await sources.resolve(Source(git=repo.url, submodules=True), fetch=True, allowed=everywhere)


async def test_submodules_without_end(sources: Sources, new_repo: NewRepo) -> None:
    """A chain longer than anybody needs."""
    inner, commit = None, ""
    for n in range(8):
        made = new_repo(f"r{n}")
        made.commit({"x": str(n)})
        if inner is not None:
            add_submodule(made, "next", inner.url, commit)
        inner, commit = made, made.refs()["refs/heads/main"]
    assert inner is not None
    with pytest.raises(SourceError, match="nested more than 5 deep"):
        await sources.resolve(Source(git=inner.url, submodules=True), fetch=True, allowed=everywhere)


async def test_other_settings_in_gitmodules_do_nothing(sources: Sources, repo: Repo, new_repo: NewRepo) -> None:
    lib = new_repo("lib")
    extra = "\tupdate = !touch /tmp/evil\n[include]\n\tpath = /etc/passwd\n[core]\n\tsshCommand = evil\n"
    add_submodule(repo, "lib", lib.url, lib.commit({"x": "1"}), extra)
    snapshot = await sources.resolve(Source(git=repo.url, submodules=True), fetch=True, allowed=everywhere)
    assert snapshot.tree.read("lib/x") == b"1"
