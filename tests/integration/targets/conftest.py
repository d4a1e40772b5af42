"""Clusters for the tests of targets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from taut.clients.kubernetes import KubernetesClient, load_config
from taut.model.health import Health, HealthStatus
from taut.model.manifests import Body
from taut.model.refs import KindRef
from taut.targets.kubernetes import Cluster, Event

LIGHT = frozenset({"ConfigMap", "Secret", "ServiceAccount", "APIService", "Service"})


class Watched(Cluster):
    """A cluster that keeps what it told."""

    events: list[Event]

    def told(self, name: str) -> list[Event]:
        """The events about objects of this name."""
        return [e for e in self.events if e.ref.name == name]


def assess(body: Body) -> Health:
    """Healthy, or Progressing while a workload has fewer replicas ready than wanted."""
    wanted = (body.get("spec") or {}).get("replicas")
    if wanted is not None and (body.get("status") or {}).get("readyReplicas", 0) < wanted:
        return Health(HealthStatus.PROGRESSING, f"{wanted} replicas are wanted")
    return Health(HealthStatus.HEALTHY)


def needs_body(kind: KindRef) -> bool:
    """Whether the health of a kind needs more than metadata."""
    return kind.kind not in LIGHT


@pytest.fixture
async def open_cluster(plane: Any) -> AsyncGenerator[Callable[..., Awaitable[Watched]]]:
    """Open clusters (on a kubeconfig, a client, or the plane's own); they are closed at the end."""
    opened: list[Watched] = []

    async def make(client: KubernetesClient | None = None, **options: Any) -> Watched:
        events: list[Event] = []
        cluster = Watched(
            "local",
            client or KubernetesClient(load_config(plane.kubeconfig)),
            assess=assess,
            needs_body=needs_body,
            on_event=events.append,
            **options,
        )
        cluster.events = events
        opened.append(cluster)
        await cluster.start()
        return cluster

    yield make
    for cluster in opened:
        await cluster.close()


@pytest.fixture
async def cluster(open_cluster: Callable[..., Awaitable[Watched]]) -> Watched:
    """A cluster on the plane."""
    return await open_cluster()
