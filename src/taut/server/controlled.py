"""The API's backend over a running controller: its state in the words of the API."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from taut.admission.notes import note_of
from taut.controller.controller import Controller
from taut.controller.roots import RootState
from taut.controller.status import object_statuses, problem_of
from taut.dialects.admission_config import FailurePolicy
from taut.model.drift import DriftRecord
from taut.model.errors import BadInput, TautError, Where
from taut.model.live import LiveObject
from taut.model.operation import AuditEntry, HistoryEntry
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus, ObjectStatus, Problem, SyncStatus
from taut.model.times import rfc3339
from taut.notify.service import Alerting, notifying
from taut.planning.guard import holds_after
from taut.planning.ownership import owner_app
from taut.server.alert_views import AlertsView, AlertTestAnswer, alert_metrics, alerts_view, tested
from taut.server.looking import operation_view, pod_log, wanted_images
from taut.server.serve import Serving, serving
from taut.server.views import (
    Gone,
    ImageView,
    LogView,
    Metric,
    OperationView,
    Orphan,
    PlanView,
    RootView,
    Sample,
    SyncAnswer,
    SyncRequest,
    TreeNode,
)
from taut.store.records import Event
from taut.targets.kubernetes.made import made_by_cluster
from taut.targets.kubernetes.reads import TreeNode as LiveTree
from taut.targets.kubernetes.writes import RESTARTABLE

if TYPE_CHECKING:
    from taut.admission.decision import Policies


class ControllerBackend:
    """Implements `taut.server.backend.Backend`."""

    def __init__(self, controller: Controller, alerting: Alerting | None = None) -> None:
        self._c = controller
        self._alerting = alerting

    def ready(self) -> str:
        """Why taut is not ready yet, as a sentence; empty when it is."""
        failing = self._c.store.failing
        return self._c.starting or (str(failing) if failing is not None else "")

    def keys(self) -> Collection[AppKey]:
        """The applications there are."""
        return self._c.fleet.states.keys()

    def statuses(self) -> Sequence[AppStatus]:
        """Every application, from memory, ordered by key."""
        return self._c.fleet.statuses()

    def status(self, key: AppKey) -> AppStatus | None:
        """One application, from memory."""
        return self._c.fleet.status(key)

    def roots(self) -> Sequence[RootView]:
        """Where applications are declared, with what is wrong there."""
        return [
            RootView(
                name=name,
                git=state.config.git,
                ref=state.config.ref or "",
                path=state.config.path,
                revision=state.revision,
                applications=len(state.applications),
                problems=(*state.problems, *self._away(state)),
            )
            for name, state in sorted(self._c.roots.states.items())
        ]

    def _away(self, root: RootState) -> tuple[Problem, ...]:
        """The repositories that the root is read from and that do not answer now."""
        failures = (self._c.watch.failure(url) for url in root.urls)
        found = (problem_of(error, "source") for error in failures if error is not None)
        known = {p.what for p in root.problems}
        return tuple(p for p in found if p.what not in known)

    async def subscribe(self) -> AsyncGenerator[AppStatus | Gone]:
        """Every change of a status from now on, until it is closed."""
        async for found in self._c.fleet.subscribe():
            yield Gone(key=str(found)) if isinstance(found, AppKey) else found

    async def objects(self, key: AppKey) -> Sequence[ObjectStatus]:
        """The objects of an application."""
        state = self._c.state(key)
        return object_statuses(state, self._c.fleet.look)

    async def tree(self, key: AppKey) -> Sequence[TreeNode]:
        """The objects of an application and what they made, down to Pods; parents before children."""
        state = self._c.state(key)
        cluster = self._c.fleet.cluster_of(state)
        statuses = object_statuses(state, cluster.get)
        refs = [ObjectRef(cluster.name, s.group, s.kind, s.namespace, s.name) for s in statuses]
        by_namespace: dict[str, list[LiveObject]] = {}
        for live in (cluster.get(ref) for ref in refs if ref.namespace):
            if live is not None:
                by_namespace.setdefault(live.ref.namespace, []).append(live)
        trees = {tree.live.ref: tree for roots in by_namespace.values() for tree in await cluster.forest(roots)}
        nodes: list[TreeNode] = []
        for ref, status in zip(refs, statuses, strict=True):
            nodes.append(_node(ref, "", cluster.get(ref), status.sync, status))
            if ref in trees:
                nodes += [n for child in trees[ref].children for n in _nodes(child, ref.id)]
        return nodes

    async def plan(self, key: AppKey) -> PlanView:
        """What a sync would do now."""
        state = self._c.state(key)
        if state.problems and not state.removed:
            first = state.problems[0]
            what = f"what Git wants of {key.name} is not known: {first.what}"
            raise TautError(what, where=Where(file=first.where), advice=first.advice)
        planned = await self._c.planned(key)
        holds = holds_after(planned.plan, state.approvals)
        return PlanView.of(replace(planned.plan, holds=holds))

    def operation(self, key: AppKey) -> OperationView | None:
        """The operation that runs, from memory; None when none does."""
        run = self._c.state(key).run
        return operation_view(run, self._c.clock()) if run is not None else None

    def images(self, key: AppKey) -> Sequence[ImageView]:
        """The images that Git wants to run, from memory; none while it is not known what Git wants."""
        desired = self._c.state(key).desired
        return wanted_images(desired.objects) if desired is not None else ()

    async def logs(self, key: AppKey, namespace: str, pod: str, container: str, lines: int) -> LogView:
        """The last lines of a Pod of the application (an empty container: its first). Raises BadInput when the application has no such Pod."""
        cluster = self._c.fleet.cluster_of(self._c.state(key))
        ref = ObjectRef(cluster.name, "", "Pod", namespace, pod)
        if all(node.id != ref.id for node in await self.tree(key)):
            raise BadInput(
                f"{key.name} has no Pod {namespace}/{pod}", advice="it may have been replaced; look at the objects"
            )
        return await pod_log(cluster, ref, container, lines)

    async def sync(self, key: AppKey, request: SyncRequest) -> SyncAnswer:
        """Ask for a sync, or for the plan of one (`dry_run`). Returns at once."""
        if request.dry_run:
            return SyncAnswer(message="This is what a sync would do now.", plan=await self.plan(key))
        refs = frozenset(self._object(key, text) for text in request.objects)
        number = await self._c.ask_sync(key, by=request.by or "api", objects=refs, prune=request.prune)
        return SyncAnswer(message=self._answer(key), request=number)

    def _answer(self, key: AppKey) -> str:
        """What will come of a sync that was asked for, as far as that is known now."""
        state = self._c.state(key)
        why = next(iter(p.what for p in state.all_problems), "") or next(
            (h.message for h in state.holds if h.stops), ""
        )
        return f"A sync of {key.name} is asked for, and has to wait: {why}." if why else f"taut syncs {key.name}."

    def _object(self, key: AppKey, text: str) -> ObjectRef:
        """The object that a person means by `KIND/NAME`, `KIND.GROUP/NAME` or `KIND NAMESPACE/NAME`."""
        state = self._c.state(key)
        known = set(state.items) | (set(state.desired.refs) if state.desired else set())
        kind, name = (text.split(" ", 1) if " " in text else text.split("/", 1)) if "/" in text else (text, "")
        found = [r for r in known if _means(r, kind, name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(sorted(str(r) for r in (found or known))[:10])
        what = f"{text!r} can mean several objects" if found else f"{key.name} has no object {text!r}"
        raise BadInput(what, advice=f"write KIND/NAME; there are: {names}")

    async def refresh(self, root: str | None, key: AppKey | None) -> str:
        """Look at the sources again: of one application, of a root, or of all."""
        count = await self._c.refresh(root, key)
        return f"taut looks at {count} {'repository' if count == 1 else 'repositories'} now."

    async def abort(self, key: AppKey, by: str) -> str:
        """Stop the running operation before its next step."""
        running = await self._c.abort(key, by=by)
        return (
            f"The operation of {key.name} stops before its next step." if running else f"Nothing runs for {key.name}."
        )

    async def approve(self, key: AppKey, plan_hash: str, by: str, reason: str) -> str:
        """Let the plan with exactly this hash pass. Raises TautError when the present plan is another one."""
        plan = await self._c.approve(key, plan_hash, by=by, reason=reason)
        return f"The plan {plan.hash[:12]} of {key.name} may pass; another plan asks again."

    async def suspend(self, key: AppKey, by: str, reason: str) -> str:
        """Neither sync, heal, prune nor delete until it is resumed."""
        await self._c.suspend(key, by=by, reason=reason)
        return f"{key.name} is suspended: nothing is written until it is resumed."

    async def resume(self, key: AppKey, by: str) -> str:
        """Undo `suspend`."""
        await self._c.resume(key, by=by)
        return f"{key.name} is resumed."

    async def restart(self, key: AppKey, object: str, by: str) -> str:
        """Restart the Pods of a workload (`KIND/NAME`; empty: of every workload) by a rolling update."""
        state = self._c.state(key)
        cluster = self._c.fleet.cluster_of(state)
        refs = [self._object(key, object)] if object else [r for r in state.items if r.kind_ref in RESTARTABLE]
        if not refs:
            raise BadInput(f"{key.name} has no Deployment, StatefulSet or DaemonSet to restart")
        await self._c.store.audit(by, "restart", str(key), ", ".join(str(r) for r in refs))
        user = self._c.fleet.impersonation_of(state)
        for ref in refs:
            await cluster.restart(ref, impersonate=user(ref.namespace))
        return f"{', '.join(str(r) for r in refs)} restarted."

    async def history(self, key: AppKey, limit: int) -> Sequence[HistoryEntry]:
        """Finished operations, newest first."""
        return await self._c.store.history(key, limit)

    async def drift(self, key: AppKey | None, *, open_only: bool, limit: int) -> Sequence[DriftRecord]:
        """Drift records, newest first."""
        return await self._c.store.drift(key, open_only=open_only, limit=limit)

    async def orphans(self, cluster: str | None, namespace: str | None) -> Sequence[Orphan]:
        """Objects in managed namespaces that nobody declares."""
        found: list[Orphan] = []
        for name, each in self._c.fleet.clusters.items():
            if cluster is not None and name != cluster:
                continue
            managed = {r.namespace for s in self._c.fleet.states.values() for r in s.items if r.cluster == name}
            for space in sorted(managed - {""} if namespace is None else {namespace}):
                async for live in each.list_metadata(None, space, on_failure=lambda _kind, _error: None):
                    if _is_orphan(live) and not self._declared(live):
                        ref = live.ref
                        created = rfc3339(live.created)
                        found.append(
                            Orphan(
                                cluster=name,
                                group=ref.group,
                                kind=ref.kind,
                                namespace=ref.namespace,
                                name=ref.name,
                                created=created,
                            )
                        )
        return found

    def _declared(self, live: LiveObject) -> bool:
        """Whether an application has it, or its mark names one of a root that is not this taut's. Marks outlive applications."""
        fleet, owner = self._c.fleet, owner_app(live.owner) if live.owner else None
        if fleet.owner(live.ref) is not None or (owner is not None and owner.root not in self._c.roots.states):
            return True
        state = fleet.states.get(owner) if owner is not None else None
        if state is None or state.desired is None:
            return state is not None
        return live.ref in state.desired.refs or any(hook.ref == live.ref for hook in state.desired.hooks)

    async def events(self, key: AppKey | None, limit: int) -> Sequence[Event]:
        """The timeline, newest first."""
        return await self._c.store.events(key, limit)

    async def audit(self, limit: int) -> Sequence[AuditEntry]:
        """The audit, newest first."""
        return await self._c.store.audit_entries(limit)

    async def note_audit(self, actor: str, action: str, subject: str, detail: str) -> object:
        """Write down who did what to whom."""
        return await self._c.store.audit(actor, action, subject, detail)

    async def alerts(self, limit: int) -> AlertsView:
        """Rules, receivers, open alerts, and what waits to be told."""
        return await alerts_view(self._alerting, limit) if self._alerting is not None else AlertsView()

    async def test_alert(self, name: str, key: AppKey | None, by: str, *, send: bool) -> AlertTestAnswer:
        """What a rule or receiver would be told; with `send` it is told. Raises TautError when that fails."""
        if self._alerting is None:
            raise TautError("this taut tells nobody anything")
        if send:
            await self._c.store.audit(by, "alert-test", name, str(key or ""))
        return tested(await self._alerting.test(name, key, send=send), sent=send)

    async def webhook(self, urls: frozenset[str], ref: str) -> int:
        """Look at once at the sources with one of these addresses. How many there are comes out."""
        return self._c.watch.poke(urls)

    def metrics(self) -> Sequence[Metric]:
        """What the controller counts."""
        c = self._c
        held = Counter(h.kind.value for s in c.fleet.states.values() for h in s.holds)
        return [
            Metric(
                name="renders_total",
                help="Renders that ran a renderer.",
                kind="counter",
                samples=[Sample(value=c.wanting.renders)],
            ),
            Metric(name="runs_total", help="Runs of applications.", kind="counter", samples=[Sample(value=c.runs)]),
            Metric(
                name="fetches_total",
                help="Looks at repositories.",
                kind="counter",
                samples=[Sample(value=c.watch.fetches)],
            ),
            Metric(
                name="store_failing",
                help="Whether taut's store cannot be written: nothing is written to a cluster meanwhile.",
                kind="gauge",
                samples=[Sample(value=int(c.store.failing is not None))],
            ),
            Metric(
                name="held_plans",
                help="Plans that wait for approval, by guard.",
                kind="gauge",
                samples=[Sample(value=n, labels={"guard": k}) for k, n in sorted(held.items())],
            ),
            Metric(
                name="policy_results",
                help="What policies say of the objects that applications run, by result.",
                kind="gauge",
                samples=self._policy_results(),
            ),
            *(alert_metrics(self._alerting) if self._alerting is not None else ()),
        ]

    def _policy_results(self) -> list[Sample]:
        return [
            Sample(value=count, labels={"app": str(key), "cluster": cluster, "result": result})
            for key, state in sorted(self._c.fleet.states.items())
            for cluster, found in sorted(state.policy_results.items())
            for result, count in sorted(found.results.items())
        ]


