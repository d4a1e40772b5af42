"""From what the controller knows to what people see: status, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from taut.controller.state import AppState
from taut.model.errors import TautError
from taut.model.health import Health, HealthStatus, worst
from taut.model.live import LiveObject
from taut.model.plan import Action, InventoryItem
from taut.model.refs import ObjectRef
from taut.model.status import AppStatus, HeldFor, ObjectStatus, Problem, SyncStatus
from taut.model.times import rfc3339
from taut.model.visible import clean, one_line

type Look = Callable[[ObjectRef], LiveObject | None]

_SUBJECT = 100
"""Longer first lines of commit messages are cut: they are kept for each application."""


def problem_of(error: TautError, stage: str) -> Problem:
    """An error as a problem of a status."""
    return Problem(what=error.what, where=str(error.where), advice=error.advice, stage=stage)


def object_health(item: InventoryItem, live: LiveObject | None) -> Health:
    """Health of one inventory object; a Job that completed and was removed by its TTL is healthy, not missing."""
    if live is None:
        if item.extra.get("completed"):
            return Health(HealthStatus.HEALTHY, "Completed, and removed by its time to live")
        return Health(HealthStatus.MISSING, "does not exist")
    return live.health or Health(HealthStatus.HEALTHY)


def app_health(state: AppState, look: Look) -> Health:
    """The worst of the application's objects, with the object named in the message.

    Hooks, ignored objects and what is left in a cluster that the application moved away from do not count.
    """
    found: list[Health] = []
    ignored = {w.ref for w in state.desired.objects if w.options.ignore_health} if state.desired else set()
    for ref, item in state.items.items():
        if item.hook or ref in ignored or ref.cluster != state.app.spec.target.cluster:
            continue
        health = object_health(item, look(ref))
        if health.status is not HealthStatus.HEALTHY:
            text = f"{ref.kind} {ref.name}" + (f": {health.message}" if health.message else f" is {health.status}")
            health = Health(health.status, text)
        found.append(health)
    if not found and state.desired is None:
        return Health(HealthStatus.UNKNOWN if state.all_problems else HealthStatus.PROGRESSING, "")
    if not found and state.desired is not None and state.desired.objects:
        return Health(HealthStatus.MISSING, "nothing is deployed yet")
    return worst(found)


def sync_status(state: AppState) -> SyncStatus:
    """Synced, OutOfSync, or Unknown while desired or live is not known."""
    if state.removed:
        return SyncStatus.OUT_OF_SYNC
    if any(p.stage in ("source", "render", "plan", "target", "document") for p in state.all_problems):
        return SyncStatus.UNKNOWN
    if state.desired is None:
        return SyncStatus.UNKNOWN
    return SyncStatus.SYNCED if state.in_sync and state.run is None else SyncStatus.OUT_OF_SYNC


def held_for(state: AppState) -> tuple[HeldFor, ...]:
    """What the plan waits for."""
    return tuple(
        HeldFor(
            kind=h.kind.value, message=clean(h.message), objects=tuple(str(r) for r in h.refs), approvable=h.approvable
        )
        for h in state.holds
    )


def first_url(state: AppState) -> str:
    """The address of the application's first source: people know it, so a sentence need not begin with it."""
    sources = state.app.spec.all_sources
    return sources[0].url if sources else ""


def sentence(state: AppState, health: Health) -> str:
    """What, why, and what taut does next."""
    problems = state.all_problems
    if problems:
        first = problems[0]
        place = first.where.removeprefix(first_url(state)).removeprefix(", ")
        text = f"{first.what} ({place})" if place else first.what
        more = len(problems) - 1
        tail = f" (and {more} more)" if more else ""
        advice = f"; {first.advice}" if first.advice else ""
        return text + tail + advice
    if state.holds:
        hold = state.holds[0]
        if hold.approvable and state.plan is not None:
            return f"{hold.message}; waits for: taut approve {state.key.name} --plan {state.plan.hash[:8]}"
        return hold.message
    if state.run is not None:
        return state.run.waiting or "syncing"
    if state.suspended:
        by = state.record.suspended_by
        return f"suspended by {by}; waits for: taut resume {state.key.name}" if by else "suspended by its document"
    if state.waiting:
        return state.waiting
    if state.operation_state == "Failed":
        return state.operation_message
    if health.status is not HealthStatus.HEALTHY:
        return health.message
    if state.out_of_sync:
        return f"{len(state.out_of_sync)} objects differ from Git"
    return state.desired.unresolved[0] if state.desired is not None and state.desired.unresolved else ""


def status_of(state: AppState, look: Look) -> AppStatus:
    """The whole status of an application."""
    spec = state.app.spec
    health = app_health(state, look)
    first = spec.all_sources[0] if spec.all_sources else None
    desired = state.desired
    return AppStatus(
        key=str(state.key),
        root=state.key.root,
        namespace=state.key.namespace,
        name=state.key.name,
        project=spec.project,
        cluster=spec.target.cluster,
        target_namespace=spec.target.namespace,
        mode=spec.sync.mode.value,
        sync=sync_status(state),
        health=health.status,
        health_message=clean(health.message),
        operation="Running" if state.run is not None else state.operation_state,
        operation_message=clean(state.operation_message),
        held_for=held_for(state),
        plan_hash=state.plan.hash if state.plan is not None else "",
        revision=state.record.revision,
        desired_revision=desired.revision.label if desired else "",
        author=clean(desired.revision.author) if desired else "",
        commit_message=one_line(desired.revision.message.partition("\n")[0])[:_SUBJECT] if desired else "",
        message=clean(sentence(state, health)),
        problems=state.all_problems,
        warnings=tuple(map(clean, state.warnings)),
        last_sync=rfc3339(state.record.last_sync),
        objects=len(state.items),
        out_of_sync=len(state.out_of_sync),
        drift=len(state.drift),
        drift_since=rfc3339(min((r.noticed_at for r in state.drift.values()), default=0.0)),
        suspended=state.suspended,
        contested=bool(state.contention),
        source_url=first.url if first else "",
        source_path=(first.chart or first.path) if first else "",
        labels=state.app.labels,
        info=spec.info,
        policy_failures=sum(found.failing for found in state.policy_results.values()),
        handled=state.handled,
    )


def object_statuses(state: AppState, look: Look) -> list[ObjectStatus]:
    """Every object of the application: those in the inventory, then those only in the plan."""
    plan = {c.ref: c for c in state.plan.changes} if state.plan else {}
    found: list[ObjectStatus] = []
    refs: Iterable[ObjectRef] = list(state.items) + [r for r in plan if r not in state.items]
    for ref in refs:
        item = state.items.get(ref)
        live = look(ref)
        change = plan.get(ref)
        differs = ref in state.out_of_sync or (change is not None and change.action is not Action.UNCHANGED)
        health = object_health(item, live) if item else Health(HealthStatus.MISSING, "not created yet")
        found.append(
            ObjectStatus(
                group=ref.group,
                kind=ref.kind,
                namespace=ref.namespace,
                name=ref.name,
                sync=SyncStatus.OUT_OF_SYNC if differs else SyncStatus.SYNCED,
                health=health.status,
                message=clean(health.message or (change.reason if change else "")),
                wave=item.wave if item else (change.wave if change else 0),
                hook="hook" if item and item.hook else "",
            )
        )
    return found
