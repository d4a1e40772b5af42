"""A tree in memory: what a repository holds, without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from taut.model.snapshot import Entry, EntryKind


class MemoryTree:
    """The `Tree` protocol over a mapping of paths to content; a text is a symbolic link's target."""

    def __init__(self, files: Mapping[str, bytes | str]) -> None:
        self._files = dict(files)
        self._folders: dict[str, set[str]] = {"": set()}
        for path in files:
            parts = path.split("/")
            for at, part in enumerate(parts):
                self._folders.setdefault("/".join(parts[:at]), set()).add(part)

    @property
    def hash(self) -> str:
        return hashlib.sha256(repr(sorted(self._files.items())).encode()).hexdigest()

    def entry(self, path: str) -> Entry | None:
        path = path.strip("/")
        name = path.rpartition("/")[2]
        content = self._files.get(path)
        if content is None:
            return Entry(name, EntryKind.FOLDER, self.hash + path) if path in self._folders else None
        kind = EntryKind.SYMLINK if isinstance(content, str) else EntryKind.FILE
        return Entry(name, kind, hashlib.sha256(_bytes(content)).hexdigest())

    def read(self, path: str) -> bytes:
        return _bytes(self._files[path.strip("/")])

    def size(self, path: str) -> int:
        return len(self.read(path))

    def folder(self, path: str) -> tuple[Entry, ...]:
        base = path.strip("/")
        names = sorted(self._folders[base])
        found = (self.entry(f"{base}/{name}" if base else name) for name in names)
        return tuple(entry for entry in found if entry is not None)

    def walk(self, path: str) -> Iterator[tuple[str, Entry]]:
        base = path.strip("/")
        for name in sorted(self._files):
            entry = self.entry(name)
            if entry is not None and (not base or name.startswith(base + "/")):
                yield name, entry


def _bytes(content: bytes | str) -> bytes:
    return content.encode(errors="surrogatepass") if isinstance(content, str) else content
