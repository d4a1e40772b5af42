"""Holds in the timeline: when one began, and when it was gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from taut.controller.state import AppState
from taut.model.plan import Hold
from taut.store.store import Store

HELD, RELEASED = "held", "released"
_LOOKED_BACK = 100


async def note_holds(
    store: Store, state: AppState, holds: Iterable[Hold], clock: Callable[[], float] = time.time
) -> None:
    """Write down which holds are new and which are gone. After a restart, what the timeline says last is what was known."""
    now = tuple(dict.fromkeys(hold.message for hold in holds))
    if state.told_holds is None:
        state.told_holds = await _told(store, state)
    before, state.told_holds = state.told_holds, now
    for message in now:
        if message not in before:
            await store.add_event(state.key, clock(), HELD, message)
    for message in before:
        if message not in now:
            await store.add_event(state.key, clock(), RELEASED, message)


async def _told(store: Store, state: AppState) -> tuple[str, ...]:
    """The holds that the timeline knows as begun and not as gone."""
    newest: dict[str, str] = {}
    for event in await store.events(state.key, _LOOKED_BACK):
        if event.kind in (HELD, RELEASED):
            newest.setdefault(event.message, event.kind)
    return tuple(message for message, kind in newest.items() if kind == HELD)
