"""Which applications a move concerns, when several repositories move and applications read from more than one."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from taut.controller.triggers import SourceWatch
from taut.model.application import Source
from taut.model.refs import AppKey
from taut.model.snapshot import Entry, EntryKind, Revision, Snapshot
from taut.render.closure import Closure, SourceClosure
from taut.sources.touched import Touched

ONE, TWO = "https://git.example.com/one", "https://git.example.com/two"


class Files:
    """A tree of a few files: path → content hash."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self.hash = repr(sorted(files.items()))

    def entry(self, path: str) -> Entry | None:
        return Entry(path, EntryKind.FILE, self.files[path]) if path in self.files else None


def snapshot(url: str, commit: str, **files: str) -> Snapshot:
    return Snapshot(url, Revision(commit, commit), cast("Any", Files(files)))


@dataclass
class Repositories:
    """Where each repository is now."""

    now: dict[str, Snapshot]

    async def resolve(self, source: Source, *, fetch: bool) -> Snapshot:
        return self.now[source.url]

    def touched(self, old: Snapshot, new: Snapshot) -> Touched:
        before, after = cast("Files", old.tree).files, cast("Files", new.tree).files
        differ = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        return Touched(frozenset({*differ, ""}), folders=False)


def state(name: str, snapshots: tuple[Snapshot, ...], *files: dict[str, str]) -> Any:
    """An application that read these files of its sources."""
    desired = SimpleNamespace(snapshots=snapshots, closure=Closure(tuple(SourceClosure(f) for f in files)))
    spec = SimpleNamespace(all_sources=tuple(Source(git=s.url) for s in snapshots), project="default")
    return SimpleNamespace(
        key=AppKey("root", "", name),
        app=SimpleNamespace(spec=spec),
        desired=desired,
        stale=False,
        removed=False,
        judged=None,
        failed=None,
        marks=0,
    )


@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE)])
async def test_two_repositories_that_move_at_once_are_each_looked_at(order: tuple[str, str]) -> None:
    """`both` reads from one and two, `single` only from two: a look at one says nothing of what `single` reads."""
    one = [snapshot(ONE, "x0", a="1"), snapshot(ONE, "x1", a="1", other="1")]
    two = [
        snapshot(TWO, "y0", b="1", z="1"),
        snapshot(TWO, "y1", b="1", z="2"),
        snapshot(TWO, "y2", b="2", z="2"),
    ]
    places = Repositories({ONE: one[0], TWO: two[0]})
    both = state("both", (one[0], two[0]), {"a": "1"}, {})
    single = state("single", (two[0],), {"b": "1"})
    rules = SimpleNamespace(spec=SimpleNamespace(signatures=SimpleNamespace(require="none")))
    fleet = SimpleNamespace(
        states={both.key: both, single.key: single}, barred=lambda _: None, project_of=lambda _: rules
    )
    watch = SourceWatch(cast("Any", places), cast("Any", fleet), cast("Any", None), cast("Any", None))
    assert await watch.changed(ONE) == []
    assert await watch.changed(TWO) == []
    places.now[TWO] = two[1]
    assert await watch.changed(TWO) == [], "what nobody reads"
    places.now |= {ONE: one[1], TWO: two[2]}
    found = {url: [s.key.name for s in await watch.changed(url)] for url in order}
    assert found == {ONE: [], TWO: ["single"]}
