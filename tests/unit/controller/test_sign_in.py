"""Which credentials go to which address: a document names them, and strangers may write documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from taut.controller.sign_in import SecretCredentials
from taut.dialects.config import CredentialsConfig, RootConfig, SecretRef
from taut.model.errors import SourceError

ROOT = "https://git.example.com/fleet.git"


def provider(tmp_path: Path, **config: str) -> SecretCredentials:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "passphrase").write_text("open\n")
    entry = CredentialsConfig(name="work", token_file=str(tmp_path / "token"), **config)  # pyright: ignore[reportArgumentType]
    return SecretCredentials([entry], {}, [RootConfig(name="fleet", git=ROOT, credentials="work")])


def test_without_a_prefix_only_the_roots_that_name_them_get_them(tmp_path: Path) -> None:
    found = provider(tmp_path)
    for name in ("work", None):
        held = found.for_url(ROOT, name)
        assert held is not None
        assert held.bearer == "s3cret"
    assert found.for_url("https://evil.example/x") is None
    with pytest.raises(SourceError, match="not meant for this address"):
        found.for_url("https://evil.example/x", "work")


def test_with_a_prefix_everything_below_it_does(tmp_path: Path) -> None:
    found = provider(tmp_path, url_prefix="https://git.example.com/team/")
    assert found.for_url("https://git.example.com/team/a", "work") is not None
    assert found.for_url("https://git.example.com/other") is None
    with pytest.raises(SourceError, match="not meant for this address"):
        found.for_url(ROOT, "work")


def test_those_of_a_secret_are_no_exception() -> None:
    entry = CredentialsConfig(name="work", secret=SecretRef(cluster="c", namespace="n", name="s"))
    found = SecretCredentials([entry], {}, [RootConfig(name="fleet", git=ROOT, credentials="work")])
    with pytest.raises(SourceError, match="not meant for this address"):
        found.for_url("https://evil.example/x", "work")
    with pytest.raises(SourceError, match="not read yet"):
        found.for_url(ROOT, "work")


def test_every_file_of_the_configuration_is_read(tmp_path: Path) -> None:
    held = provider(tmp_path, ssh_passphrase_file=str(tmp_path / "passphrase")).for_url(ROOT)
    assert held is not None
    assert held.ssh_passphrase == "open"
