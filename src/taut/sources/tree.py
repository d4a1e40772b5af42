"""Trees of files as Git keeps them: one implementation of `Tree` for commits, charts and artifacts alike."""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from taut.model.errors import SourceError, Where
from taut.model.snapshot import Entry, EntryKind
from taut.sources.archive import UnpackedFile
from taut.sources.folder_pair import Folders
from taut.sources.touched import Touched, touched

_MODES = {
    EntryKind.FILE: FileMode.BLOB,
    EntryKind.EXECUTABLE: FileMode.BLOB_EXECUTABLE,
    EntryKind.SYMLINK: FileMode.LINK,
    EntryKind.FOLDER: FileMode.TREE,
    EntryKind.SUBMODULE: FileMode.COMMIT,
}
_FILES = frozenset({EntryKind.FILE, EntryKind.EXECUTABLE, EntryKind.SYMLINK})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNSEEN = frozenset({"Cc", "Zl", "Zp"})
_DEEPEST = 100
_MOST_FILES = 1_000_000
_MOST_FOLDERS = 200_000
"""Ten folders that each name the next one ten times are small in Git and endless when walked."""
_KEPT, _FOLDERS_KEPT = 1024, 8
_LARGE = 128
"""Folders with more entries are searched, not read as a whole."""
_TREES = "refs/taut/trees/"


