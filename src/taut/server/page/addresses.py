"""The addresses of the page. Verbs stand behind a colon, as in the API: a name may hold slashes, never a colon. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

_OURS = ("/app/", "/static/", "/environments/")
_ALONE = frozenset({"/", "/held", "/drift", "/environments", "/live", "/sign-in", "/theme", "/favicon.ico"})
_COMMIT = re.compile(r"(?:^|[@:])([0-9a-f]{7,64})$")
_SCP = re.compile(r"^(?:ssh://)?(?:[^@/]+@)([^:/]+)(?::\d+/|[:/])(.+)$")


def ours(path: str) -> bool:
    """Whether an address is one of the page's, and not the API's."""
    return path in _ALONE or path.startswith(_OURS)


def app_address(key: str, verb: str = "", **query: str) -> str:
    """The address of an application, or of one of its parts."""
    address = f"/app/{quote(key)}" + (f":{verb}" if verb else "")
    return f"{address}?{urlencode(query)}" if query else address


def with_query(path: str, query: Mapping[str, str]) -> str:
    """A path with what is not empty of a query."""
    kept = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


def short_commit(revision: str) -> str:
    """The first 7 digits of the commit in a revision's label (`main@1a2b3c4d…`), else the label, cut."""
    found = _COMMIT.search(revision)
    return found[1][:7] if found else revision.removeprefix("sha256:")[:14]


def commit_address(source: str, revision: str) -> str:
    """Where the forge shows a commit; empty when the source is no repository of a forge, or the revision no commit."""
    found, base = _COMMIT.search(revision), repository_address(source)
    if found is None or not base:
        return ""
    host = urlsplit(base).hostname or ""
    part = "/-/commit/" if "gitlab" in host else "/commits/" if "bitbucket" in host else "/commit/"
    return base + part + found[1]


def compare_address(source: str, old: str, new: str) -> str:
    """Where the forge shows what lies between two commits; empty as with `commit_address`."""
    first, second, base = _COMMIT.search(old), _COMMIT.search(new), repository_address(source)
    if first is None or second is None or not base or first[1] == second[1]:
        return ""
    part = "/-/compare/" if "gitlab" in (urlsplit(base).hostname or "") else "/compare/"
    return f"{base}{part}{first[1]}...{second[1]}"


def repository_address(source: str) -> str:
    """A repository's address in a browser, without any user or password; empty when it has none."""
    scp = _SCP.match(source) if not source.startswith(("http://", "https://")) else None
    if scp is not None:
        return f"https://{scp[1]}/{scp[2].removesuffix('.git')}"
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path.removesuffix('/').removesuffix('.git')}"


def repository_name(source: str) -> str:
    """The last two parts of a repository's address, as people call it."""
    path = re.split(r"[/:]", source.removesuffix("/").removesuffix(".git"))
    return "/".join(path[-2:]) if len(path) > 1 else source


def web_link(text: str) -> str:
    """`text` when it is an address that may be followed; else empty. What a document says to show may be anything."""
    return text if text.startswith(("https://", "http://")) and text.isprintable() and " " not in text else ""
