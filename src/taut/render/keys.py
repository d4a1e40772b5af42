"""Keys: what makes two renders the same. All are keyed hashes, for the inputs may hold secrets."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

_GENERATION = "1"
"""Counts up when taut's own part of rendering changes what comes out of the same inputs."""


class Keys:
    """Makes keys with a secret. The same secret gives the same keys after a restart."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, data: bytes) -> str:
        """The keyed hash (hex) of bytes."""
        return hmac.new(self._secret, data, hashlib.sha256).hexdigest()

    def of(self, *parts: Any) -> str:
        """The key of JSON-like values, structs included: order matters, the order of mappings does not."""
        return self.seal(msgspec.msgpack.encode((_GENERATION, *parts), order="deterministic"))
