"""Who may read, over what, and what people are told when it fails. Secrets stay where they belong."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from taut.clients.credentials import Credentials
from taut.model.application import Source
from taut.model.errors import SourceError
from taut.sources import SourceLimits, Sources
from taut.sources.credentials import CredentialFiles, FileCredentials

from .certificates import Authority
from .conftest import Held, MakeSources, Repo, Server, git_backend

pytestmark = pytest.mark.integration
type Serve = Callable[..., Awaitable[Server]]


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize(
    "held", [Credentials(username="me", password="hunter2"), Credentials(bearer="hunter2")], ids=["password", "bearer"]
)
async def test_credentials_over_http_leave_no_trace(
    make_sources: MakeSources,
    repo: Repo,
    git_http: Server,
    held: Credentials,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    git_http.password = "hunter2"
    url = f"{git_http.url}/repo.git"
    sources = make_sources(Held(**{git_http.url: held}))
    assert await sources.fetch(url) is True
    repo.commit({"a": "2"})
    assert await sources.fetch(url) is True
    assert b"hunter2" not in everything_written(tmp_path / "taut")
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(held)


async def test_missing_and_wrong_credentials_are_told_apart(
    make_sources: MakeSources, repo: Repo, git_http: Server
) -> None:
    git_http.password = "hunter2"
    url = f"{git_http.url}/repo.git"
    with pytest.raises(SourceError, match="wants credentials, and there are none"):
        await make_sources().fetch(url)
    for held in (Credentials(username="me", password="wr0ng"), Credentials(bearer="wr0ng")):
        with pytest.raises(SourceError, match="does not accept the credentials") as caught:
            await make_sources(Held(**{git_http.url: held})).fetch(url)
        assert "wr0ng" not in str(caught.value)
        assert caught.value.advice


async def test_credentials_that_change_are_used_at_once(
    make_sources: MakeSources, repo: Repo, git_http: Server, tmp_path: Path
) -> None:
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("me\n")
    password.write_text("old\n")
    git_http.password = "new"
    url = f"{git_http.url}/repo.git"
    sources = make_sources(
        FileCredentials([CredentialFiles("forge", git_http.url, {"username": user, "password": password})])
    )
    with pytest.raises(SourceError, match="does not accept"):
        await sources.fetch(url)
    password.write_text("newer\n")
    password.write_text("new\n")
    assert await sources.fetch(url, credentials="forge") is True


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "refuses access"), (404, "no repository at this address"), (500, "fails"), (503, "fails")],
)
async def test_what_a_server_may_answer(
    sources: Sources, repo: Repo, git_http: Server, status: int, words: str
) -> None:
    git_http.status = status
    with pytest.raises(SourceError, match=words):
        await sources.fetch(f"{git_http.url}/repo.git")


async def test_a_failing_server_leaves_the_mirror_alone(sources: Sources, repo: Repo, git_http: Server) -> None:
    url = f"{git_http.url}/repo.git"
    commit = (await sources.resolve(Source(git=url), fetch=True)).revision.id
    git_http.status = 500
    with pytest.raises(SourceError):
        await sources.resolve(Source(git=url), fetch=True)
    assert (await sources.resolve(Source(git=url), fetch=False)).revision.id == commit
    git_http.status = 0
    assert await sources.fetch(url) is False


async def test_nobody_there(sources: Sources) -> None:
    with pytest.raises(SourceError, match="refuses the connection"):
        await sources.fetch("http://127.0.0.1:1/repo.git")
    with pytest.raises(SourceError, match="no repository at this address"):
        await sources.fetch("file:///nowhere/at/all")
    with pytest.raises(SourceError, match="host's name is not known"):
        await sources.fetch("https://does-not-exist.invalid/a/b")


async def test_a_server_that_never_answers(make_sources: MakeSources, serve: Serve) -> None:
    async def silent(_: Server, __: object) -> object:
        await asyncio.Event().wait()
        raise AssertionError

    server = await serve(silent)
    sources = make_sources(limits=SourceLimits(git_timeout=0.5))
    with pytest.raises(SourceError, match=r"not answer in time|did not answer within"):
        await sources.fetch(f"{server.url}/repo.git")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_redirect_takes_no_credentials_along(
    host: str, make_sources: MakeSources, repo: Repo, git_http: Server, serve: Serve
) -> None:
    async def unused(_: Server, __: object) -> object:
        raise AssertionError

    thief = await serve(unused)
    thief.password = "something else"
    git_http.redirect_to = thief.url.replace("127.0.0.1", host)
    for held in (Credentials(username="me", password="hunter2"), Credentials(bearer="hunter2")):
        sources = make_sources(Held(**{git_http.url: held}))
        with pytest.raises(SourceError, match="redirects to another address"):
            await sources.fetch(f"{git_http.url}/repo.git")
    assert thief.requests == []


async def test_without_credentials_a_redirect_within_the_host_is_followed(
    sources: Sources, repo: Repo, git_http: Server, serve: Serve
) -> None:
    async def unused(_: Server, __: object) -> object:
        raise AssertionError

    moved = await serve(unused)
    moved.redirect_to = git_http.url
    url = f"{moved.url}/repo.git"
    assert await sources.fetch(url) is True
    repo.commit({"a": "2"})
    assert await sources.fetch(url) is True


async def test_a_redirect_to_another_host_is_never_followed(
    sources: Sources, repo: Repo, git_http: Server, serve: Serve
) -> None:
    """Else a redirect on a listed host would bring in what the project does not list."""

    async def unused(_: Server, __: object) -> object:
        raise AssertionError

    moved = await serve(unused)
    moved.redirect_to = git_http.url.replace("127.0.0.1", "localhost")
    with pytest.raises(SourceError, match="redirects to another address"):
        await sources.fetch(f"{moved.url}/repo.git")
    assert git_http.requests == []


async def test_own_authorities(make_sources: MakeSources, repo: Repo, serve: Serve, tmp_path: Path) -> None:
    authority = Authority("taut test", key_usage=False)
    tls = authority.server_context("127.0.0.1", tmp_path)
    server = await serve(git_backend(tmp_path / "remote"), tls)
    url = f"{server.url}/repo.git"
    with pytest.raises(SourceError, match="certificate is not trusted"):
        await make_sources().fetch(url)
    other = Authority("another")
    with pytest.raises(SourceError, match="certificate is not trusted"):
        await make_sources(Held(**{server.url: Credentials(ca=other.pem)})).fetch(url)
    sources = make_sources(Held(**{server.url: Credentials(ca=authority.pem)}))
    assert await sources.fetch(url) is True
    repo.commit({"a": "2"})
    assert await sources.fetch(url) is True
    assert await sources.fetch(url) is False


async def test_client_certificates(make_sources: MakeSources, repo: Repo, serve: Serve, tmp_path: Path) -> None:
    authority = Authority("taut test")
    tls = authority.server_context("127.0.0.1", tmp_path)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(cadata=authority.pem.decode())
    server = await serve(git_backend(tmp_path / "remote"), tls)
    certificate, key = authority.issue("taut")
    held = Credentials(ca=authority.pem, client_cert=certificate, client_key=key)
    assert await make_sources(Held(**{server.url: held})).fetch(f"{server.url}/repo.git") is True
    with pytest.raises(SourceError):
        await make_sources(Held(**{server.url: Credentials(ca=authority.pem)})).fetch(f"{server.url}/repo.git")


async def test_named_credentials_go_only_where_they_are_meant_for(
    make_sources: MakeSources, repo: Repo, git_http: Server, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    sources = make_sources(
        FileCredentials([CredentialFiles("forge", "https://forge.example/org", {"password": secret})])
    )
    with pytest.raises(SourceError, match="'forge' are not meant for this address"):
        await sources.fetch(f"{git_http.url}/repo.git", credentials="forge")
    with pytest.raises(SourceError, match="no credentials named 'nothing'"):
        await sources.fetch(f"{git_http.url}/repo.git", credentials="nothing")
    assert git_http.requests == []


async def test_secrets_are_not_in_the_arguments_of_git(
    make_sources: MakeSources, repo: Repo, git_http: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody on the machine can read another process's arguments."""
    seen: list[list[str]] = []
    real = subprocess.Popen

    def watched(arguments: list[str], **options: object) -> object:
        seen.append(arguments)
        return real(arguments, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(subprocess, "Popen", watched)
    git_http.password = "hunter2"
    for held in (Credentials(username="me", password="hunter2"), Credentials(bearer="hunter2")):
        git_http.requests.clear()
        await make_sources(Held(**{git_http.url: held})).fetch(f"{git_http.url}/repo.git")
    commands = [" ".join(arguments) for arguments in seen if "fetch" in arguments]
    assert commands
    assert "hunter2" not in "".join(commands)


async def test_file_urls_can_be_switched_off(make_sources: MakeSources, repo: Repo) -> None:
    with pytest.raises(SourceError, match="not allowed"):
        await make_sources(allow_file_urls=False).fetch(repo.url)


async def test_a_commit_no_branch_contains_is_asked_for_by_its_hash(
    sources: Sources, repo: Repo, git_http: Server
) -> None:
    """Forges give out such commits (a merged and deleted branch); servers that do not are answered with a sentence."""
    commit = repo.commit({"a": "orphan"}, branch="tmp")
    lost = repo.commit({"a": "lost"}, branch="tmp2")
    repo.delete("refs/heads/tmp")
    repo.delete("refs/heads/tmp2")
    (repo.path / "objects" / lost[:2] / lost[2:]).unlink()
    url = f"{git_http.url}/repo.git"
    with pytest.raises(SourceError, match=f"the commit {lost} is not in the repository"):
        await sources.resolve(Source(git=url, ref=lost), fetch=False)
    assert (await sources.resolve(Source(git=url, ref=commit), fetch=False)).tree.read("a") == b"orphan"