@asynccontextmanager
async def serve_controller(
    controller: Controller,
    *,
    listen: str,
    store: Path,
    webhook_secret: bytes | None,
    token_file: Path | None = None,
    policies: Policies | None = None,
) -> AsyncGenerator[Serving]:
    """Serve a controller's API, its alerts, and its admission webhook if it is configured, for as long as the context is open."""
    async with AsyncExitStack() as stack:
        backend = ControllerBackend(controller, await stack.enter_async_context(notifying(controller)))
        api = serving(
            backend,
            listen=listen,
            store=store,
            webhook_secret=webhook_secret,
            token_file=token_file,
            access=controller.config.access,
            rows=controller.store,
        )
        if await _admits(controller):
            # A fleet without admission does not pay for it.
            from taut.admission.service import admitting

            admission = await stack.enter_async_context(admitting(controller, policies or _policed(controller)))
            if admission is not None and controller.policing is not None:
                controller.policing.on_changed.append(admission.refresh)
        yield await stack.enter_async_context(api)


async def _admits(controller: Controller) -> bool:
    """Whether there is a webhook, or one that an earlier start had set up has to be taken down."""
    if controller.config.admission is not None:
        return True
    return any([await controller.store.noted(note_of(name)) for name in controller.fleet.clusters])


def _policed(controller: Controller) -> Policies | None:
    from taut.admission.judging import PolicedAdmission

    config = controller.config.admission
    if controller.policing is None or config is None:
        return None
    lenient = config.failure_policy is FailurePolicy.IGNORE
    return PolicedAdmission(controller.policing, controller.fleet, lenient=lenient)


def _means(ref: ObjectRef, kind: str, name: str) -> bool:
    kinds = {ref.kind.lower(), f"{ref.kind}.{ref.group}".lower()}
    return kind.lower() in kinds and name in ("", ref.name, f"{ref.namespace}/{ref.name}")


def _nodes(tree: LiveTree, parent: str) -> list[TreeNode]:
    node = _node(tree.live.ref, parent, tree.live, None, None)
    return [node, *(n for child in tree.children for n in _nodes(child, node.id))]


def _node(
    ref: ObjectRef, parent: str, live: LiveObject | None, sync: SyncStatus | None, status: ObjectStatus | None
) -> TreeNode:
    health = status.health if status else (live.health.status if live and live.health else None)
    message = status.message if status else (live.health.message if live and live.health else "")
    return TreeNode(
        id=ref.id,
        group=ref.group,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        parent=parent,
        sync=sync,
        health=health,
        message=message,
        created=rfc3339(live.created) if live else "",
    )


def _is_orphan(live: LiveObject) -> bool:
    """Nothing made it, and it is no record that the cluster keeps by itself."""
    return not live.owner_uids and not made_by_cluster(live)
