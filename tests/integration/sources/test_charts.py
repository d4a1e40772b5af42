"""Helm repositories: what is downloaded, how often, and who gets to see credentials."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import yaml

from taut.clients.credentials import Credentials
from taut.model.application import Source
from taut.model.errors import SourceError
from taut.sources import Sources

from .conftest import Held, MakeSources, Server, files_of
from .packing import chart, tgz

pytestmark = pytest.mark.integration
type Serve = Callable[..., Awaitable[Server]]


class Repository:
    """A Helm repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.entries: dict[str, list[dict[str, object]]] = {}

    def add(self, name: str, version: str, *, url: str = "", digest: bool = True, data: bytes = b"") -> None:
        archive = data or chart(name, version)
        (self.folder / f"{name}-{version}.tgz").write_bytes(archive)
        entry: dict[str, object] = {"name": name, "version": version, "urls": [url or f"{name}-{version}.tgz"]}
        if digest:
            entry["digest"] = hashlib.sha256(archive).hexdigest()
        self.entries.setdefault(name, []).insert(0, entry)
        (self.folder / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": self.entries}))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "helm")


async def test_ranges_and_how_often_the_server_is_asked(sources: Sources, repository: Repository, serve: Serve) -> None:
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        repository.add("app", version)
    server = await serve(files_of(repository.folder))
    source = Source(helm=server.url, chart="app", version="^1")
    snapshot = await sources.resolve(source, fetch=True)
    assert (snapshot.revision.id, snapshot.url) == ("1.1.0", f"{server.url}#app")
    assert [path for path, _ in snapshot.tree.walk("")] == ["Chart.yaml", "templates/cm.yaml"]
    server.requests.clear()
    assert (await sources.resolve(source, fetch=False)).tree.hash == snapshot.tree.hash
    assert server.requests == []
    await sources.resolve(source, fetch=True)
    assert [(request.path, request.status) for request in server.requests] == [("/index.yaml", 304)]
    repository.add("app", "1.2.0")
    assert (await sources.resolve(source, fetch=False)).revision.id == "1.1.0"
    assert (await sources.resolve(source, fetch=True)).revision.id == "1.2.0"
    assert (await sources.resolve(Source(helm=server.url, chart="app"), fetch=True)).revision.id == "1.2.0"
    with pytest.raises(SourceError, match=r"no version '9\.x' \(it has 1\.2\.0, 2\.0\.0-rc\.1, 1\.1\.0 and 1 more\)"):
        await sources.chart(server.url, "app", "9.x")
    with pytest.raises(SourceError, match="has no chart 'nothing'"):
        await sources.chart(server.url, "nothing", "*")


async def test_known_versions_need_no_server_after_a_restart(
    make_sources: MakeSources, repository: Repository, serve: Serve
) -> None:
    repository.add("app", "1.0.0")
    server = await serve(files_of(repository.folder))
    first = await make_sources().chart(server.url, "app", "1.0.0")
    server.status = 500
    again = make_sources()
    assert (await again.chart(server.url, "app", "1.0.0", fetch=False)).tree.hash == first.tree.hash
    with pytest.raises(SourceError, match="status 500"):
        await again.chart(server.url, "app", "1.0.0")


async def test_a_version_that_was_published_again(sources: Sources, repository: Repository, serve: Serve) -> None:
    repository.add("app", "1.0.0")
    server = await serve(files_of(repository.folder))
    first = await sources.chart(server.url, "app", "1.0.0")
    repository.entries.clear()
    repository.add("app", "1.0.0", data=chart("app", "1.0.0", {"new": "file"}))
    second = await sources.chart(server.url, "app", "1.0.0")
    assert second.tree.hash != first.tree.hash
    assert sources.tree(second.url, "1.0.0").hash == second.tree.hash


async def test_a_chart_that_does_not_have_its_digest(sources: Sources, repository: Repository, serve: Serve) -> None:
    repository.add("app", "1.0.0")
    (repository.folder / "app-1.0.0.tgz").write_bytes(chart("app", "1.0.0", {"evil": "x"}))
    server = await serve(files_of(repository.folder))
    with pytest.raises(SourceError, match="does not have the digest that the index gives"):
        await sources.chart(server.url, "app", "1.0.0")


async def test_credentials_stay_with_their_server(
    make_sources: MakeSources, repository: Repository, serve: Serve
) -> None:
    elsewhere = await serve(files_of(repository.folder))
    repository.add("near", "1.0.0")
    repository.add("far", "1.0.0", url=f"{elsewhere.url}/far-1.0.0.tgz")
    server = await serve(files_of(repository.folder))
    server.password = "hunter2"
    with pytest.raises(SourceError, match="wants credentials"):
        await make_sources().chart(server.url, "near", "*")
    sources = make_sources(Held(**{server.url: Credentials(username="me", password="hunter2")}))
    await sources.chart(server.url, "near", "*")
    await sources.chart(server.url, "far", "*")
    assert [request.authorization for request in elsewhere.requests] == [""]
    # Somebody may say that the other server is meant as well.
    fresh = make_sources(Held(**{server.url: Credentials(username="me", password="hunter2")}))
    repository.add("far", "1.1.0", url=f"{elsewhere.url}/far-1.1.0.tgz")
    await fresh.chart(server.url, "far", "*", pass_credentials=True)
    assert elsewhere.requests[-1].authorization.startswith("Basic ")


async def test_a_redirect_takes_no_credentials_along(
    make_sources: MakeSources, repository: Repository, serve: Serve
) -> None:
    repository.add("app", "1.0.0")
    elsewhere = await serve(files_of(repository.folder))
    server = await serve(files_of(repository.folder))
    server.redirect_to = elsewhere.url
    for held in (Credentials(username="me", password="hunter2"), Credentials(bearer="hunter2")):
        sources = make_sources(Held(**{server.url: held}))
        assert (await sources.chart(server.url, "app", "*")).revision.id == "1.0.0"
    assert {request.authorization for request in elsewhere.requests} == {""}
    assert {request.authorization for request in server.requests} == {"Basic bWU6aHVudGVyMg==", "Bearer hunter2"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tgz({"app/../../evil": "x"}), "leads out"),
        (tgz({"/etc/passwd": "x"}), "absolute path"),
        (tgz({"app/readme": "x"}), "no Chart.yaml"),
        (tgz({"Chart.yaml": "x"}), "no chart"),
        (b"nonsense", "cannot be read"),
        (b"\x1f\x8bnonsense", "cannot be read"),
    ],
    ids=["escape", "absolute", "no-chart-yaml", "no-folder", "nonsense", "nonsense-gzip"],
)
async def test_archives_that_are_no_charts(
    sources: Sources, repository: Repository, serve: Serve, data: bytes, words: str
) -> None:
    repository.add("app", "1.0.0", data=data)
    server = await serve(files_of(repository.folder))
    with pytest.raises(SourceError, match=words):
        await sources.chart(server.url, "app", "1.0.0")


