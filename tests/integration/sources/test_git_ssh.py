"""Git over SSH, by the real OpenSSH server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from servers.ssh import GitSshServer
from taut.clients.credentials import Credentials
from taut.model.application import Source
from taut.model.errors import SourceError

from .conftest import Held, MakeSources

pytestmark = pytest.mark.integration


def key_of(server: GitSshServer) -> Credentials:
    return Credentials(ssh_key=server.keys.private_key.read_bytes(), known_hosts=server.keys.known_hosts.read_bytes())


def prefix_of(server: GitSshServer) -> str:
    return f"ssh://127.0.0.1:{server.port}"


async def test_fetch_and_fetch_again(make_sources: MakeSources, git_ssh_server: GitSshServer, tmp_path: Path) -> None:
    repo = git_ssh_server.repo("app")
    first = repo.commit({"a": "1"})
    sources = make_sources(Held(**{prefix_of(git_ssh_server): key_of(git_ssh_server)}))
    assert (await sources.resolve(Source(git=repo.url), fetch=True)).revision.id == first
    assert await sources.fetch(repo.url) is False
    second = repo.commit({"a": "2"})
    repo.branch("other")
    assert await sources.fetch(repo.url) is True
    assert await sources.branches(repo.url) == {"main": second, "other": second}
    repo.delete_branch("other")
    assert await sources.fetch(repo.url) is True
    assert await sources.branches(repo.url) == {"main": second}
    secret = git_ssh_server.keys.private_key.read_bytes().splitlines()[2]
    assert not [path for path in (tmp_path / "taut").rglob("*") if path.is_file() and secret in path.read_bytes()]


async def test_a_key_with_a_passphrase(
    make_sources: MakeSources, git_ssh_server: GitSshServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repo = git_ssh_server.repo("app")
    commit = repo.commit({"a": "1"})
    locked = tmp_path / "locked"
    locked.write_bytes(git_ssh_server.keys.private_key.read_bytes())
    locked.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "hunter2 it's", "-f", str(locked)], check=True)
    known = git_ssh_server.keys.known_hosts.read_bytes()
    held = Credentials(ssh_key=locked.read_bytes(), known_hosts=known, ssh_passphrase="hunter2 it's")
    sources = make_sources(Held(**{prefix_of(git_ssh_server): held}))
    assert (await sources.resolve(Source(git=repo.url), fetch=True)).revision.id == commit
    assert "hunter2" not in caplog.text + repr(held)
    for passphrase in ("wr0ng", ""):
        held = Credentials(ssh_key=locked.read_bytes(), known_hosts=known, ssh_passphrase=passphrase)
        with pytest.raises(SourceError, match="does not accept the key"):
            await make_sources(Held(**{prefix_of(git_ssh_server): held})).fetch(repo.url)


async def test_an_unknown_host_is_refused(make_sources: MakeSources, git_ssh_server: GitSshServer) -> None:
    repo = git_ssh_server.repo("app")
    repo.commit({"a": "1"})
    key = git_ssh_server.keys.private_key.read_bytes()
    with pytest.raises(SourceError, match="host key is not known") as caught:
        await make_sources(Held(**{prefix_of(git_ssh_server): Credentials(ssh_key=key)})).fetch(repo.url)
    assert "known_hosts" in caught.value.advice


async def test_a_host_with_another_key_is_refused(
    make_sources: MakeSources, git_ssh_server: GitSshServer, tmp_path: Path
) -> None:
    repo = git_ssh_server.repo("app")
    repo.commit({"a": "1"})
    other = make_key(tmp_path / "other")
    known = f"[127.0.0.1]:{git_ssh_server.port} {' '.join(other.with_suffix('.pub').read_text().split()[:2])}\n"
    held = Credentials(ssh_key=git_ssh_server.keys.private_key.read_bytes(), known_hosts=known.encode())
    with pytest.raises(SourceError, match="host key is not known"):
        await make_sources(Held(**{prefix_of(git_ssh_server): held})).fetch(repo.url)


async def test_a_key_that_the_server_does_not_know(
    make_sources: MakeSources, git_ssh_server: GitSshServer, tmp_path: Path
) -> None:
    repo = git_ssh_server.repo("app")
    repo.commit({"a": "1"})
    known = git_ssh_server.keys.known_hosts.read_bytes()
    for key in (make_key(tmp_path / "other").read_bytes(), b"no key at all", b""):
        held = Credentials(ssh_key=key, known_hosts=known)
        with pytest.raises(SourceError, match="does not accept the key"):
            await make_sources(Held(**{prefix_of(git_ssh_server): held})).fetch(repo.url)


async def test_a_repository_that_is_not_there(make_sources: MakeSources, git_ssh_server: GitSshServer) -> None:
    sources = make_sources(Held(**{prefix_of(git_ssh_server): key_of(git_ssh_server)}))
    with pytest.raises(SourceError, match="no repository at this address"):
        await sources.fetch(f"{git_ssh_server.url}/nothing.git")


async def test_nobody_listens(make_sources: MakeSources) -> None:
    with pytest.raises(SourceError, match="refuses the connection"):
        await make_sources().fetch("ssh://git@127.0.0.1:1/app.git")


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path
