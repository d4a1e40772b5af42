"""Operations from their start to their end: written ahead, carried out group by group, ended with a history entry."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from taut.controller.carry_out import Run, StepSender, pause_before
from taut.controller.clock import SteadyClock
from taut.controller.drift_log import DriftLog
from taut.controller.fleet import Fleet
from taut.controller.namespaces import NAMESPACE
from taut.controller.planner import Planned, Planner
from taut.controller.progress import (
    UNKNOWN_END,
    Finish,
    Hold,
    Move,
    Send,
    Wait,
    hooks_to_clear,
    next_move,
    settle_deletion,
    settle_hook,
)
from taut.controller.queue import Reason, WorkQueue
from taut.controller.starting import Start, next_try
from taut.controller.state import AppState
from taut.model.durations import seconds
from taut.model.health import HealthStatus
from taut.model.live import LiveObject
from taut.model.manifests import canonical
from taut.model.operation import HistoryEntry, Operation, OperationKind, OperationState, Step, StepState
from taut.model.plan import WRITES, Action, InventoryItem, Phase
from taut.model.record import AppRecord
from taut.model.refs import ObjectRef
from taut.store.records import AuditNote, EventNote
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster


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
        steady: SteadyClock,
        clock: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._spread = spread
        self._store = store
        self._fleet = fleet
        self._queue = queue
        self._planner = planner
        self._drift = drift
        self._steady = steady
        self._clock = clock
        self._sender = StepSender(store, steady)

    async def start(self, state: AppState, planned: Planned, start: Start) -> None:
        """Write the operation ahead: from here on a restart continues it.

        Raises Taken when another application claimed one of its objects since it was planned; then nothing was begun.
        """
        plan = planned.plan
        work = self._planner.steps(state, planned, start)
        now = self._clock()
        desired = state.desired
        revision = desired.revision if desired else None
        healing = start.kind is OperationKind.HEAL
        asked = None if healing else state.asked
        # A heal carries out its own changes: the approval of a plan that is held meanwhile is not used up by it.
        plan_hash = replace(plan, changes=start.changes).hash if healing else plan.hash
        operation = Operation(
            id=0,
            app=state.key,
            kind=start.kind,
            state=OperationState.RUNNING,
            revision=revision.label if revision else "",
            plan_hash=plan_hash,
            started_at=now,
            deadline=self._steady() + seconds(state.app.spec.sync.timeout),
            initiated_by=asked.by if asked else "taut",
            attempt=state.record.failures + 1,
            selected=tuple(asked.objects) if asked else (),
            content_hash=desired.content_hash if desired else "",
            author=revision.author if revision else "",
            commit_message=revision.message if revision else "",
            hook_revision=desired.hook_revision if desired else "",
        )
        manifests = {s.number: canonical(m.body) for s, m in work if m is not None}
        steps = [s for s, _ in work]
        intended = [self._intended(s) for s in steps if _enters(s)]
        note = AuditNote(operation.initiated_by, start.kind.value, str(state.key), f"plan {plan_hash[:12]}")
        said = EventNote(now, "sync", f"{start.kind.value} started: {_count(steps)}")
        giving = planned.found.circumstances.moved_from
        claim = self._fleet.claim(state, intended, giving)
        givers = {i.ref: giving[i.ref] for i in intended if i.ref in giving}
        try:
            number = await self._store.begin(operation, steps, manifests, intended, note, said, taken_from=givers)
        except BaseException:
            self._fleet.unclaim(state, claim)
            raise
        self._fleet.claimed(claim)
        if asked is not None:
            state.handled = max(state.handled, asked.number)
            state.asked = None
        state.operation_state = OperationState.RUNNING.value
        state.operation_message = ""
        state.run = self._run(state, replace(operation, id=number), steps)
        state.run.bodies = {s.ref: b for s in steps if (b := planned.bodies.get(s.ref)) is not None}

    def resume(self, state: AppState, operation: Operation, steps: list[Step]) -> None:
        """Take up an operation that an earlier process left running."""
        deadline = self._steady.resumed(operation.deadline, seconds(state.app.spec.sync.timeout))
        steps = [replace(s, sent_at=min(s.sent_at, self._steady())) for s in steps]
        state.run = self._run(state, replace(operation, deadline=deadline), steps)
        state.operation_state = OperationState.RUNNING.value
        if operation.kind is OperationKind.DELETE:
            # What it was not to delete was kept for somebody; how that is now, the next plan tells.
            steps_of = {s.ref for s in steps}
            state.kept = frozenset(r for r, i in state.items.items() if r not in steps_of and not i.hook)

    def _run(self, state: AppState, operation: Operation, steps: list[Step]) -> Run:
        return Run(
            operation=operation,
            steps=list(steps),
            cluster=self._fleet.cluster_of(state),
            clusters=self._fleet.clusters,
            impersonate=self._fleet.impersonation_of(state),
            owner=self._fleet.owner,
            propagation=state.app.spec.sync.propagation,
            since=self._steady(),
        )

    def _intended(self, step: Step) -> InventoryItem:
        return InventoryItem(ref=step.ref, api_version=step.api_version, wave=step.wave, pending=True, hook=step.hook)

    async def go_on(self, state: AppState) -> bool:
        """Carry the operation as far as it goes without waiting. True when it has ended and its application is still there.

        Raises TargetError when the target cannot be seen: what is not in view must not be taken for gone.
        """
        run = state.run
        if run is None:
            return True
        if rivalled := set(self._fleet.rivalled(state)).intersection(s.ref for s in run.steps):
            await _see(run, (s for s in run.steps if s.ref in rivalled))
            await self._fleet.settle_rivals(rivalled)
        await _see(run, (s for s in run.steps if s.state is not StepState.TODO))
        while True:
            ended = self._stopped(state, run)
            if ended is None:
                await self._settle(state, run)
                ended = self._stopped(state, run)
            if ended is None:
                move = next_move(run.steps, _last_seen(state, run), self._steady(), failure=run.operation.message)
                await self._clear_hooks(state, run, move)
                ended = await self._act(state, run, move)
                if ended is None and not isinstance(move, Send) and not _out_of_time(run, move):
                    return False
            if ended is not None:
                await self._clear_hooks(state, run, Finish())
                await self._end(state, run, ended)
                return state.key in self._fleet.states

    def _stopped(self, state: AppState, run: Run) -> Ended | None:
        if state.suspended:
            return Ended(OperationState.ABORTED, "suspended")
        if run.operation.abort_requested:
            return Ended(OperationState.ABORTED, run.operation.message or "aborted on request")
        # A hook that runs is never cut off by a newer revision: nobody knows what half a migration leaves behind.
        if run.superseded and not _in_a_hook(run) and not self._patience(state, run):
            return Ended(OperationState.SUPERSEDED, "a newer revision takes over")
        return None

    def _patience(self, state: AppState, run: Run) -> float:
        """Seconds that the operation still has although a newer revision waits (see `haste`)."""
        if state.removed or run.operation.kind is OperationKind.DELETE:
            return 0.0
        return state.haste.patience(run.since, self._steady())

    async def _clear_hooks(self, state: AppState, run: Run, move: Move) -> None:
        due = hooks_to_clear(run.steps, move)
        if due:
            self._note(state, await self._sender.clear(run, due, state.items))

    async def _act(self, state: AppState, run: Run, move: Move) -> Ended | None:
        match move:
            case Send(steps):
                await _see(run, steps)
                self._note(state, await self._sender.send(run, steps))
                for step in steps:
                    if step.ref.kind_ref == NAMESPACE and step.action is not Action.DELETE:
                        self._fleet.namespace_changed(
                            step.ref
                        )  # the watch tells of what others do, not of what taut does
                return None
            case Finish(failures):
                if failures:
                    return Ended(OperationState.FAILED, "; ".join(failures))
                return Ended(OperationState.SUCCEEDED)
            case Hold(waits):
                run.waiting = "waiting: " + _shown(waits[:3]) + self._newer(state, run)
                left = run.operation.deadline - self._steady()
                if left <= 0:
                    return await self._too_late(state, run, waits)
                # What got no answer stays SENT, and is looked at again after a pause.
                unanswered = (s for s in run.steps if s.state is StepState.SENT and s.message)
                pauses = [pause_before(s, self._steady()) for s in unanswered]
                if run.superseded and (patience := self._patience(state, run)):
                    pauses.append(patience)
                recheck = min([*(w.recheck for w in waits if w.recheck), *pauses, left])
                self._queue.add_later(state.key, Reason.TIMER, recheck + 0.05)
                return None

    def _newer(self, state: AppState, run: Run) -> str:
        return f"; a newer revision takes over then, or after: taut abort {state.key.name}" if run.superseded else ""

    async def _too_late(self, state: AppState, run: Run, waits: Sequence[Wait]) -> Ended | None:
        """The deadline is over: the operation has failed, and what runs after a failure gets the same time once more."""
        first, timeout = run.operation.message, state.app.spec.sync.timeout
        message = f"timed out after {timeout}; it waited for: {_shown(waits[:5])}"
        if first:
            return Ended(OperationState.FAILED, f"{first}; then {message}")
        deadline = self._steady() + seconds(timeout)
        run.operation = await self._store.update_operation(run.operation.id, message=message, deadline=deadline)
        return None

    async def _settle(self, state: AppState, run: Run) -> None:
        """Bring steps that are SENT up to what became of them."""
        for step in [s for s in run.steps if s.state is StepState.SENT]:
            live = run.at(step.ref).get(step.ref)
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
        live = run.cluster.get(step.ref)
        seen = state.ended.get(step.ref)
        if live is None and seen is not None and seen.run_key == step.run_key:
            live = seen
        gone = bool(step.uid) and (live is None or live.uid != step.uid)
        settled = settle_hook(step, live, await self._store.run_result(step.run_key) if gone else None)
        if live is not None and settled.uid == live.uid != step.uid:
            # It was made, and taut ended before it knew: it may have ended meanwhile, and belongs to the inventory all the same.
            self._note(state, await self._sender.adopt(run, step, live))
        if settled.state in (StepState.DONE, StepState.FAILED):
            self._note(state, await self._sender.settle(run, settled))
        elif settled.uid and live is not None and _waits(live):
            await self._sender.let_run(run, settled)
        elif not settled.uid:
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
        never = [s.ref for s in run.steps if s.hook and s.state is StepState.TODO and _pending(state, s.ref)]
        if never:
            # They were written ahead and their time did not come (what runs after a failure, as a rule).
            await self._store.drop_items(state.key, never)
            self._note(state, dict.fromkeys(never))
        # What failed or was overtaken is tried again: the same plan needs no second approval.
        again = ended.state in (OperationState.FAILED, OperationState.SUPERSEDED)
        used = () if again else (operation.plan_hash,)
        before = state.record
        self._note(state, run.unsaid)
        drifted = self._drift.of(state, [s.ref for s in run.steps])
        taken = (EventNote(now, "takeover", f"took {p} over from {who}", str(ref)) for ref, p, who in run.lost)
        await self._store.finish(
            operation,
            None if operation.selected else self._history(run, operation),
            record,
            approvals_used=used,
            history_limit=state.app.spec.history_limit,
            drift=self._drift.ending(drifted, ended.state, ended.message),
            events=(EventNote(now, "sync", _ending(operation.kind, ended)), *taken),
            posts=self._drift.told_at_end(state, drifted, ended.state),
        )
        if state.record is not before:
            # Somebody suspended it, or Git changed its document, while this was stored: both count.
            record = state.record = self._record_after(state, operation, ended)
            await self._store.put_app(record)
        state.record = record
        state.run = None
        state.ended.clear()
        state.haste.ended(self._steady(), since=run.since, overtaken=ended.state is OperationState.SUPERSEDED)
        state.approvals = tuple(a for a in state.approvals if a.plan_hash not in used)
        state.ran |= {s.run_key for s in run.steps if s.hook and s.state is StepState.DONE}
        state.recreate |= run.immutable
        state.operation_state = ended.state.value
        state.operation_message = ended.message
        self._queue.add(state.key, Reason.LIVE)
        self._fleet.left(state, (s.ref for s in run.steps))
        await self._drift.ended(state, drifted, ended.state, ended.message)
        whole = operation.kind is OperationKind.DELETE and not operation.selected
        waits = self._fleet.lends(state) or not state.kept.isdisjoint(state.items)
        if ended.state is OperationState.SUCCEEDED and whole and state.removed and not waits:
            await self._fleet.removed(state)

    def _record_after(self, state: AppState, operation: Operation, ended: Ended) -> AppRecord:
        removal = operation.kind is OperationKind.DELETE
        record = msgspec.structs.replace(
            state.record,
            attempted="removed" if removal else operation.content_hash,
            attempted_revision=operation.hook_revision,
            last_sync=self._clock(),
            stopped="",
        )
        if _mixed(state, operation):
            # What was synced completely before is not what is live any more: going back to it is a sync, and no healing.
            record = msgspec.structs.replace(record, content_hash="")
        if ended.state is OperationState.SUCCEEDED:
            pruned = state.run is not None and any(s.action is Action.DELETE for s in state.run.steps)
            return self._record_of_success(state, record, operation, pruned=pruned)
        if ended.state is OperationState.SUPERSEDED:
            return record
        if ended.state is OperationState.ABORTED:
            # What was suspended goes on when it is resumed; what was aborted waits for somebody's word.
            return record if state.suspended else msgspec.structs.replace(record, stopped=ended.message)
        unknown = state.run is not None and any(s.message == UNKNOWN_END for s in state.run.steps)
        if unknown:
            # Trying again would perhaps run it twice: that is a person's decision.
            record = msgspec.structs.replace(record, stopped=f"{ended.message}: look whether it did its work")
        failures = record.failures + 1 if state.record.attempted == record.attempted else 1
        return msgspec.structs.replace(
            record,
            failures=failures,
            failure=ended.message,
            retry_at=self._steady() + next_try(state.app.spec.sync, failures, self._spread()),
        )

    def _record_of_success(
        self, state: AppState, record: AppRecord, operation: Operation, *, pruned: bool
    ) -> AppRecord:
        record = msgspec.structs.replace(record, failures=0, failure="", retry_at=0.0)
        desired = state.desired
        if operation.selected or operation.kind is not OperationKind.SYNC or desired is None:
            return record
        return msgspec.structs.replace(
            record,
            revision=operation.revision,
            content_hash="" if self._planner.incomplete(state) else operation.content_hash,
            render_key=desired.render_key,
            closure=desired.closure.to_json(),
            rebuilt=record.rebuilt and not pruned,
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


async def _see(run: Run, steps: Iterable[Step]) -> None:
    """Watch the kinds of these steps. Raises TargetError when one cannot be seen; a kind that is not served is seen to be empty."""
    refs: dict[Cluster, set[ObjectRef]] = {}
    for step in steps:
        refs.setdefault(run.at(step.ref), set()).add(step.ref)
    for cluster, wanted in refs.items():
        for error in (await cluster.watch_refs(wanted)).values():
            if error.reason != "UnknownKind":
                raise error


def _in_a_hook(run: Run) -> bool:
    return any(s.hook and s.uid and s.state is StepState.SENT for s in run.steps)


def _mixed(state: AppState, operation: Operation) -> bool:
    """Whether something of other content than that which was synced last may have been written."""
    begun = state.run is not None and any(s.state is not StepState.TODO for s in state.run.steps)
    return begun and operation.kind is OperationKind.SYNC and operation.content_hash != state.record.content_hash


def _out_of_time(run: Run, move: Move) -> bool:
    """The operation has just failed by its deadline: what runs after a failure is next."""
    return (
        isinstance(move, Hold)
        and bool(run.operation.message)
        and all(w.step.phase is not Phase.SYNC_FAIL for w in move.waits)
    )


def _last_seen(state: AppState, run: Run) -> Callable[[ObjectRef], LiveObject | None]:
    """Objects as they are; a Job that completed and was removed at once by its time to live, as it was last."""
    return lambda ref: run.at(ref).get(ref) or state.completed.get(ref)


def _waits(live: LiveObject) -> bool:
    return live.health is not None and live.health.status is HealthStatus.SUSPENDED and not live.deleting


def _pending(state: AppState, ref: ObjectRef) -> bool:
    item = state.items.get(ref)
    return item is not None and item.pending


def _shown(waits: Sequence[Wait]) -> str:
    return "; ".join(f"{w.step.ref} {w.message}" for w in waits)


def _enters(step: Step) -> bool:
    """Whether the step's object enters the inventory when it is written: ahead of it, so that nothing is ever leaked."""
    return step.tracked and step.action in WRITES and step.action is not Action.DELETE


def _count(steps: Sequence[Step]) -> str:
    return "1 step" if len(steps) == 1 else f"{len(steps)} steps"


def _ending(kind: OperationKind, ended: Ended) -> str:
    return f"{kind.value} {ended.state.value}" + (f": {ended.message}" if ended.message else "")
