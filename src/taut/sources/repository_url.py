"""Addresses of Git repositories: what is allowed, how they compare, how they are shown. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from taut.clients.urls import shown, without_password
from taut.model.errors import SourceError, Where

_SCP = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<path>(?!//|:)[^\s]+)"
)
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22}
_ADVICE = "write it like https://host/group/repository.git, ssh://git@host/path or git@host:path"


@dataclass(frozen=True, slots=True)
class RepositoryUrl:
    """A checked address. `path` starts with `/` (or `~` for ssh); `port` is 0 for the scheme's own."""

    scheme: str
    user: str
    host: str
    port: int
    path: str
    text: str
    """What is given to Git: never holds a password."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what credentials are bound to."""
        return (self.scheme, self.host, self.port or _DEFAULT_PORTS.get(self.scheme, 0))

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    @property
    def identity(self) -> str:
        """Equal for the same repository, whether over ssh or https, with or without `.git`. Hosts ignore case, paths keep it."""
        path = posixpath.normpath(self.path.strip("/")).removesuffix(".git")
        return f"{self.host or 'file'}/{path}"


def parse_repository_url(text: str, *, allow_file: bool = True) -> RepositoryUrl:
    """Check the address of a Git repository.

    Takes https, http, ssh and file URLs, `user@host:path`, and an absolute path. Raises SourceError for anything else: other schemes, options
    (a leading `-`), control characters, a password inside the URL.
    """
    if not text or text.startswith("-") or _CONTROL.search(text):
        raise SourceError(f"{shown(text)!r} is no address of a repository", advice=_ADVICE)
    if text.startswith("/"):
        return _local(text, text, allow_file)
    if "://" in text:
        return _with_scheme(text, allow_file)
    scp = _SCP.fullmatch(text)
    if scp is None or scp["path"].startswith("-") or scp["host"].startswith("-") or (scp["user"] or "").startswith("-"):
        raise SourceError(f"{shown(text)!r} is no address of a repository", advice=_ADVICE)
    return RepositoryUrl("ssh", scp["user"] or "", scp["host"].lower(), 0, scp["path"], text)


def _with_scheme(text: str, allow_file: bool) -> RepositoryUrl:
    try:
        parts = urlsplit(text)
        port = parts.port or 0
    except ValueError:
        raise SourceError(f"{shown(text)!r} is no address of a repository", advice=_ADVICE) from None
    scheme = parts.scheme.lower()
    if scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise SourceError(f"{shown(text)!r} names a host", advice="a file URL is file:///path")
        return _local(unquote(parts.path), text, allow_file)
    if scheme not in _DEFAULT_PORTS:
        raise SourceError(f"repositories over {scheme[:20]!r} are not read", where=Where(shown(text)), advice=_ADVICE)
    host, user = (parts.hostname or "").lower(), parts.username or ""
    if not _HOST.fullmatch(host) or host.startswith("-") or user.startswith("-") or len(parts.path.strip("/")) == 0:
        raise SourceError(f"{shown(text)!r} is no address of a repository", advice=_ADVICE)
    if parts.password is not None:
        raise SourceError(
            "the URL holds a password",
            where=Where(shown(text)),
            advice="take it out, and name credentials in taut's configuration",
        )
    return RepositoryUrl(scheme, unquote(user), host, port, parts.path, text)


def _local(path: str, text: str, allow_file: bool) -> RepositoryUrl:
    if not allow_file:
        raise SourceError(
            "repositories on this machine's disk are not allowed here",
            where=Where(shown(text)),
            advice="use https or ssh",
        )
    if not path.startswith("/"):
        raise SourceError(f"{shown(text)!r} is not absolute", advice="a file URL is file:///path")
    return RepositoryUrl("file", "", "", 0, str(Path(path)), text)


def same_repository(a: str, b: str) -> bool:
    """Whether two addresses name the same repository: `git@host:org/app.git`, `https://host/org/app`, `ssh://git@host:22/org/app.git`.

    The port is left out: a forge's ssh and https ports differ. Used to match webhooks, never to choose credentials.
    """
    left, right = _identity(a), _identity(b)
    return left is not None and left == right


def _identity(text: str) -> str | None:
    try:
        return parse_repository_url(without_password(text)).identity
    except SourceError:
        return None


def relative_to(base: str, text: str) -> str:
    """A submodule's address: `./x` and `../x` are relative to the repository they are in (Git's rule), others stay."""
    if not text.startswith(("./", "../")):
        return text
    head, separator, path = _split_base(base)
    parts = path.rstrip("/").split("/")
    rest = text
    while True:
        if rest.startswith("./"):
            rest = rest[2:]
        elif rest.startswith("../"):
            rest = rest[3:]
            if len(parts) <= 1 and not separator:
                raise SourceError(
                    f"{shown(text)!r} leads out of its host",
                    where=Where(shown(base)),
                    advice="write the submodule's whole address",
                )
            parts = parts[:-1]
        else:
            break
    if not any(parts):
        parts = [""] if path.startswith("/") else []
    return head + separator + "/".join([*parts, rest])


def _split_base(base: str) -> tuple[str, str, str]:
    """Head, separator and path of an address, so that only the path is ever changed."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*", base)
    if scheme:
        return scheme.group(), "", base[scheme.end() :]
    if _SCP.fullmatch(base):
        head, _, path = base.partition(":")
        return head, ":", path
    return "", "", base


def within(prefix: str, url: str) -> bool:
    """Whether `url` lies below `prefix`: same scheme, host and port, and the path is the prefix's or below it, by whole segments.

    `https://host` covers all of the host, and not `https://host.evil.example`. Paths with `..` or encoded dots are never below anything.
    """
    a, b = _comparable(prefix), _comparable(url)
    if a is None or b is None or a[:3] != b[:3]:
        return False
    head, path = a[3].rstrip("/"), b[3]
    if any(part in {".", ".."} for part in unquote(path).replace("\\", "/").split("/")):
        return False
    bare_head, bare_path = head.removesuffix(".git"), path.removesuffix(".git")
    return path == head or bare_path == bare_head or path.startswith(head + "/")


def _comparable(text: str) -> tuple[str, str, int, str] | None:
    plain = text.strip()
    if _CONTROL.search(plain) or "\\" in plain:
        return None
    if "://" not in plain:
        scp = _SCP.fullmatch(plain)
        return ("ssh", scp["host"].lower(), 22, "/" + scp["path"].lstrip("/")) if scp else None
    try:
        parts = urlsplit(plain)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    default = {**_DEFAULT_PORTS, "oci": 443}.get(scheme, 0)
    return (scheme, (parts.hostname or "").lower(), port or default, parts.path or "/")
