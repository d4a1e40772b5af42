"""Applications in memory behind the real API on a real socket, for the tests of the API layer and of the command line.

No Kubernetes is imitated here: this is what the API is given, and the tests look at what it makes of it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from taut.dialects.access_config import AccessConfig
from taut.model.alerts import Severity, Trigger
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import BadInput, TautError
from taut.model.health import HealthStatus
from taut.model.operation import AuditEntry, HistoryEntry
from taut.model.plan import Action, Change, FieldChange, Hold, HoldKind, Phase, Plan
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import AppStatus, HeldFor, ObjectStatus, Problem, SyncStatus
from taut.server.access.accounts import Rows
from taut.server.alert_views import (
    AlertReceiverView,
    AlertRuleView,
    AlertsView,
    AlertTestAnswer,
    OpenAlertView,
    PreviewView,
    QueuedView,
)
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

WEB = AppKey("prod", "shop", "web")
API = AppKey("prod", "shop", "api")
OPS_WEB = AppKey("prod", "ops", "web")
DB = AppKey("prod", "", "db")
DEPLOYMENT = ObjectRef("local", "apps", "Deployment", "shop", "web")
SECRET = ObjectRef("local", "", "Secret", "shop", "web")
CLAIM = ObjectRef("local", "", "PersistentVolumeClaim", "shop", "data")


OPEN_ALERT = OpenAlertView(
    key="0123456789abcdef",
    rule="prod/shop",
    application=str(WEB),
    trigger=Trigger.HELD,
    severity=Severity.WARNING,
    what="a sync is held",
    why="deletes PersistentVolumeClaim shop/data",
    object="",
    field="",
    since="2026-01-02T03:04:05Z",
    told="2026-01-02T03:05:05Z",
    times=1,
)


def status(key: AppKey, **changes: Any) -> AppStatus:
    """An application in order, but for `changes`."""
    made = AppStatus(
        key=str(key),
        root=key.root,
        namespace=key.namespace,
        name=key.name,
        project="default",
        cluster="local",
        target_namespace=key.namespace or "default",
        mode="automatic",
        sync=SyncStatus.SYNCED,
        health=HealthStatus.HEALTHY,
        operation="Succeeded",
        revision="main@1a2b3c4d",
        desired_revision="main@1a2b3c4d",
        last_sync="2026-01-02T03:04:05Z",
        objects=4,
        source_url="https://git.example.com/shop.git",
        source_path="apps/web",
    )
    return msgspec.structs.replace(made, **changes)


def fleet() -> dict[AppKey, AppStatus]:
    """One of each: in order, degraded, held, and one that cannot be rendered."""
    return {
        DB: status(DB),
        OPS_WEB: status(
            OPS_WEB,
            held_for=(HeldFor("deletes-data", "deletes PersistentVolumeClaim shop/data", (str(CLAIM),)),),
            sync=SyncStatus.OUT_OF_SYNC,
            plan_hash=plan(OPS_WEB).hash,
            message="deletes PersistentVolumeClaim shop/data; waits for: taut approve ops/web",
        ),
        API: status(
            API,
            sync=SyncStatus.UNKNOWN,
            operation="",
            last_sync="",
            revision="",
            problems=(
                Problem(
                    "unknown field `replica`", "apps/api/app.yaml:7, spec.replica", "did you mean `replicas`?", "render"
                ),
            ),
            message="apps/api/app.yaml:7, spec.replica: unknown field `replica` — did you mean `replicas`?",
        ),
        WEB: status(
            WEB,
            health=HealthStatus.DEGRADED,
            message="The new Pod crashes on start",
            labels={"team": "web"},
            drift=1,
        ),
    }


def plan(key: AppKey = WEB) -> Plan:
    """A plan with an update, a secret that differs, and a deletion of data."""
    return Plan(
        key,
        (
            Change(
                DEPLOYMENT,
                Action.UPDATE,
                fields=(
                    FieldChange("spec.replicas", 3, 5, owner="kubectl-scale"),
                    FieldChange("metadata.labels.tier", None, "front", before_set=False),
                ),
                wave=1,
            ),
            Change(
                SECRET,
                Action.UPDATE,
                fields=(
                    FieldChange(
                        "data.password", "hunter2", "hunter3", secret=True, digest_before="a", digest_after="b"
                    ),
                ),
            ),
            Change(CLAIM, Action.DELETE, phase=Phase.SYNC, reason="no longer in Git", live_hash="l"),
            Change(ObjectRef("local", "", "ConfigMap", "shop", "web"), Action.UNCHANGED),
        ),
        holds=(Hold(HoldKind.DATA, "deletes PersistentVolumeClaim shop/data, which holds data", (CLAIM,)),)
        if key == OPS_WEB
        else (),
        revision="main@1a2b3c4d",
    )


@dataclass
class MemoryBackend:
    """A Backend whose state a test sets. `calls` says what was asked of it."""

    apps: dict[AppKey, AppStatus] = field(default_factory=fleet)
    plans: dict[AppKey, Plan] = field(default_factory=dict[AppKey, Plan])
    calls: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    not_ready: str = ""
    root_problems: tuple[Problem, ...] = ()
    known_roots: tuple[RootView, ...] | None = None
    listeners: set[asyncio.Queue[AppStatus | Gone]] = field(default_factory=set[asyncio.Queue[AppStatus | Gone]])
    after_sync: Callable[[AppStatus], AppStatus] = field(default=lambda s: s)
    requests: int = 0
    noted: list[tuple[str, str, str, str]] = field(default_factory=list[tuple[str, str, str, str]])

    def put(self, news: AppStatus | Gone) -> None:
        """Change a status and tell who listens; in the server's loop."""
        parts = news.key.split("/")
        key = AppKey(parts[0], parts[1] if len(parts) == 3 else "", parts[-1])
        if isinstance(news, Gone):
            self.apps.pop(key, None)
        else:
            self.apps[key] = news
        for listener in self.listeners:
            listener.put_nowait(news)

    def ready(self) -> str:
        return self.not_ready

    def keys(self) -> Collection[AppKey]:
        return self.apps.keys()

    def statuses(self) -> Sequence[AppStatus]:
        return [self.apps[key] for key in sorted(self.apps)]

    def status(self, key: AppKey) -> AppStatus | None:
        return self.apps.get(key)

    def roots(self) -> Sequence[RootView]:
        if self.known_roots is not None:
            return self.known_roots
        return [
            RootView(
                name="prod",
                git="https://git.example.com/root.git",
                applications=len(self.apps),
                problems=self.root_problems,
            )
        ]

    async def subscribe(self) -> AsyncGenerator[AppStatus | Gone]:
        queue: asyncio.Queue[AppStatus | Gone] = asyncio.Queue()
        self.listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.listeners.discard(queue)

    async def objects(self, key: AppKey) -> Sequence[ObjectStatus]:
        return [
            ObjectStatus(
                "apps", "Deployment", "shop", "web", SyncStatus.SYNCED, HealthStatus.DEGRADED, "crashes on start"
            ),
            ObjectStatus("", "Service", "shop", "web", SyncStatus.OUT_OF_SYNC, HealthStatus.HEALTHY),
        ]

    async def tree(self, key: AppKey) -> Sequence[TreeNode]:
        top, middle = "apps/Deployment:shop/web", "apps/ReplicaSet:shop/web-1"
        return [
            TreeNode(id=top, group="apps", kind="Deployment", namespace="shop", name="web", sync=SyncStatus.SYNCED, health=HealthStatus.DEGRADED),
            TreeNode(id=middle, group="apps", kind="ReplicaSet", namespace="shop", name="web-1", parent=top, health=HealthStatus.HEALTHY),
            TreeNode(id="/Pod:shop/web-1-a", group="", kind="Pod", namespace="shop", name="web-1-a", parent=middle, health=HealthStatus.DEGRADED, message="CrashLoopBackOff"),
            TreeNode(id="/Service:shop/web", group="", kind="Service", namespace="shop", name="web", sync=SyncStatus.OUT_OF_SYNC, health=HealthStatus.HEALTHY),
        ]  # fmt: skip

    async def plan(self, key: AppKey) -> PlanView:
        return PlanView.of(self.plans.get(key) or plan(key))

    def operation(self, key: AppKey) -> OperationView | None:
        return None

    def images(self, key: AppKey) -> Sequence[ImageView]:
        return [ImageView(object="Deployment web", container="web", image="registry.example.com/shop/web:1.2")]

    async def logs(self, key: AppKey, namespace: str, pod: str, container: str, lines: int) -> LogView:
        self.calls.append(("logs", key, namespace, pod, container, lines))
        if pod != "web-1-a":
            raise BadInput(f"{key.name} has no Pod {namespace}/{pod}")
        return LogView(container="web", containers=("web",), lines=("2026-01-02T03:04:05Z started",))

    async def sync(self, key: AppKey, request: SyncRequest) -> SyncAnswer:
        self.calls.append(("sync", key, request))
        if request.dry_run:
            return SyncAnswer(message="would change 3 objects", plan=await self.plan(key))
        self.requests += 1
        number = self.requests
        running = msgspec.structs.replace(self.apps[key], operation="Running")
        ended = msgspec.structs.replace(self.after_sync(running), handled=number)
        loop = asyncio.get_running_loop()
        loop.call_soon(self.put, running)
        loop.call_later(0.1, self.put, ended)
        return SyncAnswer(message=f"{key} is synced to main@1a2b3c4d", request=number)

    async def refresh(self, root: str | None, key: AppKey | None) -> str:
        self.calls.append(("refresh", root, key))
        return "1 source is looked at"

    async def abort(self, key: AppKey, by: str) -> str:
        self.calls.append(("abort", key, by))
        return f"{key} stops before its next step"

    async def approve(self, key: AppKey, plan_hash: str, by: str, reason: str) -> str:
        if plan_hash != (await self.plan(key)).hash:
            raise TautError("The plan changed since it was shown", advice="look at it again with `taut approve`")
        self.calls.append(("approve", key, plan_hash, by, reason))
        return f"The plan of {key} may pass, once"

    async def suspend(self, key: AppKey, by: str, reason: str) -> str:
        self.calls.append(("suspend", key, by, reason))
        return f"{key} is suspended"

    async def resume(self, key: AppKey, by: str) -> str:
        self.calls.append(("resume", key, by))
        return f"{key} is looked after again"

    async def restart(self, key: AppKey, object: str, by: str) -> str:
        self.calls.append(("restart", key, object, by))
        return "1 workload restarts"

    async def history(self, key: AppKey, limit: int) -> Sequence[HistoryEntry]:
        entry = HistoryEntry(
            7, key, "sync", "Succeeded", "main@1a2b3c4d", "Anna", "Raise the replicas\n\nBecause", "anna", 1767323045.0, 2.5, "p", (("update", str(DEPLOYMENT)),)
        )  # fmt: skip
        return [entry][:limit]

    async def drift(self, key: AppKey | None, *, open_only: bool, limit: int) -> Sequence[DriftRecord]:
        records = [
            DriftRecord(2, WEB, DEPLOYMENT, "spec.replicas", 3, 5, "kubectl-scale", "Update", 1767323000.0, 1767323001.0, DriftOutcome.OPEN),
            DriftRecord(1, WEB, SECRET, "data.password", "hunter2", "hunter3", "kubectl", "Update", 0.0, 1767323000.0, DriftOutcome.HEALED, healed_at=1767323002.0, secret=True),
        ]  # fmt: skip
        return [r for r in records if key in (None, r.app) and not (open_only and r.outcome is not DriftOutcome.OPEN)][
            :limit
        ]

    async def orphans(self, cluster: str | None, namespace: str | None) -> Sequence[Orphan]:
        found = Orphan(
            cluster="local", group="", kind="ConfigMap", namespace="shop", name="left", created="2026-01-02T03:04:05Z"
        )
        return [found] if namespace in (None, "shop") else []

    async def events(self, key: AppKey | None, limit: int) -> Sequence[Event]:
        return [Event(1, str(key or WEB), 1767323045.0, "sync", "started", "Deployment shop/web")][:limit]

    async def audit(self, limit: int) -> Sequence[AuditEntry]:
        return [AuditEntry(1, 1767323045.0, "anna", "approve", str(WEB), "p", "", "h")][:limit]

    async def note_audit(self, actor: str, action: str, subject: str, detail: str) -> object:
        self.noted.append((actor, action, subject, detail))
        return None

    async def alerts(self, limit: int) -> AlertsView:
        told = [a for a in (OPEN_ALERT, replace(OPEN_ALERT, application=str(OPS_WEB))) if self.apps][:limit]
        return AlertsView(
            rules=(
                AlertRuleView(
                    id="prod/shop",
                    root="prod",
                    triggers=(Trigger.HELD,),
                    receivers=("ops",),
                    severity=Severity.WARNING,
                    suspended=False,
                ),
            ),
            receivers=(AlertReceiverView(id="ops", root="", way="email"),),
            open=tuple(told),
            waiting=(
                QueuedView(
                    stage="alert",
                    receiver="ops",
                    id="taut_1",
                    at="2026-01-02T03:04:05Z",
                    tries=2,
                    said="mail.example.com:587 cannot be reached",
                ),
            ),
        )

    async def test_alert(self, name: str, key: AppKey | None, by: str, *, send: bool) -> AlertTestAnswer:
        if name != "ops":
            raise BadInput(f"there is no alert rule or receiver {name!r}")
        text = f"{key or 'an example'}, asked for by {by}"
        return AlertTestAnswer(
            sent=send, messages=(PreviewView(receiver="ops", way="email", title="web is held", text=text),)
        )

    async def webhook(self, urls: frozenset[str], ref: str) -> int:
        self.calls.append(("webhook", urls, ref))
        return 1

    def metrics(self) -> Sequence[Metric]:
        return [
            Metric(
                name="renders_total",
                help="Renders.",
                kind="counter",
                samples=[Sample(value=3, labels={"renderer": 'he"lm'})],
            )
        ]


