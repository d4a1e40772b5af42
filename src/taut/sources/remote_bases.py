"""The addresses of remote kustomize bases, in all the ways people write them. Pure.

The rules are those of kustomize's documentation on remote targets: `//` parts repository and path, else a `.git` suffix does, else the first two
segments after the host are the repository; `?ref=` (older: `?version=`) is the revision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from taut.clients.urls import shown
from taut.model.errors import SourceError, Where

_FILE = re.compile(r"https?://[^?#]+\.(?:ya?ml|json)(?:\?[^#]*)?", re.IGNORECASE)
_HEAD = re.compile(
    r"(?P<head>(?:https?|ssh|file)://[^/]*|(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+(?=:)|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?=/))(?P<rest>.*)"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PINNED_PATH = re.compile(r"/(?:v?[0-9]+\.[0-9]+[^/]*|[0-9a-f]{40})/")
_QUERY_KEYS = ("ref", "version")


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """A remote base: a repository with a folder and a ref, or one file (`file` true, `url` its address)."""

    url: str
    path: str = "."
    ref: str | None = None
    submodules: bool = False
    file: bool = False

    @property
    def pinned(self) -> bool:
        """Whether the address itself names something that does not move: a commit, or (for files) a version or commit in the path.

        A tag or version as ref counts as well, which the address alone cannot tell: see `Sources.remote_base`.
        """
        if self.file:
            return _PINNED_PATH.search(urlsplit(self.url).path) is not None
        return self.ref is not None and _COMMIT.fullmatch(self.ref) is not None


def is_remote(text: str) -> bool:
    """Whether a kustomization's entry is a remote address rather than a path. A local path with a host-like first folder counts as local."""
    return text.startswith(("https://", "http://", "ssh://", "git::", "gh:", "git@", "github.com/", "file://")) or _scp(
        text
    )


def _scp(text: str) -> bool:
    return re.match(r"[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:", text) is not None


def parse_remote(text: str) -> RemoteAddress:
    """Read a remote base's address. Raises SourceError when it is none."""
    if _FILE.fullmatch(text) and "//" not in text.partition("://")[2]:
        return RemoteAddress(text, file=True)
    address, _, query = text.removeprefix("git::").partition("?")
    if address.startswith("gh:"):
        address = "github.com/" + address.removeprefix("gh:")
    found = _HEAD.fullmatch(address)
    if found is None or not found["rest"].strip("/:"):
        raise SourceError(
            f"{shown(text)!r} is no address of a remote base",
            advice="write it like https://host/org/repository//path?ref=v1.2.3",
        )
    head, rest = found["head"], found["rest"]
    if "://" not in head and rest.startswith("/"):
        head = f"https://{head}"
    repository, path = _parted(rest, local=head.startswith("file:"))
    options = parse_qs(query)
    ref = next((unquote(options[key][0]) for key in _QUERY_KEYS if options.get(key)), None)
    if path == ".." or path.startswith("../") or "/../" in f"/{path}/":
        raise SourceError("the path leads out of the repository", where=Where(shown(text)))
    return RemoteAddress(
        head + repository,
        path or ".",
        ref,
        options.get("submodules", ["true"])[0] not in {"false", "0"} and "submodules" in options,
    )


def _parted(rest: str, *, local: bool) -> tuple[str, str]:
    """Repository and path within it."""
    if "//" in rest.lstrip("/"):
        lead = rest[: len(rest) - len(rest.lstrip("/"))]
        repository, _, path = rest.lstrip("/").partition("//")
        return lead + repository, path.strip("/")
    if "/_git/" in rest:
        before, _, after = rest.partition("/_git/")
        name, _, path = after.partition("/")
        return f"{before}/_git/{name}", path.strip("/")
    if ".git/" in rest or rest.endswith(".git"):
        at = rest.index(".git") + len(".git")
        return rest[:at], rest[at:].strip("/")
    if local:
        return rest, ""
    lead = rest[0] if rest[:1] in {"/", ":"} else ""
    parts = rest.lstrip("/:").split("/")
    return lead + "/".join(parts[:2]), "/".join(parts[2:]).strip("/")
