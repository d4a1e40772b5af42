"""Who waits for whom: with a sync for what it depends on, with a removal for what depends on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.controller.status import status_of, sync_status
from taut.model.health import HealthStatus
from taut.model.live import LiveObject
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import SyncStatus


class Dependence:
    """The dependencies among the applications of `states`."""

    def __init__(
        self,
        states: Mapping[AppKey, AppState],
        queue: WorkQueue,
        look: Callable[[ObjectRef], LiveObject | None],
    ) -> None:
        self._states = states
        self._queue = queue
        self._look = look
        self._cycles: dict[AppKey, str] = {}
        self._dependants: dict[AppKey, set[AppKey]] = {}
        self._needs: dict[AppKey, frozenset[AppKey]] = {}
        self._relinked: set[AppKey] = set()

    def link(self, graph: Mapping[AppKey, Collection[AppKey]], cycles: Mapping[AppKey, str]) -> None:
        """Learn who waits for whom (application → those it depends on), and who waits in a circle."""
        before, self._needs = self._needs, {k: frozenset(v) for k, v in graph.items()}
        self._relinked = {k for k, v in self._needs.items() if before.get(k, frozenset()) != v}
        self._relinked |= {k for k in set(cycles) | set(self._cycles) if cycles.get(k) != self._cycles.get(k)}
        self._cycles = dict(cycles)
        self._dependants = {}
        for key, needed in self._needs.items():
            for each in needed:
                self._dependants.setdefault(each, set()).add(key)

    def changed(self, key: AppKey) -> bool:
        """Whether the last `link` changed what this application waits for."""
        return key in self._relinked

    def unmet(self, state: AppState) -> str:
        """Why the application must wait for another one; empty when it need not."""
        cycle = self._cycles.get(state.key)
        if cycle:
            return cycle
        if state.removed:
            waits = [k for k in self._dependants.get(state.key, ()) if self._still_coming_down(k)]
            return f"waits until {waits[0]} is gone" if waits else ""
        for key in sorted(self._needs.get(state.key, ())):
            why = self._unmet(key)
            if why:
                return why
        return ""

    def _still_coming_down(self, key: AppKey) -> bool:
        other = self._states.get(key)
        return other is not None and other.removed and not other.only_hands_over

    def _unmet(self, key: AppKey) -> str:
        other = self._states.get(key)
        if other is None:
            return f"waits for {key}, which does not exist"
        if other.stale or other.run is not None or sync_status(other) is not SyncStatus.SYNCED:
            return f"waits for {key} to be synced"
        health = status_of(other, self._look).health
        if health not in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED):
            return f"waits for {key}, which is {health.value}"
        return ""

    def mark_ready(self, state: AppState) -> None:
        """The application is what Git says; those who wait for it are looked at."""
        for key in self._dependants.get(state.key, ()):
            self._queue.add(key, Reason.DEPENDENCY)

    def hands_over(self, state: AppState) -> None:
        """The application only hands over by now: those that it depended on need not wait for it with their own removal."""
        for key in self._needs.get(state.key, ()):
            if key in self._states and self._states[key].removed:
                self._queue.add(key, Reason.DEPENDENCY)

    def forget(self, key: AppKey) -> frozenset[AppKey]:
        """An application is no more; what it depended on comes out, for that may have waited for it."""
        return self._needs.pop(key, frozenset())
