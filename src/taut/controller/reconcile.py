"""One run of one application: what is true, what to do, do it. Whatever must wait gives the worker back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from taut.controller.drift_log import DriftLog
from taut.controller.fleet import Fleet
from taut.controller.operate import Operator
from taut.controller.planner import Planner
from taut.controller.queue import Reason, WorkQueue
from taut.controller.starting import Decision, Facts, Nothing, NotNow, Start, decide
from taut.controller.state import AppState, Desired
from taut.controller.status import problem_of
from taut.controller.wanting import Wanting
from taut.model.errors import TargetError, TautError
from taut.model.plan import Action, Hold, Plan
from taut.model.record import AppRecord
from taut.planning.guard import passes
from taut.planning.windows import check
from taut.store.store import Store

TARGET_PAUSE = 5.0
"""Seconds until a cluster that did not answer is asked again."""
SOURCE_PAUSE = 30.0


@dataclass(frozen=True)
class Parts:
    """What a run works with."""

    store: Store
    fleet: Fleet
    queue: WorkQueue
    wanting: Wanting
    planner: Planner
    operator: Operator
    drift: DriftLog
    clock: Callable[[], float] = time.time


class Reconciler:
    """Runs applications, one run an application at a time (the queue sees to that)."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts

    async def run(self, state: AppState, reasons: frozenset[Reason]) -> None:
        """Look at `state` because of `reasons` and take the next step. Problems end up in its status, never in the caller."""
        try:
            await self._step(state, reasons)
        except TautError as error:
            stage = "target" if isinstance(error, TargetError) else "store"
            state.problems = (problem_of(error, stage),)
            self._p.queue.add_later(state.key, Reason.RETRY, TARGET_PAUSE)
        self._p.fleet.publish(state)

    async def _step(self, state: AppState, reasons: frozenset[Reason]) -> None:
        await self._want(state, reasons)
        if state.run is not None:
            self._supersede(state)
            await self._p.operator.go_on(state)
            if state.run is not None:
                return
        if state.desired is None and not state.removed:
            return
        await self._look(state)

    async def _want(self, state: AppState, reasons: frozenset[Reason]) -> None:
        """Find what Git wants, where something could have changed; the last good answer stays when it cannot be found."""
        if state.removed or (state.desired is not None and not state.stale):
            return
        try:
            desired = await self._p.wanting.find(state)
        except TautError as error:
            state.problems = (*state.document_problems, problem_of(error, self._p.wanting.stage_of(error)))
            if state.desired is None:
                state.desired = await self._p.wanting.last_good(state)
            delay = TARGET_PAUSE if isinstance(error, TargetError) else SOURCE_PAUSE
            self._p.queue.add_later(state.key, Reason.RETRY, delay)
            return
        if state.desired is None or desired.content_hash != state.desired.content_hash:
            state.recreate.clear()
        state.stale = False
        state.desired = desired
        state.problems = state.document_problems
        state.warnings = desired.warnings

    def _supersede(self, state: AppState) -> None:
        run, desired = state.run, state.desired
        newer = run is not None and desired is not None and desired.content_hash != run.operation.content_hash
        if run is not None and (
            (newer and not run.operation.selected) or (state.removed and run.operation.kind != "delete")
        ):
            run.superseded = True

    async def _look(self, state: AppState) -> None:
        """Plan, record drift, decide, act."""
        plan = await self._p.planner.plan(state)
        fresh = state.desired is not None and state.desired.content_hash != state.record.content_hash
        drifted = () if fresh or state.removed else tuple(c for c in plan.writes)
        await self._p.drift.note(state, drifted)
        decision, holds = await self._decide(state, plan, fresh)
        differing = [c.ref for c in plan.changes if c.action not in (Action.UNCHANGED, Action.RELEASE)]
        state.out_of_sync = frozenset(differing)
        state.in_sync = not differing
        state.holds = holds
        match decision:
            case Nothing():
                state.plan = None
                state.waiting = ""
                state.asked = None
                await self._settled(state, fresh, plan)
            case NotNow(why, recheck, held):
                state.plan = plan
                state.waiting = "" if held else why
                if recheck:
                    self._p.queue.add_later(state.key, Reason.TIMER, recheck)
            case Start():
                state.plan = None
                state.waiting = ""
                await self._p.operator.start(state, plan, decision)
                await self._p.operator.go_on(state)

    async def _decide(self, state: AppState, plan: Plan, fresh: bool) -> tuple[Decision, tuple[Hold, ...]]:
        holds = passes(plan, {a.plan_hash for a in state.approvals})
        spec = state.app.spec
        project = self._p.fleet.project_of(state)
        window = check((*spec.sync.windows, *project.spec.windows), self._p.clock())
        facts = Facts(
            policy=spec.sync,
            now=self._p.clock(),
            fresh=fresh,
            asked=state.asked is not None,
            asked_objects=state.asked.objects if state.asked else frozenset(),
            asked_prune=state.asked.prune if state.asked else None,
            suspended=state.suspended,
            removed=state.removed,
            held=holds[0].message if holds else "",
            dependency=self._p.fleet.unmet_dependency(state),
            window_closed=window.closed,
            window_allows_manual=window.manual,
            window_recheck=window.recheck,
            failures=state.record.failures if self._same_attempt(state) else 0,
            retry_at=state.record.retry_at,
            failure=state.record.failure,
            contested_until=state.contested_until,
            hooks=bool(state.desired and state.desired.hooks),
        )
        return decide(plan, facts), holds

    def _same_attempt(self, state: AppState) -> bool:
        wanted = state.desired.content_hash if state.desired else "removed"
        return state.record.attempted == wanted

    async def _settled(self, state: AppState, fresh: bool, plan: Plan) -> None:
        """Nothing differs: remember the content as synced, without an operation, when only words around it changed."""
        desired = state.desired
        if state.removed:
            return
        if desired is not None and (fresh or state.record.render_key != desired.render_key):
            state.record = _synced(state.record, desired)
            await self._p.store.put_app(state.record)
        await self._p.planner.forget_gone(state, plan)
        self._p.fleet.mark_ready(state)


def _synced(record: AppRecord, desired: Desired) -> AppRecord:
    """The record after everything of `desired` was found or made true."""
    return msgspec.structs.replace(
        record,
        revision=desired.revision.label,
        desired_revision=desired.revision.label,
        content_hash=desired.content_hash,
        render_key=desired.render_key,
        closure=desired.closure.to_json(),
        failures=0,
        failure="",
        retry_at=0.0,
        attempted=desired.content_hash,
    )
