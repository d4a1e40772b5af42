"""The controller: it wires sources, renderers, clusters and the store into one loop, and takes people's wishes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from taut.clients.fair import FLOW
from taut.controller.adapters import RenderCache
from taut.controller.clock import SteadyClock, watch
from taut.controller.cluster_news import ClusterNews
from taut.controller.contention import WINDOW
from taut.controller.drift_log import DriftLog
from taut.controller.externals import Externals
from taut.controller.fleet import Fleet
from taut.controller.kept import KeptRenders
from taut.controller.operate import Operator
from taut.controller.own_checks import OwnChecks
from taut.controller.pins import Pins
from taut.controller.planner import Planned, Planner
from taut.controller.queue import Reason, WorkQueue
from taut.controller.rebuild import Rebuilder
from taut.controller.reconcile import Parts, Reconciler
from taut.controller.roots import Roots, restored, watched
from taut.controller.scan_note import scan_note
from taut.controller.sops_keys import SopsKeys
from taut.controller.state import AppState, Asked
from taut.controller.triggers import SourceWatch
from taut.controller.wanting import Wanting
from taut.dialects.config import Config
from taut.model.application import Application, SyncMode
from taut.model.drift import DriftRecord
from taut.model.errors import BadInput, StoreError, TautError
from taut.model.operation import Approval
from taut.model.plan import Hold, HoldKind, Plan
from taut.model.project import Project
from taut.model.record import AppRecord
from taut.model.refs import AppKey, ObjectRef
from taut.planning.redact import Redactor
from taut.render.engine import RenderEngine
from taut.sources.service import Sources
from taut.store.records import AuditNote
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster, Event
from taut.targets.kubernetes.collection import KindState

if TYPE_CHECKING:
    from taut.controller.policing import Policing
    from taut.controller.scanning import Scanning
    from taut.controller.sealing import Sealing
    from taut.policy.service import PolicyService

LONG_RUN = 2.0
"""Seconds after which a run no longer keeps its place from others."""
log = logging.getLogger("taut.controller")


@dataclass(frozen=True)
class Outside:
    """What the controller works on; whoever makes it closes it."""

    store: Store
    sources: Sources
    engine: RenderEngine
    clusters: Mapping[str, Cluster]
    redactor: Redactor
    sops: SopsKeys
    policies: PolicyService | None = None
    """Judges by policies; needed when the configuration names some."""
    scan: PolicyService | None = None
    """Judges what runs; needed when the configuration wants policy reports."""


def _sealing(config: Config, outside: Outside) -> Sealing | None:
    if not config.secrets.sealed:
        return None
    from taut.controller.sealed_keys import SealedKeys
    from taut.controller.sealing import Sealing

    return Sealing(SealedKeys(config.secrets.sealed), RenderCache(outside.store), outside.store.mac)


def _policing(
    config: Config, outside: Outside, fleet: Fleet, queue: WorkQueue, sealing: Sealing | None
) -> Policing | None:
    if not config.policies or outside.policies is None:
        return None
    # What no configuration asks for takes no memory.
    from taut.controller.kept_completions import KeptCompletions
    from taut.controller.policing import Policing

    kept = KeptCompletions(RenderCache(outside.store))
    return Policing(
        config.policies, outside.policies, outside.sources, outside.engine, fleet, queue, kept, sealing=sealing
    )


class Controller:
    """A running taut. `start` before anything else, `close` at the end."""

    def __init__(self, config: Config, outside: Outside) -> None:
        self.config = config
        self.store = outside.store
        self.sources = outside.sources
        self.policies = outside.policies
        self.queue = WorkQueue(width=config.max_operations)
        self.fleet = Fleet(outside.store, self.queue, outside.clusters)
        self.queue.lane_of = self.fleet.lane_of
        kept = KeptRenders(RenderCache(outside.store))
        self.sealing = _sealing(config, outside)
        self.policing = _policing(config, outside, self.fleet, self.queue, self.sealing)
        self.externals = Externals(
            self.fleet,
            self.queue,
            outside.engine,
            RenderCache(outside.store),
            {c.name: c.external_secrets for c in config.clusters},
            outside.store.mac,
            sealing=self.sealing,
            store=outside.store,
        )
        self.wanting = Wanting(
            outside.sources,
            outside.engine,
            self.fleet,
            outside.redactor,
            kept,
            outside.sops.of,
            self.policing,
            self.externals,
            OwnChecks(config.checks),
        )
        self.planner = Planner(outside.store, self.fleet, outside.redactor, self.policing)
        self.clock = SteadyClock()
        self.drift = DriftLog(outside.store, self.fleet, outside.redactor, self.clock)
        self.operator = Operator(outside.store, self.fleet, self.queue, self.planner, self.drift, self.clock)
        pins = Pins(self.sources, self.store)
        parts = Parts(
            self.store, self.fleet, self.queue, self.wanting, self.planner, self.operator, self.drift, pins, self.clock
        )
        self.reconciler = Reconciler(parts)
        self.rebuilder = Rebuilder(self.store, self.fleet, self.queue)
        self.roots = Roots(
            config.roots,
            config.configured_projects(),
            self.sources,
            self.fleet,
            self.queue,
            self.store,
            self._adopt,
            config.alerts,
        )
        self.watch = SourceWatch(self.sources, self.fleet, self.queue, self._source_moved)
        self.fleet.head_of = self.watch.head
        if self.policing is not None:
            self.watch.on_poke = self.policing.warm
        self.roots.on_changed = self._track
        self.fleet.on_removed = self._gone
        self._pins = pins
        self._news = ClusterNews(self.fleet, self.queue)
        self.listeners: list[Callable[[Event], None]] = []
        """Who else hears of changed objects, after the applications."""
        self.before_start: list[Callable[[], Awaitable[None]]] = []
        """What must be ready before the first source is read, and needs the clusters (credentials in Secrets)."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        self._closing = False
        self._requests = itertools.count(1)
        self.started_at = time.time()
        self.runs = 0
        self._scan = outside.scan
        self.scanning: Scanning | None = self._scanning() if outside.scan is not None else None
        self.starting = "taut is reading its store"

    # Start and end

    async def start(self) -> None:
        """Take up what an earlier process left, read the roots, and begin to work."""
        await self.clock.take_up(self.store)
        await asyncio.gather(*(c.start() for c in self.fleet.clusters.values()))
        for prepare in self.before_start:
            await prepare()
        await self.rebuilder.prepare()
        await self._pins.load()
        await self._restore()
        workers = self.config.max_operations * max(len(self.fleet.clusters), 1)
        for _ in range(workers):
            self._hire()
        self._tasks.add(asyncio.create_task(watch(self.clock, self._time_was_set), name="clock"))
        if self.policing is not None:
            self.starting = "taut is reading its policies"
            await self.policing.look()
        self.starting = "taut is reading its roots"
        await self.roots.look()
        await self.rebuilder.conclude(self.roots.states)
        for key, state in self.fleet.states.items():
            if state.stale:
                self.queue.add(key, Reason.START)
        self._track()
        self.starting = ""
        if self.scanning is None and any([await self.store.noted(scan_note(c)) for c in self.fleet.clusters]):
            self.scanning = self._scanning()  # takes down what an earlier start had written
        if self.scanning is not None:
            self.scanning.start()

    def _scanning(self) -> Scanning:
        from taut.controller.scan_memory import ScanMemory
        from taut.controller.scanning import Scanning

        return Scanning(
            self.fleet,
            self.policing,
            self._scan,
            self.store,
            ScanMemory(RenderCache(self.store)),
            [c.name for c in self.config.clusters if c.policy_reports],
            lambda: self.runs,
            lambda: self.starting,
        )

    async def close(self) -> None:
        """Stop working. What is under way is continued by the next start."""
        await self.externals.close()
        if self.scanning is not None:
            await self.scanning.close()
        await self.watch.close()
        await self.rebuilder.close()
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _time_was_set(self) -> None:
        for key, state in self.fleet.states.items():
            if state.waiting:
                self.queue.add(key, Reason.TIMER)

    def keys_changed(self) -> None:
        """There are other keys for encrypted files: what was opened with those from before, or could not be rendered, is rendered again."""
        known: dict[str, str] = {}
        for key, state in self.fleet.states.items():
            project = state.app.spec.project
            if project not in known:
                known[project] = self.wanting.keys_of(project)
            used = state.desired.decryption if state.desired is not None else ""
            if state.failed is not None or used not in ("", known[project]):
                state.mark_stale()
                self.queue.add(key, Reason.PUSH)

    async def _gone(self, state: AppState) -> None:
        self._track()
        self.externals.forget(state.key)
        await self._pins.drop(state)

    async def _source_moved(self, url: str) -> None:
        """Policies come first: what is planned by the same commit is judged by them."""
        if self.policing is not None:
            await self.policing.look(url)
        await self.roots.look(url)

    def _track(self) -> None:
        policies = self.policing.watched() if self.policing is not None else ()
        self.watch.track([*watched(self.roots.states, self.fleet), *policies])

    async def _work(self) -> None:
        while await self._one():
            pass

    async def _one(self) -> bool:
        """Take the next application and run it. False when that took so long that another worker has taken this one's place."""
        key, _ = await self.queue.take()
        FLOW.set(str(key))
        loop = asyncio.get_running_loop()
        began, aside = loop.time(), False

        def takes_long() -> None:
            nonlocal aside
            aside = not self._closing and self.queue.set_aside(key)
            if aside:
                self._hire()

        timer = loop.call_later(LONG_RUN, takes_long)
        state = self.fleet.states.get(key)
        try:
            if state is not None:
                self.runs += 1
                await self.reconciler.run(state)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s: an error inside taut; it is tried again", key)
            self.queue.add_later(key, Reason.RETRY, 30.0)
        finally:
            timer.cancel()
            if state is not None:
                state.heavy = loop.time() - began > LONG_RUN
            self.queue.done(key)
        return not aside

    def _hire(self) -> None:
        """One more worker."""
        task = asyncio.create_task(self._work(), name=f"worker {next(self._numbers)}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _restore(self) -> None:
        inventories = await self.store.inventories()
        approvals = await self.store.approvals()
        last = await self.store.last_operations()
        open_drift: dict[AppKey, list[DriftRecord]] = {}
        for found in await self.store.drift(open_only=True, limit=20_000):
            open_drift.setdefault(found.app, []).append(found)
        heals: dict[AppKey, list[tuple[ObjectRef, str, float]]] = {}
        today = time.time()
        for found in await self.store.heals_since(today - WINDOW):
            heals.setdefault(found.app, []).append((found.ref, found.path, today - found.healed_at))
        for record in await self.store.apps():
            app = restored(record)
            if app is None:
                log.warning("%s: what the store holds of it cannot be read", record.key)
                continue
            state = AppState(app=app, record=record, items=dict(inventories.get(app.key, {})))
            state.removed = record.deleting
            if record.parting:
                self.fleet.parting[app.key] = msgspec.json.decode(record.parting, type=Project)
            if record.removal_held:
                state.removal_hold = Hold(HoldKind.ROOT_SHARE, record.removal_held)
            state.approvals = tuple(a for a in approvals if a.app == app.key)
            if app.key in last:
                state.operation_state = last[app.key].state.value
                state.operation_message = last[app.key].message
            state.drift = {(found.ref, found.path): found for found in open_drift.get(app.key, ())}
            state.contention.recall(heals.get(app.key, ()), self.clock())
            self.fleet.add(state)
        for operation, steps in await self.store.running():
            state = self.fleet.states.get(operation.app)
            if state is not None:
                self.operator.resume(state, operation, steps)
        for key, state in self.fleet.states.items():
            if self.fleet.barred(state) is None:  # else its project may be in a root that is not read yet
                self.queue.add(key, Reason.START)

    async def _adopt(self, app: Application) -> AppState:
        """A state for an application that the store does not know."""
        record = AppRecord(key=str(app.key), spec=msgspec.json.encode(app))
        state = AppState(app=app, record=record)
        await self.rebuilder.fill(state)
        await self.store.put_app(state.record)
        return state

    # What people ask for

    def state(self, key: AppKey) -> AppState:
        """The application's state. Raises BadInput when there is none."""
        state = self.fleet.states.get(key)
        if state is None:
            raise BadInput(f"there is no application {key}")
        return state

    async def ask_sync(
        self, key: AppKey, *, by: str, objects: frozenset[ObjectRef] = frozenset(), prune: bool | None = None
    ) -> int:
        """Ask for a sync; its number comes out (a status says when it was handled). Raises BadInput for a suspended one."""
        state = self.state(key)
        if state.suspended:
            raise BadInput(f"{key} is suspended", advice=f"taut resume {key.name}")
        if state.app.spec.sync.mode is SyncMode.REPORT:
            raise BadInput(
                f"{key} is report-only: nothing is written", advice="set spec.sync.mode to manual or automatic in Git"
            )
        await self.store.audit(by, "sync", str(key), ", ".join(str(o) for o in objects))
        number = next(self._requests)
        state.asked = Asked(by=by, number=number, objects=objects, prune=prune)
        self.queue.add(key, Reason.ASKED)
        return number

    async def planned(self, key: AppKey) -> Planned:
        """The plan now, made for somebody who looks at it. Raises TautError when it cannot be made."""
        state = self.state(key)
        if state.desired is None and not state.removed:
            first = next(iter(state.all_problems), None)
            raise TautError(
                first.what if first else f"{key} was not looked at yet", advice=first.advice if first else ""
            )
        planned = await self.planner.plan(state, exact=True)
        if state.removed and state.removal_hold is not None:
            return Planned(planned.plan.with_holds(state.removal_hold), planned.found, planned.bodies)
        return planned

    async def approve(self, key: AppKey, plan_hash: str, *, by: str, reason: str) -> Plan:
        """Let the plan with this hash pass. Raises BadInput when the present plan is another one, or nothing is held."""
        state = self.state(key)
        plan = (await self.planned(key)).plan
        if not plan.holds:
            raise BadInput(f"{key} is not held: there is nothing to approve")
        if len(plan_hash) < 8 or not plan.hash.startswith(plan_hash):
            raise BadInput(
                f"the plan of {key} is {plan.hash[:12]}, not {plan_hash[:12] or 'unnamed'}",
                advice="look at it again (taut diff), and approve what you see",
            )
        if all(not h.approvable for h in plan.holds):
            raise BadInput(plan.holds[0].message, advice="no approval helps here")
        approval = Approval(key, plan.hash, by, time.time(), reason)
        await self.store.approve(approval, AuditNote(by, "approve", str(key), f"plan {plan.hash}: {reason}"))
        state.approvals = (*state.approvals, approval)
        if state.record.failures:
            state.record = msgspec.structs.replace(state.record, failures=0, retry_at=0.0)
            await self.store.put_app(state.record)
        self.queue.add(key, Reason.ASKED)
        return plan

    async def abort(self, key: AppKey, *, by: str) -> bool:
        """Stop the running operation before its next step; False when none runs."""
        run = self.state(key).run
        if run is None:
            return False
        await self.store.audit(by, "abort", str(key), "")
        if self.state(key).run is not run:
            return False  # it ended meanwhile
        run.operation = await self.store.update_operation(
            run.operation.id, abort_requested=True, message=f"aborted by {by}"
        )
        self.queue.add(key, Reason.ASKED)
        return True

    async def suspend(self, key: AppKey, *, by: str, reason: str) -> None:
        """Neither sync, heal, prune nor delete from now on."""
        await self._suspended(key, by, reason, f"{by}: {reason}" if reason else by)

    async def resume(self, key: AppKey, *, by: str) -> None:
        """Undo `suspend`. Raises BadInput when it is the document that suspends; one that left Git no longer does."""
        state = self.state(key)
        if state.app.spec.suspended and state.removed:
            spec = msgspec.structs.replace(state.app.spec, suspended=False)
            state.app = msgspec.structs.replace(state.app, spec=spec)
            state.record = msgspec.structs.replace(state.record, spec=msgspec.json.encode(state.app))
        elif state.app.spec.suspended:
            raise BadInput(f"{key} is suspended by its document", advice="set spec.suspended to false in Git")
        await self._suspended(key, by, "", "")

    async def _suspended(self, key: AppKey, by: str, reason: str, suspended_by: str) -> None:
        state = self.state(key)
        await self.store.audit(by, "suspend" if suspended_by else "resume", str(key), reason)
        before = state.record.suspended_by
        state.record = msgspec.structs.replace(state.record, suspended_by=suspended_by)
        try:
            await self.store.put_app(state.record)
        except StoreError:
            # Who is told that it failed must not find that it happened, until a restart undoes it.
            state.record = msgspec.structs.replace(state.record, suspended_by=before)
            raise
        self.queue.add(key, Reason.ASKED)

    async def refresh(self, root: str | None, key: AppKey | None) -> int:
        """Look at the sources again: of one application, of a root, or all. How many repositories is the answer."""
        if key is not None:
            state = self.state(key)
            state.mark_stale()
            count = self.watch.poke([s.url for s in state.app.spec.all_sources])
            self.queue.add(key, Reason.ASKED)
            return count
        if root is not None:
            found = self.roots.states.get(root)
            if found is None:
                raise BadInput(f"there is no root {root!r}", advice=f"there are: {', '.join(self.roots.states)}")
            return self.watch.poke(found.urls)
        return self.watch.poke()

    def on_event(self, event: Event) -> None:
        """News from a cluster."""
        self._news.on_event(event)
        for listener in self.listeners:
            listener(event)

    def on_state(self, cluster: str, kind: KindState) -> None:
        """A kind's watch is complete, fails, or works again: those who have objects of the kind are looked at."""
        self._news.on_state(cluster, kind)
        if self.scanning is not None:
            self.scanning.on_state(cluster, kind)

    def on_kinds(self, cluster: str) -> None:
        """Kinds came or went: those who wait for a kind are looked at anew."""
        self._news.on_kinds(cluster)
        if self.scanning is not None:
            self.scanning.on_kinds(cluster)
