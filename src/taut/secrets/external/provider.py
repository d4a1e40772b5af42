"""What every store can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from taut.secrets.external.documents import Find, RemoteRef


class Provider(Protocol):
    """A store that is signed in to. Methods block, and run in a thread; all raise SecretError, and NoValueError for what is not there."""

    def get(self, ref: RemoteRef) -> bytes:
        """One value, or its property."""
        ...

    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """All entries of one value."""
        ...

    def find(self, find: Find) -> Mapping[str, bytes]:
        """All values that fit, by their names."""
        ...
