"""From what is wanted and what is live to a plan: pure planning, fed with the few reads that it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from taut.controller.claims import Taken, marked
from taut.controller.fleet import Fleet
from taut.controller.starting import Start
from taut.controller.state import AppState, confide, redactor_of
from taut.model.application import DeletionPolicy, IgnoreRule
from taut.model.errors import TargetError
from taut.model.health import HealthStatus
from taut.model.live import LiveObject
from taut.model.manifests import Body, Manifest
from taut.model.operation import OperationKind, Step
from taut.model.plan import Action, Change, Hold, HoldKind, InventoryItem, Phase, Plan
from taut.model.refs import KindRef, ObjectRef
from taut.planning.guard import Facts as GuardFacts
from taut.planning.guard import guarded
from taut.planning.hooks import DeletePolicy, HookSpec
from taut.planning.ignore import autoscaled, object_rules, rules_hash
from taut.planning.normalise import CRD
from taut.planning.order import NAMESPACE, arrange, batches
from taut.planning.plan import COMPLETED, Circumstances, LiveLookup, Survey, decide, remembered, survey, uncertain
from taut.planning.prepare import wanted_hash
from taut.planning.redact import Redactor
from taut.planning.wanted import Wanted
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster
from taut.targets.kubernetes.immutable import immutable_cause
from taut.targets.kubernetes.made import made_by_cluster

AUTOSCALER = KindRef("autoscaling", "HorizontalPodAutoscaler")
JOB = KindRef("batch", "Job")


@dataclass(frozen=True)
class Planned:
    """A plan, and the live bodies that it was made with (secret values in them: never kept, never shown)."""

    plan: Plan
    found: Survey
    bodies: Mapping[ObjectRef, Body | None] = field(repr=False)


class Judges(Protocol):
    """Policies that judge plans."""

    async def judged(
        self, state: AppState, cluster: Cluster, plan: Plan, bodies: Mapping[ObjectRef, Body | None]
    ) -> Plan:
        """The plan, held where a policy denies what it would write."""
        ...


class Planner:
    """Plans applications. Reads only what differs from what taut left."""

    def __init__(self, store: Store, fleet: Fleet, redactor: Redactor, policing: Judges | None = None) -> None:
        self._policing = policing
        self._store = store
        self._fleet = fleet
        self._redactor = redactor

    async def plan(
        self, state: AppState, *, selected: frozenset[ObjectRef] | None = None, exact: bool = False
    ) -> Planned:
        """The plan of `state` now. With `exact` everything that is only suspected is confirmed by the server, as in every plan that is
        held or shown: its hash must not depend on who looks. Raises TargetError when the target cannot be seen well enough to plan.
        """
        confide(state)
        cluster = self._fleet.cluster_of(state)
        await self._remember_completed(state)
        objects, hooks = self._wanted(state)
        await self._watch(cluster, [*objects, *hooks], [r for r in state.items if r.cluster == cluster.name])
        await self._fleet.settle_rivals(r for r in self._fleet.rivalled(state) if r.cluster == cluster.name)
        items, unseen = await self._left_elsewhere(state, cluster)
        look = await self._looking_closely(cluster, objects, items)
        found = survey(objects, hooks, items, look, self._circumstances(state, objects, hooks, selected))
        bodies = await self._read(cluster, found, {})
        scaled = await self._autoscalers(cluster, found, bodies)
        if scaled:
            objects = tuple(_with_rules(w, scaled, self._redactor) for w in objects)
            circumstances = self._circumstances(state, objects, hooks, selected)
            found = survey(objects, hooks, items, look, circumstances)
            # The rules open what was settled without them, and something may have changed while they were sought.
            bodies |= await self._read(cluster, found, bodies)
        plan = decide(found, bodies, immutable=state.recreate)
        plan = await self._confirm(state, cluster, found, bodies, plan, exact=exact)
        plan = self._with_namespace(state, cluster, plan)
        facts = await self._guard_facts(state, cluster, plan)
        plan = plan.with_holds(*_holds_of_git(state, plan))
        plan = guarded(replace(plan, warnings=(*plan.warnings, *unseen)), state.app.spec.guards, facts, bodies)
        if self._policing is not None:
            plan = await self._policing.judged(state, cluster, plan, bodies)
        if plan.holds and uncertain(plan) and not exact:
            return await self.plan(state, selected=selected, exact=True)
        return Planned(plan, found, bodies)

    def _wanted(self, state: AppState) -> tuple[tuple[Wanted, ...], tuple[Wanted, ...]]:
        desired = state.desired
        if desired is None:
            return (), ()
        return (() if state.removed else desired.objects), desired.hooks

    async def _watch(self, cluster: Cluster, wanted: Iterable[Wanted], items: Iterable[ObjectRef]) -> None:
        objects = {w.ref for w in wanted}
        spaces = {
            ObjectRef(r.cluster, NAMESPACE.group, NAMESPACE.kind, "", r.namespace) for r in objects if r.namespace
        }
        refs = objects.union(items)
        failures = await cluster.watch_refs(refs | spaces)
        needed = {ref.kind_ref for ref in refs}
        for kind, error in failures.items():
            # Who may not see namespaces as objects may still work in them.
            if error.reason != "UnknownKind" and not (error.status == 403 and kind not in needed):
                raise error

    async def _left_elsewhere(self, state: AppState, cluster: Cluster) -> tuple[list[InventoryItem], list[str]]:
        """The inventory that can be judged now: an application that moved to another cluster has objects where it was.

        What is in a cluster that does not answer stays remembered, and holds up nothing but the application's end: it may have
        moved because of that. What is in a cluster that the configuration no longer has is let go of, for nobody can reach it.
        """
        items = [i for i in state.items.values() if i.ref.cluster == cluster.name]
        warnings: list[str] = []
        for name in sorted({r.cluster for r in state.items} - {cluster.name}):
            there = [i for i in state.items.values() if i.ref.cluster == name]
            try:
                if name in self._fleet.clusters:
                    await self._watch(self._fleet.clusters[name], (), [i.ref for i in there])
                else:
                    warnings.append(
                        f"{len(there)} objects are left in {name}, a cluster that the configuration has not"
                    )
                items += there
            except TargetError as error:
                if state.removed:
                    raise
                warnings.append(f"{len(there)} objects in the cluster {name} wait until it answers: {error.what}")
        return items, warnings

    async def _looking_closely(
        self, cluster: Cluster, objects: Iterable[Wanted], items: Iterable[InventoryItem]
    ) -> LiveLookup:
        """How live objects are looked up. Of one that was written ahead and is not wanted any more the memory alone is no proof
        that it was never made: the answer may have been lost, and the watch be behind. The server is asked.
        """
        wanted = {w.ref for w in objects}
        unsure = [i for i in items if i.pending and i.ref not in wanted and self._fleet.look(i.ref) is None]
        if not unsure:
            return self._fleet.look
        places = (self._fleet.clusters.get(i.ref.cluster, cluster) for i in unsure)
        asked = await asyncio.gather(*(c.look(i.ref, i.api_version) for c, i in zip(places, unsure, strict=True)))
        there = {i.ref: live for i, live in zip(unsure, asked, strict=True)}
        return lambda ref: self._fleet.look(ref) or there.get(ref)

    async def _read(
        self, cluster: Cluster, found: Survey, known: Collection[ObjectRef]
    ) -> dict[ObjectRef, Body | None]:
        refs, versions = [r for r in found.need_body if r not in known], found.versions
        places = (self._fleet.clusters.get(r.cluster, cluster) for r in refs)
        bodies = await asyncio.gather(*(c.read(r, versions.get(r, "")) for c, r in zip(places, refs, strict=True)))
        return dict(zip(refs, bodies, strict=True))

    def _circumstances(
        self,
        state: AppState,
        objects: Iterable[Wanted],
        hooks: Iterable[Wanted],
        selected: frozenset[ObjectRef] | None,
    ) -> Circumstances:
        wanted = [w.ref for w in objects]
        named = [*wanted, *(h.ref for h in hooks)]
        elsewhere = {r: k for r in named if (k := self._fleet.owner(r)) is not None and k != state.key}
        marks = {r: k for r in named if (k := marked(self._fleet.look(r))) is not None and k != state.key}
        # Whose inventory holds it hands it over. It may carry the mark of a third one, who had it before and never got it back.
        holders = marks | elsewhere
        gone = set(state.items) - set(wanted)
        # What was taken over and given up again before it was written carries the mark of its first owner still.
        holders |= {r: k for r in gone if (k := marked(self._fleet.look(r))) is not None and k != state.key}
        claimed = {r: k for r in gone if (k := self._fleet.claimant(r, other_than=state.key)) is not None}
        # One cluster may have two names: what is wanted under the one is not removed under the other.
        uids = {live.uid for r in wanted if (live := self._fleet.look(r)) is not None}
        untouched = self._fleet.untouched(claimed.values())
        left_to = {r: k for r, k in claimed.items() if r in untouched[k]}
        claimed = {r: k for r, k in claimed.items() if r not in left_to}
        unclear = {r: k for r, k in holders.items() if r in gone and self._fleet.unclear(k, r)}
        self._fleet.awaited.put(state.key, unclear.values())
        claimed |= {r: state.key for r in gone if (live := self._fleet.look(r)) is not None and live.uid in uids}
        fresh = state.desired is not None and state.desired.content_hash != state.record.content_hash
        return Circumstances(
            app=state.key,
            redact=redactor_of(state, self._redactor),
            revision=state.desired.revision.label if state.desired else "",
            prune=_prunes(state),
            deleting=state.removed,
            orphan=state.removed and state.app.spec.deletion is DeletionPolicy.ORPHAN,
            moved_from={r: k for r, k in holders.items() if self._fleet.gives_up(k, r)},
            let_go=frozenset(r for r, k in marks.items() if self._fleet.gives_up(k, r)),
            claimed_by=claimed,
            left_to=left_to,
            unclear=unclear,
            elsewhere=elsewhere,
            unsettled=state.desired.unsettled if state.desired else frozenset(),
            selected=selected,
            ran=state.ran,
            run_hooks=None if fresh or state.removed else False,
            rebuilt=state.record.rebuilt and not state.record.content_hash,
        )

    async def _autoscalers(
        self, cluster: Cluster, found: Survey, bodies: Mapping[ObjectRef, Body | None]
    ) -> tuple[IgnoreRule, ...]:
        """Rules for replicas that a live autoscaler manages; asked for only where one has written replicas."""
        ours = [(r, b) for r, b in bodies.items() if b is not None and r.cluster == cluster.name]
        namespaces = {r.namespace for r, b in ours if _scaled_by_controller(b)}
        rules: list[IgnoreRule] = []
        for namespace in namespaces:
            async for scaler in cluster.list_metadata([AUTOSCALER], namespace):
                body = await cluster.read(scaler.ref, scaler.api_version)
                rules += autoscaled([body] if body else [])
        return tuple(rules)

    def _with_namespace(self, state: AppState, cluster: Cluster, plan: Plan) -> Plan:
        """The plan with the target's namespace ahead of everything, when it is to be made and does not exist."""
        policy, name = state.app.spec.sync, state.app.spec.target.namespace
        ref = ObjectRef(cluster.name, "", "Namespace", "", name)
        if not policy.create_namespace or not name or state.removed or cluster.get(ref) is not None:
            return plan
        if not plan.writes or any(c.ref == ref for c in plan.changes):
            return plan
        metadata = {"name": name, "labels": policy.namespace_labels, "annotations": policy.namespace_annotations}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {k: v for k, v in metadata.items() if v}}
        made = Change(ref, Action.CREATE, Manifest(body), phase=Phase.SYNC, reason="the target's namespace is made")
        return replace(plan, changes=arrange((*plan.changes, made)))

    async def _confirm(
        self,
        state: AppState,
        cluster: Cluster,
        found: Survey,
        bodies: Mapping[ObjectRef, Body | None],
        plan: Plan,
        *,
        exact: bool,
    ) -> Plan:
        """Ask the server where the projection only suspects; not for an update of what is as taut left it (applying tells)."""
        asked = [c for c in uncertain(plan) if exact or not self._as_left(state, cluster, c.ref)]
        if not asked:
            return plan
        dry_runs: dict[ObjectRef, Body] = {}
        immutable = set(state.recreate)

        async def one(ref: ObjectRef, desired: Manifest) -> None:
            try:
                user = self._fleet.impersonation_of(state)(ref.namespace)
                _, dry_runs[ref] = await cluster.apply(
                    desired.body, dry_run=True, before=bodies.get(ref), impersonate=user
                )
            except TargetError as error:
                if immutable_cause(error):
                    immutable.add(ref)
                elif error.status == 0:
                    raise
                # What else the server says against it, the apply will say again, where the status shows it.

        await asyncio.gather(*(one(c.ref, c.desired) for c in asked if c.desired is not None))
        return decide(found, bodies, dry_runs, immutable=immutable)

    def _as_left(self, state: AppState, cluster: Cluster, ref: ObjectRef) -> bool:
        item, live = state.items.get(ref), cluster.get(ref)
        if item is None or live is None or item.pending or not item.owned_hash:
            return False
        policy = state.app.spec.sync
        return policy.mode == "automatic" and item.owned_hash == live.owned_hash and item.uid == live.uid

    async def _guard_facts(self, state: AppState, cluster: Cluster, plan: Plan) -> GuardFacts:
        gone = {c.ref for c in plan.changes if c.action is Action.DELETE}
        instances: dict[ObjectRef, int] = {}
        undeclared: dict[ObjectRef, int] = {}
        for ref in gone:
            place = self._fleet.clusters.get(ref.cluster, cluster)
            if ref.kind_ref == CRD:
                count = await _instances(place, ref, gone)
                if count is not None:
                    instances[ref] = count
            elif ref.kind_ref == NAMESPACE:
                undeclared[ref] = await _left_inside(place, ref.name, gone)
        return GuardFacts(
            rendered=len(state.desired.objects) if state.desired else 0,
            managed=sum(not i.hook for i in state.items.values()),
            rebuilt=state.record.rebuilt,
            deleting=state.removed,
            instances=instances,
            undeclared=undeclared,
        )

    async def _remember_completed(self, state: AppState) -> None:
        """Write down which Jobs completed, before anything is concluded from their absence."""
        done: list[InventoryItem] = []
        seen = dict(state.completed)
        for ref, job in seen.items():
            item = state.items.get(ref)
            if item is not None and not item.hook and item.uid == job.uid and not item.extra.get(COMPLETED):
                done.append(replace(item, extra={**item.extra, COMPLETED: item.desired_hash}))
        if done:
            await self._store.put_items(state.key, done)
            for item in done:
                self._fleet.put_item(state, item)
        # What was seen to complete meanwhile is written down the next time.
        state.completed = {ref: job for ref, job in state.completed.items() if seen.get(ref) is not job}

    def incomplete(self, state: AppState) -> bool:
        """Whether something that Git wants is not there, is being deleted and can be made again only when it is gone, or belongs
        to another application still.

        Until it is there, and this application's, Git's content was not synced completely: making it, or taking it over, is no healing.
        """
        if state.desired is not None and state.desired.unsettled and not state.removed:
            return True
        look = self._fleet.cluster_of(state).get
        for wanted in self._wanted(state)[0]:
            live, item = look(wanted.ref), state.items.get(wanted.ref)
            over = wanted.ref in state.completed or (item is not None and COMPLETED in item.extra)
            if not wanted.options.skip and not over and (live is None or live.deleting or item is None):
                return True
        return False

    # From a plan to the steps of an operation

    def steps(self, state: AppState, planned: Planned, start: Start) -> list[tuple[Step, Manifest | None]]:
        """The steps that carry out `start`, in order, with what each applies."""
        plan, moved_from = planned.plan, planned.found.circumstances.moved_from
        wanted = {w.ref: w for w in (*state.desired.objects, *state.desired.hooks)} if state.desired else {}
        chosen = {c.ref for c in start.changes}
        policy = state.app.spec.sync
        prunes_last = policy.prune_last and any(c.action is Action.DELETE for c in start.changes)
        patient = start.kind is not OperationKind.HEAL and (policy.wait or prunes_last)
        found: list[tuple[Step, Manifest | None]] = []
        for number, batch in enumerate(batches(plan.changes)):
            for change in batch.changes:
                unchanged = change.action is Action.UNCHANGED
                if (unchanged and not _unhealthy(self._fleet.look(change.ref))) or (
                    not unchanged and change.ref not in chosen
                ):
                    continue
                want = wanted.get(change.ref)
                if unchanged and not change.run_key and (want is None or state.removed):
                    continue  # kept for somebody else, or because pruning is off: its health is no concern of this sync
                hook = want.hook if want and change.hook else None
                runs = bool(change.run_key)
                step = Step(
                    number=len(found),
                    ref=change.ref,
                    action=change.action,
                    phase=change.phase,
                    wave=change.wave,
                    api_version=self._version(state, change.ref, change.desired),
                    hook=runs,
                    run_key=change.run_key,
                    uid="" if runs and not unchanged else change.uid,
                    desired_hash=change.desired_hash,
                    group=number,
                    hook_policies=_policies(hook, change.phase) if hook else (),
                    origin=change.origin,
                    wait=(patient or batch.established) and not (want is not None and want.options.ignore_health),
                    tracked=want is not None or change.action is not Action.CREATE,
                    replaces=change.uid if runs and not unchanged else "",
                    taken_from=str(moved_from.get(change.ref, "")),
                )
                found.append((step, change.desired))
        return found

    def _version(self, state: AppState, ref: ObjectRef, desired: Manifest | None) -> str:
        if desired is not None:
            return desired.api_version
        item = state.items.get(ref)
        return item.api_version if item else ""

    async def refresh_memory(self, state: AppState, planned: Planned) -> None:
        """Remember anew what Git and the target agree on, and that Jobs completed, so that the next look needs no read."""
        found = remembered(planned.found, planned.plan, planned.bodies)
        fresh = {i.ref: i for i in found if self._fleet.owner(i.ref) in (None, state.key)}
        for ref, item in state.items.items():
            base = fresh.get(ref, item)
            over = ref.kind_ref == JOB and not item.hook and _complete(self._fleet.look(ref), base.uid)
            if over and base.extra.get(COMPLETED) != base.desired_hash:
                fresh[ref] = replace(base, extra={**base.extra, COMPLETED: base.desired_hash})
        await self._take_marked(state, planned)
        if fresh:
            await self._store.put_items(state.key, list(fresh.values()))
            for item in fresh.values():
                self._fleet.put_item(state, item)
        gone = [c.ref for c in planned.plan.changes if c.action is Action.RELEASE]
        if gone and not state.removed:
            await self._store.drop_items(state.key, gone)
            for ref in gone:
                self._fleet.drop_item(state, ref)

    async def _take_marked(self, state: AppState, planned: Planned) -> None:
        """Take over what is as Git says, with this application's mark, and in the inventory of one that gives it up: nothing will be written."""
        giving = planned.found.circumstances.moved_from
        found = remembered(planned.found, planned.plan, planned.bodies)
        taken = [
            i
            for i in found
            if (owner := self._fleet.owner(i.ref)) not in (None, state.key) and giving.get(i.ref) == owner
        ]
        if not taken:
            return
        try:
            claim = self._fleet.claim(state, taken, giving)
        except Taken:
            return
        try:
            await self._store.put_items(state.key, taken, taken_from=claim.givers)
        except BaseException:
            self._fleet.unclaim(state, claim)
            raise
        self._fleet.claimed(claim)
        self._fleet.wake(state)


