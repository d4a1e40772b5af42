"""Chart dependencies and remote bases: found, pinned, and only from where they may come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from taut.model.application import Source
from taut.model.errors import BadInput, SourceError
from taut.model.snapshot import Tree
from taut.sources import Sources

from .conftest import Repo, Server, files_of, git_backend
from .test_charts import Repository

pytestmark = pytest.mark.integration
type Serve = Callable[..., Awaitable[Server]]


def everywhere(_: str) -> bool:
    return True


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "helm")
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        made.add("redis", version)
    return made


async def tree_of(sources: Sources, repo: Repo) -> Tree:
    return (await sources.resolve(Source(git=repo.url), fetch=True)).tree


def chart_yaml(*dependencies: str) -> str:
    lines = ["apiVersion: v2", "name: shop", "version: 0.1.0"]
    return (
        "\n".join([*lines, *(["dependencies:"] if dependencies else []), *(f"- {item}" for item in dependencies)])
        + "\n"
    )


async def test_what_is_missing_is_filled_in(sources: Sources, repo: Repo, repository: Repository, serve: Serve) -> None:
    server = await serve(files_of(repository.folder))
    repo.commit(
        {
            "deploy/shop/Chart.yaml": chart_yaml(f"{{name: redis, version: 1.x, repository: {server.url}}}"),
            "deploy/shop/templates/a.yaml": "a",
            "other": "x",
        }
    )
    before = await tree_of(sources, repo)
    filled = await sources.chart_with_dependencies(before, "deploy/shop", allowed=everywhere)
    assert filled.tree.read("deploy/shop/charts/redis/templates/cm.yaml") == b"# redis 1.1.0\n"
    assert (filled.tree.read("deploy/shop/templates/a.yaml"), filled.tree.read("other")) == (b"a", b"x")
    assert [(p.name, p.version, p.repository) for p in filled.pinned] == [("redis", "1.1.0", server.url)]
    assert filled.tree.hash != before.hash
    assert "not pinned (there is no Chart.lock)" in filled.warnings[0]
    again = await sources.chart_with_dependencies(before, "deploy/shop/", allowed=everywhere)
    assert again.tree.hash == filled.tree.hash


async def test_the_lock_wins_while_it_fits(sources: Sources, repo: Repo, repository: Repository, serve: Serve) -> None:
    server = await serve(files_of(repository.folder))
    lock = f"dependencies:\n- {{name: redis, version: 1.0.0, repository: {server.url}/}}\n"
    repo.commit(
        {"Chart.yaml": chart_yaml(f"{{name: redis, version: 1.x, repository: {server.url}}}"), "Chart.lock": lock}
    )
    filled = await sources.chart_with_dependencies(await tree_of(sources, repo), ".", allowed=everywhere)
    assert [p.version for p in filled.pinned] == ["1.0.0"]
    assert filled.warnings == ()
    repo.commit({"Chart.yaml": chart_yaml(f"{{name: redis, version: 2.x, repository: {server.url}}}")})
    filled = await sources.chart_with_dependencies(await tree_of(sources, repo), "", allowed=everywhere)
    assert [p.version for p in filled.pinned] == ["2.0.0"]
    assert "Chart.lock does not fit Chart.yaml" in filled.warnings[0]


async def test_what_is_there_is_left_alone(sources: Sources, repo: Repo) -> None:
    repo.commit(
        {
            "Chart.yaml": chart_yaml(
                "{name: redis, version: 1.x, repository: https://charts.invalid}",
                "{name: mysql-ha, version: ^2, repository: https://charts.invalid}",
                '{name: local, version: "*", repository: ""}',
            ),
            "charts/redis/Chart.yaml": "name: redis\nversion: 1.5.0\n",
            "charts/mysql-ha-2.0.1.tgz": "",
            "charts/local/Chart.yaml": "name: local\nversion: 0.0.1\n",
        }
    )
    tree = await tree_of(sources, repo)
    assert (await sources.chart_with_dependencies(tree, ".", allowed=everywhere)).tree.hash == tree.hash


async def test_requirements_of_old_charts_and_two_versions_of_one(
    sources: Sources, repo: Repo, repository: Repository, serve: Serve
) -> None:
    server = await serve(files_of(repository.folder))
    wanted = "".join(
        f"- {{name: redis, version: {v}, alias: r{n}, repository: {server.url}}}\n"
        for n, v in enumerate(("1.0.0", "2.0.0"))
    )
    repo.commit(
        {"Chart.yaml": "apiVersion: v1\nname: shop\nversion: 1.0.0\n", "requirements.yaml": f"dependencies:\n{wanted}"}
    )
    filled = await sources.chart_with_dependencies(await tree_of(sources, repo), ".", allowed=everywhere)
    assert filled.tree.read("charts/redis/templates/cm.yaml") == b"# redis 1.0.0\n"
    assert filled.tree.read("charts/redis-2.0.0/templates/cm.yaml") == b"# redis 2.0.0\n"
    assert filled.warnings == ()


async def test_neighbours_in_the_repository(sources: Sources, repo: Repo) -> None:
    repo.commit(
        {
            "charts/shop/Chart.yaml": chart_yaml("{name: lib, version: 1.x, repository: file://../lib}"),
            "charts/lib/Chart.yaml": 'name: lib\nversion: 1.2.3\ndependencies: [{name: base, version: "*", repository: "file://../base"}]\n',
            "charts/base/Chart.yaml": "name: base\nversion: 0.0.1\n",
        }
    )
    filled = await sources.chart_with_dependencies(await tree_of(sources, repo), "charts/shop", allowed=lambda _: False)
    assert filled.tree.read("charts/shop/charts/lib/charts/base/Chart.yaml") == b"name: base\nversion: 0.0.1\n"
    assert [(p.name, p.version) for p in filled.pinned] == [("lib", "1.2.3")]


@pytest.mark.parametrize(
    ("dependency", "words"),
    [
        ("{name: x, version: 1.x, repository: 'file://../../etc'}", "leads out of the repository"),
        ("{name: x, version: 1.x, repository: 'file:///etc'}", "leads out of the repository"),
        ("{name: x, version: 1.x, repository: 'file://missing'}", "is not at 'missing'"),
        ("{name: x, version: 1.x, repository: 'file://.'}", "in a circle"),
        ("{name: x, version: 1.x}", "is not in charts/"),
        ("{name: x, version: 1.x, repository: '@mine'}", "alias of somebody's machine"),
        ("{name: x, version: 1.x, repository: 'https://charts.invalid'}", "does not list"),
        ("{name: ../x, version: 1.x, repository: 'https://charts.invalid'}", "no usable name"),
        ("7", "no usable name"),
    ],
)
async def test_what_cannot_be_filled_in(sources: Sources, repo: Repo, dependency: str, words: str) -> None:
    repo.commit({"Chart.yaml": chart_yaml(dependency)})
    with pytest.raises((SourceError, BadInput), match=words):
        await sources.chart_with_dependencies(await tree_of(sources, repo), ".", allowed=lambda _: False)


@pytest.mark.parametrize("text", ["[]", "{", "name: [", "7"])
async def test_a_broken_chart(sources: Sources, repo: Repo, text: str) -> None:
    repo.commit({"Chart.yaml": text})
    with pytest.raises(BadInput, match=r"Chart\.yaml"):
        await sources.chart_with_dependencies(await tree_of(sources, repo), ".", allowed=everywhere)
    with pytest.raises(SourceError, match="no chart here"):
        await sources.chart_with_dependencies(await tree_of(sources, repo), "nowhere", allowed=everywhere)


async def test_remote_bases(sources: Sources, repo: Repo) -> None:
    repo.tag("v1.0.0")
    first = repo.refs()["refs/heads/main"]
    second = repo.commit({"apps/web/deployment.yaml": "newer"})
    pinned = await sources.remote_base(f"{repo.url}//apps/web?ref=v1.0.0", allowed=everywhere)
    assert (pinned.snapshot.revision.id, pinned.path, pinned.warnings) == (first, "apps/web", ())
    by_commit = await sources.remote_base(f"{repo.url}//apps?ref={second}", allowed=everywhere)
    assert (by_commit.snapshot.revision.id, by_commit.warnings) == (second, ())
    loose = await sources.remote_base(f"{repo.url}//apps/web", allowed=everywhere)
    assert loose.snapshot.revision.id == second
    assert "not pinned" in loose.warnings[0]
    branch = await sources.remote_base(f"{repo.url}//apps/web?ref=main", allowed=everywhere)
    assert "follows the branch 'main'" in branch.warnings[0]
    with pytest.raises(SourceError, match="a remote base comes from a place the project does not list"):
        await sources.remote_base(f"{repo.url}//apps/web", allowed=lambda url: url != repo.url)


async def test_a_base_over_http(sources: Sources, repo: Repo, tmp_path: Path, serve: Serve) -> None:
    server = await serve(git_backend(tmp_path / "remote"))
    base = await sources.remote_base(
        f"{server.url}/repo.git//apps/web?ref=main", allowed=lambda url: url == f"{server.url}/repo.git"
    )
    assert base.snapshot.tree.read("apps/web/deployment.yaml") == b"kind: Deployment\n"


async def test_plain_files(sources: Sources, serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "web" / "v1.2.3"
    folder.mkdir(parents=True)
    (folder / "install.yaml").write_text("kind: Namespace\n")
    (tmp_path / "web" / "latest.yaml").write_text("a: 1\n")
    server = await serve(files_of(tmp_path / "web"))
    found = await sources.remote_base(f"{server.url}/v1.2.3/install.yaml", allowed=everywhere)
    assert (found.path, found.snapshot.tree.read(found.path), found.warnings) == (
        "install.yaml",
        b"kind: Namespace\n",
        (),
    )
    assert sources.tree(found.snapshot.url, found.snapshot.revision.id).hash == found.snapshot.tree.hash
    loose = await sources.remote_base(f"{server.url}/latest.yaml", allowed=everywhere)
    assert "not pinned" in loose.warnings[0]
    (tmp_path / "web" / "latest.yaml").write_text("a: 2\n")
    assert (
        await sources.remote_base(f"{server.url}/latest.yaml", allowed=everywhere)
    ).snapshot.tree.hash == loose.snapshot.tree.hash
    newer = await sources.remote_base(f"{server.url}/latest.yaml", allowed=everywhere, fetch=True)
    assert newer.snapshot.tree.read("latest.yaml") == b"a: 2\n"


async def test_a_plain_file_that_redirects_elsewhere(sources: Sources, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("secret: value\n")
    inside = await serve(files_of(tmp_path))
    outside = await serve(files_of(tmp_path))
    outside.redirect_to = inside.url
    with pytest.raises(SourceError, match=r"redirects to .* which is not allowed"):
        await sources.remote_base(f"{outside.url}/x.yaml", allowed=lambda url: url.startswith(outside.url))
    assert inside.requests == []
