"""Credentials from files: a list of names, address prefixes and the files that hold the values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

from taut.clients.credentials import CredentialProvider, Credentials
from taut.clients.urls import shown
from taut.model.errors import SourceError, Where
from taut.sources.repository_url import within

__all__ = ["CredentialFiles", "CredentialProvider", "Credentials", "FileCredentials", "NoCredentials"]

_BYTES = frozenset({"ssh_key", "known_hosts", "ca", "client_cert", "client_key"})
_NAMES = frozenset(f.name for f in fields(Credentials))
_LARGEST = 2**20


class NoCredentials:
    """A provider that has none: for public sources."""

    def for_url(self, url: str, name: str | None = None) -> Credentials | None:
        """None; raises SourceError when some are asked for by name."""
        if name:
            raise SourceError(
                f"there are no credentials named {name!r}",
                where=Where(shown(url)),
                advice="name them in taut's configuration",
            )
        return None


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Credentials by name. `files` maps a field of Credentials (`password`, `ssh_key`, …) to the file that holds it; `url_prefix` says where they may go."""

    name: str
    url_prefix: str
    files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.files) - _NAMES)
        if unknown:
            raise SourceError(
                f"credentials {self.name!r}: {unknown[0]!r} is not known", advice=f"use {', '.join(sorted(_NAMES))}"
            )


class FileCredentials:
    """A provider that reads files, and reads them again when they change (a mounted Secret does)."""

    def __init__(self, entries: Iterable[CredentialFiles]) -> None:
        self._entries = tuple(entries)
        self._read: dict[str, tuple[tuple[tuple[int, int, int], ...], Credentials]] = {}

    def for_url(self, url: str, name: str | None = None) -> Credentials | None:
        """The credentials of that name, else those with the longest prefix that covers `url`, else None.

        Raises SourceError when the name is unknown or its prefix does not cover `url` (a document must not send a secret to a server of its choice),
        and when a file cannot be read.
        """
        where = Where(shown(url))
        if name is None:
            fitting = [entry for entry in self._entries if within(entry.url_prefix, url)]
            best = max(fitting, key=lambda entry: len(entry.url_prefix), default=None)
            return self._values(best, where) if best else None
        named = [entry for entry in self._entries if entry.name == name]
        if not named:
            raise SourceError(
                f"there are no credentials named {name!r}", where=where, advice="name them in taut's configuration"
            )
        entry = next((entry for entry in named if within(entry.url_prefix, url)), None)
        if entry is None:
            raise SourceError(
                f"the credentials {name!r} are not meant for this address",
                where=where,
                advice="widen their URL prefix in taut's configuration",
            )
        return self._values(entry, where)

    def _values(self, entry: CredentialFiles, where: Where) -> Credentials:
        try:
            stamp = tuple(_stamp(path) for path in entry.files.values())
            cached = self._read.get(entry.name + "\0" + entry.url_prefix)
            if cached is not None and cached[0] == stamp:
                return cached[1]
            values = Credentials(**{key: _content(key, path) for key, path in entry.files.items()})  # pyright: ignore[reportArgumentType] - bytes or str by name
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SourceError(
                f"the credentials {entry.name!r} cannot be read: {reason}",
                where=where,
                advice="check their files in taut's configuration",
            ) from None
        self._read[entry.name + "\0" + entry.url_prefix] = (stamp, values)
        return values


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _content(key: str, path: Path) -> str | bytes:
    with path.open("rb") as file:
        data = file.read(_LARGEST)
    return data if key in _BYTES else data.decode().rstrip("\r\n")
