"""What rendering needs of others: the target's ConfigMaps and Secrets, what is elsewhere, and a place to keep results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from taut.model.snapshot import Snapshot, Tree

type Allowed = Callable[[str], bool]
"""Whether the project lists this URL."""


class TargetReader(Protocol):
    """Reads the target."""

    async def read(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        """The decoded data of a ConfigMap or Secret; None when there is none. Raises TargetError when it cannot be told."""
        ...


class Fetcher(Protocol):
    """Fetches what a source refers to."""

    async def with_dependencies(self, tree: Tree, path: str, allowed: Allowed) -> Tree:
        """The tree with the dependencies of the chart at `path` in its `charts/`. Raises SourceError, also for what is not allowed."""
        ...

    async def remote_base(self, url: str, allowed: Allowed) -> tuple[Snapshot, str]:
        """The snapshot that a kustomize reference names and the path in it. Raises SourceError, also for what is not allowed."""
        ...


class Cache(Protocol):
    """Keeps results; they are sealed at rest by whoever implements it."""

    def get(self, key: str) -> bytes | None:
        """What was put, None when there is nothing."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Keep `value`."""
        ...


class NoCache:
    """Keeps nothing: for one render by hand."""

    def get(self, key: str) -> bytes | None:
        """Nothing."""
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep nothing."""
