from __future__ import annotations

import pytest

from taut.model.errors import SourceError
from taut.sources.remote_bases import is_remote, parse_remote


@pytest.mark.parametrize(
    ("text", "url", "path", "ref"),
    [
        ("https://host/org/repo//deploy/base?ref=v1.2.3", "https://host/org/repo", "deploy/base", "v1.2.3"),
        ("https://host/org/repo//deploy?ref=v1&timeout=90s", "https://host/org/repo", "deploy", "v1"),
        ("https://host/group/sub/repo.git//deploy?ref=v1", "https://host/group/sub/repo.git", "deploy", "v1"),
        ("https://host/group/sub/repo.git/deploy?ref=v1", "https://host/group/sub/repo.git", "deploy", "v1"),
        ("github.com/org/repo/config/default?ref=v0.1.0", "https://github.com/org/repo", "config/default", "v0.1.0"),
        ("github.com/org/repo", "https://github.com/org/repo", ".", None),
        ("https://github.com/org/repo/path?version=v2", "https://github.com/org/repo", "path", "v2"),
        ("git@host:org/repo//path?ref=main", "git@host:org/repo", "path", "main"),
        ("git@host:org/repo.git", "git@host:org/repo.git", ".", None),
        ("git@host:org/repo/path", "git@host:org/repo", "path", None),
        ("ssh://git@host:2222/org/repo.git//p?ref=x", "ssh://git@host:2222/org/repo.git", "p", "x"),
        ("git::https://host/org/repo//p?ref=x", "https://host/org/repo", "p", "x"),
        ("gh:org/repo/p?ref=x", "https://github.com/org/repo", "p", "x"),
        ("file:///srv/git/repo//p?ref=x", "file:///srv/git/repo", "p", "x"),
        ("file:///srv/git/repo", "file:///srv/git/repo", ".", None),
        (
            "https://dev.azure.com/org/project/_git/repo/p?ref=x",
            "https://dev.azure.com/org/project/_git/repo",
            "p",
            "x",
        ),
    ],
)
def test_addresses(text: str, url: str, path: str, ref: str | None) -> None:
    found = parse_remote(text)
    assert (found.url, found.path, found.ref, found.file) == (url, path, ref, False)
    assert is_remote(text)


def test_plain_files() -> None:
    found = parse_remote("https://raw.host/org/repo/v1.2.3/install.yaml")
    assert found.file
    assert found.pinned
    assert not parse_remote("https://host/latest/install.yaml").pinned
    assert not parse_remote("https://host/org/repo//install.yaml?ref=v1").file


@pytest.mark.parametrize(
    "text", ["https://host", "host", "", "https://host/org/repo//../../etc", "https://host/org/repo//a/../../b"]
)
def test_refused(text: str) -> None:
    with pytest.raises(SourceError):
        parse_remote(text)


@pytest.mark.parametrize("text", ["../base", "base", "./github.com", "deployment.yaml", "base/overlay"])
def test_local_paths(text: str) -> None:
    assert not is_remote(text)


def test_a_commit_is_pinned() -> None:
    assert parse_remote("https://host/org/repo?ref=" + "a" * 40).pinned
    assert not parse_remote("https://host/org/repo?ref=main").pinned
