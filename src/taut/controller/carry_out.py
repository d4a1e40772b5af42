"""Sending the steps of an operation to their cluster, with every intention stored before it and every answer after it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import orjson

from taut.model.errors import BadInput, TargetError
from taut.model.live import LiveObject
from taut.model.manifests import Body
from taut.model.operation import Operation, OperationKind, Step, StepState
from taut.model.plan import Action, InventoryItem
from taut.model.refs import AppKey, ObjectRef
from taut.planning.fields import managed_fields, owned_hash
from taut.planning.ownership import owner_app
from taut.store.store import Mark, Store
from taut.targets.kubernetes.cluster import Cluster
from taut.targets.kubernetes.immutable import immutable_cause

log = logging.getLogger("taut.operations")

UNREACHABLE_PAUSE = 2.0
"""Seconds until a step is sent again that got no answer; longer the longer it gets none."""
LONGEST_PAUSE = 20.0


@dataclass(slots=True)
class Run:
    """One operation in memory: what the store holds, and what a restart would read back."""

    operation: Operation
    steps: list[Step]
    cluster: Cluster
    clusters: Mapping[str, Cluster]
    """All there are: what an application leaves behind when it moves is removed from the cluster that it was in."""
    impersonate: Callable[[str], str | None]
    owner: Callable[[ObjectRef], AppKey | None]
    """Whose inventory holds an object, now."""
    propagation: str = "background"
    waiting: str = ""
    superseded: bool = False
    judge_again: bool = False
    """Whether other policies hold than when it was planned."""
    since: float = 0.0
    """When this process began with it (steady seconds)."""
    lost: list[tuple[ObjectRef, str, str]] = field(default_factory=list[tuple[ObjectRef, str, str]])
    """(object, field, manager): who lost a field to taut."""
    removed: set[str] = field(default_factory=set[str])
    """Uids whose deletion the API server accepted: their going is told by the watch, and asking again is of no use."""
    cleared: set[int] = field(default_factory=set[int])
    """Numbers of hook steps whose object was removed, or cannot be."""
    immutable: set[ObjectRef] = field(default_factory=set[ObjectRef])
    """Objects whose update the API server refused because a field cannot be changed."""
    unsaid: dict[ObjectRef, InventoryItem | None] = field(default_factory=dict[ObjectRef, InventoryItem | None])
    """Changes of the inventory that are stored, and that nobody heard of because the store failed for a step beside them."""
    bodies: dict[ObjectRef, Body] = field(default_factory=dict[ObjectRef, Body], repr=False)
    """What the plan read, until it is used: nobody reads an object twice that nobody changed. Secret values are in it."""

    def at(self, ref: ObjectRef) -> Cluster:
        """The object's cluster."""
        return self.clusters.get(ref.cluster, self.cluster)

    def another(self, step: Step, live: LiveObject | None) -> AppKey | None:
        """The application to which the step's object belongs by now, when that is not this one: then nothing is sent."""
        mine = self.operation.app
        for owner in (
            self.owner(step.ref) if step.tracked else None,
            owner_app(live.owner) if live is not None and live.owner else None,
        ):
            if owner is not None and owner != mine and str(owner) != step.taken_from:
                return owner
        return None

    def put(self, step: Step) -> None:
        """Replace the step of the same number."""
        self.steps[step.number] = step


