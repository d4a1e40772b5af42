from __future__ import annotations

from pathlib import Path

import pytest

from taut.clients.credentials import Credentials
from taut.model.errors import SourceError
from taut.sources.credentials import CredentialFiles, FileCredentials, NoCredentials


def test_a_repr_holds_no_value() -> None:
    held = Credentials(username="me", password="hunter2", bearer="t0ken", ssh_key=b"key", ca=b"ca")
    assert repr(held) == "Credentials(username=…, password=…, bearer=…, ssh_key=…, ca=…)"
    assert "hunter2" not in f"{held} {held!r}"


def test_the_longest_prefix_wins_and_names_are_bound_to_theirs(tmp_path: Path) -> None:
    for name in ("wide", "narrow"):
        (tmp_path / name).write_text(f"{name}\n")
    provider = FileCredentials(
        [
            CredentialFiles("wide", "https://host", {"password": tmp_path / "wide"}),
            CredentialFiles("narrow", "https://host/team", {"password": tmp_path / "narrow", "ca": tmp_path / "wide"}),
        ]
    )
    for url, expected in {
        "https://host/a/b": "wide",
        "https://host/team/b": "narrow",
        "https://host/team2/b": "wide",
    }.items():
        held = provider.for_url(url)
        assert held is not None
        assert held.password == expected
    assert provider.for_url("https://elsewhere/a") is None
    named = provider.for_url("https://host/team/b", "wide")
    assert named is not None
    assert named.password == "wide"
    with pytest.raises(SourceError, match="not meant for this address"):
        provider.for_url("https://evil.example/a", "wide")
    with pytest.raises(SourceError, match="no credentials named 'x'"):
        provider.for_url("https://host/a", "x")


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    file = tmp_path / "p"
    provider = FileCredentials([CredentialFiles("a", "https://host", {"bearer": file})])
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        provider.for_url("https://host/a")
    for value in ("one", "second"):
        file.write_text(value)
        held = provider.for_url("https://host/a")
        assert held is not None
        assert held.bearer == value
    assert provider.for_url("https://host/a") is provider.for_url("https://host/b")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="it is no text"):
        provider.for_url("https://host/a")


def test_unknown_fields_are_an_error() -> None:
    with pytest.raises(SourceError, match="'passwd' is not known"):
        CredentialFiles("a", "https://host", {"passwd": Path("/x")})


def test_no_credentials() -> None:
    assert NoCredentials().for_url("https://host/a") is None
    with pytest.raises(SourceError, match="no credentials named 'x'"):
        NoCredentials().for_url("https://host/a", "x")
