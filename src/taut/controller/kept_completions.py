"""What policies made of an application's objects, and what is in a set of them, sealed in the cache of renders: neither a restart nor a commit asks
anew about what is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from taut import __version__
from taut.model.manifests import Body
from taut.model.refs import AppKey
from taut.policy.messages import Description
from taut.prison.serving import packed
from taut.render.protocols import Cache


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    policies: str
    bodies: dict[str, Body | None]


class KeptCompletions:
    """Remembers the last completion of each application: for the key of each object the completed one, None where it stays as it is."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def remember(self, app: AppKey, policies: str, bodies: Mapping[str, Body | None]) -> None:
        """Keep what the policies with this hash made of objects. A key says everything else that decides it."""
        self._cache.put(_place(app), packed(_Kept(policies, dict(bodies))))

    def recall(self, app: AppKey, policies: str) -> dict[str, Body | None]:
        """What was kept of these policies."""
        data = self._cache.get(_place(app))
        if data is None:
            return {}
        try:
            kept = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError:
            return {}
        return kept.bodies if kept.policies == policies else {}

    def describe(self, policies: str) -> Description | None:
        """What is in the set with this hash, as this version of taut understood it."""
        data = self._cache.get(_description(policies))
        try:
            return msgspec.msgpack.decode(data, type=Description) if data is not None else None
        except msgspec.MsgspecError:
            return None

    def note(self, policies: str, description: Description) -> None:
        """Keep what is in a set."""
        self._cache.put(_description(policies), packed(description))


def _description(policies: str) -> str:
    return f"description of the policies {policies} by taut {__version__}"


def _place(app: AppKey) -> str:
    return f"completed objects of {app}"
