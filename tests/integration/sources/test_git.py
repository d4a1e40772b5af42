"""Git repositories: refs, what moves, what vanishes, what it costs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from taut.model.application import Source
from taut.model.errors import SourceError
from taut.model.refs import AppKey
from taut.model.snapshot import EntryKind, Snapshot
from taut.sources import Sources
from taut.sources.mirror import Mirror
from taut.sources.touched import Touched

from .conftest import MakeSources, Repo, Server, git

pytestmark = pytest.mark.integration
APP = AppKey("root", "", "web")


async def at(sources: Sources, repo: Repo, ref: str | None = None, *, fetch: bool = False, **options: str) -> str:
    return (await sources.resolve(Source(git=repo.url, ref=ref, **options), fetch=fetch)).revision.id  # pyright: ignore[reportArgumentType]


async def test_a_snapshot_has_revision_and_tree(sources: Sources, repo: Repo) -> None:
    commit = repo.refs()["refs/heads/main"]
    snapshot = await sources.resolve(Source(git=repo.url), fetch=False)
    revision = snapshot.revision
    assert (revision.id, revision.label, revision.author) == (commit, f"main@{commit[:8]}", "Ada <ada@example.org>")
    assert (revision.message.strip(), revision.time) == ("first\n\nbody", 1767323045.0)
    tree = snapshot.tree
    assert tree.hash == git(repo.path, "rev-parse", "main^{tree}")
    assert [entry.name for entry in tree.folder("")] == ["README.md", "apps"]
    assert tree.folder(".") == tree.folder("")
    assert tree.read("apps/web/deployment.yaml") == b"kind: Deployment\n"
    assert tree.size("README.md") == 6
    assert [path for path, _ in tree.walk("")] == ["README.md", "apps/web/deployment.yaml"]
    assert [path for path, _ in tree.walk("apps")] == ["apps/web/deployment.yaml"]
    assert list(tree.walk("README.md")) == []
    assert tree.entry("nothing") is None
    assert tree.entry("README.md/x") is None
    for wrong in ("nothing", "apps"):
        with pytest.raises(KeyError):
            tree.read(wrong)
        with pytest.raises(KeyError):
            tree.size(wrong)
    with pytest.raises(KeyError):
        tree.folder("README.md")
    assert await sources.folders(snapshot) == ("apps", "apps/web")


async def test_every_kind_of_ref(sources: Sources, repo: Repo) -> None:
    first = repo.refs()["refs/heads/main"]
    repo.tag("v1.0.0", first)
    second = repo.commit({"a": "2"})
    repo.tag("v1.1.0", second, annotated=True)
    third = repo.commit({"a": "3"}, branch="feature/x", parents=(second,))
    repo.tag("app-9.0.0", third)
    repo.set("refs/pull/7/head", third)
    await sources.fetch(repo.url)
    for ref, expected in {
        None: second,
        "main": second,
        "feature/x": third,
        "refs/heads/main": second,
        "v1.0.0": first,
        "refs/tags/v1.1.0": second,
        "v1.1.0": second,
        first: first,
        first[:7]: first,
        first[:12].upper(): first,
        "1.x": second,
        "~1.0": first,
        "1.0.0": first,
        ">=1.0 <2": second,
        "refs/pull/7/head": third,
    }.items():
        assert await at(sources, repo, ref) == expected, ref
    assert await at(sources, repo, "*", tag_prefix="app-") == third
    assert await sources.branches(repo.url) == {"main": second, "feature/x": third}


async def test_a_branch_wins_over_a_tag_and_a_tag_over_a_commit(sources: Sources, repo: Repo) -> None:
    first = repo.refs()["refs/heads/main"]
    second = repo.commit({"a": "2"})
    repo.tag("both", first)
    repo.set("refs/heads/both", second)
    repo.tag(first[:8], second)
    assert await at(sources, repo, "both") == second
    assert await at(sources, repo, first[:8]) == second
    repo.set("refs/heads/1.x", first)
    repo.tag("1.5.0", second)
    assert await at(sources, repo, "1.x", fetch=True) == first


@pytest.mark.parametrize(
    "ref",
    [
        "-x",
        "--upload-pack=evil",
        "a\x1b[31m",
        "a\nb",
        "main:evil",
        "../x",
        "refs/heads/../../x",
        "x" * 600,
        "a..b",
        "@{1}",
        "main^{tree}",
    ],
)
async def test_refs_that_git_does_not_allow(sources: Sources, repo: Repo, ref: str) -> None:
    with pytest.raises(SourceError) as caught:
        await at(sources, repo, ref)
    assert "\x1b" not in str(caught.value)


async def test_an_unknown_ref_costs_one_fetch_and_names_the_nearest(make_sources: MakeSources, repo: Repo) -> None:
    sources = make_sources()
    await sources.fetch(repo.url)
    late = repo.commit({"a": "late"}, branch="late")
    assert await at(sources, repo, "late") == late
    with pytest.raises(SourceError, match=r"no branch, tag or commit 'mian'.*did you mean 'main'"):
        await at(sources, repo, "mian")
    with pytest.raises(SourceError, match=r"no tag is in the range '7\.x'"):
        await at(sources, repo, "7.x")
    with pytest.raises(SourceError, match="is not in the repository"):
        await at(sources, repo, "0" * 39 + "1")


async def test_fetch_tells_whether_anything_moved(sources: Sources, repo: Repo) -> None:
    assert await sources.fetch(repo.url) is True
    assert await sources.fetch(repo.url) is False
    repo.commit({"a": "2"})
    assert await sources.fetch(repo.url) is True
    repo.tag("v1")
    assert await sources.fetch(repo.url) is True
    repo.delete("refs/tags/v1")
    assert await sources.fetch(repo.url) is True
    git(repo.path, "symbolic-ref", "HEAD", "refs/heads/other")
    repo.commit({"a": "3"}, branch="other")
    assert await sources.fetch(repo.url) is True
    assert await at(sources, repo) == repo.refs()["refs/heads/other"]
    assert await sources.fetch(repo.url) is False


async def test_a_force_push_is_followed_and_pins_keep_what_was_deployed(sources: Sources, repo: Repo) -> None:
    first = repo.refs()["refs/heads/main"]
    deployed = repo.commit({"a": "deployed"})
    assert await at(sources, repo) == deployed
    sources.pin(repo.url, deployed)
    rewritten = repo.commit({"a": "rewritten"}, parents=(first,))
    git(repo.path, "reflog", "expire", "--expire=now", "--all")
    git(repo.path, "gc", "-q", "--prune=now")
    assert await at(sources, repo, fetch=True) == rewritten
    mirror = next((sources._directory / "git").iterdir())
    git(mirror, "gc", "-q", "--prune=now")
    assert sources.tree(repo.url, deployed).read("a") == b"deployed"
    assert await at(sources, repo, deployed) == deployed
    assert sources.pins(repo.url) == {deployed}
    sources.unpin(repo.url, deployed)
    sources.unpin(repo.url, deployed)
    assert sources.pins(repo.url) == frozenset()


async def test_a_branch_that_vanishes(sources: Sources, repo: Repo) -> None:
    gone = repo.commit({"a": "x"}, branch="gone")
    assert await at(sources, repo, "gone") == gone
    sources.pin(repo.url, gone)
    repo.delete("refs/heads/gone")
    with pytest.raises(SourceError, match=f"the branch 'gone' was deleted from the repository; it was at {gone[:8]}"):
        await at(sources, repo, "gone", fetch=True)
    assert sources.tree(repo.url, gone).read("a") == b"x"
    back = repo.commit({"a": "y"}, branch="gone")
    assert await at(sources, repo, "gone") == back


async def test_a_branch_that_becomes_a_folder_of_branches(sources: Sources, repo: Repo) -> None:
    repo.commit({"a": "1"}, branch="team")
    await sources.fetch(repo.url)
    repo.delete("refs/heads/team")
    inner = repo.commit({"a": "2"}, branch="team/x")
    assert await at(sources, repo, "team/x", fetch=True) == inner


async def test_a_repository_that_lost_everything_changes_nothing(sources: Sources, repo: Repo) -> None:
    commit = await at(sources, repo)
    repo.delete("refs/heads/main")
    with pytest.raises(SourceError, match="no branches and no tags any more"):
        await at(sources, repo, fetch=True)
    assert await at(sources, repo, "main") == commit


async def test_an_empty_repository(sources: Sources, new_repo: Callable[..., Repo]) -> None:
    empty = new_repo("empty")
    with pytest.raises(SourceError, match="empty, or has no default branch"):
        await at(sources, empty)
    commit = empty.commit({"a": "1"})
    assert await at(sources, empty, fetch=True) == commit


async def test_a_tag_that_moves(sources: Sources, repo: Repo) -> None:
    repo.tag("stable")
    first = await at(sources, repo, "stable")
    second = repo.commit({"a": "2"})
    repo.tag("stable", second, annotated=True)
    assert await at(sources, repo, "stable") == first
    assert await at(sources, repo, "stable", fetch=True) == second


async def test_a_tag_of_a_file(sources: Sources, repo: Repo) -> None:
    repo.tag("file", repo.blob(b"x"))
    with pytest.raises(SourceError, match="'file' names something that is no commit"):
        await at(sources, repo, "file")


async def test_what_lies_between_two_commits(sources: Sources, repo: Repo) -> None:
    async def after(files: dict[str, bytes | str] | None = None, *, tree: str = "") -> Snapshot:
        repo.commit(files, tree=tree)
        await sources.fetch(repo.url)
        return await sources.resolve(Source(git=repo.url), fetch=False)

    first = await after({"apps/web/deployment.yaml": "kind: Old\n"})
    second = await after({"apps/web/deployment.yaml": "kind: New\n", "apps/web/x.yaml": "1"})
    found = sources.touched(first, second)
    assert found is not None
    assert found.paths - {"", "."} == {"apps", "apps/web", "apps/web/deployment.yaml", "apps/web/x.yaml"}
    assert not found.folders
    assert sources.touched(first, first) == Touched(frozenset({"", "."}), folders=False)
    third = await after({"apps/api/deep/x.yaml": "1"})
    found = sources.touched(second, third)
    assert found is not None
    assert found.folders
    assert "apps/api/deep" in found.paths
    back = sources.touched(third, second)
    assert back is not None
    assert back.folders
    link = repo.tree(("120000", repo.blob(b"web"), "link"))
    linked = await after(tree=repo.tree(("40000", link, "apps")))
    assert sources.touched(third, linked) is None, "what is below a link is elsewhere"


async def test_the_same_folders_are_found_without_walking(sources: Sources, repo: Repo) -> None:
    repo.commit({"apps/a/x.yaml": "1", "apps/b/x.yaml": "1"})
    first = await sources.folders(await sources.resolve(Source(git=repo.url), fetch=True))
    repo.commit({"apps/a/x.yaml": "2", "apps/a/y.yaml": "2"})
    assert await sources.folders(await sources.resolve(Source(git=repo.url), fetch=True)) is first
    repo.commit({"apps/c/x.yaml": "1"})
    after = await sources.folders(await sources.resolve(Source(git=repo.url), fetch=True))
    assert set(after) - set(first) == {"apps/c"}


async def test_a_commit_in_a_large_repository_costs_what_the_commit_costs(
    sources: Sources, repo: Repo, git_http: Server
) -> None:
    files = {f"apps/app{n:04}/file{k}.yaml": f"{n} {k}\n" + "x" * 300 for n in range(400) for k in range(5)}
    repo.commit({**files})
    url = f"{git_http.url}/repo.git"
    await sources.fetch(url)
    whole = git_http.bytes_sent
    git_http.requests.clear()

    mirror = await sources._mirror(url)
    assert (await asyncio.to_thread(mirror.fetch, None)).moved is False
    assert [request.path for request in git_http.requests] == ["/repo.git/info/refs?service=git-upload-pack"]

    commit = repo.commit({"apps/app0007/file0.yaml": "changed\n"})
    git_http.requests.clear()
    fetched = await asyncio.to_thread(mirror.fetch, None)
    # One commit, one blob, and the trees from the root to it: the root's tree, apps/, apps/app0007.
    assert (fetched.moved, fetched.received.objects) == (True, 5)
    assert fetched.received.bytes < 25_000 < whole
    assert git_http.bytes_sent < 30_000
    assert await at_url(sources, url) == commit


async def at_url(sources: Sources, url: str) -> str:
    return (await sources.resolve(Source(git=url), fetch=False)).revision.id


async def test_one_fetch_serves_all_who_wait(sources: Sources, repo: Repo, git_http: Server) -> None:
    url = f"{git_http.url}/repo.git"
    await sources.fetch(url)
    git_http.requests.clear()
    commit = repo.commit({"a": "2"})
    found = await asyncio.gather(*(sources.resolve(Source(git=url), fetch=True) for _ in range(200)))
    assert {snapshot.revision.id for snapshot in found} == {commit}
    assert len([r for r in git_http.requests if "info/refs" in r.path]) <= 2


async def test_a_caller_that_goes_away_stops_nobody(sources: Sources, repo: Repo) -> None:
    impatient = asyncio.create_task(sources.fetch(repo.url))
    patient = asyncio.create_task(sources.fetch(repo.url))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient is True


async def test_who_asks_after_a_push_gets_the_push(sources: Sources, repo: Repo) -> None:
    """A fetch that is under way may have asked too early: the next caller gets one of its own."""
    await sources.fetch(repo.url)
    for n in range(5):
        running = asyncio.create_task(sources.fetch(repo.url))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        commit = await asyncio.to_thread(repo.commit, {"a": str(n)})
        assert await at(sources, repo, fetch=True) == commit
        await running


async def test_many_fetches_do_not_leave_many_packs(sources: Sources, repo: Repo) -> None:
    await sources.fetch(repo.url)
    mirror = await sources._mirror(repo.url)
    commits = []
    for n in range(45):
        commits.append(repo.commit({"a": str(n)}))
        await sources.fetch(repo.url)
    assert len(list((mirror.store.path / "objects" / "pack").glob("*.pack"))) < 42
    assert [sources.tree(repo.url, commit).read("a") for commit in commits] == [str(n).encode() for n in range(45)]


async def test_a_mirror_survives_a_restart_and_needs_no_network(make_sources: MakeSources, repo: Repo) -> None:
    commit = await at(make_sources(), repo)
    repo.path.rename(repo.path.with_name("moved.git"))
    again = make_sources()
    assert again.tree(repo.url, commit).read("README.md") == b"hello\n"
    assert await at(again, repo, "main") == commit
    with pytest.raises(SourceError, match="no repository at this address"):
        await again.fetch(repo.url)


async def test_nothing_of_the_machine_is_read(
    make_sources: MakeSources, repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evil = tmp_path / "home" / ".gitconfig"
    evil.write_text(
        f'[url "file:///elsewhere/"]\n\tinsteadOf = file://{repo.path.parent}/\n[core]\n\thooksPath = /evil\n'
    )
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.file:///elsewhere/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"file://{repo.path.parent}/")
    sources = make_sources()
    await sources.fetch(repo.url)
    repo.commit({"a": "2"})
    assert await sources.fetch(repo.url) is True


async def test_the_mirror_has_no_hooks_and_no_remote(sources: Sources, repo: Repo) -> None:
    await sources.fetch(repo.url)
    mirror = await sources._mirror(repo.url)
    assert isinstance(mirror, Mirror)
    assert [path for path in (mirror.store.path / "hooks").iterdir() if path.name != "README.sample"] == []
    assert repo.url not in (mirror.store.path / "config").read_text()


async def test_links_and_submodules_are_entries_and_never_followed(sources: Sources, repo: Repo) -> None:
    link = repo.blob(b"/etc/passwd")
    tree = repo.tree(("100644", link, ".gitattributes"), ("120000", link, "link"), ("160000", "1" * 40, "module"))
    repo.commit(tree=tree)
    snapshot = await sources.resolve(Source(git=repo.url), fetch=False)
    kinds = {entry.name: entry.kind for entry in snapshot.tree.folder("")}
    assert kinds == {".gitattributes": EntryKind.FILE, "link": EntryKind.SYMLINK, "module": EntryKind.SUBMODULE}
    assert snapshot.tree.read("link") == b"/etc/passwd"
    with pytest.raises(KeyError):
        snapshot.tree.read("module")


@pytest.mark.parametrize(
    "name",
    ["..", ".", ".git", ".GIT", "a/b", "a\\b", "new\nline", "\x1b[31mred", b"\xff\xfe", ".git ", "back\x08space"],
)
async def test_entries_with_dangerous_names_are_an_error(sources: Sources, repo: Repo, name: str | bytes) -> None:
    blob = repo.blob(b"x")
    repo.commit(tree=repo.tree(("100644", blob, name)))
    snapshot = await sources.resolve(Source(git=repo.url), fetch=False)
    with pytest.raises(SourceError, match="name") as caught:
        list(snapshot.tree.walk(""))
    assert str(caught.value).isprintable()


async def test_two_entries_of_one_name_are_an_error(sources: Sources, repo: Repo) -> None:
    repo.commit(tree=repo.tree(("100644", repo.blob(b"1"), "a"), ("100644", repo.blob(b"2"), "a")))
    snapshot = await sources.resolve(Source(git=repo.url), fetch=False)
    with pytest.raises(SourceError, match="two entries of one name"):
        snapshot.tree.read("a")


async def test_a_tree_that_has_no_end(sources: Sources, repo: Repo) -> None:
    tree = repo.tree(("100644", repo.blob(b"x"), "x"))
    for _ in range(10):
        tree = repo.tree(*(("40000", tree, f"f{n}") for n in range(10)))
    repo.commit(tree=tree)
    snapshot = await sources.resolve(Source(git=repo.url), fetch=False)
    with pytest.raises(SourceError, match="more than 200000 folders"):
        await sources.folders(snapshot)


async def test_a_file_with_a_strange_name_does_not_hide_folders(sources: Sources, repo: Repo) -> None:
    blob = repo.blob(b"x")
    repo.commit(tree=repo.tree(("100644", blob, b"\xff"), ("40000", repo.tree(("100644", blob, "x")), "apps")))
    snapshot = await sources.resolve(Source(git=repo.url), fetch=False)
    assert await sources.folders(snapshot) == ("apps",)


async def test_trees_are_read_from_many_threads(sources: Sources, repo: Repo) -> None:
    repo.commit({f"f{n}": str(n) for n in range(200)})
    tree = (await sources.resolve(Source(git=repo.url), fetch=False)).tree

    def read(n: int) -> bytes:
        return tree.read(f"f{n}")

    for _ in range(3):
        found = await asyncio.gather(*(asyncio.to_thread(read, n) for n in range(200)))
        assert found == [str(n).encode() for n in range(200)]


async def test_a_damaged_mirror_is_told_and_one_that_cannot_be_opened_is_made_anew(
    make_sources: MakeSources, repo: Repo
) -> None:
    commit = await at(make_sources(), repo)
    sources = make_sources()
    mirror = await sources._mirror(repo.url)
    for file in [path for path in (mirror.store.path / "objects").rglob("*") if path.is_file()]:
        file.unlink()
    with pytest.raises(SourceError, match="own copy of the source cannot be read"):
        await at(make_sources(), repo)
    (mirror.store.path / "HEAD").write_text("nonsense")
    assert await at(make_sources(), repo) == commit


async def test_a_download_that_fails_takes_no_branch_away(sources: Sources, repo: Repo, git_http: Server) -> None:
    url = f"{git_http.url}/repo.git"
    old = repo.commit({"a": "1"}, branch="old")
    await sources.fetch(url)
    repo.delete("refs/heads/old")
    new = repo.commit({"a": "2"}, branch="new")
    blob = git(repo.path, "rev-parse", f"{new}:a")
    (repo.path / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SourceError):
        await sources.fetch(url)
    assert (await sources.branches(url))["old"] == old


async def test_closing_ends_what_runs(make_sources: MakeSources) -> None:
    """A server that takes connections and says nothing would hold the git command for minutes."""
    connected = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        try:
            await asyncio.sleep(3600)
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sources = make_sources()
    fetch = asyncio.create_task(sources.fetch(f"ssh://git@127.0.0.1:{port}/a.git"))
    async with asyncio.timeout(30):
        await connected.wait()
        await sources.close()
        with pytest.raises((SourceError, asyncio.CancelledError)):
            await fetch
        await asyncio.to_thread(sources._threads.shutdown, wait=True)
    server.close()


async def test_what_a_killed_process_left_stops_nothing(make_sources: MakeSources, repo: Repo) -> None:
    first = make_sources()
    await first.fetch(repo.url)
    mirror = (await first._mirror(repo.url)).store.path
    await first.close()
    remains = [
        mirror / "config.lock",
        mirror / "HEAD.lock",
        mirror / "packed-refs.lock",
        mirror / "refs/heads/main.lock",
    ]
    remains.append(mirror / "objects" / "pack" / "tmp_pack_abc")
    for path in remains:
        path.write_text("")
    repo.commit({"a": "2"})
    sources = make_sources()
    assert await sources.fetch(repo.url) is True
    assert [path for path in remains if path.exists()] == []
    # Who shares the folder with another process leaves its locks alone.
    (mirror / "refs/heads/main.lock").write_text("")
    beside = make_sources()
    assert await beside.fetch(repo.url) is False
    assert (mirror / "refs/heads/main.lock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_mirror_of_another_user_is_told_and_kept(make_sources: MakeSources, repo: Repo) -> None:
    first = make_sources()
    await first.fetch(repo.url)
    mirror = (await first._mirror(repo.url)).store.path
    os.chown(mirror, 12345, 12345)
    try:
        with pytest.raises(SourceError, match="belongs to another user"):
            await make_sources().fetch(repo.url)
    finally:
        os.chown(mirror, 0, 0)
    assert [path.name for path in mirror.parent.iterdir()] == [mirror.name]
