from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.clients.urls import shown
from taut.model.errors import SourceError
from taut.sources.repository_url import parse_repository_url, relative_to, within


@pytest.mark.parametrize(
    ("text", "scheme", "host", "path"),
    [
        ("https://host/org/app.git", "https", "host", "/org/app.git"),
        ("http://127.0.0.1:3000/a/b", "http", "127.0.0.1", "/a/b"),
        ("ssh://git@host:22/a", "ssh", "host", "/a"),
        ("git@host:org/app.git", "ssh", "host", "org/app.git"),
        ("host:org/app", "ssh", "host", "org/app"),
        ("file:///srv/git/a%20b", "file", "", "/srv/git/a b"),
        ("/srv/git/a", "file", "", "/srv/git/a"),
    ],
)
def test_good_addresses(text: str, scheme: str, host: str, path: str) -> None:
    url = parse_repository_url(text)
    assert (url.scheme, url.host, url.path) == (scheme, host, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=evil",
        "--upload-pack=evil",
        "ext::sh -c evil",
        "ssh://-oProxyCommand=evil/x",
        "-x@host:path",
        "git@host:-path",
        "git@-host:path",
        "https://host",
        "https:///path",
        "ftp://host/a",
        "git://host/a",
        "https://host/a b",
        "https://host/a\nb",
        "https://host:99999/a",
        "file://elsewhere/a",
        "relative/path",
        "https://ho st/a",
        "fd::17",
    ],
)
def test_refused_addresses(text: str) -> None:
    with pytest.raises(SourceError):
        parse_repository_url(text)


def test_a_password_in_the_url_is_refused_and_never_shown() -> None:
    with pytest.raises(SourceError, match="holds a password") as caught:
        parse_repository_url("https://me:hunter2@host/a/b")
    assert "hunter2" not in str(caught.value)


def test_file_urls_can_be_switched_off() -> None:
    for text in ("/etc", "file:///etc"):
        with pytest.raises(SourceError, match="not allowed"):
            parse_repository_url(text, allow_file=False)


@pytest.mark.parametrize(
    ("prefix", "url", "covered"),
    [
        ("https://host", "https://host/a/b", True),
        ("https://host/", "https://host/a/b", True),
        ("https://host/org", "https://host/org/app.git", True),
        ("https://host/org", "https://host/org2/app", False),
        ("https://host/org/app", "https://host/org/app.git", True),
        ("https://host", "https://host.evil.example/a", False),
        ("https://host", "https://host@evil.example/a", False),
        ("https://host", "https://host:444/a", False),
        ("https://host:443", "https://host/a", True),
        ("https://host", "http://host/a", False),
        ("https://host/org", "https://host/org/../other", False),
        ("https://host/org", "https://host/org/%2e%2e/other", False),
        ("https://host/org", "https://host\\@evil/org/a", False),
        ("git@host:org", "git@host:org/app.git", True),
        ("ssh://host/org", "git@host:org/app.git", True),
        ("git@host:org", "git@other:org/app.git", False),
        ("oci://registry/team", "oci://registry/team/app", True),
    ],
)
def test_where_credentials_may_go(prefix: str, url: str, covered: bool) -> None:
    assert within(prefix, url) is covered


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("https://host/org/app.git", "../lib.git", "https://host/org/lib.git"),
        ("https://host/org/app.git", "../../other/lib", "https://host/other/lib"),
        ("https://host/org/app", "./sub", "https://host/org/app/sub"),
        ("git@host:org/app.git", "../lib.git", "git@host:org/lib.git"),
        ("/srv/git/app", "../lib", "/srv/git/lib"),
        ("https://host/org/app", "https://other/x", "https://other/x"),
    ],
)
def test_relative_submodule_addresses(base: str, text: str, expected: str) -> None:
    assert relative_to(base, text) == expected


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    with contextlib.suppress(SourceError):
        assert not parse_repository_url(text).text.startswith("-")
    assert shown(text).isprintable()
    within(text, text)


def test_what_is_shown_holds_no_secret() -> None:
    assert shown("https://me:hunter2@host/a?token=x#y") == "https://host/a"
    assert shown("git@host:a") == "git@host:a"
    assert "\x1b" not in shown("https://host/\x1b[31m")