class StepSender:
    """Writes steps to a cluster. Every method returns the steps as they are afterwards, already stored."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def send(self, run: Run, steps: Sequence[Step]) -> dict[ObjectRef, InventoryItem | None]:
        """Send `steps` (all of one group): SENT is stored first, the answers after. Returns the inventory's changes."""
        now = self._clock()
        sent = [replace(s, state=StepState.SENT, sent_at=now) for s in steps]
        await self._store.mark(run.operation.id, [Mark(s.number, s.state, sent_at=now) for s in sent])
        for step in sent:
            run.put(step)
        return await self.repeat(run, sent)

    async def repeat(self, run: Run, steps: Sequence[Step]) -> dict[ObjectRef, InventoryItem | None]:
        """After a restart or a lost answer: look what became of steps that were sent, and send again what may be repeated."""
        quiet = [replace(s, message="") for s in steps]
        for step in quiet:
            run.put(step)
        # All are waited for, also when the store fails for one: the next try must not meet requests of this one.
        results = await asyncio.gather(*(self._send_one(run, s) for s in quiet), return_exceptions=True)
        for result in results:
            if not isinstance(result, BaseException):
                run.unsaid |= result
        for result in results:
            if isinstance(result, BaseException):
                raise result
        changed, run.unsaid = run.unsaid, {}
        return changed

    async def _send_one(self, run: Run, step: Step) -> dict[ObjectRef, InventoryItem | None]:
        try:
            if step.action is Action.UNCHANGED and not step.hook:
                return await self._done(run, step, None)
            other = run.another(step, run.at(step.ref).get(step.ref))
            if other is not None and step.action is not Action.RELEASE:
                return await self._lost(run, step, other)
            if step.hook:
                return await self._hook(run, step)
            if step.action is Action.DELETE:
                return await self._delete(run, step)
            if step.action is Action.RECREATE and self._still_there(run, step):
                return await self._delete(run, step)
            if step.action is Action.RELEASE:
                return await self._done(run, step, None, drop=True)
            return await self._apply(run, step)
        except TargetError as error:
            return await self._failed(run, step, error)
        except BadInput as error:  # no request could be made of it, and none ever will
            refused = TargetError(error.what, where=error.where, advice=error.advice, status=400, reason="BadRequest")
            return await self._failed(run, step, refused)

    async def _lost(self, run: Run, step: Step, other: AppKey) -> dict[ObjectRef, InventoryItem | None]:
        """The object belongs to another application by now: it is neither written nor removed, and this one's inventory lets go of it."""
        why = f"it belongs to the application {other} by now"
        if step.action is Action.DELETE or not step.tracked:
            return await self._done(run, step, None, drop=step.tracked, message=why)
        failed = replace(step, state=StepState.FAILED, message=why)
        await self._store.mark(run.operation.id, [Mark(step.number, StepState.FAILED, message=why, drop=True)])
        run.put(failed)
        return {step.ref: None}

    def _still_there(self, run: Run, step: Step) -> bool:
        live = run.at(step.ref).get(step.ref)
        return live is not None and live.uid == step.uid

    async def _body(self, run: Run, step: Step) -> Body:
        return orjson.loads(await self._store.manifest(run.operation.id, step.number))

    async def _apply(self, run: Run, step: Step) -> dict[ObjectRef, InventoryItem | None]:
        body = await self._body(run, step)
        who = run.impersonate(step.ref.namespace)
        before: Body | None = None
        if step.action in (Action.UPDATE, Action.ADOPT):
            before = self._as_planned(run, step) or await run.cluster.read(step.ref, step.api_version)
            if before is not None and (step.action is Action.ADOPT or not owned_hash(managed_fields(before))):
                before = await run.cluster.absorb(before, impersonate=who) or before
        applied, _ = await run.cluster.apply(body, impersonate=who, before=before)
        for path, owner in applied.lost:
            run.lost.append((step.ref, path, owner.manager))
        return await self._done(run, step, self._item(step, applied.live))

    def _as_planned(self, run: Run, step: Step) -> Body | None:
        """The live object as the plan read it, if it is still that very version."""
        body, live = run.bodies.pop(step.ref, None), run.cluster.get(step.ref)
        if body is None or live is None or body.get("apiVersion") != step.api_version:
            return None
        metadata = body["metadata"]
        same = (metadata.get("uid"), metadata.get("resourceVersion")) == (live.uid, live.resource_version)
        return body if same else None

    def _item(self, step: Step, live: LiveObject) -> InventoryItem | None:
        if not step.tracked:
            return None
        return InventoryItem(
            ref=step.ref,
            api_version=step.api_version,
            desired_hash=step.desired_hash,
            owned_hash=live.owned_hash,
            uid=live.uid,
            wave=step.wave,
            created_by_taut=step.action in (Action.CREATE, Action.RECREATE),
            hook=step.hook,
        )

    async def _hook(self, run: Run, step: Step) -> dict[ObjectRef, InventoryItem | None]:
        """Make a hook's object, unless this very run of it exists already."""
        there = await self._standing(run, step)
        other = run.another(step, there)
        if other is not None:
            return await self._lost(run, step, other)
        if there is not None and there.run_key == step.run_key and there.uid != step.replaces:
            return await self.adopt(run, step, there)
        if await self._store.run_result(step.run_key) == StepState.DONE:
            return await self._done(run, step, None, message="ran before for the same content")
        if there is not None:
            if not there.deleting:
                await self._remove(run, step, there.uid, "background")
            return {}
        body = await self._body(run, step)
        first = _suspended(body, True) if _goes_by_itself(body) else body
        made, _ = await run.cluster.create(first, impersonate=run.impersonate(step.ref.namespace))
        return await self.adopt(run, step, made.live)

    async def let_run(self, run: Run, step: Step) -> None:
        """Let a hook's Job run that was made suspended, because it goes by itself when it has ended.

        Had it run at once, it could have come and gone before taut knew which object it is: nobody could tell then whether it ran.
        """
        body = await self._body(run, step)
        if _goes_by_itself(body):
            await run.cluster.apply(_suspended(body, False), impersonate=run.impersonate(step.ref.namespace))

    async def _standing(self, run: Run, step: Step) -> LiveObject | None:
        """The object under a hook's name. What the memory does not have is asked for: an answer may have been lost."""
        live = run.cluster.get(step.ref)
        return live if live is not None else await run.cluster.look(step.ref, step.api_version)

    async def adopt(self, run: Run, step: Step, live: LiveObject) -> dict[ObjectRef, InventoryItem | None]:
        """The hook's object is there: from now on it is told by its uid."""
        if live.uid == step.uid:
            return {}
        step = replace(step, uid=live.uid)
        item = self._item(step, live)
        await self._store.mark(run.operation.id, [Mark(step.number, step.state, uid=live.uid, item=item)])
        run.put(step)
        return {step.ref: item}

    async def settle(self, run: Run, step: Step) -> dict[ObjectRef, InventoryItem | None]:
        """Store that a step which was SENT has come to its end (its new state is in `step`)."""
        if step.hook:
            await self._store.record_run(step.run_key, step.state.value)
            await self._store.mark(
                run.operation.id, [Mark(step.number, step.state, message=step.message, uid=step.uid)]
            )
            run.put(step)
            return {}
        return await self._done(run, step, None, drop=True)

    async def clear(
        self, run: Run, steps: Sequence[Step], items: Mapping[ObjectRef, InventoryItem]
    ) -> dict[ObjectRef, InventoryItem | None]:
        """Remove the objects of hooks that are over. The inventory lets go of them last: a restart comes back to what is left."""
        changed: dict[ObjectRef, InventoryItem | None] = {}
        for step in steps:
            item = items.get(step.ref)
            if step.number in run.cleared or item is None or item.uid != step.uid:
                continue
            try:
                await self._remove(run, step, step.uid, "background")
            except TargetError as error:
                if _may_pass(error):
                    raise
                log.warning("%s: the hook's object cannot be removed: %s", step.ref, error)
                run.cleared.add(step.number)
                continue
            await self._store.mark(run.operation.id, [Mark(step.number, step.state, message=step.message, drop=True)])
            run.cleared.add(step.number)
            changed[step.ref] = None
        return changed

    async def _remove(self, run: Run, step: Step, uid: str, propagation: str) -> None:
        if uid in run.removed:
            return
        await run.at(step.ref).delete(
            step.ref,
            step.api_version,
            uid=uid,
            propagation=propagation,
            impersonate=run.impersonate(step.ref.namespace),
        )
        run.removed.add(uid)

    async def _delete(self, run: Run, step: Step) -> dict[ObjectRef, InventoryItem | None]:
        live = run.at(step.ref).get(step.ref)
        if not step.uid:
            return await self._done(run, step, None, drop=True)
        pruned = run.operation.kind is not OperationKind.DELETE and not step.hook
        if pruned and live is not None and live.uid == step.uid and live.protected:
            # A wave may come long after its plan: who protected the object meanwhile meant it.
            return await self._done(run, step, None, drop=True, message="its annotation forbids deleting it by now")
        await self._remove(run, step, step.uid, run.propagation)
        return {}

    async def _done(
        self, run: Run, step: Step, item: InventoryItem | None, *, drop: bool = False, message: str = ""
    ) -> dict[ObjectRef, InventoryItem | None]:
        done = replace(step, state=StepState.DONE, message=message or step.message)
        mark = Mark(step.number, StepState.DONE, message=done.message, item=item, drop=drop)
        # The memory never says more than the store: what could not be stored is still SENT, and is looked at again.
        await self._store.mark(run.operation.id, [mark])
        run.put(done)
        if item is not None:
            return {step.ref: item}
        return {step.ref: None} if drop else {}

    async def _failed(self, run: Run, step: Step, error: TargetError) -> dict[ObjectRef, InventoryItem | None]:
        if _may_pass(error) or (step.hook and error.reason == "AlreadyExists"):
            run.waiting = f"{step.ref}: {error.what}"
            run.put(replace(step, message=_said(error)))
            return {}
        if immutable_cause(error):
            run.immutable.add(step.ref)
        failed = replace(step, state=StepState.FAILED, message=_said(error))
        await self._store.mark(run.operation.id, [Mark(step.number, StepState.FAILED, message=failed.message)])
        run.put(failed)
        return {}


