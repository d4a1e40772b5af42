"""One run of one application: what is true, what to do, do it. Whatever must wait gives the worker back."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from taut.controller.claims import Taken
from taut.controller.drift_log import DriftLog
from taut.controller.fleet import Fleet
from taut.controller.hold_log import note_holds
from taut.controller.namespaces import missing_namespace
from taut.controller.operate import Operator
from taut.controller.pins import Pins
from taut.controller.planner import Planned, Planner
from taut.controller.queue import Reason, WorkQueue
from taut.controller.starting import Decision, Facts, Nothing, NotNow, Start, decide
from taut.controller.state import AppState, Desired, Failed, confide
from taut.controller.status import app_health, problem_of
from taut.controller.wanting import Refused, StillReading, Wanting
from taut.model.errors import BadInput, RenderError, TargetError, TautError
from taut.model.health import HealthStatus
from taut.model.operation import OperationKind, OperationState, StepState
from taut.model.plan import Action, Change, Hold, HoldKind, Plan
from taut.model.record import AppRecord
from taut.model.refs import ObjectRef
from taut.model.snapshot import Snapshot
from taut.planning.guard import holds_after
from taut.planning.plan import BEING_DELETED
from taut.planning.windows import Verdict, is_open
from taut.render.engine import closure_of
from taut.store.store import Store

TARGET_PAUSE = 5.0
"""Seconds until a cluster that did not answer is asked again; twice as long after each further failure."""
LONGEST_TARGET_PAUSE = 20.0
"""The longest of these pauses while the cluster's watches stand."""
LONGEST_AWAY_PAUSE = 120.0
"""The same while they do not: when they stand again, that is told, and everything is looked at."""
SOURCE_PAUSE = 30.0
POLICY_PAUSE = 60.0
"""Seconds until a plan that a policy denies is judged again: what the policy looks up in the target may be another one."""
RENDER_PAUSE = 300.0
"""Seconds until a failed render is tried again: it may have been one of time or memory."""


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
    pins: Pins
    steady: Callable[[], float]
    """Seconds of a clock that nobody sets."""
    clock: Callable[[], float] = time.time
    """The time of day, which windows are about."""


