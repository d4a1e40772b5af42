"""Make a running taut from its configuration: open the store, connect, wire, serve, and close everything again."""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import ClusterConfig as Connection
from taut.clients.kubernetes.config import Impersonation, in_cluster, load_config
from taut.controller import footprint
from taut.controller.adapters import RenderCache
from taut.controller.controller import Controller, Outside
from taut.controller.sign_in import SecretCredentials
from taut.controller.sops_keys import SopsKeys
from taut.dialects.config import ClusterConfig, Config
from taut.dialects.config import load_config as read_config
from taut.health.assess import assess, needs_body
from taut.model.durations import seconds
from taut.model.errors import BadInput, TautError, Where
from taut.planning.redact import Redactor
from taut.prison.limits import Limits
from taut.render.engine import RenderEngine
from taut.sources.service import Sources
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster, Event
from taut.targets.kubernetes.collection import KindState

if TYPE_CHECKING:
    from taut.policy.service import PolicyService


class Serve(Protocol):
    """Serves a controller's API for as long as its context is open."""

    def __call__(
        self,
        controller: Controller,
        *,
        listen: str,
        store: Path,
        webhook_secret: bytes | None,
        token_file: Path | None = None,
    ) -> AbstractAsyncContextManager[Serving]:
        """Open the API."""
        ...


class Serving(Protocol):
    """Where the API answers."""

    @property
    def url(self) -> str:
        """Its address."""
        ...

    @property
    def token_file(self) -> Path:
        """The file with the token that it asks for."""
        ...


async def run(config_file: Path, *, serve: Serve, say: Callable[[str], None]) -> None:
    """Keep what runs to what Git says until cancelled. `say` hears one sentence a fact.

    Raises BadInput for a configuration that cannot be meant, StoreError for a store that cannot be used.
    """
    footprint.bound()
    handler = _Say(say)
    logging.getLogger("taut").addHandler(handler)
    logging.getLogger("taut").setLevel(logging.INFO)
    try:
        config = read_config(config_file)
        async with running(config) as controller:
            api = serve(
                controller,
                listen=config.listen,
                store=Path(config.store),
                webhook_secret=_secret(config.webhook.secret_file),
                token_file=Path(config.token_file) if config.token_file else None,
            )
            async with api as serving:
                say(f"taut listens on {serving.url}; its token is in {serving.token_file}")
                try:
                    await controller.start()
                    roots = ", ".join(controller.roots.states) or "no root"
                    say(f"{len(controller.fleet.states)} applications from {roots}")
                    await asyncio.Event().wait()
                finally:
                    await controller.close()
    finally:
        logging.getLogger("taut").removeHandler(handler)


@asynccontextmanager
async def running(config: Config) -> AsyncGenerator[Controller]:
    """A controller that is wired and not started; everything it works on is closed at the end."""
    async with AsyncExitStack() as stack:
        store_path = Path(config.store)
        store = Store.open(store_path)
        stack.push_async_callback(store.close)
        events: list[Callable[[Event], None]] = []

        def on_event(event: Event) -> None:
            for each in events:
                each(event)

        news: list[ClusterNews] = []
        clusters: dict[str, Cluster] = {}
        for entry in config.clusters:
            clusters[entry.name] = _cluster(entry, on_event, news)
            stack.push_async_callback(clusters[entry.name].close)
        credentials = SecretCredentials(config.credentials, clusters, config.roots)
        sources = Sources(store_path.with_name(store_path.name + ".sources"), credentials)
        stack.push_async_callback(sources.close)
        engine = _engine(config, store, sources)
        stack.push_async_callback(engine.close)
        redactor = Redactor(key=store.mac(b"redaction").encode())
        policies = _policies(config) if config.policies else None
        if policies is not None:
            stack.push_async_callback(policies.close)
        reports = config.policies and any(c.policy_reports for c in config.clusters)
        scan = _policies(config, most_kept=0) if reports else None
        if scan is not None:
            stack.push_async_callback(scan.close)
        sops = SopsKeys(config.secrets.sops.keys, clusters)
        stack.push_async_callback(sops.close)
        controller = Controller(config, Outside(store, sources, engine, clusters, redactor, sops, policies, scan))
        events += [controller.on_event, credentials.on_event, sops.on_event]
        news += [controller, credentials, sops]
        sops.on_change = controller.keys_changed
        controller.before_start.append(sops.load)
        credentials.on_change = controller.watch.poke_failing
        controller.before_start.append(credentials.load)
        yield controller