@dataclass
class Running:
    """The API on a socket, served by a thread."""

    backend: MemoryBackend
    url: str
    token_file: Path
    loop: asyncio.AbstractEventLoop

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    def put(self, news: AppStatus | Gone) -> None:
        """Change a status from the test's thread."""
        self.loop.call_soon_threadsafe(self.backend.put, news)


@contextmanager
def running(
    folder: Path,
    backend: MemoryBackend | None = None,
    *,
    webhook_secret: bytes | None = None,
    access: AccessConfig | None = None,
    listen: str = "127.0.0.1:0",
    rows: Rows | None = None,
) -> Iterator[Running]:
    """Serve a backend until the context ends."""
    backend = backend or MemoryBackend()
    started, stop = threading.Event(), asyncio.Event()
    box: list[tuple[Serving, asyncio.AbstractEventLoop]] = []
    failure: list[BaseException] = []

    async def main() -> None:
        try:
            async with serving(
                backend,
                listen=listen,
                store=folder / "taut.db",
                webhook_secret=webhook_secret,
                access=access,
                rows=rows,
            ) as where:
                box.append((where, asyncio.get_running_loop()))
                started.set()
                await stop.wait()
        except BaseException as error:
            failure.append(error)
            started.set()
            raise

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    started.wait(30)
    if failure:
        raise failure[0]
    where, loop = box[0]
    try:
        yield Running(backend, where.url, where.token_file, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
