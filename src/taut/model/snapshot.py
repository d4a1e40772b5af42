"""Snapshots: an immutable revision of a source and its tree, addressed by hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class EntryKind(StrEnum):
    """What a tree entry is. A submodule's files are not part of the tree unless the source asks for them."""

    FILE = "file"
    EXECUTABLE = "executable"
    SYMLINK = "symlink"
    FOLDER = "folder"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder. `hash` is the content's hash (hex): equal hashes, equal content, in every tree."""

    name: str
    kind: EntryKind
    hash: str


class Tree(Protocol):
    """A read-only tree of files. Paths are relative, with `/`, without `.` and `..`; "" and "." are the root.

    Symbolic links are never followed: `read` of one returns the link's target text.
    """

    @property
    def hash(self) -> str:
        """The root's hash (hex)."""
        ...

    def entry(self, path: str) -> Entry | None:
        """The entry at `path`, None when there is none."""
        ...

    def read(self, path: str) -> bytes:
        """The content of the file at `path`. Raises KeyError when it is no file."""
        ...

    def size(self, path: str) -> int:
        """The size in bytes of the file at `path`, without reading it. Raises KeyError when it is no file."""
        ...

    def folder(self, path: str) -> tuple[Entry, ...]:
        """The entries of a folder in name order. Raises KeyError when it is no folder."""
        ...

    def walk(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Every file, link and submodule below `path`, with its path from the tree's root, in name order."""
        ...


@dataclass(frozen=True, slots=True)
class Revision:
    """An immutable version of a source.

    `id` is a commit (40 hex digits), a chart version or a digest `sha256:…`; `label` how people see it (`main@1a2b3c4d`, `1.2.3`);
    author, message and time (Unix seconds) are empty where the source has none.
    """

    id: str
    label: str = ""
    author: str = ""
    message: str = ""
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A source at a revision."""

    url: str
    revision: Revision
    tree: Tree