class Reconciler:
    """Runs applications, one run an application at a time (the queue sees to that)."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts

    async def run(self, state: AppState) -> None:
        """Take the next step of `state`. Problems end up in its status, never in the caller."""
        confide(state)
        try:
            await self._p.fleet.pay()
            await self._step(state)
            state.step_problems = ()
            state.away = 0 if state.failed is None else state.away
        except TautError as error:
            stage = "target" if isinstance(error, TargetError) else "plan"
            state.step_problems = (problem_of(error, stage),)
            if not isinstance(error, BadInput):
                pause = self._target_pause(state) if isinstance(error, TargetError) else TARGET_PAUSE
                self._p.queue.add_later(state.key, Reason.RETRY, pause)
        if state.run is None and (state.problems or state.step_problems):
            _answer(state)
        self._p.fleet.publish(state)

    async def _step(self, state: AppState) -> None:
        self._p.fleet.note_leaving(state)
        if self._p.fleet.lends(state) and state.removed and not state.items:
            return  # somebody is taking its last objects over; when that is stored, or was in vain, it is looked at again
        if state.removed and state.removal_sure and not state.items and state.run is None and not state.suspended:
            await self._p.fleet.removed(state)  # nothing was ever made of it: there is nothing to ask or to wait for
            return
        barred = self._p.fleet.barred(state)
        if barred is not None:
            # As whom to write, and what may be written, is known by the project alone.
            state.problems = (problem_of(barred, "document"),)
            return
        await self._want(state)
        if state.run is not None:
            self._supersede(state)
            if not await self._p.operator.go_on(state):
                return
        if state.desired is not None or state.removed:
            await self._look(state)

    async def _want(self, state: AppState) -> None:
        """Find what Git wants, where it could have changed; the last good answer stays when it cannot be found."""
        if state.removed and state.desired is None:
            # After a restart the hooks of its deletion are known from what was rendered last.
            kept = await self._p.wanting.last_good(state)
            if kept is not None:
                await self._take(state, kept)
        if state.removed or (state.desired is not None and not state.stale):
            return
        marks = state.marks
        if state.failed is not None and state.failed.marks == marks and self._p.steady() < state.failed.again:
            return
        try:
            desired = await self._p.wanting.find(state)
        except TautError as error:
            pause = self._target_pause(state) if isinstance(error, TargetError) else _pause_after(error)
            state.failed = Failed(marks, self._p.steady() + pause, closure_of(error))
            if pause < math.inf:
                self._p.queue.add_later(state.key, Reason.RETRY, pause + 0.1)
            await self._fall_back(state, error)
            if isinstance(error, StillReading):
                self._go_on_after(state, error)
            return
        state.failed = None
        await self._take(state, desired)
        state.stale = state.marks != marks
        state.problems = ()

    def _go_on_after(self, state: AppState, slow: StillReading) -> None:
        """Look again when a slow source is here; when it is not after all, the pause between tries counts."""

        def ended(reading: asyncio.Future[Snapshot]) -> None:
            if not reading.cancelled() and reading.exception() is None:
                state.mark_stale()
                self._p.queue.add(state.key, Reason.PUSH)

        slow.reading.add_done_callback(ended)

    def _target_pause(self, state: AppState) -> float:
        """Seconds until a target that could not be asked is asked again."""
        cluster = self._p.fleet.clusters.get(state.app.spec.target.cluster)
        reachable = cluster is None or cluster.state().reachable
        longest = LONGEST_TARGET_PAUSE if reachable else LONGEST_AWAY_PAUSE
        pause = min(TARGET_PAUSE * 2 ** min(state.away, 10), longest)
        state.away += 1
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 (spreads load)

    async def _fall_back(self, state: AppState, error: TautError) -> None:
        """Say what is wrong, and go on with what was good last, as far as the project allows that now."""
        state.problems = (problem_of(error, self._p.wanting.stage_of(error)),)
        refused = isinstance(error, Refused)
        if state.desired is not None and not refused:
            return
        kept = await self._p.wanting.last_good(state)
        if kept is not None:
            await self._take(state, kept)
        elif refused:
            self._p.fleet.want(state, None)

    async def _take(self, state: AppState, desired: Desired) -> None:
        if state.desired is None or desired.content_hash != state.desired.content_hash:
            state.recreate.clear()
            state.in_sync = False  # until it was compared with what is live
        state.ran = frozenset(
            [w.run_key for w in desired.hooks if await self._p.store.run_result(w.run_key) == StepState.DONE]
        )
        self._p.fleet.want(state, desired)
        confide(state)
        state.warnings = desired.warnings

    def _supersede(self, state: AppState) -> None:
        run, desired = state.run, state.desired
        if run is None:
            return
        newer = desired is not None and desired.content_hash != run.operation.content_hash
        if state.removed:
            run.superseded = run.operation.kind is not OperationKind.DELETE
        elif run.operation.kind is OperationKind.DELETE:
            run.superseded = True
        else:
            # Other policies may deny what is left of it: the plan that follows is judged by them.
            run.superseded = run.judge_again or (newer and not run.operation.selected)

    async def _look(self, state: AppState) -> None:
        """Plan, write drift down, decide, act."""
        planned = await self._planned(state)
        plan, selected = planned.plan, planned.found.circumstances.selected
        state.warnings = (*(state.desired.warnings if state.desired else ()), *plan.warnings)
        fresh = state.desired is not None and state.desired.content_hash != state.record.content_hash
        if not state.removed and selected is None:
            await self._p.drift.note(state, planned, fresh=fresh)
        decision, holds = self._decide(state, plan, fresh)
        if selected is not None and isinstance(decision, Nothing):
            # Nothing is to be done for what was asked for; how the others are is another question.
            _answer(state)
            await self._look(state)
            return
        if selected is None:
            state.kept = frozenset(c.ref for c in _kept(state, plan))
            if state.only_hands_over:
                self._p.fleet.dependence.hands_over(state)
        differing = [c.ref for c in plan.changes if _differs(c)]
        state.out_of_sync = frozenset(differing)
        self._p.fleet.attend(state)
        state.holds = holds
        if holds or state.told_holds:
            await note_holds(self._p.store, state, holds, self._p.clock)
        self._p.fleet.note_claims(state)
        if any(h.kind is HoldKind.POLICY for h in holds):
            if state.asks_stores:  # such documents are judged when they are understood
                state.mark_stale()
            self._p.queue.add_later(state.key, Reason.TIMER, POLICY_PAUSE)
        state.in_sync = not differing and not any(not h.approvable for h in holds)
        await self._follow(state, planned, decision, fresh)

    async def _planned(self, state: AppState) -> Planned:
        """The plan of what is asked for, else of everything. A wish whose plan was held has ended when the plan is another one."""
        asked = state.asked
        planned = await self._p.planner.plan(state, selected=asked.objects if asked and asked.objects else None)
        if asked is None or asked.held in ("", planned.plan.hash):
            return planned
        state.asked = None
        return await self._p.planner.plan(state) if asked.objects else planned

    async def _follow(self, state: AppState, planned: Planned, decision: Decision, fresh: bool) -> None:
        match decision:
            case Nothing():
                state.plan = None
                state.waiting = ""
                await self._settled(state, planned, fresh)
            case NotNow(why, recheck, held):
                state.plan = planned.plan
                state.waiting = "" if held else why
                if recheck:
                    self._p.queue.add_later(state.key, Reason.TIMER, recheck)
                if held and state.asked is not None:
                    state.handled = max(state.handled, state.asked.number)
                    state.asked = replace(state.asked, held=planned.plan.hash)
                return
            case Start():
                state.plan = None
                state.waiting = ""
                await self._p.pins.keep(state)
                try:
                    await self._p.operator.start(state, planned, decision)
                except Taken:
                    self._p.queue.add(state.key, Reason.DEPENDENCY)  # the plan that follows says whose it is
                    return
                self._p.fleet.publish(state)
                await self._p.operator.go_on(state)
                return
        _answer(state)

    def _decide(self, state: AppState, plan: Plan, fresh: bool) -> tuple[Decision, tuple[Hold, ...]]:
        now = self._p.steady()
        holds = holds_after(plan, state.approvals)
        if state.removal_hold is not None and state.removed:
            holds = (*holds, *holds_after(replace(plan, holds=(state.removal_hold,)), state.approvals))
        spec = state.app.spec
        window = self._window(state)
        asked = state.asked
        same = state.record.attempted == (
            state.desired.content_hash if state.desired and not state.removed else "removed"
        )
        facts = Facts(
            policy=spec.sync,
            now=now,
            fresh=fresh,
            asked=asked is not None,
            asked_objects=asked.objects if asked else frozenset(),
            asked_prune=asked.prune if asked else None,
            suspended=state.suspended,
            removed=state.removed,
            drifted=_drifted(state, plan),
            held=next((h.message for h in holds if h.stops), ""),
            dependency=self._dependency(state, plan, fresh),
            window_closed="" if window.open else window.reason,
            window_recheck=max(window.until - self._p.clock(), 1.0) if window.until else 0.0,
            failures=state.record.failures if same else 0,
            retry_at=state.record.retry_at,
            failure=state.record.failure,
            stopped=state.record.stopped if same else "",
            contested=state.contention.all_left(now, state.drift.keys()),
        )
        return decide(plan, facts), holds

    def _dependency(self, state: AppState, plan: Plan, fresh: bool) -> str:
        """What has to be true first. The order of applications is one of syncs: healing what was synced waits for nobody."""
        why = self._unsure(state)
        if not why and (fresh or state.removed or state.asked is not None):
            why = self._p.fleet.dependence.unmet(state)
        return (
            why
            or _hook_taken(state, plan)
            or self._undecided(state, plan.changes)
            or _handing_over(state, plan)
            or missing_namespace(plan, self._p.fleet.cluster_of(state))
        )

    def _window(self, state: AppState) -> Verdict:
        windows = (*state.app.spec.sync.windows, *self._p.fleet.project_of(state).spec.windows)
        return is_open(windows, self._p.clock(), manual=state.asked is not None)

    def _unsure(self, state: AppState) -> str:
        """A removal that an earlier process began to consider is judged anew, with all that left the root together."""
        unsure = state.removed and not state.removal_sure
        return f"waits with its removal until the root {state.key.root} is read" if unsure else ""

    def _undecided(self, state: AppState, changes: tuple[Change, ...]) -> str:
        """Nothing is deleted before every application of the root was looked at: one of them may take the object over.

        One that was looked at while this plan was made may have claimed what the plan deletes: then it is made anew.
        """
        deleted = [c.ref for c in changes if c.action is Action.DELETE]
        if not deleted:
            return ""
        claims = (self._p.fleet.claimant(ref, other_than=state.key) for ref in deleted)
        other = self._p.fleet.undecided(state, {ref.cluster for ref in deleted}) or next(
            (key for key in claims if key is not None), None
        )
        if other is None:
            return ""
        self._p.queue.add_later(state.key, Reason.RETRY, 0.2)
        return f"waits with deletions until {other} has been looked at"

    async def _settled(self, state: AppState, planned: Planned, fresh: bool) -> None:
        """Nothing differs: remember the content as synced, without an operation, when only words around it changed."""
        desired = state.desired
        if state.removed or desired is None:
            return
        complete = not self._p.planner.incomplete(state)
        healthy = app_health(state, self._p.fleet.look).status is HealthStatus.HEALTHY
        if complete and healthy and state.operation_state == OperationState.FAILED:
            # What the operation did not see to its end has come true without it.
            state.operation_state = state.operation_message = ""
        if complete and (fresh or state.record.render_key != desired.render_key):
            state.record = _synced(state.record, desired)
            await self._p.store.put_app(state.record)
            await self._p.pins.keep(state)
        await self._p.planner.refresh_memory(state, planned)
        self._p.fleet.dependence.mark_ready(state)


def _answer(state: AppState) -> None:
    """Whoever asked for a sync can see what came of it."""
    if state.asked is not None:
        state.handled = max(state.handled, state.asked.number)
        state.asked = None


def _drifted(state: AppState, plan: Plan) -> frozenset[ObjectRef]:
    """Objects whose desired content is the one that was applied last, and that are not as they were left."""
    found: list[ObjectRef] = []
    for change in plan.changes:
        item = state.items.get(change.ref)
        repairs = not change.hook and change.action in (Action.CREATE, Action.UPDATE)
        if repairs and item is not None and not item.pending and item.desired_hash == change.desired_hash:
            found.append(change.ref)
    return frozenset(found)


def _kept(state: AppState, plan: Plan) -> list[Change]:
    """What an application that is taken down can neither delete nor let go of yet."""
    if not state.removed:
        return []
    return [c for c in plan.changes if c.action is Action.UNCHANGED and not c.run_key and c.ref in state.items]


def _handing_over(state: AppState, plan: Plan) -> str:
    """That an application that is taken down has nothing left but what others are about to take: it stays until they have it."""
    kept = _kept(state, plan)
    if not kept or any(c.action is not Action.UNCHANGED for c in plan.changes):
        return ""
    more = f" (and {len(kept) - 1} more)" if len(kept) > 1 else ""
    return f"{kept[0].reason}: {kept[0].ref}{more}"


def _hook_taken(state: AppState, plan: Plan) -> str:
    """That a hook of the plan cannot run because its name is another application's: nothing else is done without it."""
    hooks = {h.ref for h in state.desired.hooks} if state.desired is not None else set[ObjectRef]()
    taken = (h.message for h in plan.holds if h.kind is HoldKind.OWNED and not hooks.isdisjoint(h.refs))
    return next(taken, "")


def _differs(change: Change) -> bool:
    """Whether the object is not what Git says."""
    return change.action not in (Action.UNCHANGED, Action.RELEASE) or change.reason == BEING_DELETED


def _synced(record: AppRecord, desired: Desired) -> AppRecord:
    """The record after everything of `desired` was found or made true."""
    return msgspec.structs.replace(
        record,
        revision=desired.revision.label,
        content_hash=desired.content_hash,
        render_key=desired.render_key,
        closure=desired.closure.to_json(),
        failures=0,
        failure="",
        retry_at=0.0,
        stopped="",
        attempted=desired.content_hash,
        attempted_revision=desired.hook_revision,
    )


def _pause_after(error: TautError) -> float:
    """Seconds until another try is worth it. Bad input stays bad until something moves, and that is noticed."""
    if isinstance(error, BadInput):
        return math.inf
    return RENDER_PAUSE if isinstance(error, RenderError) else SOURCE_PAUSE
