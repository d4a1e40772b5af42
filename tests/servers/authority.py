"""A CA of the tests' own, for servers that speak TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from taut.localplane.certificates import issue, make_ca


@dataclass(frozen=True)
class Authority:
    """A CA and a server's certificate for 127.0.0.1 and localhost (PEM files)."""

    ca: Path
    certificate: Path
    key: Path


def make_authority(folder: Path) -> Authority:
    """Make a CA and a server certificate in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Authority(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    make_ca(made.ca, folder / "ca.key", "test CA")
    names = ("127.0.0.1", "localhost")
    issue(
        made.ca,
        folder / "ca.key",
        certificate=made.certificate,
        key=made.key,
        common_name="test server",
        addresses=names,
    )
    return made
