"""An application that Git changes all the time is still carried through now and then.

A newer revision takes over between waves. Where one commit after the other comes, each would cut off the one before, and later waves would
never be reached: after some operations in a row that were overtaken, the next one has a while before it gives way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

IN_A_ROW = 3
WINDOW = 60.0
"""Seconds in which that many operations were overtaken."""
PATIENCE = 20.0
"""Seconds that the next one has then, from its start on; twice as long after each that was overtaken nevertheless."""
LONGEST = 1800.0


@dataclass(slots=True)
class Haste:
    """When operations of one application were overtaken since the last one that was carried through (steady seconds)."""

    overtaken: list[float] = field(default_factory=list[float])
    outlasted: int = 0
    """How many had their while, and were overtaken after it."""

    def patience(self, since: float, now: float) -> float:
        """Seconds that an operation which runs since `since` still has although a newer revision waits; as a rule none."""
        if not self._in_haste(since):
            return 0.0
        return max(since + min(PATIENCE * 2**self.outlasted, LONGEST) - now, 0.0)

    def _in_haste(self, since: float) -> bool:
        lately = [t for t in self.overtaken if t > since - WINDOW]
        return len(lately) >= IN_A_ROW or (bool(self.outlasted) and bool(lately))

    def ended(self, now: float, *, since: float, overtaken: bool) -> None:
        """An operation that ran since `since` has ended."""
        self.outlasted = self.outlasted + self._in_haste(since) if overtaken else 0
        self.overtaken = [*self.overtaken, now][-IN_A_ROW:] if overtaken else []
