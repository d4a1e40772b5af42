"""What proves who taut is to a server. The values never show in a repr, a log or an error."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, fields
from typing import Protocol

type Stamp = tuple[int, int, int] | None


def stamp(file: str) -> Stamp:
    """Tells, without reading it, whether a file is the one from before: inode, time and size; None when there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Whatever one server needs; empty fields are not used.

    `ca` (PEM) replaces the system's certificate authorities; `client_cert` and `client_key` (PEM) are for mutual TLS; `ssh_key` is a private key as
    OpenSSH writes it, `ssh_passphrase` opens it; `known_hosts` the host keys that are trusted, in the form of the file of that name.
    """

    username: str = ""
    password: str = ""
    bearer: str = ""
    ssh_key: bytes = b""
    ssh_passphrase: str = ""
    known_hosts: bytes = b""
    ca: bytes = b""
    client_cert: bytes = b""
    client_key: bytes = b""

    def __repr__(self) -> str:
        held = ", ".join(f"{f.name}=…" for f in fields(self) if getattr(self, f.name))
        return f"Credentials({held})"

    @property
    def identifies(self) -> bool:
        """Whether they say who taut is (a CA alone does not)."""
        return bool(self.username or self.password or self.bearer or self.ssh_key or self.client_cert)

    @property
    def tls_key(self) -> str:
        """Equal for equal TLS settings: connections are shared by it, and by nothing else."""
        digest = hashlib.sha256()
        for part in (self.ca, self.client_cert, self.client_key):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.hexdigest()


class CredentialProvider(Protocol):
    """Where credentials come from."""

    def for_url(self, url: str, name: str | None = None) -> Credentials | None:
        """The credentials for `url`, None when it needs none.

        With a `name` those of that name. A provider gives them only for addresses they are meant for, whoever asks: the name is written in documents,
        which strangers may write. Raises SourceError when the name is unknown or does not cover the address.
        """
        ...
