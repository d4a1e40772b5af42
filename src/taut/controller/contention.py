"""Who keeps changing what taut heals: five heals of one field within ten minutes are contested (DESIGN.md, Semantics)."""

from __future__ import annotations

from collections.abc import Iterable

from taut.model.refs import ObjectRef

HEALS = 5
WINDOW = 600.0


class Contention:
    """The heals of one application's fields, and the objects that are left alone for a while. Times are of a clock that nobody sets."""

    def __init__(self) -> None:
        self._heals: dict[tuple[ObjectRef, str], list[float]] = {}
        self._until: dict[ObjectRef, float] = {}

    def healed(self, ref: ObjectRef, path: str, now: float) -> bool:
        """A field was healed; whether that makes its object contested."""
        times = [t for t in self._heals.get((ref, path), ()) if t > now - WINDOW] + [now]
        contested = len(times) >= HEALS
        if contested:
            self._until[ref] = now + WINDOW
        self._heals[(ref, path)] = [] if contested else times
        return contested

    def recall(self, heals: Iterable[tuple[ObjectRef, str, float]], now: float) -> None:
        """Take up heals of an earlier process: object, field, and how many seconds ago, the oldest first.

        What seems to lie ahead was healed before the clock was set back: it counts as healed now.
        """
        for ref, path, ago in heals:
            self.healed(ref, path, now - max(ago, 0.0))

    def left(self, ref: ObjectRef, now: float) -> float:
        """For how many more seconds the object is left alone; 0 when it is not contested."""
        return max(self._until.get(ref, now) - now, 0.0)

    def all_left(self, now: float) -> dict[ObjectRef, float]:
        """Every contested object, with the seconds that are left."""
        self._until = {ref: until for ref, until in self._until.items() if until > now}
        return {ref: until - now for ref, until in self._until.items()}

    def __bool__(self) -> bool:
        return bool(self._until)