def _goes_by_itself(body: Body) -> bool:
    """Whether an object is a Job with a time to live; one that is suspended in Git stays so."""
    spec = body.get("spec") or {}
    job = body.get("kind") == "Job" and str(body.get("apiVersion", "")).startswith("batch/")
    return job and spec.get("ttlSecondsAfterFinished") is not None and not spec.get("suspend")


def _suspended(job: Body, suspend: bool) -> Body:
    return {**job, "spec": {**job["spec"], "suspend": suspend}}


def pause_before(step: Step, now: float) -> float:
    """Seconds until a step that got no answer is sent again: about half of the time since it was sent first."""
    longer = min(max((now - step.sent_at) / 2, UNREACHABLE_PAUSE), LONGEST_PAUSE)
    return longer * random.uniform(0.8, 1.2)  # noqa: S311 (spreads load)


def _said(error: TargetError) -> str:
    """What failed and what to do; the object is named by the step."""
    return f"{error.what} ({error.advice})" if error.advice else error.what


def _may_pass(error: TargetError) -> bool:
    """Whether the same request may work a little later: there was no answer, the server had trouble of its own, or others wrote too."""
    if error.status == 409:
        return error.reason == "Conflict" and not error.causes
    return error.status == 0 or error.status in (429, 500, 502, 503, 504)
