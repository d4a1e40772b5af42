"""What was had of external secrets, and when they are asked for again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from taut.model.manifests import Body

_SHORTEST = 1.0


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What came of one document: `spec` is a hash of it, `at` when (Unix seconds), `action` what is to be done, with the Secret where there is one."""

    spec: str
    at: float
    action: str
    secret: Body | None = None
    why: str = ""


@dataclass
class Due:
    """When an application has to be looked at again, in seconds from now."""

    seconds: float = float("inf")

    def soon(self, seconds: float) -> None:
        """At the latest then."""
        self.seconds = min(self.seconds, max(seconds, _SHORTEST))
