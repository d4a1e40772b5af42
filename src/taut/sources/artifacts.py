"""Charts and artifacts, kept as trees in one bare repository and found again by address and revision."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pygit2

from taut.sources.archive import UnpackedFile
from taut.sources.tree import GitTree, create_store

_KEPT = "refs/taut/artifacts/"


class ArtifactStore:
    """Trees by key. Blocking; any thread."""

    def __init__(self, path: Path, *, alone: bool = False) -> None:
        self._store = create_store(path, alone=alone)

    def recall(self, *key: str) -> GitTree | None:
        """The tree that was kept under a key, None when there is none."""
        references = self._store.repository().references
        found = references.get(_name(key))
        oid = str(found.target) if found else ""
        return GitTree(self._store, oid) if oid and self._store.exists(oid) else None

    def keep(self, files: Mapping[str, UnpackedFile], *key: str) -> GitTree:
        """Write files, and keep their tree under a key (in place of an older one)."""
        tree = GitTree(self._store, self._store.write(files))
        self.keep_tree(tree, *key)
        return tree

    def keep_tree(self, tree: GitTree, *key: str) -> None:
        """Keep a tree of this store under one more key. What has the same content has the same tree."""
        self._store.repository().references.create(_name(key), pygit2.Oid(hex=tree.hash), force=True)


def _name(key: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()
    return f"{_KEPT}{digest[:2]}/{digest[2:]}"
