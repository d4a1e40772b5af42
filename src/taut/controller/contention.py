"""Who keeps changing what taut heals: five heals of one field within ten minutes are contested (DESIGN.md, Semantics)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from taut.model.refs import ObjectRef

HEALS = 5
WINDOW = 600.0


class Contention:
    """The heals of one application's fields, and those that are left alone for a while. Times are of a clock that nobody sets.

    What is fought over is a field. An apply writes the whole object: so an object is left alone as long as nothing else of it drifts.
    """

    def __init__(self) -> None:
        self._heals: dict[tuple[ObjectRef, str], list[float]] = {}
        self._until: dict[tuple[ObjectRef, str], float] = {}

    def healed(self, ref: ObjectRef, path: str, now: float) -> bool:
        """A field was healed; whether that makes it contested."""
        times = [t for t in self._heals.get((ref, path), ()) if t > now - WINDOW] + [now]
        contested = len(times) >= HEALS
        if contested:
            self._until[(ref, path)] = now + WINDOW
        self._heals[(ref, path)] = [] if contested else times
        return contested

    def recall(self, heals: Iterable[tuple[ObjectRef, str, float]], now: float) -> None:
        """Take up heals of an earlier process: object, field, and how many seconds ago, the oldest first.

        What seems to lie ahead was healed before the clock was set back: it counts as healed now.
        """
        for ref, path, ago in heals:
            self.healed(ref, path, now - max(ago, 0.0))

    def left(self, ref: ObjectRef, path: str, now: float) -> float:
        """For how many more seconds the field is left alone; 0 when it is not contested."""
        return max(self._until.get((ref, path), now) - now, 0.0)

    def all_left(self, now: float, drifted: Collection[tuple[ObjectRef, str]]) -> dict[ObjectRef, float]:
        """The objects of which nothing has drifted but fields that are contested, with the seconds that are left."""
        self._until = {field: until for field, until in self._until.items() if until > now}
        others = {ref for ref, path in drifted if (ref, path) not in self._until}
        found: dict[ObjectRef, float] = {}
        for (ref, _), until in self._until.items():
            if ref not in others:
                found[ref] = min(until - now, found.get(ref, WINDOW))
        return found

    def __bool__(self) -> bool:
        return bool(self._until)
