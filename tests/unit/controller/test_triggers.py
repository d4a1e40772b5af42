"""Which applications a move concerns, when several repositories move and applications read from more than one."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.controller.state import AppState
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


def state(name: str, snapshots: tuple[Snapshot, ...], *files: dict[str, str], project: str = "default") -> AppState:
    """An application that read these files of its sources."""
    spec = SimpleNamespace(all_sources=tuple(Source(git=s.url) for s in snapshots), project=project)
    app = SimpleNamespace(key=AppKey("root", "", name), spec=spec)
    return AppState(cast("Any", app), cast("Any", None), desired=desired(snapshots, *files), stale=False)


def desired(snapshots: tuple[Snapshot, ...], *files: dict[str, str]) -> Any:
    return SimpleNamespace(snapshots=snapshots, closure=Closure(tuple(inputs(f) for f in files)))


def inputs(files: dict[str, str]) -> SourceClosure:
    """What was read, and what was looked for in vain (no content)."""
    return SourceClosure({p: c for p, c in files.items() if c}, frozenset(p for p, c in files.items() if not c))


def watch_of(
    places: Repositories, states: list[AppState], *, doubted: str = ""
) -> tuple[SourceWatch, dict[AppKey, AppState]]:
    """A watch of applications; in the project `doubted` every commit has to be signed."""

    def rules(state: AppState) -> Any:
        require = "all" if state.app.spec.project == doubted else "none"
        return SimpleNamespace(spec=SimpleNamespace(signatures=SimpleNamespace(require=require)))

    known = {s.key: s for s in states}
    fleet = SimpleNamespace(states=known, barred=lambda _: None, project_of=rules)
    return SourceWatch(cast("Any", places), cast("Any", fleet), cast("Any", None), cast("Any", None)), known


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
    watch, _ = watch_of(places, [both, single])
    assert await watch.changed(ONE) == []
    assert await watch.changed(TWO) == []
    places.now[TWO] = two[1]
    assert await watch.changed(TWO) == [], "what nobody reads"
    places.now |= {ONE: one[1], TWO: two[2]}
    found = {url: [s.key.name for s in await watch.changed(url)] for url in order}
    assert found == {ONE: [], TWO: ["single"]}


PATHS = ("a", "b", "c")
VALUES = st.sampled_from(("1", "2"))
FILES = st.dictionaries(st.sampled_from(PATHS), VALUES, max_size=3)
READS = st.lists(
    st.tuples(st.sampled_from((ONE, TWO)), st.sets(st.sampled_from(PATHS), max_size=2)), min_size=1, max_size=2
)
STEPS = st.one_of(
    st.tuples(st.just("commit"), st.sampled_from((ONE, TWO)), FILES),
    st.tuples(st.just("document"), st.integers(0, 3), READS),
    st.tuples(st.just("other"), st.integers(0, 3), st.just(())),
    st.tuples(st.just("gone"), st.integers(0, 3), st.just(())),
)


class Model:
    """Renders what it is told has changed, and knows by comparing everything what had to be."""

    def __init__(self, reads: list[list[tuple[str, set[str]]]]) -> None:
        self.now: dict[str, Snapshot] = {url: snapshot(url, "0", a="1", b="1") for url in (ONE, TWO)}
        self.reads = dict(enumerate(reads))
        self.states = [state(str(n), *self.rendered(n), project="signed" if n == 3 else "default") for n in self.reads]
        self.watch, self.known = watch_of(Repositories(self.now), self.states, doubted="signed")

    def rendered(self, n: int) -> tuple[Any, ...]:
        """An application's snapshots, and of each what it reads there."""
        found = [
            (self.now[url], {p: cast("Files", self.now[url].tree).files.get(p, "") for p in paths})
            for url, paths in self.reads[n]
        ]
        return (tuple(s for s, _ in found), *(files for _, files in found))

    def render(self, n: int) -> None:
        self.states[n].desired = desired(*self.rendered(n))
        self.states[n].stale = False

    def wanted(self, url: str) -> set[str]:
        """The names of those that read at an address, and would read something else, or are to be looked at in any case."""
        found: set[str] = set()
        for each in self.known.values():
            n = int(each.key.name)
            if url not in {u for u, _ in self.reads[n]}:
                continue
            same = cast("Any", each.desired).closure.sources == tuple(inputs(f) for f in self.rendered(n)[1:])
            if not same or n == 3:
                found.add(each.key.name)
        return found


@settings(max_examples=300, deadline=None)
@given(st.lists(READS, min_size=4, max_size=4), st.lists(STEPS, max_size=12))
async def test_the_paths_that_moved_tell_as_much_as_looking_at_everything(reads: Any, steps: Any) -> None:
    model = Model(reads)
    for kind, what, value in steps:
        match kind:
            case "commit":
                model.now[what] = snapshot(what, str(int(model.now[what].revision.id) + 1), **value)
                wanted = model.wanted(what)
                found = {s.key.name for s in await model.watch.changed(what)}
                assert found == wanted
                for name in found:
                    model.render(int(name))
            case "document":
                old = model.states[what]
                model.reads[what] = value
                old.app = state(str(what), *model.rendered(what), project=old.app.spec.project).app
                model.render(what)
            case "other":
                model.render(what)
            case _:
                model.known.pop(model.states[what].key, None)
