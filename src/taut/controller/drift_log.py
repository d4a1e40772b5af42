"""Drift, written down: what was found, who did it, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from taut.controller.contention import HEALS
from taut.controller.fleet import Fleet
from taut.controller.planner import Planned
from taut.controller.state import AppState, redactor_of
from taut.model.application import SyncMode
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.manifests import Body
from taut.model.operation import OperationState
from taut.model.plan import Action, Change, FieldChange, Plan
from taut.model.refs import ObjectRef
from taut.model.times import unix_seconds
from taut.planning.drift import DriftFinding, find_drift
from taut.planning.ignore import NOTHING, resolve
from taut.planning.redact import Redactor
from taut.store.outbox import Post
from taut.store.records import DriftEnd
from taut.store.store import Store

type UserOf = Callable[[ObjectRef, str, float], str | None]
"""The user behind a field manager's change of an object at a time (Unix seconds, 0 when unknown); None when nobody knows."""


class DriftHeard(Protocol):
    """Says what is to be told to others of drift. What comes out is stored together with what it tells of: neither is there alone."""

    def found(self, state: AppState, records: Sequence[DriftRecord]) -> Sequence[Post]:
        """Drift was found. May be asked twice for the same."""
        ...

    def settled(
        self, state: AppState, records: Sequence[DriftRecord], outcome: DriftOutcome, at: float, reason: str
    ) -> Sequence[Post]:
        """What became of drift."""
        ...


class DriftLog:
    """Keeps the open drift records of applications, in memory and in the store alike."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        redactor: Redactor,
        steady: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._redactor = redactor
        self._steady = steady
        self._clock = clock
        self.user_of: UserOf = lambda _ref, _manager, _time: None
        """Tells whose change it was, where somebody listens to admission."""
        self.heard: list[DriftHeard] = []
        """Who has something to tell others of it."""
        self.on_stored: Callable[[], None] = lambda: None
        """Hears that what is to be told was stored."""

    async def note(self, state: AppState, planned: Planned, *, fresh: bool) -> None:
        """Compare what has drifted now with the open records: new ones are stored, those that are no more are settled.

        With `fresh` content of Git only objects of which Git says what it said at the last apply can drift; what was
        found in the others is settled by what Git says now.
        """
        found: dict[tuple[ObjectRef, str], DriftRecord] = {}
        for change in planned.plan.writes:
            if not fresh or _as_applied(state, change):
                for record in self._records(state, change, planned.bodies.get(change.ref)):
                    found[(record.ref, record.path)] = record
        new = [r for key, r in found.items() if _differs(state.drift.get(key), r)]
        again = [state.drift[(r.ref, r.path)] for r in new if (r.ref, r.path) in state.drift]
        await self._settle(state, again, DriftOutcome.REVERTED, "changed once more")
        await self._settle_gone(state, planned.plan, [r for key, r in state.drift.items() if key not in found], fresh)
        for record in await self._store.add_drift(new, lambda added: self._found(state, added)) if new else ():
            state.drift[(record.ref, record.path)] = record
            what = record.path or "the whole object"
            text = f"{_author(record)} changed {what}" if not record.missing else _removal(record, what)
            await self._store.add_event(state.key, record.noticed_at, "drift", text, object=str(record.ref))
        if new:
            self.on_stored()

    def _found(self, state: AppState, records: Sequence[DriftRecord]) -> list[Post]:
        return [post for each in self.heard for post in each.found(state, records)]

    def _told(
        self, state: AppState, records: Sequence[DriftRecord], outcome: DriftOutcome, reason: str = ""
    ) -> list[Post]:
        now = self._clock()
        return [post for each in self.heard for post in each.settled(state, records, outcome, now, reason)]

    async def _settle_gone(self, state: AppState, plan: Plan, gone: list[DriftRecord], fresh: bool) -> None:
        """Settle records that are not found any more: put back by somebody, or what Git says by now."""
        changes = {c.ref: c for c in plan.changes}
        adopted, reverted = list[DriftRecord](), list[DriftRecord]()
        for record in gone:
            change = changes.get(record.ref)
            if not fresh or (change is not None and _as_applied(state, change)):
                reverted.append(record)
            elif not _still_differs(record, change):
                adopted.append(record)
        await self._settle(state, reverted, DriftOutcome.REVERTED, "put back by somebody else")
        await self._settle(state, adopted, DriftOutcome.ADOPTED, "Git says now what was found")

    def _records(self, state: AppState, change: Change, body: Body | None) -> list[DriftRecord]:
        if change.hook or change.action in (Action.DELETE, Action.RELEASE, Action.ADOPT):
            return []
        now = self._clock()
        steady, findings = self._steady(), self._findings(state, change, body)
        prospects = {f.path: _prospect(state, change.ref, f.path, steady) for f in findings}
        return [
            DriftRecord(
                id=0,
                app=state.key,
                ref=change.ref,
                path=f.path,
                desired=f.desired,
                found=f.found,
                who=f.owner.manager,
                operation=f.owner.operation,
                changed_at=unix_seconds(f.owner.time),
                user=self.user_of(change.ref, f.owner.manager, unix_seconds(f.owner.time)) or "",
                noticed_at=now,
                outcome=prospects[f.path][0],
                reason=prospects[f.path][1],
                missing=f.missing,
                secret=f.secret,
            )
            for f in findings
        ]

    def _findings(self, state: AppState, change: Change, body: Body | None) -> Sequence[DriftFinding]:
        """The fields with their owners; a change that only the server's dry-run saw keeps the plan's own words."""
        if change.action is Action.CREATE or body is None or change.desired is None:
            return (DriftFinding("", missing=True),)
        wanted = next((w for w in state.desired.objects if w.ref == change.ref), None) if state.desired else None
        ignore = resolve(wanted.rules, change.desired.body, body) if wanted else NOTHING
        redact = redactor_of(state, self._redactor)
        found = find_drift(change.desired.body, body, redact=redact, ignore=ignore).findings
        confirmed = {f.path: f for f in change.fields}
        named = [f for f in found if f.path in confirmed] or list(found)
        return named or [_from_plan(f) for f in change.fields]

    def of(self, state: AppState, refs: Iterable[ObjectRef]) -> list[DriftRecord]:
        """The open records of these objects."""
        chosen = set(refs)
        return [r for r in state.drift.values() if r.ref in chosen]

    def ending(self, records: Iterable[DriftRecord], ended: OperationState, why: str) -> DriftEnd | None:
        """What the end of an operation means for the records of what it wrote: healed, or why not."""
        if ended is OperationState.SUCCEEDED:
            return DriftEnd(tuple(r.id for r in records), DriftOutcome.HEALED, self._clock())
        if ended is OperationState.FAILED:
            return DriftEnd(tuple(r.id for r in records), DriftOutcome.OPEN, 0.0, why)
        return None

    def told_at_end(self, state: AppState, records: Sequence[DriftRecord], ended: OperationState) -> list[Post]:
        """What is to be told to others when an operation ends that wrote these records' objects."""
        healed = ended is OperationState.SUCCEEDED and bool(records)
        return self._told(state, records, DriftOutcome.HEALED) if healed else []

    async def ended(self, state: AppState, records: Iterable[DriftRecord], ended: OperationState, why: str) -> None:
        """The operation's end is stored with what `ending` says: know it too, and count the heals of each field."""
        if ended is OperationState.FAILED:
            for record in records:
                state.drift[(record.ref, record.path)] = replace(record, reason=why)
        if ended is not OperationState.SUCCEEDED:
            return
        self.on_stored()
        for record in records:
            state.drift.pop((record.ref, record.path), None)
        for record in records:
            if state.contention.healed(record.ref, record.path, self._steady()):
                text = f"{record.path or record.ref} was healed {HEALS} times in ten minutes: taut backs off"
                await self._store.add_event(state.key, self._clock(), "contested", text, object=str(record.ref))

    async def _settle(self, state: AppState, records: list[DriftRecord], outcome: DriftOutcome, reason: str) -> None:
        if not records:
            return
        posts = self._told(state, records, outcome, reason)
        await self._store.settle_drift([r.id for r in records], outcome, self._clock(), reason, posts)
        for record in records:
            state.drift.pop((record.ref, record.path), None)
        self.on_stored()


