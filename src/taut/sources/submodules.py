"""Submodules: which there are and where they come from. Pure; fetching and grafting is `Sources`' part."""

from __future__ import annotations

import re
from dataclasses import dataclass

from taut.model.errors import SourceError, Where
from taut.model.snapshot import EntryKind
from taut.sources.repository_url import relative_to
from taut.sources.tree import GitTree

_LARGEST = 256 * 1024
_MOST = 200
_SECTION = re.compile(r'\[submodule "(?P<name>(?:[^"\\]|\\.)*)"\]')
_SETTING = re.compile(r"(?P<key>path|url)\s*=\s*(?P<value>.*)")


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule: the folder it belongs in, the repository it is in, the commit that is wanted."""

    path: str
    url: str
    commit: str


def submodules(tree: GitTree, base_url: str) -> tuple[Submodule, ...]:
    """The submodules of a tree in path order: those entries that are submodules in the tree, with the addresses `.gitmodules` gives them.

    `.gitmodules` is only looked at for `path` and `url`; everything else in it (update commands, includes) is ignored. Raises SourceError for a
    submodule without an address.
    """
    entries = {path: entry.hash for path, entry in tree.walk("") if entry.kind is EntryKind.SUBMODULE}
    if not entries:
        return ()
    if len(entries) > _MOST:
        raise SourceError(f"there are more than {_MOST} submodules", where=Where(base_url, ".gitmodules"))
    urls = _addresses(tree)
    found: list[Submodule] = []
    for path, commit in sorted(entries.items()):
        if path not in urls:
            raise SourceError(
                f"the submodule {path!r} has no address",
                where=Where(base_url, ".gitmodules"),
                advice="add its path and url",
            )
        found.append(Submodule(path, relative_to(base_url, urls[path]), commit))
    return tuple(found)


def _addresses(tree: GitTree) -> dict[str, str]:
    entry = tree.entry(".gitmodules")
    if entry is None or entry.kind not in {EntryKind.FILE, EntryKind.EXECUTABLE} or tree.size(".gitmodules") > _LARGEST:
        return {}
    sections: list[dict[str, str]] = []
    inside = False
    for raw in tree.read(".gitmodules").decode("utf-8", "replace").splitlines():
        line = raw.strip()
        if line.startswith("["):
            inside = _SECTION.fullmatch(line) is not None
            sections.append({})
        elif inside and (setting := _SETTING.fullmatch(line)):
            sections[-1][setting["key"]] = setting["value"].strip().strip('"')
    return {section["path"]: section["url"] for section in sections if "path" in section and "url" in section}