def _policies(config: Config, *, most_kept: int | None = None) -> PolicyService:
    """Who is asked at admission keeps a worker: API servers wait for its answers. The scan (`most_kept`) has time."""
    from taut.policy.service import PolicyService

    if most_kept is not None:
        return PolicyService(most_kept=most_kept)
    if config.admission is None:
        return PolicyService()
    # Plans, questions and large questions: none of them waits for the others.
    return PolicyService(idle_seconds=3600.0, workers=3)


def limits_of(config: Config) -> Limits:
    """What one render may cost, as the configuration says."""
    bounds = config.render
    return Limits(
        wall_seconds=seconds(bounds.timeout),
        cpu_seconds=max(Limits().cpu_seconds, int(2 * seconds(bounds.timeout))),
        memory_mb=bounds.memory_mib,
        processes=bounds.processes,
        output_bytes=bounds.output_mib * 2**20,
    )


def _engine(config: Config, store: Store, sources: Sources) -> RenderEngine:
    bounds = config.render
    return RenderEngine(
        cache=RenderCache(store),
        fetcher=sources,
        kustomize=Path(bounds.kustomize) if bounds.kustomize else None,
        limits=limits_of(config),
        workers=bounds.workers,
        secret=store.mac(b"render keys").encode(),
    )


class ClusterNews(Protocol):
    """Who hears how clusters are doing."""

    def on_state(self, cluster: str, kind: KindState) -> None:
        """A kind's watch is complete, fails, or works again."""
        ...

    def on_kinds(self, cluster: str) -> None:
        """Kinds came or went."""
        ...


def _cluster(entry: ClusterConfig, on_event: Callable[[Event], None], news: list[ClusterNews]) -> Cluster:

    def on_state(kind: KindState) -> None:
        for each in news:
            each.on_state(entry.name, kind)

    def on_kinds(_came: object, _went: object) -> None:
        for each in news:
            each.on_kinds(entry.name)

    try:
        connection = _connection(entry)
    except BadInput as error:
        where = replace(error.where, object=error.where.object or f"cluster {entry.name}")
        raise BadInput(error.what, where=where, advice=error.advice) from None
    return Cluster(
        entry.name,
        KubernetesClient(connection, concurrency=entry.max_requests),
        assess=assess,
        needs_body=needs_body,
        on_event=on_event,
        on_state=on_state,
        on_kinds=on_kinds,
        namespaces=entry.namespaces,
        silence=seconds(entry.watch_silence),
    )


def _connection(entry: ClusterConfig) -> Connection:
    found = in_cluster(environ=os.environ) if entry.in_cluster else load_config(entry.kubeconfig, entry.context)
    if entry.impersonate is not None and entry.impersonate.user:
        who = entry.impersonate
        found = replace(found, impersonate=Impersonation(who.user, who.groups, who.uid, who.extra))
    return replace(found, proxy=entry.proxy) if entry.proxy else found


def _secret(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes().strip() or None
    except OSError as error:
        raise TautError(
            f"the webhook's secret cannot be read: {error.strerror}",
            where=Where(file=path),
            advice="name a readable file in webhook.secretFile",
        ) from None


class _Say(logging.Handler):
    """Log records as sentences."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one line; a traceback only for taut's own faults."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__} {_place(record.exc_info[1])})"
        self._say(f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text)


def _place(error: BaseException) -> str:
    """Where a fault happened; never its text, which may hold a value."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