def _as_applied(state: AppState, change: Change) -> bool:
    """Whether Git says of the object what it said at the last apply."""
    item = state.items.get(change.ref)
    return item is not None and not item.pending and item.desired_hash == change.desired_hash != ""


def _still_differs(record: DriftRecord, change: Change | None) -> bool:
    """Whether what was found is not what Git's new content says either; the sync puts it right then."""
    if change is None or change.action in (Action.DELETE, Action.RELEASE, Action.UNCHANGED):
        return False
    if change.action is Action.CREATE:
        return record.missing
    return any(f.path == record.path for f in change.fields)


def _prospect(state: AppState, ref: ObjectRef, path: str, now: float) -> tuple[DriftOutcome, str]:
    """What becomes of a new drift as things are: healed soon, or why not."""
    policy = state.app.spec.sync
    if state.suspended:
        return DriftOutcome.REPORTED, "suspended"
    if policy.mode is not SyncMode.AUTOMATIC:
        return DriftOutcome.REPORTED, "report-only" if policy.mode is SyncMode.REPORT else "syncs are started by hand"
    if not policy.heal:
        return DriftOutcome.REPORTED, "self-heal is off"
    if state.contention.left(ref, path, now) > 0:
        return DriftOutcome.CONTESTED, f"healed {HEALS} times in ten minutes: taut backs off"
    return DriftOutcome.OPEN, ""


def _from_plan(change: FieldChange) -> DriftFinding:
    return DriftFinding(change.path, change.after, change.before, missing=not change.before_set, secret=change.secret)


def _differs(known: DriftRecord | None, found: DriftRecord) -> bool:
    """Whether `found` says something that the open record does not say yet. Who it was is known for a while only: that it is no more is no news."""
    if known is None:
        return True
    same = replace(found, id=known.id, noticed_at=known.noticed_at, outcome=known.outcome, reason=known.reason)
    return replace(same, user=known.user) != known


def _author(record: DriftRecord) -> str:
    """The user with the program, or whichever of both is known."""
    if record.user and record.who:
        return f"{record.user} ({record.who})"
    return record.user or record.who or "somebody"


def _removal(record: DriftRecord, what: str) -> str:
    return f"{record.user} removed {what}" if record.user else f"{what} was removed"
