"""A shop's fleet in every state, for the tests and the pictures of the page: what people see on a day on which some things go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from support.memory_backend import MemoryBackend, status
from taut.model.health import HealthStatus
from taut.model.refs import AppKey
from taut.model.status import AppStatus, HeldFor, Problem, SyncStatus
from taut.model.times import rfc3339
from taut.server.views import RootView

OUT, UNKNOWN = SyncStatus.OUT_OF_SYNC, SyncStatus.UNKNOWN
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True)
class Told:
    """One application of the shop."""

    project: str
    name: str
    env: str
    cluster: str
    commit: str
    subject: str
    ago: int
    objects: int = 12
    changes: dict[str, Any] | None = None


def _problem(what: str, where: str = "", advice: str = "", stage: str = "apply") -> dict[str, Any]:
    return {"problems": (Problem(what, where, advice, stage),), "message": what, "sync": OUT, "operation": "Failed"}


def _sick(message: str, **more: Any) -> dict[str, Any]:
    return {"health": HealthStatus.DEGRADED, "health_message": message, "message": message, **more}


def _held(kind: str, message: str, objects: tuple[str, ...] = (), *, approvable: bool = True) -> dict[str, Any]:
    held = (HeldFor(kind, message, objects, approvable),)
    return {"held_for": held, "sync": OUT, "message": message, "plan_hash": "7c1e9a0455d2e8b1" * 4}


def _moved(message: str, drift: int, since: int, **more: Any) -> dict[str, Any]:
    return {"drift": drift, "drift_since": since, "sync": OUT, "out_of_sync": 1, "message": message, **more}


def _busy(message: str, behind: int = 2) -> dict[str, Any]:
    return {"operation": "Running", "sync": OUT, "out_of_sync": behind, "message": message}


TOLD = (
    Told("payments", "ledger", "production", "prod-eu", "c41d9e0", "Run three consumers", 11 * MINUTE, 14,
         _problem("quota of 24 Pods in namespace ledger is used up", "Deployment ledger/ledger", "raise the quota, or run fewer replicas")),
    Told("payments", "checkout", "production", "prod-eu", "9f3c2e1", "Read the pool size from env", 6 * MINUTE, 24,
         _sick("Deployment checkout-api: Pod checkout-api-6d9f8-4kq2m crashes on start, DATABASE_URL is not set", sync=OUT, out_of_sync=7, operation="Running")),
    Told("storefront", "recommend", "production", "prod-us", "a7710bd", "Model of week 47", 38 * MINUTE, 19,
         _sick("2 of 6 Pods run out of memory every 4 minutes")),
    Told("media", "thumbnails", "staging", "staging", "1b80e5a", "thumbs 3.9.0", 2 * HOUR, 9,
         _sick("Image thumbs:3.9.0 does not exist in the registry")),
    Told("media", "media-library", "production", "prod-eu", "d20f6c8", "Move uploads to object buckets", 25 * MINUTE, 8,
         _held("deletes-data", "3 of 8 objects would be deleted, one of them holds data", ("PersistentVolumeClaim media/uploads-data",))),
    Told("platform", "identity", "production", "prod-us", "6e1c44f", "Sign-in lasts 12 hours", HOUR, 33,
         _held("recreates", "Deployment identity would be deleted and made anew: its selector changes", ("Deployment.apps platform/identity",))),
    Told("storefront", "search", "production", "prod-eu", "3ab7f92", "Index v8", 3 * HOUR, 22,
         _held("policy", "policy require-limits denies Deployment search-query: no memory limit", ("Deployment.apps storefront/search-query",), approvable=False)),
    Told("storefront", "cart", "production", "prod-eu", "5d02b1c", "Cache carts for a day", 5 * DAY, 18,
         _moved("spec.replicas 4 → 9 by kubectl-scale; self-heal is off", 1, 3 * HOUR)),
    Told("platform", "edge-gateway", "edge", "edge", "77e9a30", "Route /beta", DAY, 16,
         _moved("2 routes were changed by hand with kubectl apply", 2, 26 * HOUR, contested=True)),
    Told("search", "price-feed", "edge", "edge", "e8c5d17", "Feed every 30 s", 2 * MINUTE, 8,
         {"sync": UNKNOWN, "health": HealthStatus.UNKNOWN, "message": "cluster edge is silent for 2 min; was healthy before"}),
    Told("payments", "orders", "staging", "staging", "b95f0a2", "Idempotent refunds", 40, 21, _busy("wave 2 of 4: waiting for 1 of 3 Pods")),
    Told("storefront", "storefront-web", "dev", "dev", "f1e7730", "Smaller images", 12, 16, _busy("wave 1 of 2: Job assets is running", 1)),
    Told("data", "reports", "staging", "staging", "0c9a6de", "Monthly export", 40, 11,
         {"sync": OUT, "out_of_sync": 2, "mode": "manual", "message": "2 objects differ; waits for: taut sync reports"}),
    Told("platform", "loadtest", "dev", "dev", "b02e6f7", "Higher rate", 4 * DAY, 6, {"suspended": True, "message": "suspended by nils; waits for: taut resume loadtest"}),
    Told("payments", "billing", "production", "prod-eu", "2f4c8b7", "Round half to even", 2 * DAY, 31),
    Told("payments", "billing", "production", "prod-us", "2f4c8b7", "Round half to even", 2 * DAY, 31),
    Told("payments", "billing", "staging", "staging", "8e41b07", "Invoice footer", 3 * HOUR, 29),
    Told("payments", "checkout", "production", "prod-us", "41d07aa", "Retry on timeout", DAY, 24),
    Told("payments", "checkout", "staging", "staging", "9f3c2e1", "Read the pool size from env", 52 * MINUTE, 24),
    Told("payments", "checkout", "dev", "dev", "e41f772", "Ask the bank twice at most", 14 * MINUTE, 24),
    Told("payments", "fraud-rules", "production", "prod-eu", "7a3e5c0", "Rule 114", 6 * DAY, 12),
    Told("payments", "refunds", "production", "prod-eu", "b95f0a2", "Idempotent refunds", 9 * DAY, 14),
    Told("storefront", "cart", "production", "prod-us", "5d02b1c", "Cache carts for a day", 4 * DAY, 18),
    Told("storefront", "cart", "staging", "staging", "5d02b1c", "Cache carts for a day", 5 * DAY, 18),
    Told("storefront", "catalog", "production", "prod-eu", "94bd2f6", "Categories in one call", DAY, 27),
    Told("storefront", "catalog", "production", "prod-us", "94bd2f6", "Categories in one call", DAY, 27),
    Told("storefront", "catalog", "staging", "staging", "94bd2f6", "Categories in one call", 2 * DAY, 26),
    Told("storefront", "storefront-web", "production", "prod-eu", "c6a80d3", "Header without shadow", 5 * HOUR, 16),
    Told("storefront", "storefront-web", "production", "prod-us", "c6a80d3", "Header without shadow", 5 * HOUR, 16),
    Told("storefront", "search", "staging", "staging", "3ab7f92", "Index v8", 6 * HOUR, 22),
    Told("platform", "identity", "production", "prod-eu", "6e1c44f", "Sign-in lasts 12 hours", HOUR, 33),
    Told("platform", "identity", "staging", "staging", "6e1c44f", "Sign-in lasts 12 hours", DAY, 33),
    Told("platform", "certificates", "production", "prod-eu", "18f3ae5", "Renew 30 days early", 21 * DAY, 9),
    Told("platform", "dns-sync", "production", "prod-eu", "60dd91b", "Zone shop.example", 33 * DAY, 7),
    Told("platform", "log-collector", "production", "prod-eu", "e03b7c4", "Drop health checks", 8 * DAY, 11),
    Told("platform", "log-collector", "production", "prod-us", "e03b7c4", "Drop health checks", 8 * DAY, 11),
    Told("platform", "metrics", "production", "prod-eu", "9c15f08", "Keep 30 days", 12 * DAY, 42),
    Told("platform", "nightly-backup", "production", "prod-eu", "4b7e2aa", "Copy to a second region", 17 * DAY, 6),
    Told("data", "warehouse-load", "production", "prod-eu", "d5530f9", "Load by hour", 3 * DAY, 21),
    Told("data", "event-archive", "production", "prod-eu", "72c8e1d", "Compress with zstd", 28 * DAY, 13),
    Told("media", "transcode", "production", "prod-eu", "af6019e", "Four workers", 2 * DAY, 17),
    Told("support", "chat", "production", "prod-eu", "38d4bc2", "Typing indicator", 7 * HOUR, 20),
)  # fmt: skip
_AUTHORS = ("yuki", "mira", "priya", "tlw", "nils")


def key_of(told: Told) -> AppKey:
    """An application's key: its cluster is the folder in which the repository declares it."""
    return AppKey("deploy", told.cluster, told.name)


