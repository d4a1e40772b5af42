"""Operations from their start to their end: written ahead, carried out group by group, ended with a history entry."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from taut.controller.carry_out import UNREACHABLE_PAUSE, Run, StepSender
from taut.controller.drift_log import DriftLog
from taut.controller.fleet import Fleet
from taut.controller.planner import Planner
from taut.controller.progress import Finish, Hold, Move, Send, next_move, settle_deletion, settle_hook
from taut.controller.queue import Reason, WorkQueue
from taut.controller.starting import Start, next_try
from taut.controller.state import AppState
from taut.model.durations import seconds
from taut.model.manifests import canonical
from taut.model.operation import HistoryEntry, Operation, OperationKind, OperationState, Step, StepState
from taut.model.plan import WRITES, Action, InventoryItem, Plan
from taut.model.record import AppRecord
from taut.model.refs import ObjectRef
from taut.store.records import AuditNote
from taut.store.store import Store


@dataclass(frozen=True, slots=True)
class Ended:
    """How an operation ended."""

    state: OperationState
    message: str = ""


class Operator:
    """Starts, continues and ends operations. All progress is in the store; `Run` is only its mirror in memory."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        queue: WorkQueue,
        planner: Planner,
        drift: DriftLog,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._queue = queue
        self._planner = planner
        self._drift = drift
        self._clock = clock
        self._sender = StepSender(store, clock)

    async def start(self, state: AppState, plan: Plan, start: Start) -> None:
        """Write the operation ahead: from here on a restart continues it."""
        work = self._planner.steps(state, plan, start)
        now = self._clock()
        desired = state.desired
        revision = desired.revision if desired else None
        asked = state.asked
        operation = Operation(
            id=0,
            app=state.key,
            kind=start.kind,
            state=OperationState.RUNNING,
            revision=revision.label if revision else "",
            plan_hash=plan.hash,
            started_at=now,
            deadline=now + seconds(state.app.spec.sync.timeout),
            initiated_by=asked.by if asked else "taut",
            attempt=state.record.failures + 1,
            selected=tuple(asked.objects) if asked else (),
            content_hash=desired.content_hash if desired else "",
            author=revision.author if revision else "",
            commit_message=revision.message if revision else "",
        )
        manifests = {s.number: canonical(m.body) for s, m in work if m is not None}
        steps = [s for s, _ in work]
        intended = [self._intended(s) for s in steps if _enters(s)]
        note = AuditNote(operation.initiated_by, start.kind.value, str(state.key), f"plan {plan.hash[:12]}")
        number = await self._store.begin(operation, steps, manifests, intended, audit=note)
        for item in intended:
            self._fleet.put_item(state, state.items.get(item.ref, item))
        if asked is not None:
            state.handled = max(state.handled, asked.number)
            state.asked = None
        state.operation_state = OperationState.RUNNING.value
        state.operation_message = ""
        state.run = self._run(state, replace(operation, id=number), steps)
        await self._store.add_event(state.key, now, "sync", f"{start.kind.value} started: {len(steps)} steps")

    def resume(self, state: AppState, operation: Operation, steps: list[Step]) -> None:
        """Take up an operation that an earlier process left running."""
        state.run = self._run(state, operation, steps)
        state.operation_state = OperationState.RUNNING.value

    def _run(self, state: AppState, operation: Operation, steps: list[Step]) -> Run:
        return Run(
            operation=operation,
            steps=list(steps),
            cluster=self._fleet.cluster_of(state),
            impersonate=self._fleet.impersonation_of(state),
            propagation=state.app.spec.sync.propagation,
        )

    def _intended(self, step: Step) -> InventoryItem:
        return InventoryItem(ref=step.ref, api_version=step.api_version, wave=step.wave, pending=True)

    async def go_on(self, state: AppState) -> bool:
        """Carry the operation as far as it goes without waiting. True when it has ended and its application is still there."""
        run = state.run
        if run is None:
            return True
        await run.cluster.watch_kinds({s.ref.kind_ref for s in run.steps if s.state is not StepState.TODO})
        while True:
            ended = self._stopped(run)
            if ended is None:
                await self._settle(state, run)
                move = next_move(run.steps, run.cluster.get, self._clock())
                ended = await self._act(state, run, move)
                if ended is None and not isinstance(move, Send):
                    return False
            if ended is not None:
                await self._end(state, run, ended)
                return state.key in self._fleet.states

    def _stopped(self, run: Run) -> Ended | None:
        if run.operation.abort_requested:
            return Ended(OperationState.ABORTED, "aborted on request")
        if run.superseded:
            return Ended(OperationState.SUPERSEDED, "a newer revision takes over")
        return None

    async def _act(self, state: AppState, run: Run, move: Move) -> Ended | None:
        match move:
            case Send(steps):
                await run.cluster.watch_kinds({s.ref.kind_ref for s in steps})
                self._note(state, await self._sender.send(run, steps))
                return await self._unanswered(state, run)
            case Finish(failures):
                if failures:
                    return Ended(OperationState.FAILED, "; ".join(failures))
                return Ended(OperationState.SUCCEEDED)
            case Hold(waits):
                run.waiting = "waiting: " + "; ".join(f"{w.step.ref} {w.message}" for w in waits[:3])
                left = run.operation.deadline - self._clock()
                if left <= 0:
                    message = "timed out " + "; ".join(f"{w.step.ref} {w.message}" for w in waits[:5])
                    return Ended(OperationState.FAILED, message)
                recheck = min([w.recheck for w in waits if w.recheck] + [left])
                self._queue.add_later(state.key, Reason.TIMER, recheck + 0.05)
                return None

    async def _unanswered(self, state: AppState, run: Run) -> Ended | None:
        """Steps that got no answer stay SENT; they are looked at again after a pause, until the deadline."""
        if any(s.state is StepState.SENT and s.message and not s.hook for s in run.steps):
            self._queue.add_later(state.key, Reason.TIMER, UNREACHABLE_PAUSE)
        return None

    async def _settle(self, state: AppState, run: Run) -> None:
        """Bring steps that are SENT up to what became of them."""
        for step in [s for s in run.steps if s.state is StepState.SENT]:
            live = run.cluster.get(step.ref)
            if step.hook:
                await self._settle_hook(state, run, step)
            elif step.action is Action.DELETE:
                settled = settle_deletion(step, live)
                if settled.state is StepState.DONE:
                    self._note(state, await self._sender.settle(run, settled))
                elif live is not None and not live.deleting:
                    self._note(state, await self._sender.repeat(run, [step]))
            elif not (step.action is Action.RECREATE and live is not None and live.uid == step.uid and live.deleting):
                self._note(state, await self._sender.repeat(run, [step]))

    async def _settle_hook(self, state: AppState, run: Run, step: Step) -> None:
        settled = settle_hook(step, run.cluster.get(step.ref))
        if settled.state in (StepState.DONE, StepState.FAILED):
            self._note(state, await self._sender.settle(run, settled))
        elif settled.uid and settled.uid == step.uid:
            return
        else:
            self._note(state, await self._sender.repeat(run, [step]))

    def _note(self, state: AppState, changed: dict[ObjectRef, InventoryItem | None]) -> None:
        for ref, item in changed.items():
            if item is None:
                self._fleet.drop_item(state, ref)
            else:
                self._fleet.put_item(state, item)

    async def _end(self, state: AppState, run: Run, ended: Ended) -> None:
        now = self._clock()
        operation = replace(run.operation, state=ended.state, finished_at=now, message=ended.message)
        record = self._record_after(state, operation, ended)
        await self._store.finish(
            operation,
            None if operation.selected else self._history(run, operation),
            record,
            approvals_used=(operation.plan_hash,) if ended.state is OperationState.SUCCEEDED else (),
            history_limit=state.app.spec.history_limit,
        )
        state.record = record
        state.run = None
        state.approvals = tuple(a for a in state.approvals if a.plan_hash != operation.plan_hash)
        state.ran |= {s.run_key for s in run.steps if s.hook and s.settled}
        if ended.state is OperationState.SUCCEEDED:
            await self._drift.healed(state, [s.ref for s in run.steps])
        state.recreate |= run.immutable
        state.operation_state = ended.state.value
        state.operation_message = ended.message
        await self._store.add_event(
            state.key, now, "sync", f"{operation.kind.value} {ended.state.value}: {ended.message}"
        )
        for ref, path, manager in run.lost:
            await self._store.add_event(state.key, now, "takeover", f"took {path} over from {manager}", object=str(ref))
        self._queue.add(state.key, Reason.LIVE)
        if ended.state is OperationState.SUCCEEDED and operation.kind is OperationKind.DELETE:
            await self._fleet.removed(state)

    def _record_after(self, state: AppState, operation: Operation, ended: Ended) -> AppRecord:
        record = msgspec.structs.replace(
            state.record, attempted=operation.content_hash or "removed", last_sync=self._clock()
        )
        if ended.state is OperationState.SUCCEEDED:
            return self._record_of_success(state, record, operation)
        if ended.state is OperationState.SUPERSEDED:
            return record
        failures = record.failures + 1 if state.record.attempted == record.attempted else 1
        limit = state.app.spec.sync.retry.limit
        if ended.state is OperationState.ABORTED:
            failures = max(failures, limit + 1)
        return msgspec.structs.replace(
            record,
            failures=failures,
            failure=ended.message,
            retry_at=self._clock() + next_try(state.app.spec.sync, failures),
        )

    def _record_of_success(self, state: AppState, record: AppRecord, operation: Operation) -> AppRecord:
        record = msgspec.structs.replace(record, failures=0, failure="", retry_at=0.0)
        desired = state.desired
        if operation.selected or operation.kind is not OperationKind.SYNC or desired is None:
            return record
        return msgspec.structs.replace(
            record,
            revision=operation.revision,
            content_hash=operation.content_hash,
            render_key=desired.render_key,
            closure=desired.closure.to_json(),
            rebuilt=False,
        )

    def _history(self, run: Run, operation: Operation) -> HistoryEntry:
        return HistoryEntry(
            id=0,
            app=operation.app,
            kind=operation.kind.value,
            result=operation.state.value,
            revision=operation.revision,
            author=operation.author,
            commit_message=operation.commit_message,
            initiated_by=operation.initiated_by,
            started_at=operation.started_at,
            duration=operation.finished_at - operation.started_at,
            plan_hash=operation.plan_hash,
            changes=tuple((s.action.value, str(s.ref)) for s in run.steps if s.state is StepState.DONE),
            message=operation.message,
        )


def _enters(step: Step) -> bool:
    """Whether the step's object enters the inventory when it is written."""
    return step.tracked and not step.hook and step.action in WRITES and step.action is not Action.DELETE
