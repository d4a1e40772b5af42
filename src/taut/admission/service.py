"""Admission while taut runs: the listener, its certificates, and what each cluster is asked to ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from taut.admission.certificates import (
    Certificates,
    decoded,
    encoded,
    load_into,
    next_look,
    renewed,
    server_context,
)
from taut.admission.cluster import ClusterDoor
from taut.admission.decision import NoPolicies, Policies
from taut.admission.recording import Recorder
from taut.admission.registration import Service
from taut.admission.reviews import Question
from taut.admission.server import AdmissionServer, bind, listening
from taut.controller.controller import Controller
from taut.dialects.admission_config import AdmissionConfig
from taut.store.store import Store

log = logging.getLogger("taut.admission")

_SECRET = "admission certificates"  # noqa: S105 (the name of one)
_LOOK = 3600.0
"""Seconds after which the certificates are looked at whatever the time was: a clock may be set."""
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Admission:
    """A running webhook. Made by `admitting`."""

    def __init__(
        self, controller: Controller, config: AdmissionConfig, policies: Policies, clock: Callable[[], float]
    ) -> None:
        self.config = config
        self.policies = policies
        self.recorder = Recorder(clock=time.time)
        self.url = ""
        self._controller = controller
        self._store: Store = controller.store
        self._clock = clock
        self._certificates: Certificates | None = None
        self._context: ssl.SSLContext | None = None
        self._names: tuple[str, ...] = ()
        self.doors: dict[str, ClusterDoor] = {}

    @property
    def bundle(self) -> bytes:
        """The CAs that API servers are told to trust, as PEM."""
        return self._certificates.bundle if self._certificates else b""

    def refresh(self) -> None:
        """The policies have changed: tell the clusters what they are about now."""
        for door in self.doors.values():
            door.poke()

    async def renew(self) -> None:
        """Make the certificates what they should be now; connections that come from now on see the new one."""
        before = self._certificates
        kept = before or decoded(await self._store.kept_secret(_SECRET))
        found = await asyncio.to_thread(renewed, kept, self._names, self._clock())
        if found is not kept:
            await self._store.keep_secret(_SECRET, encoded(found))
        self._certificates = found
        if self._context is None:
            self._context = server_context(found)
        elif before is None or before.leaf != found.leaf:
            load_into(self._context, found)
            log.info("the admission webhook has a new certificate")
        if before is not None and before.bundle != found.bundle:
            self.refresh()

    async def stay_renewed(self) -> None:
        """Renew when it is time, until cancelled."""
        while True:
            due = next_look(self._certificates) - self._clock() if self._certificates else 0.0
            await asyncio.sleep(min(max(due, 1.0), _LOOK))
            try:
                await self.renew()
            except Exception as error:  # noqa: BLE001 (there are ten days left, and an hour to the next try)
                log.error("the certificate of the admission webhook cannot be renewed (%s)", type(error).__name__)
                await asyncio.sleep(_LOOK / 60)

    def record(self, cluster: str, question: Question) -> None:
        """Remember who asked for a change, unless it was taut or nothing but a try."""
        door = self.doors.get(cluster)
        if door is None or question.review.dry_run:
            return
        ref = door.ref(question)
        if ref is None or door.is_taut(question, ref):
            return
        user = question.review.user
        self.recorder.note(ref, user.name, question.review.operation, uid=user.uid, manager=question.manager)

    async def open(self, stack: AsyncExitStack) -> None:
        """Listen, and keep every cluster told; `stack` undoes both."""
        sock = bind(self.config.listen)
        stack.callback(sock.close)
        host, port = sock.getsockname()[:2]
        self.url = self.config.url or (f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")
        clusters = self._controller.fleet.clusters
        inside = {c.name for c in self._controller.config.clusters if c.in_cluster}
        found = {name: reach(self.config, self.url, inside=name in inside) for name in clusters}
        self._names = tuple(n for each in dict.fromkeys(found.values()) for n in names_of(each)) or names_of(self.url)
        await self.renew()
        for name, cluster in clusters.items():
            self.doors[name] = ClusterDoor(self._controller, cluster, self, found[name], own_namespaces(self.config))
        server = AdmissionServer(
            self.doors.keys(), self.policies, self.record, timeout=float(self.config.timeout_seconds)
        )
        assert self._context is not None  # noqa: S101 (renew has made it)
        await stack.enter_async_context(listening(server, sock, self._context))
        for door in self.doors.values():
            self._controller.listeners.append(door.on_event)
            stack.callback(self._controller.listeners.remove, door.on_event)
        self._controller.drift.user_of = self.recorder.who
        await stack.enter_async_context(_at_work([self.stay_renewed, *(d.stay_told for d in self.doors.values())]))


@asynccontextmanager
async def admitting(
    controller: Controller, policies: Policies | None = None, *, clock: Callable[[], float] = time.time
) -> AsyncGenerator[Admission | None]:
    """Answer the API servers of the controller's clusters for as long as the context is open, if the configuration says so.

    Open it before the controller starts. What the clusters ask stays when it closes: the next start answers it. Without `admission` in the
    configuration what an earlier start had asked for is taken down, in the background. `clock` gives Unix seconds, for certificates.
    Raises TautError when it cannot listen, StoreError when the certificates cannot be kept.
    """
    async with AsyncExitStack() as stack:
        config = controller.config.admission
        if config is None:
            await stack.enter_async_context(_at_work([ClusterDoor.cleaner(controller)]))
            yield None
            return
        admission = Admission(controller, config, policies or NoPolicies(), clock)
        await admission.open(stack)
        log.info("the admission webhook listens on %s", admission.url)
        yield admission


@asynccontextmanager
async def _at_work(jobs: Sequence[Callable[[], Awaitable[None]]]) -> AsyncGenerator[None]:
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reach(config: AdmissionConfig, url: str, *, inside: bool) -> str | Service:
    """How a cluster's API server finds taut: by the Service where taut runs in that cluster (or nothing else is known), else by `url`."""
    service = config.service
    if service is None or (config.url is not None and not inside):
        return url
    return Service(service.namespace, service.name, service.port)


def names_of(found: str | Service) -> tuple[str, ...]:
    """The names that the certificate is for: those by which API servers call taut."""
    if isinstance(found, Service):
        return (f"{found.name}.{found.namespace}.svc", f"{found.name}.{found.namespace}.svc.cluster.local")
    return (urlsplit(found).hostname or "localhost",)


def own_namespaces(config: AdmissionConfig) -> tuple[str, ...]:
    """The namespaces that no policy judges: configured ones, and taut's own where it runs in a cluster."""
    own = [config.service.namespace] if config.service else []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        own.append(_NAMESPACE_FILE.read_text().strip())
    return tuple(dict.fromkeys([*config.exempt_namespaces, *filter(None, own)]))
