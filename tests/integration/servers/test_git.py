"""The Git servers of the tests are real: the git command clones from them and pushes to them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from servers.git import Executable, GitHttpServer, GitRepo, Symlink
from servers.ssh import GitSshServer

pytestmark = pytest.mark.integration


def git(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run git without anybody's configuration, and without asking anybody."""
    alone = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "PATH": os.environ["PATH"],
    }
    return subprocess.run(["git", *args], cwd=cwd, env=alone | environment, capture_output=True, text=True, check=False)


def clone(url: str, to: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return git("clone", "-q", url, str(to), cwd=to.parent, **environment)


def test_commits_are_what_git_sees(git_server: GitHttpServer, tmp_path: Path) -> None:
    repo = git_server.repo("app")
    first = repo.commit(
        {"a/x.yaml": "x: 1\n", "b.txt": b"\0binary", "run": Executable(b"#!/bin/sh\n"), "link": Symlink("b.txt")}
    )
    second = repo.commit({"a/x.yaml": "x: 2\n", "b.txt": None}, "second")
    assert clone(repo.url, tmp_path / "work").returncode == 0
    assert (tmp_path / "work/a/x.yaml").read_text() == "x: 2\n"
    assert not (tmp_path / "work/b.txt").exists()
    assert os.access(tmp_path / "work/run", os.X_OK)
    assert (tmp_path / "work/link").readlink() == Path("b.txt")
    assert git("log", "--format=%H", cwd=tmp_path / "work").stdout.split() == [second, first]
    assert ("GET", "/app.git/info/refs?service=git-upload-pack") in git_server.requests
    assert repo.run("fsck", "--strict") == ""


def test_branches_tags_and_force_pushes(git_server: GitHttpServer) -> None:
    repo = git_server.repo("app")
    first = repo.commit({"f": "1"})
    repo.branch("stable")
    repo.tag("v1.0.0")
    repo.tag("v1.1.0", message="annotated")
    second = repo.commit({"f": "2"})
    third = repo.force_push({"g": "3"})
    refs = git("ls-remote", repo.url, cwd=git_server.root).stdout.split()
    seen = dict(zip(refs[1::2], refs[::2], strict=True))
    assert seen["refs/heads/main"] == third
    assert seen["refs/heads/stable"] == seen["refs/tags/v1.0.0"] == seen["refs/tags/v1.1.0^{}"] == first
    assert seen["refs/tags/v1.1.0"] != first
    assert second not in seen.values()
    repo.delete_branch("stable")
    repo.delete_tag("v1.0.0")
    assert "stable" not in git("ls-remote", repo.url, cwd=git_server.root).stdout
    repo.commit({"dir/a": "1", "dir/b": "2"})
    repo.delete("dir")
    assert repo.read("g") == b"3"
    with pytest.raises(KeyError):
        repo.read("dir/a")
    with pytest.raises(KeyError):
        repo.delete("dir")


def test_a_push_arrives(git_server: GitHttpServer, tmp_path: Path) -> None:
    repo = git_server.repo("app")
    repo.commit({"f": "1"})
    clone(repo.url, tmp_path / "work")
    # Larger than what git sends in one piece, so that it comes in chunks.
    (tmp_path / "work/large").write_bytes(os.urandom(3_000_000))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
    git("add", ".", cwd=tmp_path / "work")
    git(*identity, "commit", "-qm", "large", cwd=tmp_path / "work")
    assert git("push", "-q", "origin", "main", cwd=tmp_path / "work").returncode == 0
    assert len(GitRepo(repo.path).read("large")) == 3_000_000


def test_credentials_are_asked_for(git_server: GitHttpServer, tmp_path: Path) -> None:
    repo = git_server.repo("secret")
    repo.commit({"f": "1"})
    git_server.credentials = ("ada", "lovelace")
    assert "could not read Username" in clone(repo.url, tmp_path / "no").stderr
    wrong = repo.url.replace("http://", "http://ada:wrong@")
    assert "Authentication failed" in clone(wrong, tmp_path / "wrong").stderr
    right = repo.url.replace("http://", "http://ada:lovelace@")
    assert clone(right, tmp_path / "right").returncode == 0


def test_a_server_can_fail_and_come_back(git_server: GitHttpServer, tmp_path: Path) -> None:
    repo = git_server.repo("app")
    repo.commit({"f": "1"})
    git_server.failure = 503
    assert "503" in clone(repo.url, tmp_path / "broken").stderr
    git_server.failure = 0
    git_server.stop()
    assert clone(repo.url, tmp_path / "gone").returncode != 0
    git_server.start()
    assert clone(repo.url, tmp_path / "back").returncode == 0


def test_https_is_verified(git_https_server: GitHttpServer, tmp_path: Path) -> None:
    repo = git_https_server.repo("app")
    repo.commit({"f": "1"})
    assert "certificate" in clone(repo.url, tmp_path / "distrusted").stderr
    assert clone(repo.url, tmp_path / "trusted", GIT_SSL_CAINFO=str(git_https_server.ca)).returncode == 0


def test_ssh_knows_its_keys(git_ssh_server: GitSshServer, tmp_path: Path) -> None:
    repo = git_ssh_server.repo("app")
    repo.commit({"f": "1"})
    keys = git_ssh_server.keys
    common = f"ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile={keys.known_hosts} -o StrictHostKeyChecking=yes"
    right = clone(repo.url, tmp_path / "right", GIT_SSH_COMMAND=f"{common} -i {keys.private_key}")
    assert right.returncode == 0, right.stderr
    assert (tmp_path / "right/f").read_text() == "1"
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    refused = clone(repo.url, tmp_path / "refused", GIT_SSH_COMMAND=f"{common} -i {stranger}")
    assert "Permission denied" in refused.stderr
