"""All applications of a running taut: their states, who owns which object, who waits for whom, and who is told of changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from taut.controller.claims import (
    Awaited,
    Claim,
    Loans,
    Rivals,
    Taken,
    hooks_of,
    left_over,
    rightful,
    touches,
    untouched,
)
from taut.controller.dependence import Dependence
from taut.controller.queue import HEAVY, Reason, WorkQueue
from taut.controller.state import AppState, Desired
from taut.controller.telling import Telling
from taut.dialects.projects import DEFAULT_PROJECT, Violation, project_of, repository_allowed, service_account_for
from taut.model.errors import BadInput, StoreError, TargetError, Where
from taut.model.live import LiveObject
from taut.model.plan import HoldKind, InventoryItem
from taut.model.project import Project
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster, Event

log = logging.getLogger("taut.fleet")

STORE_PAUSE = 5.0
"""Seconds until the store is told again what it could not be told."""


async def _nothing(_: AppState) -> None:
    """Nobody wants to know."""


class Fleet:
    """The applications, their projects and clusters."""

    def __init__(self, store: Store, queue: WorkQueue, clusters: Mapping[str, Cluster]) -> None:
        self._store = store
        self._queue = queue
        self.clusters = dict(clusters)
        self.states: dict[AppKey, AppState] = {}
        self.projects: dict[str, Project] = {DEFAULT_PROJECT: Project(name=DEFAULT_PROJECT)}
        self.known_roots: frozenset[str] = frozenset()
        """The roots that were read completely: each of their applications is here."""
        self.told = Telling(self.states, self.look, self._head)
        self.dependence = Dependence(self.states, queue, self.look)
        self._owners: dict[ObjectRef, AppKey] = {}
        self._rivals = Rivals()
        self._wanted: dict[ObjectRef, tuple[AppKey, ...]] = {}
        self._hooked: dict[ObjectRef, tuple[AppKey, ...]] = {}
        self._claiming: set[AppKey] = set()
        self._loans = Loans()
        self.awaited = Awaited()
        self._leaving: set[AppKey] = set()
        self._owed: set[AppKey] = set()
        self.allowed_projects: dict[str, tuple[str, ...]] = {}
        """Globs on the names of the projects that a root's applications may belong to."""
        self.parting: dict[AppKey, Project] = {}
        """The projects of applications that are taken down, as they were: both may have left Git in one commit."""
        self._readers: dict[ObjectRef, set[AppKey]] = {}
        self._reads: dict[AppKey, frozenset[ObjectRef]] = {}
        self.on_removed: Callable[[AppState], Awaitable[None]] = _nothing
        self.head_of: Callable[[AppState], str] = lambda _: ""
        """Up to which revision nothing moved for an application since it was rendered; empty when there is nothing to add."""

    # Who owns what

    def owner(self, ref: ObjectRef) -> AppKey | None:
        """The application whose inventory holds `ref`."""
        return self._owners.get(ref)

    def put_item(self, state: AppState, item: InventoryItem) -> None:
        """Take an object into an inventory (in memory; the store has it already), unless another application's holds it."""
        if self._owners.setdefault(item.ref, state.key) != state.key:
            return
        if not item.pending:
            self._tell_readers(item.ref)  # the watch tells of what others write, not of what taut does
        state.items[item.ref] = item

    def claim(self, state: AppState, items: Sequence[InventoryItem], giving: Mapping[ObjectRef, AppKey]) -> Claim:
        """Take what an operation is about to write into its application's inventory, all of it or nothing. What another one gives
        up (`giving`, as the plan had it) changes hands by it.

        Raises Taken when something belongs to another application by now.
        """
        givers: dict[ObjectRef, AppKey] = {}
        for ref in (item.ref for item in items):
            other = self._owners.get(ref, state.key)
            if other != state.key:
                if giving.get(ref) != other or not self.gives_up(other, ref):
                    raise Taken(ref, other)
                givers[ref] = other
        given: list[tuple[AppState, InventoryItem]] = []
        for ref, key in givers.items():
            giver = self.states.get(key)
            if giver is not None and ref in giver.items:
                given.append((giver, giver.items.pop(ref)))
            del self._owners[ref]
        self._loans.open(givers.values())
        new = tuple(item for item in items if item.ref not in state.items)
        for item in items:
            self.put_item(state, state.items.get(item.ref, item))
        return Claim(new, givers, tuple(given))

    def claimed(self, claim: Claim) -> None:
        """The claim is stored, or undone: who gave something up is looked at, for it has less than before, or is gone with it."""
        for key in self._loans.close(claim.givers.values()):
            if key in self.states:
                self._queue.add(key, Reason.DEPENDENCY)

    def wake(self, state: AppState) -> None:
        """Look at the application again."""
        self._queue.add(state.key, Reason.DEPENDENCY)

    def lends(self, state: AppState) -> bool:
        """Whether a claim on something of the application is not stored yet: it may come back, so the application must stay."""
        return self._loans.is_open(state.key)

    def unclaim(self, state: AppState, claim: Claim) -> None:
        """The operation could not be stored: everything belongs to whom it belonged before."""
        back = {item.ref: giver for giver, item in claim.given}
        for item in claim.new:
            if item.ref not in back:
                self.drop_item(state, item.ref)
        for giver, item in claim.given:
            state.items.pop(item.ref, None)
            giver.items[item.ref] = item
            self._owners[item.ref] = giver.key
        self.claimed(claim)

    def rivalled(self, state: AppState) -> list[ObjectRef]:
        """The objects of the application that another one's inventory holds as well: an earlier taut let that happen."""
        return self._rivals.of(state)

    async def settle_rivals(self, refs: Iterable[ObjectRef]) -> None:
        """Let one application keep each of these objects (see `rightful`); the others let go of it. Their kinds must be in view."""
        for ref in refs:
            holders = list(left_over(self.states, self._rivals.end(ref), ref))
            if not holders:
                continue
            keeps = rightful(ref, holders, self.look(ref))
            self._owners[ref] = keeps.key
            for state in holders:
                if state is not keeps:
                    state.items.pop(ref)
                    self._queue.add(state.key, Reason.DEPENDENCY)
                    await self._store.drop_items(state.key, [ref])

    def drop_item(self, state: AppState, ref: ObjectRef) -> None:
        """Let an object go from an inventory."""
        state.items.pop(ref, None)
        if self._owners.get(ref) == state.key:
            del self._owners[ref]
        self._wake_claimants(ref, state.key)

    def want(self, state: AppState, desired: Desired | None) -> None:
        """Learn what an application wants from now on."""
        before = state.desired.refs if state.desired is not None else frozenset[ObjectRef]()
        after = desired.refs if desired is not None else frozenset[ObjectRef]()
        hooks_before, hooks = hooks_of(state.desired), hooks_of(desired)
        state.desired = desired
        self._index(self._wanted, state.key, before, after)
        self._index(self._hooked, state.key, hooks_before, hooks)
        for ref in state.items.keys() - after - hooks:
            # Whoever looked for it while this was not known yet was told that it belongs here: after a start, or a commit, too.
            self._wake_claimants(ref, state.key)
        for ref in (live.ref for cluster in self.clusters.values() for live in cluster.owned_by(str(state.key))):
            if ref not in after and ref not in state.items:
                self._wake_claimants(ref, state.key)  # by its mark alone
        for ref in untouched(desired):
            self._wake_owner(ref, state.key)
        self._heard(state.key)

    def _index(
        self,
        who: dict[ObjectRef, tuple[AppKey, ...]],
        key: AppKey,
        before: frozenset[ObjectRef],
        after: frozenset[ObjectRef],
    ) -> None:
        for ref in before - after:
            self._wake_owner(ref, key)
            others = tuple(k for k in who.get(ref, ()) if k != key)
            if others:
                who[ref] = others
                self._wake_claimants(ref, key)
            else:
                who.pop(ref, None)
        for ref in after - before:
            who[ref] = (*who.get(ref, ()), key)

    def claimant(self, ref: ObjectRef, *, other_than: AppKey) -> AppKey | None:
        """Another application whose desired state holds `ref` now: the object is handed over to it, not deleted."""
        for key in self._wanted.get(ref, ()):
            state = self.states.get(key) if key != other_than else None
            if state is not None and not state.removed:
                return key
        return None

    def note_claims(self, state: AppState) -> None:
        """Learn whether an application is held because an object of another one has to be given up first."""
        if any(h.kind is HoldKind.OWNED for h in state.holds):
            self._claiming.add(state.key)
        else:
            self._claiming.discard(state.key)

    def wake_claiming(self) -> None:
        """It has become known which applications there are: those who wait for an object of one that is no more are looked at again."""
        for key in self._claiming:
            if key in self.states:
                self._queue.add(key, Reason.DEPENDENCY)
        for key in self.awaited.all():
            self._queue.add(key, Reason.DEPENDENCY)

    def untouched(self, keys: Iterable[AppKey]) -> dict[AppKey, frozenset[ObjectRef]]:
        """What each of these applications declares and leaves alone: it never takes that over."""
        return {key: untouched(self.states[key].desired) for key in set(keys)}

    def _heard(self, key: AppKey) -> None:
        """What this application wants is known, or what it wrote: who waited for that is looked at again."""
        for waiting in self.awaited.by(key):
            self._queue.add(waiting, Reason.DEPENDENCY)

    def note_leaving(self, state: AppState) -> None:
        """Learn whether an application is taken down: it takes nothing over any more, and gives up all that it has."""
        if not state.removed:
            self._leaving.discard(state.key)
        elif state.key not in self._leaving:
            self._leaving.add(state.key)
            for ref in state.desired.refs if state.desired is not None else ():
                self._wake_owner(ref, state.key)
            self._heard(state.key)

    def _wake_owner(self, ref: ObjectRef, other_than: AppKey) -> None:
        """Whoever keeps the object for a claimant is looked at again."""
        owner = self._owners.get(ref)
        if owner is not None and owner != other_than and owner in self.states:
            self._queue.add(owner, Reason.DEPENDENCY)

    def _wake_claimants(self, ref: ObjectRef, other_than: AppKey) -> None:
        """Whoever is held because of this object is looked at again."""
        for key in (*self._wanted.get(ref, ()), *self._hooked.get(ref, ())):
            if key != other_than and key in self.states:
                self._queue.add(key, Reason.DEPENDENCY)

    def gives_up(self, key: AppKey, ref: ObjectRef) -> bool:
        """Whether the application that owns `ref` no longer wants it, says so from what Git has now, and does not write it just now.

        An application that is not here counts only when it would have to be: its root was read. Others may belong to
        another taut.
        """
        owner = self.states.get(key)
        if owner is None:
            return key.root in self.known_roots
        if touches(owner, ref):
            return False
        if owner.removed:
            return True
        if owner.desired is None or owner.stale:
            return False
        return ref not in owner.desired.refs and ref not in hooks_of(owner.desired)

    def unclear(self, key: AppKey, ref: ObjectRef) -> bool:
        """Whether it is not known now if the application whose mark `ref` carries wants it. It is known of one that is not here when
        its root was read, or is none of this taut's.
        """
        owner = self.states.get(key)
        if owner is None:
            return key.root in self.allowed_projects and key.root not in self.known_roots
        if owner.removed:
            return touches(owner, ref)
        if owner.desired is None or owner.stale:
            return True
        return touches(owner, ref) and ref not in owner.desired.refs and ref not in hooks_of(owner.desired)

    def left(self, state: AppState, refs: Iterable[ObjectRef]) -> None:
        """An operation is over that wrote these objects: who waited for one that its application does not want is looked at."""
        desired = state.desired
        for ref in set(refs):
            if state.removed or desired is None or ref not in desired.refs:
                self._wake_claimants(ref, state.key)
        self._heard(state.key)

    def undecided(self, state: AppState, clusters: Collection[str]) -> AppKey | None:
        """Another application of the root that has not been looked at since the last commit: it may claim what would be deleted.

        What would be deleted is in these `clusters`: who wants nothing there claims nothing of it, and need not be waited for. Nor
        is one waited for whose look was in vain: what is wrong there is not mended before something moves.
        """
        for key, other in self.states.items():
            if key.root != state.key.root or other is state or other.removed:
                continue
            if other.app.spec.target.cluster not in clusters:
                continue
            in_vain = other.failed is not None and other.failed.marks == other.marks
            if other.stale and not in_vain and self.barred(other) is None:
                return key
        return None

    def on_event(self, event: Event) -> None:
        """Something changed in a cluster: look at the application that owns the object, and at those that wait for it."""
        owner = self._owners.get(event.ref)
        if owner is not None:
            state, seen = self.states.get(owner), event.new or event.old
            if state is not None and seen is not None:
                state.note_end(seen)
            self._queue.add(owner, Reason.LIVE)
        for key in (*self._wanted.get(event.ref, ()), *self._hooked.get(event.ref, ())):
            if key != owner:
                self._queue.add(key, Reason.LIVE)
        self._tell_readers(event.ref)

    def namespace_changed(self, ref: ObjectRef) -> None:
        """A namespace came, changed or went: who is not in sync and has objects there may have waited for that."""
        for state in self.states.values():
            if state.app.spec.target.cluster == ref.cluster and not state.in_sync and state.lives_in(ref.name):
                self._queue.add(state.key, Reason.LIVE)

    def reads(self, key: AppKey, refs: Collection[ObjectRef]) -> None:
        """Learn which ConfigMaps and Secrets an application's render reads, whether they are there or not."""
        before = self._reads.pop(key, frozenset())
        if refs:
            self._reads[key] = frozenset(refs)
        for ref in before - frozenset(refs):
            self._readers[ref].discard(key)
            if not self._readers[ref]:
                del self._readers[ref]
                if ref.cluster in self.clusters:
                    self.clusters[ref.cluster].neglect(ref)
        for ref in refs:
            if ref not in self._readers and ref.cluster in self.clusters:
                self.clusters[ref.cluster].attend(ref)
            self._readers.setdefault(ref, set()).add(key)

    def _tell_readers(self, ref: ObjectRef) -> None:
        """What a render reads has changed: what is wanted may have."""
        for key in self._readers.get(ref, ()):
            state = self.states.get(key)
            if state is not None:
                state.mark_stale()
                self._queue.add(key, Reason.PUSH, project=state.app.spec.project)

    def attend(self, state: AppState) -> None:
        """Hear of every change of what is not as Git says.

        Where a field has drifted taut owns it no more, and metadata alone does not tell that somebody put it back.
        """
        wanted = state.out_of_sync | {ref for ref, _ in state.drift}
        for ref in wanted - state.attended:
            self.clusters[ref.cluster].attend(ref)
        for ref in state.attended - wanted:
            self.clusters[ref.cluster].neglect(ref)
        state.attended = wanted

    # Clusters and projects

    def lane_of(self, key: AppKey) -> str:
        """The cluster that the application's work waits for; all that have none of the configured ones are one place. Those whose
        last run took long wait behind each other.
        """
        state = self.states.get(key)
        name = state.app.spec.target.cluster if state is not None else ""
        lane = name if name in self.clusters else ""
        return lane + HEAVY if state is not None and state.heavy else lane

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

    def look(self, ref: ObjectRef) -> LiveObject | None:
        """The object, from its own cluster's memory: an application that moved still has objects where it was."""
        cluster = self.clusters.get(ref.cluster)
        return cluster.get(ref) if cluster is not None else None

    def project_of(self, state: AppState) -> Project:
        """The application's project. Raises BadInput when there is none of its name, or its root may not use it."""
        found = self._project(state)
        if isinstance(found, Violation):
            raise BadInput(found.what, where=found.where, advice=found.advice)
        return found

    def barred(self, state: AppState) -> BadInput | None:
        """Why nothing may be written for the application at all: nobody knows what its project allows."""
        found = self._project(state)
        if isinstance(found, Violation):
            return BadInput(found.what, where=found.where, advice=found.advice)
        return None

    def may_read(self, state: AppState, url: str) -> bool:
        """Whether the application's project lists an address: from others nothing is fetched."""
        project = self._project(state)
        return not isinstance(project, Violation) and repository_allowed(project, url)

    def _project(self, state: AppState) -> Project | Violation:
        found = project_of(state.app, self.projects, self.allowed_projects.get(state.key.root, ("*",)))
        if isinstance(found, Violation) and state.removed:
            return self.parting.get(state.key, found)
        return found

    def impersonation_of(self, state: AppState) -> Callable[[str], str | None]:
        """Which user a write into a namespace is made as."""
        project = self.project_of(state)

        def user(namespace: str) -> str | None:
            return service_account_for(project, state.app, namespace)

        return user

    # Comings and goings

    def add(self, state: AppState) -> None:
        """A new application."""
        self.states[state.key] = state
        for ref in state.items:
            first = self._owners.setdefault(ref, state.key)
            if first != state.key:
                self._rivals.note(ref, first, state.key)

    async def removed(self, state: AppState) -> None:
        """The application is taken down completely: forget it, all at once, for Git may declare it anew at any moment."""
        for ref in list(state.items):
            self.drop_item(state, ref)
        self.want(state, None)
        self.reads(state.key, ())
        self.parting.pop(state.key, None)
        self.states.pop(state.key, None)
        state.out_of_sync = frozenset()
        state.drift.clear()
        self.attend(state)
        self._claiming.discard(state.key)
        self._queue.forget(state.key)
        self.awaited.put(state.key, ())
        self._leaving.discard(state.key)
        self.told.forget(state.key)
        freed = {k for k, s in self.states.items() if s.holds}
        for key in self.dependence.forget(state.key) | freed:
            if key in self.states:
                self._queue.add(key, Reason.DEPENDENCY)
        self._owed.add(state.key)
        await self.pay()
        await self.on_removed(state)

    async def pay(self) -> None:
        """Let the store forget the applications that are no more, also those of which it could not be told before.

        When it cannot be told now either, that is tried again; after a restart the application is taken down once more.
        """
        for key in sorted(self._owed):
            try:
                if key in self._owed:
                    await self._store.drop_app(key)
            except StoreError as error:
                log.warning("%s is gone, and the store could not forget it: %s", key, error.what)
                for another in tuple(self.states)[:1]:
                    self._queue.add_later(another, Reason.RETRY, STORE_PAUSE)
                return
            self._owed.discard(key)

    def returns(self, key: AppKey) -> None:
        """An application of this name is declared anew: the store need not forget it any more."""
        self._owed.discard(key)

    # Telling

    def _head(self, state: AppState) -> str:
        return self.head_of(state)

    def publish(self, state: AppState) -> None:
        """Derive the status anew and tell who listens, when it changed."""
        if state.key in self.states and self.told.publish(state):
            self.dependence.mark_ready(state)

    def statuses(self) -> list[AppStatus]:
        """Every application's status, in the order of their keys."""
        return self.told.statuses()

    def status(self, key: AppKey) -> AppStatus | None:
        """One application's status."""
        return self.told.status(key)

    def subscribe(self) -> AsyncGenerator[AppStatus | AppKey]:
        """Every status as it changes, from now on; the key of an application that is no more."""
        return self.told.subscribe()