def statuses(now: float) -> dict[AppKey, AppStatus]:
    """The fleet as it is at `now`."""
    found: dict[AppKey, AppStatus] = {}
    for number, told in enumerate(TOLD):
        changes = dict(told.changes or {})
        if "drift_since" in changes:
            changes["drift_since"] = rfc3339(now - changes["drift_since"])
        behind = changes.get("sync") is OUT and not changes.get("drift")
        key = key_of(told)
        found[key] = msgspec.structs.replace(
            status(key),
            project=told.project,
            cluster=told.cluster,
            target_namespace=told.name,
            revision="main@41d07aaf" if behind else f"main@{told.commit}f",
            desired_revision=f"main@{told.commit}f",
            author=_AUTHORS[number % len(_AUTHORS)],
            commit_message=told.subject,
            last_sync=rfc3339(now - told.ago),
            objects=told.objects,
            source_url="https://git.example.com/shop/deploy.git",
            source_path=f"apps/{told.name}/overlays/{told.cluster}",
            labels={"environment": told.env, "team": told.project},
            **changes,
        )
    return found


def many(count: int, now: float) -> dict[AppKey, AppStatus]:
    """A fleet of any size, in the same proportions but with fewer that need someone."""
    base = list(statuses(now).values())
    quiet = [s for s in base if s.sync is SyncStatus.SYNCED and s.health is HealthStatus.HEALTHY]
    found: dict[AppKey, AppStatus] = {}
    for number in range(count):
        pattern = base[number % len(base)] if number % 50 == 0 else quiet[number % len(quiet)]
        cluster = f"{pattern.cluster}-{number % 25}"
        name = f"{pattern.name}-{number:04}"
        key = AppKey("deploy", cluster, name)
        found[key] = msgspec.structs.replace(pattern, key=str(key), namespace=cluster, name=name, cluster=cluster)
    return found


def shop(now: float) -> MemoryBackend:
    """A backend with all of it."""
    root = RootView(
        name="shop/deploy",
        git="https://git.example.com/shop/deploy.git",
        revision="main@8e41b07f",
        applications=len(TOLD),
    )
    return MemoryBackend(apps=statuses(now), known_roots=(root,))
