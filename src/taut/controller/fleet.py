"""All applications of a running taut: their states, who owns which object, who waits for whom, and who is told of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress

from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.controller.status import status_of, sync_status
from taut.dialects.projects import service_account_for
from taut.model.application import Application
from taut.model.errors import TargetError, Where
from taut.model.health import HealthStatus
from taut.model.plan import InventoryItem
from taut.model.project import Project
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus, SyncStatus
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster, Event

NO_PROJECT = Project(name="default")


class Fleet:
    """The applications, their projects and clusters."""

    def __init__(self, store: Store, queue: WorkQueue, clusters: Mapping[str, Cluster]) -> None:
        self._store = store
        self._queue = queue
        self.clusters = dict(clusters)
        self.states: dict[AppKey, AppState] = {}
        self.projects: dict[str, Project] = {}
        self.cycles: dict[AppKey, str] = {}
        self._owners: dict[ObjectRef, AppKey] = {}
        self._dependants: dict[AppKey, set[AppKey]] = {}
        self._statuses: dict[AppKey, AppStatus] = {}
        self._listeners: set[asyncio.Queue[AppStatus]] = set()
        self.on_removed: Callable[[AppKey], None] = lambda _: None

    # Who owns what

    def owner(self, ref: ObjectRef) -> AppKey | None:
        """The application whose inventory holds `ref`."""
        return self._owners.get(ref)

    def put_item(self, state: AppState, item: InventoryItem) -> None:
        """Take an object into an inventory (in memory; the store has it already)."""
        state.items[item.ref] = item
        self._owners[item.ref] = state.key

    def drop_item(self, state: AppState, ref: ObjectRef) -> None:
        """Let an object go from an inventory."""
        state.items.pop(ref, None)
        if self._owners.get(ref) == state.key:
            del self._owners[ref]

    def claimant(self, ref: ObjectRef, *, other_than: AppKey) -> AppKey | None:
        """Another application whose desired state holds `ref` now: the object is handed over to it, not deleted."""
        return next(
            (
                key
                for key, state in self.states.items()
                if key != other_than and not state.removed and state.desired and ref in state.desired.refs
            ),
            None,
        )

    def on_event(self, event: Event) -> None:
        """Something changed in a cluster: look at the application that owns the object."""
        owner = self._owners.get(event.ref)
        if owner is not None:
            self._queue.add(owner, Reason.LIVE)

    # Clusters and projects

    def cluster_of(self, state: AppState) -> Cluster:
        """The application's cluster. Raises TargetError when the configuration has none of that name."""
        name = state.app.spec.target.cluster
        cluster = self.clusters.get(name)
        if cluster is None:
            known = ", ".join(sorted(self.clusters)) or "none"
            raise TargetError(
                f"there is no cluster {name!r}",
                where=Where(file=state.app.origin_file, line=state.app.origin_line, field="spec.target.cluster"),
                advice=f"the configuration knows: {known}",
            )
        return cluster

    def project_of(self, state: AppState) -> Project:
        """The application's project; what the default project allows when nobody declared one."""
        name = state.app.spec.project
        return self.projects.get(name) or (NO_PROJECT if name == "default" else Project(name=name))

    def impersonation_of(self, state: AppState) -> Callable[[str], str | None]:
        """Which user a write into a namespace is made as."""
        project = self.project_of(state)

        def user(namespace: str) -> str | None:
            return service_account_for(project, state.app, namespace)

        return user

    # Dependencies

    def link(self, applications: Iterable[Application], resolve: Callable[[Application, str], AppKey]) -> None:
        """Learn who waits for whom, from all applications anew."""
        self._dependants.clear()
        for app in applications:
            for text in app.spec.depends_on:
                self._dependants.setdefault(resolve(app, text), set()).add(app.key)

    def unmet_dependency(self, state: AppState) -> str:
        """Why the application must wait for another one; empty when it need not."""
        cycle = self.cycles.get(state.key)
        if cycle:
            return cycle
        if state.removed:
            waits = [k for k in self._dependants.get(state.key, ()) if self._still_coming_down(k)]
            return f"waits until {waits[0]} is gone" if waits else ""
        for text in state.app.spec.depends_on:
            why = self._unmet(state, dependency_key(state.app, text))
            if why:
                return why
        return ""

    def _still_coming_down(self, key: AppKey) -> bool:
        other = self.states.get(key)
        return other is not None and other.removed

    def _unmet(self, state: AppState, key: AppKey) -> str:
        other = self.states.get(key)
        if other is None:
            return f"waits for {key}, which does not exist"
        if other.stale or other.run is not None or sync_status(other) is not SyncStatus.SYNCED:
            return f"waits for {key} to be synced"
        health = status_of(other, self.cluster_of(other).get).health
        if health not in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED):
            return f"waits for {key}, which is {health.value}"
        return ""

    def mark_ready(self, state: AppState) -> None:
        """The application is what Git says; those who wait for it are looked at."""
        for key in self._dependants.get(state.key, ()):
            self._queue.add(key, Reason.DEPENDENCY)

    # Comings and goings

    def add(self, state: AppState) -> None:
        """A new application."""
        self.states[state.key] = state
        for ref in state.items:
            self._owners[ref] = state.key

    async def removed(self, state: AppState) -> None:
        """The application is taken down completely: forget it."""
        await self._store.drop_app(state.key)
        for ref in list(state.items):
            self.drop_item(state, ref)
        self.states.pop(state.key, None)
        self._statuses.pop(state.key, None)
        self._queue.forget(state.key)
        self.on_removed(state.key)
        for dependency in state.app.spec.depends_on:
            key = dependency_key(state.app, dependency)
            if key in self.states:
                self._queue.add(key, Reason.DEPENDENCY)

    # Telling

    def publish(self, state: AppState) -> None:
        """Derive the status anew and tell who listens, when it changed."""
        if state.key not in self.states:
            return
        cluster = self.clusters.get(state.app.spec.target.cluster)
        status = status_of(state, cluster.get if cluster else lambda _: None)
        before = self._statuses.get(state.key)
        if status == before:
            return
        self._statuses[state.key] = status
        for listener in self._listeners:
            with suppress(asyncio.QueueFull):
                listener.put_nowait(status)
        if before is not None and (before.health, before.sync) != (status.health, status.sync):
            self.mark_ready(state)

    def statuses(self) -> list[AppStatus]:
        """Every application's status, in the order of their keys."""
        return [self._statuses[k] for k in sorted(self._statuses)]

    def status(self, key: AppKey) -> AppStatus | None:
        """One application's status."""
        return self._statuses.get(key)

    async def subscribe(self) -> AsyncIterator[AppStatus]:
        """Every status as it changes, from now on."""
        listener: asyncio.Queue[AppStatus] = asyncio.Queue(maxsize=10_000)
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.get()
        finally:
            self._listeners.discard(listener)


def dependency_key(app: Application, text: str) -> AppKey:
    """The key that an entry of `dependsOn` means: `name`, `namespace/name` in the same root, or `root/namespace/name`."""
    parts = text.split("/")
    if len(parts) == 1:
        return AppKey(app.key.root, app.key.namespace, parts[0])
    if len(parts) == 2:
        return AppKey(app.key.root, parts[0], parts[1])
    return AppKey(parts[0], parts[1], "/".join(parts[2:]))
