"""A folder of files as a snapshot, an engine, and a worker that runs a probe inside the prison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from taut.model.snapshot import Snapshot
from taut.prison.limits import Limits
from taut.render.engine import RenderEngine
from taut.render.worktree import snapshot

type Plant = Callable[..., Snapshot]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Write files (path → text or bytes) and links (path → target) into a repository; returns a snapshot of it as it is now."""

    def write(
        files: Mapping[str, str | bytes],
        links: Mapping[str, str] | None = None,
        *,
        remove: tuple[str, ...] = (),
        name: str = "repository",
    ) -> Snapshot:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for path in remove:
            (root / path).unlink()
        for path, content in files.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        for path, to in (links or {}).items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(to)
        return snapshot(root)

    return write


class Memory:
    """A cache in memory that counts."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def put(self, key: str, value: bytes) -> None:
        self.values[key] = value


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
async def engine(memory: Memory) -> AsyncIterator[RenderEngine]:
    async with RenderEngine(cache=memory, workers=1, secret=b"k" * 32, limits=Limits(wall_seconds=30)) as made:
        yield made
