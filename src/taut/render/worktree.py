"""A folder of the file system as a tree: what people have in their working copy, before any commit.

The hashes are of content, and are remembered: a tree stands for one moment, make a new one to look again. No links are followed, and
`.git` is not part of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from taut.model.errors import BadInput, Where
from taut.model.snapshot import Entry, EntryKind, Revision, Snapshot
from taut.render.reach import normal

_LEFT_OUT = frozenset({".git"})


class _LateEntry(Entry):
    """An entry whose hash is computed when somebody asks: a working copy may hold gigabytes beside what is rendered."""

    _compute: Callable[[], str]

    def __init__(self, name: str, kind: EntryKind, compute: Callable[[], str]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "_compute", compute)

    @property
    def hash(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] (read-only in the base, too: it is frozen)
        """The content's hash."""
        return self._compute()


class WorkTree:
    """The `Tree` protocol over a folder."""

    def __init__(self, root: Path) -> None:
        """`root` must be a folder; raises BadInput when it is none."""
        if not root.is_dir():
            raise BadInput("there is no such folder", where=Where(file=str(root)))
        self._root = root.resolve()
        self._known: dict[str, str] = {}

    @property
    def hash(self) -> str:
        """The root's hash."""
        return self._hashes("", self._folder_hash)

    def entry(self, path: str) -> Entry | None:
        """The entry at `path`; None when there is none, or when a folder on the way is a link."""
        path = normal(path)
        if not path:
            return _LateEntry("", EntryKind.FOLDER, lambda: self.hash)
        place = self._place(path)
        if place is None:
            return None
        return self._entry(path, place.name, os.lstat(place).st_mode)

    def read(self, path: str) -> bytes:
        """The content; of a link its target."""
        place = self._place(normal(path))
        if place is None:
            raise KeyError(path)
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            return os.fsencode(os.readlink(place))
        if not stat.S_ISREG(mode):
            raise KeyError(path)
        return place.read_bytes()

    def size(self, path: str) -> int:
        """The size in bytes."""
        place = self._place(normal(path))
        if place is None or stat.S_ISDIR((status := os.lstat(place)).st_mode):
            raise KeyError(path)
        return status.st_size

    def folder(self, path: str) -> tuple[Entry, ...]:
        """The entries of a folder."""
        path = normal(path)
        place = self._root if not path else self._place(path)
        if place is None or not stat.S_ISDIR(os.lstat(place).st_mode):
            raise KeyError(path)
        found: list[Entry] = []
        for item in sorted(os.scandir(place), key=lambda i: i.name):
            mode = item.stat(follow_symlinks=False).st_mode
            known = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
            if item.name not in _LEFT_OUT and known:
                found.append(self._entry(f"{path}/{item.name}" if path else item.name, item.name, mode))
        return tuple(found)

    def walk(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Every file and link below `path`."""
        path = normal(path)
        for entry in self.folder(path):
            inner = f"{path}/{entry.name}" if path else entry.name
            if entry.kind is EntryKind.FOLDER:
                yield from self.walk(inner)
            else:
                yield inner, entry

    def _place(self, path: str) -> Path | None:
        """Where `path` is, if no part of it but the last is a link."""
        parts = path.split("/")
        if ".." in parts or any(part in _LEFT_OUT for part in parts):
            return None
        place = self._root
        for number, part in enumerate(parts):
            place = place / part
            try:
                mode = os.lstat(place).st_mode
            except (OSError, ValueError):
                return None
            if number < len(parts) - 1 and not stat.S_ISDIR(mode):
                return None
        return place

    def _entry(self, path: str, name: str, mode: int) -> Entry:
        if stat.S_ISDIR(mode):
            return _LateEntry(name, EntryKind.FOLDER, lambda: self._hashes(path, self._folder_hash))
        kind = EntryKind.SYMLINK if stat.S_ISLNK(mode) else EntryKind.EXECUTABLE if mode & 0o100 else EntryKind.FILE
        return _LateEntry(name, kind, lambda: self._hashes(path, lambda p: _hash(self.read(p))))

    def _hashes(self, path: str, compute: Callable[[str], str]) -> str:
        if path not in self._known:
            self._known[path] = compute(path)
        return self._known[path]

    def _folder_hash(self, path: str) -> str:
        text = "\n".join(f"{e.kind} {e.name} {e.hash}" for e in self.folder(path))
        return _hash(text.encode())


def snapshot(root: Path) -> Snapshot:
    """The folder as a snapshot that is at no commit."""
    return Snapshot(str(root), Revision("working copy", "working copy"), WorkTree(root))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
