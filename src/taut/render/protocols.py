"""What rendering needs of others: the target's ConfigMaps and Secrets, what is elsewhere, and a place to keep results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from taut.model.errors import RenderError
from taut.model.snapshot import Snapshot, Tree

type Allowed = Callable[[str], bool]
"""Whether the project lists this URL."""


class TargetReader(Protocol):
    """Reads the target."""

    async def read(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        """The decoded data of a ConfigMap or Secret; None when there is none. Raises TargetError when it cannot be told."""
        ...


class LockedError(RenderError):
    """A file that is encrypted, and no key is here that opens it. Another key may come: the render is worth another try."""


@dataclass(frozen=True)
class Opened:
    """A decrypted file. Both are secret, and live as long as one render does."""

    text: bytes = field(repr=False)
    values: tuple[str, ...] = field(repr=False)
    """Every value in it that was encrypted."""


class Decrypter(Protocol):
    """Opens encrypted files with the keys that one project may use."""

    def identity(self, seal: Callable[[bytes], str]) -> str:
        """What stands for these keys, made with `seal` (a keyed hash): other keys, another text."""
        ...

    def open(self, data: bytes, path: str) -> Opened | None:
        """The plain file; None when the file is not encrypted after all.

        Raises LockedError when no key fits, BadInput when the file is damaged; neither holds a value, nor the place.
        """
        ...


class Filled(Protocol):
    """A tree with a chart's dependencies in it."""

    @property
    def tree(self) -> Tree:
        """The tree."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What deserves a warning."""
        ...


class Base(Protocol):
    """A remote base: a folder or a file of a snapshot."""

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot."""
        ...

    @property
    def path(self) -> str:
        """Where in it."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What deserves a warning."""
        ...


class Fetcher(Protocol):
    """Fetches what a source refers to (`taut.sources.Sources` does)."""

    async def chart_with_dependencies(
        self, tree: Tree, path: str, *, allowed: Allowed, credentials: str | None = None
    ) -> Filled:
        """Fill `charts/` of the chart at `path`. Raises SourceError, also for what is not allowed."""
        ...

    async def remote_base(self, url: str, *, allowed: Allowed) -> Base:
        """What a kustomize reference names. Raises SourceError, also for what is not allowed."""
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