def _prunes(state: AppState) -> bool:
    asked = state.asked.prune if state.asked is not None else None
    return state.app.spec.sync.prune if asked is None else asked


def _holds_of_git(state: AppState, plan: Plan) -> Iterator[Hold]:
    """The holds that what Git wants brings with it.

    A value that a chart makes up matters only where it would replace one: not in what is made for the first time, and
    not when the value that was applied before is put back.
    """
    if state.desired is None or state.removed:
        return
    replaced = {c.ref for c in plan.changes if c.action in _REPLACES and not _same_content(state, c)}
    for hold in state.desired.holds:
        if hold.kind is not HoldKind.RANDOM or replaced & set(hold.refs):
            yield hold


_REPLACES = frozenset({Action.UPDATE, Action.ADOPT, Action.RECREATE})


def _same_content(state: AppState, change: Change) -> bool:
    item = state.items.get(change.ref)
    return item is not None and not item.pending and item.desired_hash == change.desired_hash


async def _left_inside(cluster: Cluster, namespace: str, gone: Collection[ObjectRef]) -> int:
    """How many objects a namespace would take with it, besides those that the plan deletes anyway."""
    count = 0
    async for live in cluster.list_metadata(None, namespace, on_failure=lambda _k, _e: None):
        if live.ref not in gone and not live.owner_uids and not live.run_key and not made_by_cluster(live):
            count += 1
    return count


