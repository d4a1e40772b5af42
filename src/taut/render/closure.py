"""What a render read, and what it looked for in vain: enough to tell, without rendering, whether another tree gives the same inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import orjson

from taut.model.snapshot import Entry, EntryKind, Tree

_LINK = "link:"
IS_FOLDER, IS_FILE = "folder", "file"
"""Values of `files` for what was looked at without its content being read: only what it is matters."""
_EVERY = "every:"
_FILES = frozenset({EntryKind.FILE, EntryKind.EXECUTABLE})
_NAMED = (".yaml", ".yml", ".json", ".jsonnet", ".tgz", ".tar.gz")


@dataclass(frozen=True)
class SourceClosure:
    """The inputs of one source.

    `files` maps paths to content hashes (a symbolic link's is marked; of what was not read only what it is counts), `absent` are paths that
    were looked for and not found, `folders` maps a folder to its tree hash where everything below it is an input, `listings` maps a folder
    to a hash over its entries' names and kinds where only those matter. `remote` maps what came from elsewhere (a base, a dependency) to
    the revision that was used.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    folders: Mapping[str, str] = field(default_factory=dict)
    listings: Mapping[str, str] = field(default_factory=dict)
    remote: Mapping[str, str] = field(default_factory=dict)

    def same_in(self, tree: Tree) -> bool:
        """Whether a render would find exactly the same in `tree`."""
        return (
            all(entry_hash(tree, path) == value for path, value in self.folders.items())
            and all(_is_as_noted(tree, path, value) for path, value in self.files.items())
            and all(_is_absent(tree, path) for path in self.absent)
            and all(listing_hash(tree, path, every=is_every(value)) == value for path, value in self.listings.items())
        )

    def untouched(self, paths: AbstractSet[str]) -> bool:
        """Whether nothing that was looked at is among `paths`: changed files and every folder above one."""
        return paths.isdisjoint(self.looked())

    def looked(self) -> frozenset[str]:
        """Every path that was looked at."""
        return frozenset((*self.files, *self.absent, *self.folders, *self.listings))

    def to_json(self) -> dict[str, Any]:
        """As JSON, sorted."""
        return {
            "files": dict(sorted(self.files.items())),
            "absent": sorted(self.absent),
            "folders": dict(sorted(self.folders.items())),
            "listings": dict(sorted(self.listings.items())),
            "remote": dict(sorted(self.remote.items())),
        }


@dataclass(frozen=True)
class Closure:
    """The inputs of a render, one `SourceClosure` for each source in order."""

    sources: tuple[SourceClosure, ...] = ()

    def same_in(self, trees: Sequence[Tree]) -> bool:
        """Whether the inputs would be identical in these trees, given in the order of the sources."""
        return len(trees) == len(self.sources) and all(s.same_in(t) for s, t in zip(self.sources, trees, strict=True))

    def to_json(self) -> bytes:
        """As JSON, in one stable form."""
        return orjson.dumps([s.to_json() for s in self.sources])

    @staticmethod
    def from_json(data: bytes) -> Closure | None:
        """Read what `to_json` wrote; None when it is something else (then everything has to be rendered)."""
        try:
            return Closure(
                tuple(
                    SourceClosure(
                        dict(s["files"]),
                        frozenset(s["absent"]),
                        dict(s["folders"]),
                        dict(s["listings"]),
                        dict(s["remote"]),
                    )
                    for s in orjson.loads(data)
                )
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None

    @property
    def hash(self) -> str:
        """sha256 (hex) of everything in it."""
        return hashlib.sha256(self.to_json()).hexdigest()


def marked_hash(entry: Entry) -> str:
    """An entry's content hash; a link whose text is a file's content is not that file."""
    return _LINK + entry.hash if entry.kind is EntryKind.SYMLINK else entry.hash


def entry_hash(tree: Tree, path: str) -> str | None:
    """The marked hash of what is at `path`, None when there is nothing."""
    if path in {"", "."}:
        return tree.hash
    entry = tree.entry(path)
    return marked_hash(entry) if entry else None


def _is_as_noted(tree: Tree, path: str, value: str) -> bool:
    if value not in {IS_FOLDER, IS_FILE}:
        return entry_hash(tree, path) == value
    entry = tree.entry(path)
    return entry is not None and entry.kind in (_FILES if value == IS_FILE else {EntryKind.FOLDER})


def _is_absent(tree: Tree, path: str) -> bool:
    """Whether nothing is found at `path`, also by following a link on the way to it."""
    if tree.entry(path) is not None:
        return False
    above = path.rpartition("/")[0]
    while above:
        entry = tree.entry(above)
        if entry is not None:
            return entry.kind is not EntryKind.SYMLINK
        above = above.rpartition("/")[0]
    return True


def listing_hash(tree: Tree, path: str, *, every: bool = False) -> str | None:
    """A hash over the names and kinds of a folder's entries; None when it is no folder.

    Without `every` only names count by which a renderer can choose: a README beside the objects is no input.
    """
    try:
        entries = tree.folder(path)
    except KeyError:
        return None
    text = "\n".join(f"{'file' if e.kind in _FILES else e.kind}\t{e.name}" for e in entries if every or _can_matter(e))
    return (_EVERY if every else "") + hashlib.sha256(text.encode()).hexdigest()


def is_every(listing: str) -> bool:
    """Whether all names of a folder went into this hash."""
    return listing.startswith(_EVERY)


def _can_matter(entry: Entry) -> bool:
    if entry.kind in _FILES and not entry.name.endswith(_NAMED):
        return False
    return not entry.name.startswith(".") or entry.name.endswith(".jsonnet")
