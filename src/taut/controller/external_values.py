"""Values of external secrets that were had, and when they are asked for again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from taut.model.errors import Where
from taut.model.manifests import Manifest

_SHORTEST = 1.0


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The values of one Secret: `spec` is a hash of the document that asked for them, `at` when (Unix seconds)."""

    spec: str
    at: float
    data: dict[str, bytes]
    missing: tuple[str, ...] = ()


@dataclass
class Due:
    """When an application has to be looked at again, in seconds from now."""

    seconds: float = float("inf")

    def soon(self, seconds: float) -> None:
        """At the latest then."""
        self.seconds = min(self.seconds, max(seconds, _SHORTEST))


def where_of(manifest: Manifest) -> Where:
    """Where a document was written."""
    origin = manifest.origin
    place = f"{manifest.namespace}/{manifest.name}" if manifest.namespace else manifest.name
    return Where(origin.source, origin.file, origin.line, f"{manifest.kind} {place}")
