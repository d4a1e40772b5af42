"""What lies between two trees of one repository, at the cost of what differs: folders with equal hashes are not opened."""

from __future__ import annotations

from dataclasses import dataclass, field

import pygit2
from pygit2.enums import ObjectType

from taut.sources.folder_pair import Folders, read_folder

_MOST = 5_000
_DEEPEST = 100
_FOLDER = b"40000"
_PLAIN = frozenset({b"100644", b"100755", b"100664"})


@dataclass(frozen=True, slots=True)
class Touched:
    """`paths` are the files that came, went or changed, and all folders above them: what is at any other path is as it was.

    `folders` tells whether a folder came or went.
    """

    paths: frozenset[str]
    folders: bool


class _UnusualError(Exception):
    """It is better to look at everything."""


@dataclass
class _Search:
    repository: pygit2.Repository
    folders_read: Folders
    paths: set[str] = field(default_factory=lambda: {"", "."})
    folders: bool = False

    def compare(self, old: str, new: str, prefix: str, depth: int) -> None:
        """Two folders at the same path."""
        before, after = self.folders_read.pair(old, new, self._data)
        names = [name for name, entry in after.items() if before.get(name) != entry]
        names += [name for name in before if name not in after]
        for name in names:
            path = prefix + self._text(name)
            was, now = before.get(name), after.get(name)
            if was is not None and now is not None and was[0] == now[0] == _FOLDER:
                self._add(path)
                self._deeper(depth)
                self.compare(was[1].hex(), now[1].hex(), path + "/", depth + 1)
            else:
                for side in (was, now):
                    if side is not None:
                        self._whole(side, path, depth)

    def _whole(self, entry: tuple[bytes, bytes], path: str, depth: int) -> None:
        """Something that is on one side only, or is something else on the other one."""
        mode, oid = entry
        self._add(path)
        if mode == _FOLDER:
            self.folders = True
            self._deeper(depth)
            for name, inner in read_folder(self._data(oid.hex())).items():
                self._whole(inner, f"{path}/{self._text(name)}", depth + 1)
        elif mode not in _PLAIN:
            raise _UnusualError

    def _data(self, oid: str) -> bytes:
        kind, data = self.repository.odb.read(oid)
        if kind != ObjectType.TREE:
            raise KeyError(oid)
        return data

    def _add(self, path: str) -> None:
        self.paths.add(path)
        if len(self.paths) > _MOST:
            raise _UnusualError

    @staticmethod
    def _deeper(depth: int) -> None:
        if depth > _DEEPEST:
            raise _UnusualError

    @staticmethod
    def _text(name: bytes) -> str:
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise _UnusualError from None


def touched(repository: pygit2.Repository, folders: Folders, old: str, new: str) -> Touched | None:
    """What differs between two trees (their hashes). None when it is so much, or so unusual (links, submodules: what is below a link on the
    way to a path is elsewhere), that it is better to look at everything. `folders` remembers the large ones. Raises KeyError for a tree that is not here.
    """
    search = _Search(repository, folders)
    try:
        if old != new:
            search.compare(old, new, "", 0)
    except (_UnusualError, ValueError):  # a tree that cannot be read as one is judged by who reads its files
        return None
    return Touched(frozenset(search.paths), search.folders)
