"""One source on its way to manifests: what the renderers are given, and what they give back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from taut.model.application import Source
from taut.model.errors import BadInput, RenderError, TautError, Where
from taut.model.live import Capabilities
from taut.model.manifests import Manifest, Origin
from taut.prison.limits import Limits
from taut.render.decryption import Decryption
from taut.render.keys import Keys
from taut.render.protocols import Allowed, Cache, Fetcher
from taut.render.reach import Reach
from taut.render.target_values import TargetValues
from taut.render.wire import Job, OutDocument, Reply

type Run = Callable[[Job], Awaitable[Reply]]


class Read(Protocol):
    """Runs what reads and parses a tree beside everything else: a repository may make that long."""

    async def __call__[T](self, work: Callable[[], T]) -> T:
        """What `work` returns or raises."""
        ...


class Raw(msgspec.Struct, frozen=True):
    """What a source gave, as it is kept: documents, warnings, and where a second run gave something else."""

    documents: list[OutDocument]
    warnings: list[str] = []
    random: list[tuple[int, str]] = []


@dataclass(frozen=True)
class SourceResult:
    """One source's manifests. `random` holds the number of a manifest and a path."""

    manifests: tuple[Manifest, ...]
    key: str
    warnings: tuple[str, ...] = ()
    cached: bool = False
    random: tuple[tuple[int, str], ...] = ()
    capabilities: bool = False


@dataclass(frozen=True)
class SourceContext:
    """A source with everything around it. `reach` is its tree, `others` the sources that have a name."""

    app: str
    namespace: str
    source: Source
    reach: Reach
    others: Mapping[str, Reach]
    capabilities: Capabilities
    allowed: Allowed
    target: TargetValues
    fetcher: Fetcher | None
    cache: Cache
    keys: Keys
    limits: Limits
    run: Run
    read: Read
    decryption: Decryption

    async def kept(self, key: str, make: Callable[[], Awaitable[Raw]]) -> SourceResult:
        """The result for `key`: from the cache, or made now and kept."""
        data = self.cache.get(key)
        raw = _decode(data) if data is not None else None
        cached = raw is not None
        if raw is None:
            raw = await make()
            self.cache.put(key, msgspec.msgpack.encode(raw))
        url = self.reach.repository
        manifests = tuple(Manifest(d.body, Origin(url, d.file, d.line)) for d in raw.documents)
        return SourceResult(manifests, key, tuple(raw.warnings), cached, tuple(raw.random))

    async def done(self, job: Job) -> Reply:
        """Have a worker do a job. Raises what it says went wrong, with the place in this source."""
        reply = await self.run(job)
        if reply.error:
            raise self.error(reply)
        return reply

    def error(self, reply: Reply) -> TautError:
        """A reply's error, as one of this source."""
        kind = BadInput if reply.bad_input else RenderError
        return kind(
            self.target.masked(reply.error),
            where=Where(repository=self.reach.repository, file=reply.file, line=reply.line),
            advice=reply.advice or "correct it in Git; taut render shows the same before a push",
        )


def _decode(data: bytes) -> Raw | None:
    """What was kept; None when it cannot be read (then it is made again)."""
    try:
        return msgspec.msgpack.decode(data, type=Raw)
    except msgspec.MsgspecError:
        return None
