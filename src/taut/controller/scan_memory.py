"""What was said of objects that run, kept sealed in the cache of renders: a restart judges nothing that did not change.

In memory there are a few words an object; what policies said in full is read again when a report is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from taut.model.refs import ObjectRef
from taut.model.verdict import Verdict
from taut.prison.serving import packed
from taut.render.protocols import Cache


class Judged(msgspec.Struct, frozen=True, array_like=True):
    """What was said of one object: at this `version` with this `content` (a hash), by what `key` stands for. `at` is Unix seconds.

    `looked`: it may be something else later, for something besides the object was looked up.
    """

    uid: str
    version: str
    content: str
    key: str
    at: float
    looked: bool
    verdicts: tuple[Verdict, ...]


class ScanMemory:
    """Judgements by object. Nothing raises: what cannot be kept, or read, is judged again."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def recall(self, refs: Iterable[ObjectRef]) -> dict[ObjectRef, Judged]:
        """What was kept of these objects."""
        return await asyncio.to_thread(self._recall, list(refs))

    async def keep(self, judged: Mapping[ObjectRef, Judged]) -> None:
        """Keep these, instead of what was kept of the same objects."""
        await asyncio.to_thread(self._keep, list(judged.items()))

    def _recall(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, Judged]:
        found: dict[ObjectRef, Judged] = {}
        for ref in refs:
            data = self._cache.get(_place(ref))
            if data is None:
                continue
            try:
                found[ref] = msgspec.msgpack.decode(data, type=Judged)
            except msgspec.MsgspecError:
                continue
        return found

    def _keep(self, judged: Sequence[tuple[ObjectRef, Judged]]) -> None:
        for ref, each in judged:
            self._cache.put(_place(ref), packed(each))


def _place(ref: ObjectRef) -> str:
    return f"policies on {ref.cluster} {ref.id}"