class ObjectStore:
    """A bare repository's objects, readable from any thread.

    libgit2's repositories are not safe to share between threads, so every thread opens its own; folders, being immutable, are cached for all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self.entries = lru_cache(maxsize=_KEPT)(self._entries)
        self.index = lru_cache(maxsize=_KEPT)(self._index)
        self.child = lru_cache(maxsize=4 * _KEPT)(self._child)
        self._read = Folders()
        self.touched = lru_cache(maxsize=16)(self._touched)
        self._folders: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._folders_lock = threading.Lock()

    def repository(self) -> pygit2.Repository:
        """This thread's repository."""
        found: pygit2.Repository | None = getattr(self._local, "repository", None)
        if found is None:
            found = pygit2.Repository(str(self.path))
            self._local.repository = found
        return found

    def folder_paths(self, oid: str) -> tuple[str, ...]:
        """All folders below a tree, parents before children, in name order. Another tree with the same folders gives the same tuple, and
        is found to do so at the cost of what differs. Raises SourceError when there are too many, KeyError when the tree is not here.
        """
        with self._folders_lock:
            found = self._folders.get(oid)
            if found is None:
                near = next(reversed(self._folders), "")
                differs = self.touched(near, oid) if near else None
                same = differs is not None and not differs.folders
                found = self._folders[oid] = self._folders[near] if same else self._folder_paths(oid)
                while len(self._folders) > _FOLDERS_KEPT:
                    self._folders.popitem(last=False)
            return found

    def exists(self, oid: str) -> bool:
        """Whether the object is here."""
        try:
            return pygit2.Oid(hex=oid) in self.repository().odb
        except ValueError:
            return False

    def content(self, oid: str) -> bytes:
        """A blob's content. Raises KeyError when it is not here."""
        kind, data = self.repository().odb.read(oid)
        if kind != ObjectType.BLOB:
            raise KeyError(oid)
        return data

    def size(self, oid: str) -> int:
        """A blob's size, from its header alone. Raises KeyError when it is not here."""
        return self.repository().odb.read_header(oid)[1]

    def write(self, files: Mapping[str, UnpackedFile]) -> str:
        """Write files (paths as `archive.safe_path` gives them) and the folders around them; the tree's hash comes back."""
        odb = self.repository().odb
        entries = {
            path: Entry(
                path.rpartition("/")[2],
                EntryKind.EXECUTABLE if file.executable else EntryKind.FILE,
                str(odb.write(ObjectType.BLOB, file.content)),
            )
            for path, file in files.items()
        }
        return self.graft(None, entries)

    def graft(self, base: str | None, entries: Mapping[str, Entry]) -> str:
        """The tree `base` (None: an empty one) with entries put in at paths, over what was there. Folders are made as needed."""
        here: dict[str, Entry] = {path: entry for path, entry in entries.items() if "/" not in path}
        below: dict[str, dict[str, Entry]] = {}
        for path, entry in entries.items():
            head, slash, rest = path.partition("/")
            if slash:
                below.setdefault(head, {})[rest] = entry
        merged = {entry.name: entry for entry in self.entries(base)} if base else {}
        for name, inner in below.items():
            old = here.get(name) or merged.get(name)
            deeper = self.graft(old.hash if old and old.kind is EntryKind.FOLDER else None, inner)
            merged[name] = Entry(name, EntryKind.FOLDER, deeper)
            here.pop(name, None)
        merged |= here
        builder = self.repository().TreeBuilder()
        for name, entry in merged.items():
            builder.insert(name, entry.hash, _MODES[entry.kind])
        return str(builder.write())

    def keep(self, oid: str) -> None:
        """Hold a tree that no commit refers to, so that no clean-up takes it."""
        name = _TREES + oid
        repository = self.repository()
        if name not in repository.references:
            repository.references.create(name, pygit2.Oid(hex=oid), force=True)

    def copy_tree(self, source: ObjectStore, oid: str) -> None:
        """Bring a tree and all that is in it from another store; what is here already is not read again."""
        if self.exists(oid) or source.path == self.path:
            return
        theirs, ours = source.repository().odb, self.repository().odb
        for entry in source.entries(oid):
            if entry.kind is EntryKind.FOLDER:
                self.copy_tree(source, entry.hash)
            elif entry.kind is not EntryKind.SUBMODULE and not self.exists(entry.hash):
                ours.write(ObjectType.BLOB, theirs.read(entry.hash)[1])
        # The folder comes last: one that is here is here with everything below it.
        ours.write(ObjectType.TREE, theirs.read(oid)[1])

    def _entries(self, oid: str) -> tuple[Entry, ...]:
        tree = self.repository()[oid]
        if not isinstance(tree, pygit2.Tree):
            raise KeyError(oid)
        found = [Entry(_name(item.raw_name), _kind(item.filemode), str(item.id)) for item in tree]
        if len({entry.name for entry in found}) != len(found):
            raise SourceError(
                "the repository holds a folder with two entries of one name", advice="write the folder anew with Git"
            )
        return tuple(sorted(found, key=lambda entry: entry.name))

    def _touched(self, old: str, new: str) -> Touched | None:
        return touched(self.repository(), self._read, old, new)

    def _child(self, oid: str, name: str) -> Entry | None:
        """What a folder has of that name. A large folder is not gone through: every commit below it makes a new one."""
        tree = self._last_large(oid)
        if tree is None:
            return self.index(oid).get(name)
        try:
            found = tree[name]
        except KeyError:
            return None
        return Entry(_name(found.raw_name), _kind(found.filemode), str(found.id))

    def _last_large(self, oid: str) -> pygit2.Tree | None:
        """A large folder; None when it is a small one. A fleet's applications lie in one large folder and are looked for one after the
        other: each thread keeps the last that it read, for reading it takes as long as it has entries.
        """
        if getattr(self._local, "large", ("", None))[0] == oid:
            return self._local.large[1]
        tree = self.repository()[oid]
        if not isinstance(tree, pygit2.Tree):
            raise KeyError(oid)
        if len(tree) <= _LARGE:
            return None
        self._local.large = (oid, tree)
        return tree

    def _index(self, oid: str) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries(oid)}

    def _folder_paths(self, oid: str) -> tuple[str, ...]:
        found = tuple(islice(self._folders_below(oid, "", 0), _MOST_FOLDERS + 1))
        if len(found) > _MOST_FOLDERS:
            raise SourceError(f"the repository holds more than {_MOST_FOLDERS} folders")
        return found

    def _folders_below(self, oid: str, prefix: str, depth: int) -> Iterator[str]:
        """Looks at folders alone, so that a file with a strange name elsewhere does not stop a search for folders."""
        if depth > _DEEPEST:
            raise SourceError(f"folders are nested more than {_DEEPEST} deep", where=Where(file=prefix[:200]))
        tree = self.repository()[oid]
        if not isinstance(tree, pygit2.Tree):
            raise KeyError(oid)
        inner = [(_name(item.raw_name), str(item.id)) for item in tree if item.filemode == FileMode.TREE]
        for name, below in sorted(inner):
            yield prefix + name
            yield from self._folders_below(below, f"{prefix}{name}/", depth + 1)


def _kind(mode: int) -> EntryKind:
    """Read a mode as Git does: by its type, and the owner's bit for execution (old versions wrote 0664)."""
    match mode & 0o170000:
        case 0o040000:
            return EntryKind.FOLDER
        case 0o120000:
            return EntryKind.SYMLINK
        case 0o160000:
            return EntryKind.SUBMODULE
        case _:
            return EntryKind.EXECUTABLE if mode & 0o100 else EntryKind.FILE


def _name(raw: bytes | None) -> str:
    """An entry's name, if it is one that may become a file. Git's own checks are not made when objects come over the wire."""
    try:
        name = (raw or b"").decode()
    except UnicodeDecodeError:
        raise SourceError(f"the repository holds a file whose name is not UTF-8: {raw!r}", advice="rename it") from None
    if name in {"", ".", ".."} or "/" in name or "\\" in name or name.lower().rstrip(". ") == ".git":
        raise SourceError(
            f"the repository holds an entry with a dangerous name: {name[:100]!r}",
            advice="remove it from the repository",
        )
    if (not name.isascii() and any(unicodedata.category(c) in _UNSEEN for c in name)) or _CONTROL.search(name):
        raise SourceError(
            f"the repository holds a file name with control characters: {name[:100]!r}", advice="rename it"
        )
    return name


