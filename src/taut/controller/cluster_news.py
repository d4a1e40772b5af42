"""What clusters tell: objects that change, kinds that come and go, a connection that breaks and stands again."""

from __future__ import annotations

from collections.abc import Callable

from taut.controller.fleet import Fleet
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.model.plan import HoldKind
from taut.model.refs import KindRef
from taut.model.status import Problem
from taut.targets.kubernetes.cluster import ClusterState, Event
from taut.targets.kubernetes.collection import KindState

NAMESPACE = KindRef("", "Namespace")


class ClusterNews:
    """Passes news on to the applications that they are about."""

    def __init__(self, fleet: Fleet, queue: WorkQueue) -> None:
        self._fleet = fleet
        self._queue = queue
        self._away: set[str] = set()

    def on_event(self, event: Event) -> None:
        """An object changed."""
        self._fleet.on_event(event)
        if event.ref.kind_ref == NAMESPACE:
            self._fleet.namespace_changed(event.ref)

    def on_kinds(self, cluster: str) -> None:
        """Kinds came or went: those who wait for a kind, or were told of the kinds when they were rendered, are looked at anew."""
        for state in self._states(cluster):
            if state.problems or state.step_problems or _depends_on_kinds(state):
                state.mark_stale()
                self._queue.add(state.key, Reason.LIVE)

    def on_state(self, cluster: str, kind: KindState) -> None:
        """A kind's watch is complete, fails, or works again: those who have objects of the kind are looked at.

        A cluster none of whose watches stands is away, and every application there says so.
        """
        stands = kind.synced and not kind.failing_since
        self._look(cluster, lambda s: any(ref.kind_ref == kind.kind for ref in s.items) or (stands and _stuck(s)))
        if cluster not in self._fleet.clusters:
            return
        state = self._fleet.clusters[cluster].state()
        message = _trouble(state)
        if bool(message) == (cluster in self._away):
            return
        (self._away.add if message else self._away.discard)(cluster)
        what = f"the cluster {cluster} does not answer: {message}"
        advice = "what runs there goes on; taut tries again by itself"
        problems = (Problem(what=what, advice=advice, stage="target"),) if message else ()
        for each in self._states(cluster):
            each.target_problems = problems
            self._fleet.publish(each)
            if not message and each.stale:
                each.mark_stale()
        if not message:
            self._look(cluster, lambda _: True)

    def _states(self, cluster: str) -> list[AppState]:
        return [s for s in self._fleet.states.values() if s.app.spec.target.cluster == cluster]

    def _look(self, cluster: str, chosen: Callable[[AppState], bool]) -> None:
        """Look at the chosen ones of those that run in the cluster, or left something there when they moved away."""
        for state in self._fleet.states.values():
            here = state.app.spec.target.cluster == cluster
            if (here or any(ref.cluster == cluster for ref in state.items)) and chosen(state):
                if state.stale and _stuck(state):
                    state.mark_stale()  # the search that failed for this may be made again
                self._queue.add(state.key, Reason.LIVE)


def _stuck(state: AppState) -> bool:
    """Whether the last step could not be taken because of the target."""
    return any(p.stage == "target" for p in (*state.problems, *state.step_problems))


def _depends_on_kinds(state: AppState) -> bool:
    """Whether other kinds would be news. What is wanted may be looked for at this moment, by the kinds that there were."""
    desired = state.desired
    if desired is None or state.stale:
        return True
    return desired.capabilities or any(h.kind is HoldKind.SCOPE for h in (*desired.holds, *state.holds))


def _trouble(state: ClusterState) -> str:
    """Why nothing is heard of the cluster; empty as long as one watch stands."""
    if any(k.synced and not k.failing_since for k in state.kinds.values()):
        return ""
    if not state.reachable:
        return state.message
    begun = [k for k in state.kinds.values() if k.synced or k.failing_since]
    failing = [k for k in begun if k.failing_since]
    return failing[0].message if failing and len(failing) == len(begun) else ""
