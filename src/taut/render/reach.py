"""Looking into a tree while writing down what was looked at: the closed directory and the closure are made of these notes.

Symbolic links are followed here, component by component, and never leave the repository.
"""

from __future__ import annotations

import math
import posixpath
import time
from dataclasses import dataclass, field

from taut.model.errors import BadInput, RenderError, Where
from taut.model.snapshot import Entry, EntryKind, Tree
from taut.prison.limits import Limits
from taut.render.closure import IS_FILE, IS_FOLDER, SourceClosure, is_every, listing_hash, marked_hash
from taut.render.decryption import MARK, Decryption
from taut.render.wire import InFile, InLink

_MAX_LINKS = 40
_LONGEST_PATH = 4096
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What is at a path after all links are followed. `path` is the real one."""

    path: str
    entry: Entry | None
    """None for the root."""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.entry is None or self.entry.kind is EntryKind.FOLDER

    @property
    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.entry is not None and self.entry.kind in {EntryKind.FILE, EntryKind.EXECUTABLE}


def normal(path: str) -> str:
    """A path in the form that trees use: relative, without `.`; the root is the empty text. `..` at its start is kept."""
    clean = posixpath.normpath(path.lstrip("/") or ".")
    return "" if clean == "." else clean


def join(folder: str, reference: str) -> str:
    """Where `reference`, written in `folder`, points to."""
    return normal(posixpath.join(folder or ".", reference))


def leaves(path: str) -> bool:
    """Whether a path as `normal` and `join` give it is outside of the repository."""
    return path == ".." or path.startswith("../")


@dataclass
class Reach:
    """A tree, and the notes on what was seen in it. `repository` is named in errors."""

    tree: Tree
    repository: str = ""
    limits: Limits = field(default_factory=Limits)
    until: float = math.inf
    """When reading has to be over, by the monotonic clock."""
    decryption: Decryption | None = None
    """What opens encrypted files as they are taken; None: they stay as they are."""
    _files: dict[str, Entry] = field(default_factory=dict[str, Entry])
    _links: dict[str, Entry] = field(default_factory=dict[str, Entry])
    _absent: set[str] = field(default_factory=set[str])
    _folders: dict[str, str] = field(default_factory=dict[str, str])
    _listings: dict[str, str] = field(default_factory=dict[str, str])
    _remote: dict[str, str] = field(default_factory=dict[str, str])
    _seen: dict[str, str] = field(default_factory=dict[str, str])
    _content: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _bytes: int = 0
    _entered: int = 0

    def find(self, path: str) -> Found | None:
        """What is at `path`, links followed; None (and noted as absent) when there is nothing.

        Raises RenderError for a link that leaves the repository, and for a path that does.
        """
        if len(path) > _LONGEST_PATH:
            raise RenderError(
                f"the path has {len(path)} characters, more than {_LONGEST_PATH}",
                where=self._where(path[:100] + "…"),
                advice="no system has such paths",
            )
        pending = [part for part in normal(path).split("/") if part]
        at: list[str] = []
        entry: Entry | None = None
        links = 0
        while pending:
            part = pending.pop(0)
            if part == "..":
                if not at:
                    raise RenderError(
                        "the path leaves the repository",
                        where=self._where(path),
                        advice="refer to files of the repository only",
                    )
                at.pop()
                entry = self.tree.entry("/".join(at)) if at else None
                continue
            here = "/".join([*at, part])
            entry = self.tree.entry(here)
            if entry is None:
                # A folder that is missing may come without what was looked for in it.
                self._absent.add(here if ".." in pending else "/".join([here, *pending]))
                return None
            if entry.kind is EntryKind.SYMLINK:
                links += 1
                at, pending = self._follow(here, entry, at, pending, links)
                entry = self.tree.entry("/".join(at)) if at else None
                continue
            at.append(part)
        if entry is not None and entry.kind is EntryKind.SUBMODULE:
            self._files["/".join(at)] = entry
            raise RenderError(
                "this is a submodule", where=self._where("/".join(at)), advice="set submodules: true on the source"
            )
        found = Found("/".join(at), entry)
        if entry is not None:
            self._seen[found.path] = IS_FOLDER if found.is_folder else IS_FILE
        return found

    def _follow(
        self, here: str, entry: Entry, at: list[str], pending: list[str], links: int
    ) -> tuple[list[str], list[str]]:
        self._links[here] = entry
        if links > _MAX_LINKS:
            raise RenderError(
                "the symbolic links lead in a circle",
                where=self._where(here),
                advice="replace one of them by a file",
            )
        size = self.tree.size(here)
        if size > _LONGEST_PATH:
            raise RenderError(
                f"the symbolic link has {size} bytes, more than {_LONGEST_PATH}: no system has such links",
                where=self._where(here),
                advice="replace the link by a file",
            )
        target = self.tree.read(here).decode(errors="replace")
        joined = posixpath.normpath(posixpath.join("/".join(at) or ".", target))
        if target.startswith("/") or joined == ".." or joined.startswith("../"):
            raise RenderError(
                f"the symbolic link leaves the repository (it points to {target[:200]!r})",
                where=self._where(here),
                advice="replace the link by a file, or point it to something in the repository",
            )
        return list(at), [part for part in target.split("/") if part not in {"", "."}] + pending

    def _where(self, path: str) -> Where:
        return Where(repository=self.repository, file=path)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at `path`."""
        found = self.find(path)
        return found is not None and found.is_folder

    def take(self, path: str) -> bytes | None:
        """The content of the file at `path`, which becomes an input; None when there is no file. An encrypted one comes out plain.

        Raises RenderError as `find`, for a file that no key opens, and BadInput for its size.
        """
        found = self.find(path)
        if found is None or not found.is_file or found.entry is None:
            return None
        data = self._take(found.path, found.entry)
        if self.decryption is not None:
            self.decryption.demand(self.repository, found.path)
        return data

    def _take(self, path: str, entry: Entry, *, optional: bool = False) -> bytes:
        self._files[path] = entry  # also when it is refused: another file in its place may be taken
        self._in_time(path)
        if path not in self._content:
            size = self.tree.size(path)
            if size > self.limits.file_bytes:
                raise BadInput(
                    f"the file has {size} bytes, more than {self.limits.file_bytes}",
                    where=self._where(path),
                    advice="exclude it, or split it",
                )
            self._bytes += size
            if self._bytes > self.limits.input_bytes or len(self._content) >= self.limits.input_files:
                raise BadInput(
                    "there is more below this folder than a render may read",
                    where=self._where(posixpath.dirname(path)),
                    advice="name a smaller folder as the path, or exclude some",
                )
            data = self.tree.read(path)
            if self.decryption is not None and MARK in data:
                data = self.decryption.read(data, self.repository, path, optional=optional)
            self._content[path] = data
        return self._content[path]

    def listing(self, path: str, *, every: bool = False) -> tuple[Entry, ...]:
        """The entries of the folder at `path`, whose names become an input (with `every` all of them, else those that
        can matter to a renderer: see `listing_hash`); empty when there is none.
        """
        found = self.find(path)
        if found is None or not found.is_folder:
            return ()
        self._enter(found.path)
        if not is_every(self._listings.get(found.path, "")):
            self._listings[found.path] = listing_hash(self.tree, found.path, every=every) or ""
        return self.tree.folder(found.path)

    def take_folder(self, path: str) -> int:
        """Make everything below the folder at `path` an input, links and what they point at too. Returns the number of files."""
        found = self.find(path)
        if found is None or not found.is_folder:
            return 0
        self._folders[found.path] = found.entry.hash if found.entry else self.tree.hash
        before = len(self._content)
        self._walk(found.path, (found.path,))
        return len(self._content) - before

    def _in_time(self, path: str) -> None:
        """What is read here is parsed in between, and nobody can kill a thread that takes too long."""
        if time.monotonic() > self.until:
            raise RenderError(
                f"reading the inputs took longer than {self.limits.wall_seconds:g} s",
                where=self._where(path),
                advice="name a smaller folder as the path, or exclude some",
            )

    def _enter(self, folder: str) -> None:
        """Count a folder: ten folders that each hold the next one ten times are small in Git, and endless when walked."""
        self._entered += 1
        if self._entered > self.limits.input_files or folder.count("/") > _MAX_DEPTH:
            raise BadInput(
                "there are more folders below this one, or deeper ones, than a render may read",
                where=self._where("/".join(folder.split("/")[:3])),
                advice="name a smaller folder as the path, or exclude some",
            )

    def _walk(self, folder: str, above: tuple[str, ...]) -> None:
        self._enter(folder)
        for entry in self.tree.folder(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.kind is EntryKind.FOLDER:
                self._walk(path, (*above, path))
            elif entry.kind is EntryKind.SYMLINK:
                self._walk_link(path, above)
            elif entry.kind is not EntryKind.SUBMODULE:
                self._take(path, entry, optional=True)

    def _walk_link(self, path: str, above: tuple[str, ...]) -> None:
        found = self.find(path)
        if found is None:
            return
        if found.is_file and found.entry is not None:
            self._take(found.path, found.entry, optional=True)
        elif not found.is_folder:
            return
        elif found.path in above or any(a.startswith(found.path + "/") for a in above) or not found.path:
            raise RenderError(
                "the symbolic link leads in a circle",
                where=self._where(path),
                advice="point it to a folder that does not hold it",
            )
        else:
            self._folders[found.path] = found.entry.hash if found.entry else self.tree.hash
            self._walk(found.path, (*above, found.path))

    def remember(self, what: str, revision: str) -> None:
        """Note that something came from elsewhere, at this revision."""
        self._remote[what] = revision

    def closure(self) -> SourceClosure:
        """The notes."""
        whole = tuple(f + "/" if f else "" for f in self._folders)
        inputs = {p: marked_hash(e) for p, e in (self._files | self._links).items()}
        seen = self._only_seen([*inputs, *self._folders, *self._listings])
        return SourceClosure(
            {p: value for p, value in (seen | inputs).items() if not p.startswith(whole)},
            frozenset(self._absent),
            dict(self._folders),
            dict(self._listings),
            dict(self._remote),
        )

    def _only_seen(self, noted: list[str]) -> dict[str, str]:
        """What was found and then neither read nor listed: a folder where a file was looked for, or the other way round."""
        known = set(noted)
        for path in noted:
            while path and (path := path.rpartition("/")[0]) not in known:
                known.add(path)
        return {p: what for p, what in self._seen.items() if p not in known}

    def files(self, prefix: str = "") -> list[InFile]:
        """What was taken, to be laid into a closed directory below `prefix`."""
        return [
            InFile(prefix + path, data, self._files[path].kind is EntryKind.EXECUTABLE)
            for path, data in sorted(self._content.items())
        ]

    def links(self, prefix: str = "") -> list[InLink]:
        """The links that were followed."""
        return [InLink(prefix + path, self.tree.read(path).decode(errors="replace")) for path in sorted(self._links)]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the files taken so far."""
        return tuple(self._content)

    def has(self, path: str) -> bool:
        """Whether the file at `path` was taken."""
        return path in self._content
