"""The last good render of every application, sealed in the cache of renders.

When Git cannot be read, or holds what does not render, the last good state keeps running and keeps being healed. While taut runs it
has that state in memory; after a restart it is found here. Losing it costs the healing until the fault is mended, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from taut.model.application import Application
from taut.model.manifests import Manifest, Origin
from taut.model.snapshot import Entry, Revision, Snapshot
from taut.render.closure import Closure
from taut.render.engine import RandomField, Rendered
from taut.render.protocols import Cache
from taut.sources.tree import GitTree


class _Source(msgspec.Struct, frozen=True, array_like=True):
    url: str
    tree: str
    id: str
    label: str
    author: str
    message: str
    time: float


class _Head(msgspec.Struct, frozen=True):
    """What tells one render from another."""

    target: tuple[str, str] = ("", "")
    key: str = ""
    identity: str = ""


class _Kept(msgspec.Struct, frozen=True):
    """`target` is the cluster and the namespace: a render for another one is none for this."""

    target: tuple[str, str]
    key: str
    closure: bytes
    sources: list[_Source]
    manifests: list[tuple[dict[str, object], str, str, int, tuple[tuple[str, ...], ...]]]
    warnings: tuple[str, ...] = ()
    random: tuple[tuple[str, str], ...] = ()
    identity: str = ""
    """What decides the render besides its closure (`RenderEngine.identity`); empty when it also reads what neither of them tells."""
    decryption: str = ""
    """`Rendered.decryption`."""


@dataclass(frozen=True, slots=True)
class AwayTree:
    """A tree that is known by its hash alone: the source that holds it is away, and nothing reads it."""

    hash: str

    def entry(self, path: str) -> Entry | None:
        """Nothing is known to be there."""
        return None

    def read(self, path: str) -> bytes:
        """Raises KeyError."""
        raise KeyError(path)

    def size(self, path: str) -> int:
        """Raises KeyError."""
        raise KeyError(path)

    def folder(self, path: str) -> tuple[Entry, ...]:
        """Raises KeyError."""
        raise KeyError(path)

    def walk(self, path: str) -> Iterator[tuple[str, Entry]]:
        """Nothing."""
        yield from ()


class KeptRenders:
    """Remembers one render for each application: the last one that was good."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._remembered: dict[str, _Head] = {}

    def remember(self, app: Application, rendered: Rendered, snapshots: tuple[Snapshot, ...], identity: str) -> None:
        """Keep a render, unless it is the one that was kept last. `identity` is `RenderEngine.identity`."""
        elsewhere = rendered.capabilities or rendered.target_reads or any(c.remote for c in rendered.closure.sources)
        identity = "" if elsewhere else identity
        target = (app.spec.target.cluster, app.spec.target.namespace)
        name = str(app.key)
        if name not in self._remembered:
            self._remembered[name] = self._kept_last(name)
        head = _Head(target, rendered.key, identity)
        if self._remembered[name] == head:
            return
        kept = _Kept(
            target=target,
            key=rendered.key,
            closure=rendered.closure.to_json(),
            sources=[_source(s) for s in snapshots],
            manifests=[
                (m.body, m.origin.source, m.origin.file, m.origin.line, m.origin.secret) for m in rendered.manifests
            ],
            warnings=rendered.warnings,
            random=tuple((r.object, r.path) for r in rendered.random),
            identity=identity,
            decryption=rendered.decryption,
        )
        self._cache.put(_place(name), msgspec.msgpack.encode(kept))
        self._remembered[name] = head

    def _kept_last(self, name: str) -> _Head:
        """What an earlier process kept: a start in sync writes nothing."""
        data = self._cache.get(_place(name))
        try:
            return msgspec.msgpack.decode(data, type=_Head) if data is not None else _Head()
        except msgspec.MsgspecError:
            return _Head()

    def recall(self, app: Application) -> tuple[Rendered, list[Snapshot]] | None:
        """The last good render for the application's target, with the snapshots that it came from; None when there is none."""
        kept = self._read(app)
        if kept is None:
            return None
        return _rendered(kept, Closure.from_json(kept.closure) or Closure()), [_snapshot(s) for s in kept.sources]

    def recall_same(
        self, app: Application, identity: str, snapshots: Sequence[Snapshot], keys: str = ""
    ) -> Rendered | None:
        """The last good render, if rendering these snapshots now would read and give just the same; None when that is not known.

        `keys` stands for the keys that encrypted files would be opened with.
        """
        kept = self._read(app)
        if kept is None or not kept.identity or kept.identity != identity or kept.decryption not in ("", keys):
            return None
        closure = Closure.from_json(kept.closure)
        if closure is None or not (
            _untouched(kept, closure, snapshots) or closure.same_in([s.tree for s in snapshots])
        ):
            return None
        self._remembered[str(app.key)] = _Head(kept.target, kept.key, kept.identity)
        return _rendered(kept, closure)

    def _read(self, app: Application) -> _Kept | None:
        data = self._cache.get(_place(str(app.key)))
        try:
            kept = msgspec.msgpack.decode(data, type=_Kept) if data is not None else None
        except msgspec.MsgspecError:
            return None
        if kept is None or kept.target != (app.spec.target.cluster, app.spec.target.namespace) or not kept.sources:
            return None
        return kept


def _untouched(kept: _Kept, closure: Closure, snapshots: Sequence[Snapshot]) -> bool:
    """Whether nothing that was looked at lies between the trees of then and now: quicker to tell, for whole fleets read the same two trees."""
    if not len(kept.sources) == len(closure.sources) == len(snapshots):
        return False
    for then, inputs, now in zip(kept.sources, closure.sources, snapshots, strict=True):
        touched = now.tree.touched_since(then.tree) if isinstance(now.tree, GitTree) and now.url == then.url else None
        if touched is None or not inputs.untouched(touched):
            return False
    return True


def _rendered(kept: _Kept, closure: Closure) -> Rendered:
    return Rendered(
        manifests=tuple(
            Manifest(body, Origin(source, file, line, secret)) for body, source, file, line, secret in kept.manifests
        ),
        key=kept.key,
        closure=closure,
        warnings=kept.warnings,
        cached=True,
        random=tuple(RandomField(ref, path) for ref, path in kept.random),
        decryption=kept.decryption,
    )


def _place(name: str) -> str:
    return f"last good render of {name}"


def _source(snapshot: Snapshot) -> _Source:
    r = snapshot.revision
    return _Source(snapshot.url, snapshot.tree.hash, r.id, r.label, r.author, r.message, r.time)


def _snapshot(source: _Source) -> Snapshot:
    revision = Revision(source.id, source.label, source.author, source.message, source.time)
    return Snapshot(source.url, revision, AwayTree(source.tree))