@pytest.mark.parametrize(
    "index", ["", "[]", "entries: 7", "entries: [", "a: &a [*a]", "<html>not found</html>", "\x00"]
)
async def test_what_is_no_index(sources: Sources, repository: Repository, serve: Serve, index: str) -> None:
    (repository.folder / "index.yaml").write_text(index)
    server = await serve(files_of(repository.folder))
    with pytest.raises(SourceError, match=r"no Helm index|cannot be read|has no chart"):
        await sources.chart(server.url, "app", "1.0.0")


async def test_a_source_without_a_chart(sources: Sources) -> None:
    with pytest.raises(SourceError, match="no chart"):
        await sources.resolve(Source(helm="https://charts.example"), fetch=False)
    with pytest.raises(SourceError, match="no Helm repository"):
        await sources.chart("file:///etc", "app", "*")
    with pytest.raises(SourceError, match="no address"):
        await sources.resolve(Source(), fetch=False)


async def test_a_large_index(sources: Sources, repository: Repository, serve: Serve) -> None:
    repository.add("app", "1.0.0")
    text = (repository.folder / "index.yaml").read_text()
    filler = "".join(
        f"  other{n}:\n  - version: 1.{n}.0\n    urls: [x.tgz]\n    description: {'x' * 200}\n" for n in range(20_000)
    )
    (repository.folder / "index.yaml").write_text(text + filler)
    server = await serve(files_of(repository.folder))
    assert (await sources.chart(server.url, "app", "*")).revision.id == "1.0.0"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://[::1", "https:///x", "ftp://host/x.tgz", "http://host:99999/x"]
)
async def test_an_index_with_strange_addresses(
    sources: Sources, repository: Repository, serve: Serve, url: str
) -> None:
    repository.add("app", "1.0.0", url=url)
    server = await serve(files_of(repository.folder))
    with pytest.raises(SourceError, match=r"is no web address|is not read over HTTP"):
        await sources.chart(server.url, "app", "1.0.0")


async def test_an_index_that_points_into_a_registry_gets_no_credentials(
    make_sources: MakeSources, repository: Repository, serve: Serve
) -> None:
    """Who writes an index must not choose what taut's credentials open."""
    registry = await serve(files_of(repository.folder))
    registry.password = "hunter2"
    repository.add("app", "1.0.0", url=f"oci://127.0.0.1:{registry.port}/private/app:1.0.0")
    server = await serve(files_of(repository.folder))
    held = Credentials(username="me", password="hunter2")
    sources = make_sources(Held(**{f"oci://127.0.0.1:{registry.port}": held}))
    with pytest.raises(SourceError, match="wants credentials, and there are none"):
        await sources.chart(server.url, "app", "1.0.0")
    assert {request.authorization for request in registry.requests} == {""}