def _with_rules(wanted: Wanted, rules: tuple[IgnoreRule, ...], redact: Redactor) -> Wanted:
    fitting = object_rules(wanted.rules, rules, wanted.manifest.body)
    return replace(wanted, rules=fitting, hash=wanted_hash(wanted.manifest, rules_hash(fitting), redact))


def _scaled_by_controller(body: Body) -> bool:
    entries = (body.get("metadata") or {}).get("managedFields") or []
    return any(e.get("subresource") == "scale" and e.get("manager") == "kube-controller-manager" for e in entries)


def _policies(hook: HookSpec, phase: Phase) -> tuple[str, ...]:
    """When a hook's object is removed. That of a deletion's hook goes when it has succeeded: nobody is left to remove it later."""
    policies = set(hook.delete_policies)
    if phase in (Phase.PRE_DELETE, Phase.POST_DELETE):
        policies.add(DeletePolicy.SUCCEEDED)
    return tuple(sorted(p.value for p in policies))


def _unhealthy(live: LiveObject | None) -> bool:
    return (
        live is not None
        and live.health is not None
        and live.health.status not in (HealthStatus.HEALTHY, HealthStatus.SUSPENDED)
    )


def _complete(live: LiveObject | None, uid: str) -> bool:
    return (
        live is not None and live.uid == uid and live.health is not None and live.health.status is HealthStatus.HEALTHY
    )


async def _instances(cluster: Cluster, ref: ObjectRef, gone: Collection[ObjectRef]) -> int | None:
    """How many objects of a CRD's kind exist, those that go with the same plan not counted; None when it cannot be known."""
    crd = await cluster.read(ref, "apiextensions.k8s.io/v1")
    if crd is None:
        return 0
    kind = KindRef(str(crd["spec"]["group"]), str(crd["spec"]["names"]["kind"]))
    try:
        return len([1 async for live in cluster.list_metadata([kind]) if live.ref not in gone])
    except TargetError:
        return None
