"""Addresses of repositories in one form, so that a project's rules cannot be walked around by spelling."""

from __future__ import annotations

import re
from urllib.parse import unquote

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(?:[^/@]*@)?([^/]*)(.*)", re.DOTALL)
_SCP = re.compile(r"(?:[^/@:]+@)?([^/:]+):(?!//)(.*)", re.DOTALL)
_PORTS = {"https": ":443", "http": ":80", "ssh": ":22"}


def canonical_address(url: str, *, glob: bool = False) -> str:
    """`url` with a lower-case scheme and host, without user, standard port, `.git` and closing slashes; `git@host:path` as ssh.

    Percent-encoding is undone and `.`, `..` and empty segments are resolved, as servers do. With `glob`, `url` is a pattern: its `?` stays.
    """
    found = _SCHEME.fullmatch(url)
    scp = None if found else _SCP.fullmatch(url)
    if found:
        scheme, host, path = found[1].lower(), found[2].lower(), found[3]
    elif scp:
        scheme, host, path = "ssh", scp[1].lower(), "/" + scp[2]
    else:
        return _clean_path(url, glob)
    host = host.removesuffix(_PORTS.get(scheme, "\0"))
    if not glob:
        path = path.partition("#")[0].partition("?")[0]
    return f"{scheme}://{host}{_clean_path(path, glob)}"


def _clean_path(path: str, glob: bool) -> str:
    parts: list[str] = []
    for part in (path if glob else unquote(path).replace("\\", "/")).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    text = "/".join(parts).removesuffix(".git")
    return ("/" if path.startswith("/") and text else "") + text
