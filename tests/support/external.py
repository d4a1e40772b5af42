"""A cluster that is a few mappings, and documents in short: for tests of External Secrets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from taut.documents.yaml import load_documents
from taut.model.manifests import Body, Manifest, Origin
from taut.prison.limits import Limits
from taut.prison.pool import Pool
from taut.prison.walls import Prison
from taut.render.templates import LIMITS, GoTemplates
from taut.render.workers import RENDERING
from taut.secrets.external.asking import Cluster
from taut.secrets.external.documents import ExternalSecret, external_secret
from taut.secrets.external.stores import Store, store


def manifest(text: str, file: str = "apps/secrets.yaml") -> Manifest:
    """The first document of a text."""
    document = load_documents(text.encode(), file=file)[0]
    return Manifest(document.body, Origin("shop", file, document.line))


def external(spec: str, **metadata: Any) -> ExternalSecret:
    """An ExternalSecret `shop/db` with a spec in YAML."""
    body = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "db", "namespace": "shop", **metadata},
        "spec": load_documents(spec.encode())[0].body,
    }
    return external_secret(Manifest(body, Origin("shop", "apps/secrets.yaml", 3)))


def a_store(provider: str, kind: str = "SecretStore", **spec: Any) -> Store:
    """A store `main` (of namespace `shop`) with a provider in YAML."""
    body = {
        "apiVersion": "external-secrets.io/v1",
        "kind": kind,
        "metadata": {"name": "main", **({"namespace": "shop"} if kind == "SecretStore" else {})},
        "spec": {"provider": load_documents(provider.encode())[0].body, **spec},
    }
    return store(Manifest(body, Origin("shop", "apps/store.yaml", 1)))


def a_secret(data: Mapping[str, str | bytes], **more: Any) -> Body:
    """A Secret with these values."""
    encoded = {k: base64.b64encode(v if isinstance(v, bytes) else v.encode()).decode() for k, v in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "data": encoded, **more}


class World:
    """An Asker over mappings, keyed by `namespace/name`."""

    def __init__(self, *stores: Store) -> None:
        self.secrets: dict[str, Body] = {}
        self.config_maps: dict[str, Body] = {}
        self.namespaces: dict[str, Body] = {}
        self.tokens: dict[str, str] = {}
        self.remote: dict[str, Body] = {}
        self.asked: list[tuple[Cluster, str]] = []
        self.audiences: list[tuple[str, ...]] = []
        self.stores: dict[tuple[str, str, str], Store] = {(s.kind, s.namespace, s.name): s for s in stores}

    async def secret(self, namespace: str, name: str) -> Body | None:
        return self.secrets.get(f"{namespace}/{name}")

    async def config_map(self, namespace: str, name: str) -> Body | None:
        return self.config_maps.get(f"{namespace}/{name}")

    async def namespace(self, name: str) -> Body | None:
        return self.namespaces.get(name)

    async def store(self, kind: str, namespace: str, name: str) -> Store | None:
        return self.stores.get((kind, namespace, name))

    def for_store(self, store: Store) -> Any:
        return self

    async def account_token(self, namespace: str, name: str, audiences: Sequence[str]) -> str:
        self.audiences.append(tuple(audiences))
        return self.tokens[f"{namespace}/{name}"]

    async def remote_secret(self, cluster: Cluster, namespace: str, name: str) -> Body | None:
        self.asked.append((cluster, f"{namespace}/{name}"))
        return self.remote.get(f"{namespace}/{name}")

    async def remote_secrets(self, cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> list[Body]:
        self.asked.append((cluster, namespace))
        return [
            body
            for key, body in self.remote.items()
            if key.startswith(f"{namespace}/") and labels.items() <= (body["metadata"].get("labels") or {}).items()
        ]


class NoTemplates:
    """An engine that must not be needed."""

    async def render(self, items: Sequence[tuple[str, int]], data: Sequence[Any]) -> list[bytes]:
        raise AssertionError(f"no template should be run: {items}")


@asynccontextmanager
async def go_templates(limits: Limits = LIMITS) -> AsyncIterator[GoTemplates]:
    """The real engine, in a worker of its own."""
    pool = Pool(RENDERING, lambda: Prison(limits=Limits(), tools={}), size=1, idle_seconds=30)
    try:
        yield GoTemplates(pool, limits)
    finally:
        await pool.close()
