"""What lies between two trees of one repository, at the cost of what differs: Git compares folders by their hashes."""

from __future__ import annotations

from dataclasses import dataclass

import pygit2
from pygit2.enums import DeltaStatus, FileMode

_MOST = 5_000
_PLAIN = frozenset({FileMode.BLOB, FileMode.BLOB_EXECUTABLE, FileMode.UNREADABLE})


@dataclass(frozen=True, slots=True)
class Touched:
    """`paths` are the files that came, went or changed, and all folders above them: what is at any other path is as it was.

    `folders` tells whether a folder came or went.
    """

    paths: frozenset[str]
    folders: bool


def touched(repository: pygit2.Repository, old: str, new: str) -> Touched | None:
    """What differs between two trees (their hashes). None when it is so much, or so unusual (links, submodules: what is below a link on the
    way to a path is elsewhere), that it is better to look at everything. Raises KeyError for a tree that is not here.
    """
    before, after = repository[old], repository[new]
    if not isinstance(before, pygit2.Tree) or not isinstance(after, pygit2.Tree):
        raise KeyError(old)
    paths: set[str] = set()
    folders = False
    for count, delta in enumerate(before.diff_to_tree(after).deltas):
        if count >= _MOST or not {delta.old_file.mode, delta.new_file.mode} <= _PLAIN:
            return None
        try:
            path = (delta.new_file.raw_path or b"").decode()
        except UnicodeDecodeError:
            return None
        above = path
        while above:
            paths.add(above)
            above = above.rpartition("/")[0]
        if delta.status is not DeltaStatus.MODIFIED:
            there = before if delta.status is DeltaStatus.ADDED else after
            folders = folders or not _is_folder(there, path.rpartition("/")[0])
    paths |= {"", "."}
    return Touched(frozenset(paths), folders)


def _is_folder(tree: pygit2.Tree, path: str) -> bool:
    if not path:
        return True
    try:
        return isinstance(tree[path], pygit2.Tree)
    except KeyError:
        return False
