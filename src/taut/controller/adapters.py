"""Small bridges between packages that do not know each other: what one needs of another, in its own words."""

from __future__ import annotations

from dataclasses import dataclass

from taut.store.store import Store


@dataclass(frozen=True)
class RenderCache:
    """Renders are kept in the store, sealed."""

    store: Store

    def get(self, key: str) -> bytes | None:
        """What was kept under `key`."""
        return self.store.blob_get(key)

    def put(self, key: str, value: bytes) -> None:
        """Keep `value`."""
        self.store.blob_put(key, value)