class GitTree:
    """A `Tree` (taut.model.snapshot): the tree with hash `oid` in `store`. Equal hashes, equal content, in every store."""

    __slots__ = ("_oid", "store")

    def __init__(self, store: ObjectStore, oid: str) -> None:
        self.store = store
        self._oid = oid

    def __repr__(self) -> str:
        return f"GitTree({self._oid})"

    @property
    def hash(self) -> str:
        """The root's hash."""
        return self._oid

    def touched_since(self, oid: str) -> frozenset[str] | None:
        """The files that differ from those of another tree, and all folders above them; None when that is not known."""
        if oid == self._oid:
            return frozenset()
        try:
            found = self.store.touched(oid, self._oid)
        except KeyError:
            return None
        return found.paths if found is not None else None

    def entry(self, path: str) -> Entry | None:
        """The entry at `path`, None when there is none."""
        parts = _parts(path)
        current = Entry("", EntryKind.FOLDER, self._oid)
        for part in parts:
            if current.kind is not EntryKind.FOLDER:
                return None
            found = self.store.child(current.hash, part)
            if found is None:
                return None
            current = found
        return current

    def read(self, path: str) -> bytes:
        """The content of the file at `path`, or a link's target text. Raises KeyError when it is neither."""
        return self.store.content(self._file(path).hash)

    def size(self, path: str) -> int:
        """The size in bytes of the file at `path`, without reading it. Raises KeyError when it is no file."""
        return self.store.size(self._file(path).hash)

    def folder(self, path: str) -> tuple[Entry, ...]:
        """The entries of a folder in name order. Raises KeyError when it is no folder."""
        found = self.entry(path)
        if found is None or found.kind is not EntryKind.FOLDER:
            raise KeyError(path)
        return self.store.entries(found.hash)

    def walk(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Every file, link and submodule below `path`, with its path from the root, in name order. A `path` that is none of a folder gives nothing."""
        found = self.entry(path)
        if found is not None and found.kind is EntryKind.FOLDER:
            prefix = "/".join(_parts(path))
            for count, item in enumerate(self._below(found.hash, prefix + "/" if prefix else "", 0)):
                if count >= _MOST_FILES:
                    raise SourceError(f"there are more than {_MOST_FILES} files", where=Where(file=prefix))
                yield item

    def subtree(self, path: str) -> GitTree:
        """The folder at `path` as a tree of its own. Raises KeyError when it is no folder."""
        found = self.entry(path)
        if found is None or found.kind is not EntryKind.FOLDER:
            raise KeyError(path)
        return GitTree(self.store, found.hash)

    def _below(self, oid: str, prefix: str, depth: int) -> Iterator[tuple[str, Entry]]:
        if depth > _DEEPEST:
            raise SourceError(f"folders are nested more than {_DEEPEST} deep", where=Where(file=prefix[:200]))
        for entry in self.store.entries(oid):
            if entry.kind is EntryKind.FOLDER:
                yield from self._below(entry.hash, f"{prefix}{entry.name}/", depth + 1)
            else:
                yield prefix + entry.name, entry

    def _file(self, path: str) -> Entry:
        found = self.entry(path)
        if found is None or found.kind not in _FILES:
            raise KeyError(path)
        return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def create_store(path: Path, *, alone: bool = False) -> ObjectStore:
    """Open the bare repository at `path`, and make one where there is none (no templates, no hooks).

    With `alone` nobody else works in it, so that what a killed process left (locks, half a pack) is removed: it would stop every later write. One that cannot be opened any more (a disk that failed) is put aside, for what it holds can be fetched again.
    """
    if (path / "HEAD").exists():
        if alone:
            _remove_remains(path)
        try:
            pygit2.Repository(str(path)).lookup_reference("HEAD")
        except (pygit2.GitError, OSError, ValueError, KeyError) as error:
            if "own" in str(error):
                raise SourceError(
                    "taut's folder of sources belongs to another user", advice="give it to the user that taut runs as"
                ) from None
            path.rename(path.with_name(f"{path.name}.damaged-{time.time_ns()}"))
        else:
            return ObjectStore(path)
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    pygit2.init_repository(str(path), bare=True, initial_head="refs/heads/.none")
    return ObjectStore(path)


def remove_unfinished_packs(path: Path) -> int:
    """Remove what a download that was broken off has left; the size of the largest file comes back. Only for who downloads into this
    repository, one at a time."""
    largest = 0
    for file in (path / "objects" / "pack").glob("tmp_*"):
        largest = max(largest, file.stat().st_size)
        file.unlink(missing_ok=True)
    return largest


def _remove_remains(path: Path) -> None:
    for file in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock"), *(path / "objects").rglob("tmp_*")):
        file.unlink(missing_ok=True)
