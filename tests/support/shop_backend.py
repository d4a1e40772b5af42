"""What a running taut would tell of the shop: trees, plans, drift, history, an operation in its third wave, logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from support import shop
from support.memory_backend import MemoryBackend
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.errors import BadInput, TargetError, Where
from taut.model.health import HealthStatus
from taut.model.operation import HistoryEntry, StepState
from taut.model.plan import Action, Change, FieldChange, Hold, HoldKind, Plan
from taut.model.refs import AppKey, ObjectRef
from taut.model.status import ObjectStatus, SyncStatus
from taut.model.times import rfc3339
from taut.server.views import (
    ImageView,
    LogView,
    ObjectView,
    OperationView,
    PlanView,
    StepView,
    TreeNode,
)
from taut.store.records import Event

CHECKOUT = AppKey("deploy", "prod-eu", "checkout")
MEDIA = AppKey("deploy", "prod-eu", "media-library")
IDENTITY = AppKey("deploy", "prod-us", "identity")
SEARCH = AppKey("deploy", "prod-eu", "search")
CART = AppKey("deploy", "prod-eu", "cart")
GATEWAY = AppKey("deploy", "edge", "edge-gateway")
CATALOG = AppKey("deploy", "prod-eu", "catalog")
METRICS = AppKey("deploy", "prod-eu", "metrics")
CHAT = AppKey("deploy", "prod-eu", "chat")
BILLING = AppKey("deploy", "prod-us", "billing")
FEED = AppKey("deploy", "edge", "price-feed")

SYNCED, OUT = SyncStatus.SYNCED, SyncStatus.OUT_OF_SYNC
GOOD, BAD, BUSY, MISSING = HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.PROGRESSING, HealthStatus.MISSING
APPS, POD = "apps", ""
CRASH = "crashes on start: DATABASE_URL is not set; back-off 5 min"
RULES = "\n".join(f"rule-{n}: {n}" for n in range(184))


def ref(key: AppKey, kind: str, name: str, group: str = "") -> ObjectRef:
    return ObjectRef(key.namespace, group, kind, key.name, name)


def _id(group: str, kind: str, name: str) -> str:
    return f"{group}/{kind}:checkout/{name}"


@dataclass
class Grove:
    """Builds a tree."""

    now: float
    nodes: list[TreeNode] = field(default_factory=list[TreeNode])

    def add(
        self, group: str, kind: str, name: str, parent: str = "", *, health: HealthStatus | None = GOOD,
        sync: SyncStatus | None = None, message: str = "", age: float = 86400.0,
    ) -> str:  # fmt: skip
        made = _id(group, kind, name)
        declared = sync or (SYNCED if not parent else None)
        self.nodes.append(
            TreeNode(
                id=made, group=group, kind=kind, namespace="checkout", name=name, parent=parent, sync=declared,
                health=health, message=message, created=rfc3339(self.now - age) if health is not MISSING else "",
            )
        )  # fmt: skip
        return made


def checkout_tree(now: float) -> list[TreeNode]:
    """Seventeen declared objects down to their Pods, of which one is the cause."""
    g = Grove(now)
    api = g.add(
        APPS, "Deployment", "checkout-api", health=BAD, sync=OUT, message="Pod checkout-api-6d9f8-4kq2m " + CRASH
    )
    new = g.add(APPS, "ReplicaSet", "checkout-api-6d9f8", api, health=BAD, message="0 of 1 ready", age=360)
    g.add(POD, "Pod", "checkout-api-6d9f8-4kq2m", new, health=BAD, message=CRASH, age=360)
    old = g.add(APPS, "ReplicaSet", "checkout-api-5b7c4", api)
    for name in ("9xw7t", "hn5rd", "zt2vb"):
        g.add(POD, "Pod", f"checkout-api-5b7c4-{name}", old)
    for number in range(8):
        g.add(APPS, "ReplicaSet", f"checkout-api-{number}f{number}c2", api, age=86400 * (number + 2))
    worker = g.add(APPS, "Deployment", "checkout-worker")
    workers = g.add(APPS, "ReplicaSet", "checkout-worker-7f4d9", worker, age=300)
    for name in ("2mcxk", "qv8lj"):
        g.add(POD, "Pod", f"checkout-worker-7f4d9-{name}", workers, age=300)
    cache = g.add(APPS, "StatefulSet", "checkout-cache")
    g.add(POD, "Pod", "checkout-cache-0", cache, age=86400 * 9)
    g.add(POD, "PersistentVolumeClaim", "data-checkout-cache-0", cache, age=86400 * 90)
    job = g.add("batch", "Job", "checkout-migrate", age=300)
    g.add(POD, "Pod", "checkout-migrate-8w2ql", job, age=300)
    service = g.add("", "Service", "checkout-api")
    g.add("discovery.k8s.io", "EndpointSlice", "checkout-api-x7k2p", service)
    g.add("autoscaling", "HorizontalPodAutoscaler", "checkout-api")
    for kind, names in (("ConfigMap", ("checkout", "checkout-features", "checkout-texts", "checkout-rates")), ("Secret", ("checkout-db", "checkout-bank")), ("ServiceAccount", ("checkout",))):  # fmt: skip
        for name in names:
            g.add("", kind, name)
    g.add("networking.k8s.io", "NetworkPolicy", "checkout")
    g.add("gateway.networking.k8s.io", "HTTPRoute", "checkout", health=MISSING, sync=OUT, message="not created yet")
    g.add("policy", "PodDisruptionBudget", "checkout-api", health=MISSING, sync=OUT, message="not created yet")
    return g.nodes


def large_tree(count: int, now: float) -> list[TreeNode]:
    """A wide application with one Pod that is the cause."""
    g = Grove(now)
    for number in range(count // 10):
        bad = number == 3
        top = g.add(APPS, "Deployment", f"part-{number}", health=BAD if bad else GOOD)
        middle = g.add(APPS, "ReplicaSet", f"part-{number}-abc", top, health=BAD if bad else GOOD)
        for pod in range(8):
            sick = bad and pod == 5
            g.add(
                POD,
                "Pod",
                f"part-{number}-abc-{pod}",
                middle,
                health=BAD if sick else GOOD,
                message=CRASH if sick else "",
            )
    return g.nodes


def plans() -> dict[AppKey, Plan]:
    """The plans that wait or run."""
    label = "metadata.labels[helm.sh/chart]"
    checkout = Plan(
        CHECKOUT,
        (
            Change(
                ref(CHECKOUT, "Deployment", "checkout-api", APPS),
                Action.UPDATE,
                fields=(
                    FieldChange("spec.template.spec.containers[name=api].image", "registry.example.net/checkout-api@sha256:41d07aa9c2", "registry.example.net/checkout-api@sha256:9f3c2e1b77"),
                    FieldChange("spec.template.spec.containers[name=api].env[name=DB_URL]", {"name": "DB_URL", "valueFrom": {"secretKeyRef": {"name": "checkout-db", "key": "url"}}}, None, after_set=False),
                    FieldChange("spec.template.spec.containers[name=api].env[name=DATABASE_DSN]", None, {"name": "DATABASE_DSN", "valueFrom": {"secretKeyRef": {"name": "checkout-db", "key": "url"}}}, before_set=False),
                    FieldChange("spec.strategy.rollingUpdate.maxSurge", 1, 2),
                    FieldChange(label, "checkout-4.1.3", "checkout-4.2.0"),
                    FieldChange("metadata.annotations[deployment.kubernetes.io/revision]", "13", None, after_set=False),
                ),
                wave=3,
                origin="apps/checkout/api.yaml:18",
            ),
            Change(ref(CHECKOUT, "ConfigMap", "checkout"), Action.UPDATE, fields=(FieldChange("data.poolSize", None, "24", before_set=False), FieldChange("data.rules", RULES, RULES.replace("rule-90: 90", "rule-90: 91"))), origin="apps/checkout/config.yaml:4"),
            Change(ref(CHECKOUT, "Secret", "checkout-db"), Action.UPDATE, fields=(FieldChange("data.password", "hunter2", "hunter3", secret=True, digest_before="a", digest_after="b"),), origin="apps/checkout/db.enc.yaml:1"),
            Change(ref(CHECKOUT, "HTTPRoute", "checkout", "gateway.networking.k8s.io"), Action.CREATE, wave=4, origin="apps/checkout/route.yaml:1"),
            *(Change(ref(CHECKOUT, "ConfigMap", f"same-{n}"), Action.UNCHANGED) for n in range(20)),
        ),
        revision="main@9f3c2e1f",
    )  # fmt: skip
    claim = ref(MEDIA, "PersistentVolumeClaim", "uploads-data")
    media = Plan(
        MEDIA,
        (
            Change(claim, Action.DELETE, reason="no longer in Git; it holds data", live_hash="1"),
            Change(ref(MEDIA, "StatefulSet", "uploads", APPS), Action.DELETE, reason="no longer in Git", live_hash="2"),
            Change(ref(MEDIA, "Service", "uploads"), Action.DELETE, reason="no longer in Git", live_hash="3"),
            Change(ref(MEDIA, "Deployment", "uploads-gateway", APPS), Action.CREATE),
            Change(ref(MEDIA, "HTTPRoute", "media", "gateway.networking.k8s.io"), Action.UPDATE, fields=(FieldChange("spec.rules[0].backendRefs[0].name", "uploads", "uploads-gateway"),)),
            *(Change(ref(MEDIA, "ConfigMap", f"same-{n}"), Action.UNCHANGED) for n in range(5)),
        ),
        holds=(Hold(HoldKind.DATA, "deletes data", (claim,)),),
        revision="main@d20f6c8f",
    )  # fmt: skip
    identity = Plan(
        IDENTITY,
        (Change(ref(IDENTITY, "ConfigMap", "identity-texts"), Action.UPDATE, fields=(FieldChange("data.signInHours", "8", "12"),)), Change(ref(IDENTITY, "Deployment", "identity", APPS), Action.RECREATE, reason="spec.selector cannot be changed", live_hash="4")),
        revision="main@6e1c44ff",
    )  # fmt: skip
    search = Plan(
        SEARCH,
        (Change(ref(SEARCH, "Deployment", "search-query", APPS), Action.UPDATE, fields=(FieldChange("spec.template.spec.containers[name=query].image", "search:7", "search:8"),)),),
        revision="main@3ab7f92f",
    )  # fmt: skip
    return {CHECKOUT: checkout, MEDIA: media, IDENTITY: identity, SEARCH: search}


def drifts(now: float) -> list[DriftRecord]:
    """A day of changes by hand."""
    made: list[DriftRecord] = []

    def add(key: AppKey, at: ObjectRef, path: str, desired: object, found: object, who: str, ago: float, outcome: DriftOutcome, lasted: float = 0.0, user: str = "", **more: object) -> None:  # fmt: skip
        changed = now - ago
        made.append(DriftRecord(len(made) + 1, key, at, path, desired, found, who, "Update", changed, changed + 1, outcome, user, changed + lasted if lasted else 0.0, **more))  # type: ignore[arg-type]  # fmt: skip

    hour = 3600.0
    add(
        CHAT,
        ref(CHAT, "Deployment", "chat", APPS),
        "spec.replicas",
        3,
        6,
        "kubectl-scale",
        2 * hour,
        DriftOutcome.HEALED,
        1.4,
        "priya",
    )
    add(
        CART,
        ref(CART, "Deployment", "cart", APPS),
        "spec.replicas",
        4,
        9,
        "kubectl-scale",
        3.1 * hour,
        DriftOutcome.REPORTED,
        0,
        "tlw",
        reason="self-heal is off",
    )
    add(
        GATEWAY,
        ref(GATEWAY, "HTTPRoute", "beta", "gateway.networking.k8s.io"),
        "spec.rules[1].backendRefs[0].weight",
        10,
        50,
        "kubectl-client-side-apply",
        26 * hour,
        DriftOutcome.CONTESTED,
        0,
        "dario",
    )
    add(
        GATEWAY,
        ref(GATEWAY, "HTTPRoute", "beta", "gateway.networking.k8s.io"),
        "spec.hostnames",
        ["beta.shop.example"],
        ["beta.shop.example", "b.shop.example"],
        "kubectl-client-side-apply",
        26 * hour,
        DriftOutcome.CONTESTED,
        0,
        "dario",
    )
    add(
        CATALOG,
        ref(CATALOG, "Service", "catalog"),
        "",
        None,
        None,
        "kubectl",
        10 * hour,
        DriftOutcome.HEALED,
        3.1,
        "nils",
        missing=True,
    )
    add(
        CATALOG,
        ref(CATALOG, "Secret", "catalog-db"),
        "data.password",
        "hunter2",
        "hunter3",
        "kubectl-edit",
        17 * hour,
        DriftOutcome.HEALED,
        2160,
        "priya",
        secret=True,
    )
    for number in range(7):
        add(
            METRICS,
            ref(METRICS, "ConfigMap", "metrics-rules"),
            "data[groups.yaml]",
            RULES,
            RULES + "\nmore\nmore",
            "metrics-operator",
            (3.4 + 3 * number) * hour,
            DriftOutcome.HEALED,
            0.6,
        )
    add(
        BILLING,
        ref(BILLING, "HorizontalPodAutoscaler", "billing", "autoscaling"),
        "spec.maxReplicas",
        12,
        20,
        "kubectl-patch",
        8.5 * hour,
        DriftOutcome.ADOPTED,
        2 * hour,
        "yuki",
    )
    return made


def operation(now: float) -> OperationView:
    """A sync that waits in its third wave."""
    parts = (
        (0, StepState.DONE, ("ServiceAccount checkout", "ConfigMap checkout", "ConfigMap checkout-features", "Secret checkout-db", "Secret checkout-bank", "NetworkPolicy checkout", "ConfigMap checkout-texts")),
        (1, StepState.DONE, ("Job checkout-migrate",)),
        (2, StepState.DONE, ("Deployment checkout-worker", "StatefulSet checkout-cache")),
        (3, StepState.SENT, ("Deployment checkout-api", "HorizontalPodAutoscaler checkout-api")),
        (4, StepState.TODO, ("HTTPRoute checkout", "PodDisruptionBudget checkout-api")),
    )  # fmt: skip
    steps = tuple(
        StepView(object=ObjectView.of(ref(CHECKOUT, *name.split(" "))), action=Action.UPDATE, phase="Sync", wave=wave, group=wave, state=StepState.DONE if name.startswith("Horizontal") else state)
        for wave, state, names in parts
        for name in names
    )  # fmt: skip
    return OperationView(
        id=39, kind="sync", revision="main@9f3c2e1f", initiated_by="", started=rfc3339(now - 360), remaining=348.0, attempt=1, steps=steps,
        waiting="waiting for Deployment checkout-api: none of 3 new Pods is ready yet",
    )  # fmt: skip


@dataclass
class ShopBackend(MemoryBackend):
    """A MemoryBackend that tells of the shop. `trees` may be set for more applications."""

    now: float = 0.0
    trees: dict[AppKey, list[TreeNode]] = field(default_factory=dict[AppKey, list[TreeNode]])
    log_lines: tuple[str, ...] = ()

    async def tree(self, key: AppKey) -> Sequence[TreeNode]:
        if key == FEED:
            raise TargetError(
                "the cluster edge does not answer",
                where=Where(object="cluster edge"),
                advice="taut asks again by itself",
            )
        if key in self.trees:
            return self.trees[key]
        return checkout_tree(self.now) if key.name == "checkout" and key == CHECKOUT else _simple(key, self.now)

    async def objects(self, key: AppKey) -> Sequence[ObjectStatus]:
        return [
            ObjectStatus(n.group, n.kind, n.namespace, n.name, n.sync, n.health, n.message)
            for n in await self.tree(key)
            if n.sync
        ]

    async def plan(self, key: AppKey) -> PlanView:
        found = self.plans.get(key)
        return PlanView.of(found) if found else PlanView(app=str(key), hash="0" * 64, unchanged=self.apps[key].objects)

    def operation(self, key: AppKey) -> OperationView | None:
        return operation(self.now) if key == CHECKOUT and self.apps[key].operation == "Running" else None

    def images(self, key: AppKey) -> Sequence[ImageView]:
        commit = self.apps[key].desired_revision.partition("@")[2]
        image = f"registry.example.net/{key.name}"
        return [
            ImageView(
                object=f"Deployment {key.name}-api", container="api", image=f"{image}-api@sha256:{commit}{commit}"
            ),
            ImageView(object=f"Deployment {key.name}-worker", container="worker", image=f"{image}-worker:4.2"),
        ]

    async def logs(self, key: AppKey, namespace: str, pod: str, container: str, lines: int) -> LogView:
        if all(n.name != pod or n.kind != "Pod" for n in await self.tree(key)):
            raise BadInput(
                f"{key.name} has no Pod {namespace}/{pod}", advice="it may have been replaced; look at the objects"
            )
        return LogView(container=container or "api", containers=("api", "proxy"), lines=self.log_lines)

    async def history(self, key: AppKey, limit: int) -> Sequence[HistoryEntry]:
        if self.apps[key].last_sync == "":
            return []
        told = (
            ("41d07aa3", "mira", "Retry on timeout", "Succeeded", 86400, 49.0, ("update", "Deployment.apps checkout/checkout-api")),
            ("41d07aa3", "mira", "Retry on timeout", "Succeeded", 90000, 1.4, ("update", "Deployment.apps checkout/checkout-worker")),
            ("c02de511", "tlw", "Cache the rates", "Failed", 180000, 600.0, ("update", "ConfigMap checkout/checkout")),
            ("8e41b072", "yuki", "Invoice footer", "Succeeded", 260000, 38.2, ("create", "ConfigMap checkout/checkout-rates")),
            ("77a0c3d9", "priya", "Two banks\n\nBecause one is not enough.", "Superseded", 600000, 12.0, ("create", "Secret checkout/checkout-bank")),
        )  # fmt: skip
        return [
            HistoryEntry(38 - n, key, "heal" if n == 1 else "sync", result, f"main@{commit}", who, text, "webhook" if n != 3 else "nils", self.now - ago, took, "7c1e9a04" * 8, (change,), "health was not reached in 10m" if result == "Failed" else "")
            for n, (commit, who, text, result, ago, took, change) in enumerate(told)
        ][:limit]  # fmt: skip

    async def drift(self, key: AppKey | None, *, open_only: bool, limit: int) -> Sequence[DriftRecord]:
        return [r for r in drifts(self.now) if key in (None, r.app)][:limit]

    async def events(self, key: AppKey | None, limit: int) -> Sequence[Event]:
        told = (
            (360, "sync", "started sync of main@9f3c2e1f", ""),
            (3000, "drift", "spec.replicas 3 → 5 by kubectl-scale", "Deployment.apps checkout/checkout-api"),
            (90000, "sync", "Succeeded in 49 s", ""),
            (90060, "takeover", "took spec.replicas over from kubectl-scale", "Deployment.apps checkout/checkout-api"),
        )
        return [
            Event(9 - n, str(key or CHECKOUT), self.now - ago, kind, text, where)
            for n, (ago, kind, text, where) in enumerate(told)
        ][:limit]


def _simple(key: AppKey, now: float) -> list[TreeNode]:
    g = Grove(now)
    top = g.add(APPS, "Deployment", key.name)
    middle = g.add(APPS, "ReplicaSet", f"{key.name}-5b7c4", top)
    for pod in range(2):
        g.add(POD, "Pod", f"{key.name}-5b7c4-{pod}", middle)
    g.add("", "Service", key.name)
    return g.nodes


def shop_backend(now: float) -> ShopBackend:
    """The whole shop as it is at `now`."""
    base = shop.shop(now)
    made = plans()
    lines = tuple(
        f"{rfc3339(now - 40 + n)} {text}"
        for n, text in enumerate(
            ("starting checkout-api 9f3c2e1", "reading configuration from /etc/checkout", "pool size 24",
             "fatal: DATABASE_URL is not set", "exit status 1")
        )
    )  # fmt: skip
    apps = dict(base.apps)
    for key, plan in made.items():
        if apps[key].held_for:
            apps[key] = msgspec.structs.replace(apps[key], plan_hash=plan.hash)
    return ShopBackend(apps=apps, known_roots=base.known_roots, plans=made, now=now, log_lines=lines)
