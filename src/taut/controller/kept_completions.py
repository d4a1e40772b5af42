"""What policies made of an application's objects, sealed in the cache of renders: a restart asks no policy anew."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from taut.model.manifests import Body
from taut.model.refs import AppKey
from taut.prison.serving import packed
from taut.render.protocols import Cache


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    key: str
    bodies: dict[int, Body]


class KeptCompletions:
    """Remembers the last completion of each application."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def remember(self, app: AppKey, key: str, bodies: Mapping[int, Body]) -> None:
        """Keep the objects that were completed, by their places. `key` says everything that decides them."""
        self._cache.put(_place(app), packed(_Kept(key, dict(bodies))))

    def recall(self, app: AppKey, key: str) -> dict[int, Body] | None:
        """What was kept under this key; None when it was something else."""
        data = self._cache.get(_place(app))
        if data is None:
            return None
        try:
            kept = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError:
            return None
        return kept.bodies if kept.key == key else None


def _place(app: AppKey) -> str:
    return f"completed objects of {app}"
