"""One watched kind: its watch (or one a namespace, where rights end there), and how it is doing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.discovery import collection_path
from taut.clients.kubernetes.frames import ObjectMeta, read_body
from taut.clients.kubernetes.watch import SILENCE, Recovery, Watch
from taut.model.errors import TargetError
from taut.model.health import Health, HealthStatus
from taut.model.live import KindInfo
from taut.model.manifests import Body
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.memory import Memory, later
from taut.targets.kubernetes.projection import (
    Assess,
    Protects,
    api_version_of,
    foreign,
    is_foreign,
    keeps_from_pruning,
    live,
    shell,
)

_log = logging.getLogger(__name__)
CRASH_PAUSE = 5.0
OWED_SHARE = 5
"""The event of a write that was answered comes at once: the patience with it is this part of that with a silent connection."""


@dataclass(frozen=True, slots=True)
class KindState:
    """How the watch of a kind is doing. `failing_since` is Unix seconds, 0 while it works."""

    kind: KindRef
    synced: bool
    failing_since: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Sight:
    """How objects become records; the same for all kinds of a cluster."""

    cluster: str
    memory: Memory
    assess: Assess
    protects: Protects = keeps_from_pruning

    def health(self, body: Body) -> Health:
        """The health of an object. A rule that fails on it must not end the watch of all others: then it is Unknown."""
        try:
            return self.assess(body)
        except Exception as e:  # noqa: BLE001 -- whatever a rule does wrong, it is about this object alone
            _log.exception("the health of a %s could not be told", body.get("kind"))
            return Health(HealthStatus.UNKNOWN, f"its health could not be told ({type(e).__name__})")


@dataclass
class _Scope:
    """The watch of one namespace, or of all with an empty name."""

    namespace: str
    task: asyncio.Task[None] | None = None
    watch: Watch | None = None
    synced: bool = False
    settled: bool = False
    """It was synced, or failed, at least once."""
    error: TargetError | None = None
    failing_since: float = 0.0

    @property
    def forbidden(self) -> bool:
        """Whether rights end before it."""
        return self.error is not None and self.error.status == 403


class Collection:
    """Keeps one kind in memory. Starts over all namespaces; where that is forbidden, over those that somebody asks for.

    Namespaces stand for themselves then: that one may not be seen says nothing of the others.
    """

    def __init__(
        self,
        client: KubernetesClient,
        info: KindInfo,
        sight: Sight,
        *,
        metadata_only: bool,
        recovery: Recovery,
        namespaces: Iterable[str] = (),
        on_state: Callable[[KindState], None] = lambda _: None,
        on_touch: Callable[[str, str], None] | None = None,
        on_gone: Callable[[KindRef], None] = lambda _: None,
        silence: float = SILENCE,
    ) -> None:
        self.info = info
        self.version = info.preferred
        self._client = client
        self._sight = sight
        self._metadata_only = metadata_only
        self._recovery = recovery
        self._namespaces = set(namespaces)
        self._on_state = on_state
        self._on_touch = on_touch
        self._on_gone = on_gone
        self._scopes: dict[str, _Scope] = {}
        self._changed = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._fresh = True
        self._silence = silence
        self._owed: dict[ObjectRef, tuple[str, float]] = {}
        """Objects that taut wrote: the version that their event must have at least (empty: any), and when that is overdue."""
        self._overdue: asyncio.TimerHandle | None = None

    @property
    def api_version(self) -> str:
        """The version that is watched, with its group."""
        return api_version_of(self.info.ref.group, self.version)

    def start(self) -> None:
        """Begin to watch, over all namespaces."""
        self._fresh = not self._sight.memory.knows(self.info.ref)
        self._sight.memory.open(self.info.ref, self.api_version)
        self._add("")

    async def settle(self, namespaces: Iterable[str] = ()) -> TargetError | None:
        """Wait until the kind is in memory, or fails, as far as these namespaces go (none: all that is looked at); returns the failure.

        It is tried again in the background.
        """
        asked = frozenset(namespaces)
        self.widen(asked)
        while not all(s.settled for s in self._asked(asked)):
            await self._changed.wait()
        return next((s.error for s in self._asked(asked) if s.error), None)

    def _asked(self, namespaces: frozenset[str]) -> list[_Scope]:
        if "" in self._scopes or not namespaces:
            return list(self._scopes.values())
        return [s for name, s in self._scopes.items() if name in namespaces]

    def _tell(self) -> None:
        """Wake those who wait for a scope."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether the memory has all of the kind that can be seen."""
        scopes = self._scopes.values()
        return any(s.synced for s in scopes) and all(s.synced or s.forbidden for s in scopes)

    @property
    def error(self) -> TargetError | None:
        """Why it is not, or not any more, up to date; a missing right only when there is nothing worse."""
        failing = sorted((s for s in self._scopes.values() if s.error), key=lambda s: s.forbidden)
        return failing[0].error if failing else None

    def state(self) -> KindState:
        """How the watch is doing."""
        scopes = list(self._scopes.values())
        failing = [s.failing_since for s in scopes if s.failing_since and not s.forbidden]
        if all(s.failing_since for s in scopes):
            failing = [s.failing_since for s in scopes]
        error = self.error
        return KindState(self.info.ref, self.synced, min(failing, default=0.0), str(error) if error else "")

    def widen(self, namespaces: Iterable[str]) -> None:
        """Watch these namespaces too, where only single ones can be watched."""
        self._namespaces |= set(namespaces)
        wide = self._scopes.get("")
        if wide is None and self._scopes:
            for namespace in self._namespaces - self._scopes.keys():
                self._add(namespace)
        elif wide is not None and wide.forbidden and self._divides():
            self._divide(wide)

    def _divides(self) -> bool:
        return bool(self._namespaces) and self.info.namespaced

    async def close(self) -> None:
        """End the watches. Who waits for the kind waits no longer: it has to look whether there is another watch by now."""
        if self._overdue is not None:
            self._overdue.cancel()
        tasks = [s.task for s in self._scopes.values() if s.task] + list(self._leaving)
        self._scopes.clear()
        self._tell()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _add(self, namespace: str) -> None:
        scope = self._scopes[namespace] = _Scope(namespace)
        watch = Watch(
            self._client,
            collection_path(self.info, self.version, namespace),
            _Handler(self, scope),
            metadata_only=self._metadata_only,
            recovery=self._recovery,
            subject=f"watch of {self.info.ref}" + (f" in {namespace}" if namespace else ""),
            silence=self._silence,
        )
        scope.watch = watch
        scope.task = asyncio.create_task(self._run(scope, watch), name=f"watch {self.info.ref} {namespace}")

    async def _run(self, scope: _Scope, watch: Watch) -> None:
        while True:
            try:
                return await watch.run()
            except Exception as e:  # noqa: BLE001 -- a watch that dies unseen would leave taut blind
                _log.exception("the watch of %s failed", self.info.ref)
                self.fails(scope, TargetError(f"the watch of {self.info.ref} failed: {type(e).__name__}"))
                await asyncio.sleep(CRASH_PAUSE)

    def expect(self, ref: ObjectRef, version: str) -> None:
        """Taut wrote the object, and the answer had this version (empty: it was deleted): the watch has to tell of it.

        When it does not, the connection is one of those that stand and bring nothing: another one is opened.
        """
        watch = self._watch_of(ref)
        if watch is None or not watch.version or (version and not later(version, watch.version)):
            return
        loop = asyncio.get_running_loop()
        patience = self._silence / OWED_SHARE
        self._owed[ref] = (version, loop.time() + patience)
        if self._overdue is None:
            self._overdue = loop.call_later(patience, self._check_owed)

    def _watch_of(self, ref: ObjectRef) -> Watch | None:
        scope = self._scopes.get("") or self._scopes.get(ref.namespace)
        return scope.watch if scope is not None and scope.synced and scope.error is None else None

    def _check_owed(self) -> None:
        self._overdue = None
        loop = asyncio.get_running_loop()
        late = [ref for ref, (_, due) in self._owed.items() if due <= loop.time()]
        for ref in late:
            del self._owed[ref]
        for watch in {w for ref in late if (w := self._watch_of(ref)) is not None}:
            watch.renew()
        if self._owed:
            rest = min(due for _, due in self._owed.values()) - loop.time()
            self._overdue = loop.call_later(max(rest, 0.0), self._check_owed)

    def _say(self) -> None:
        try:
            self._on_state(self.state())
        except Exception:  # noqa: BLE001 -- a listener's mistake must not end the watch
            _log.exception("a listener failed on the state of %s", self.info.ref)

    def taken(self, scope: _Scope, change: str, meta: ObjectMeta, raw: msgspec.Raw) -> None:
        """An object came with a watch."""
        kind = self.info.ref
        ref = ObjectRef(self._sight.cluster, kind.group, kind.kind, sys.intern(meta.namespace), meta.name)
        memory = self._sight.memory
        owed = self._owed.get(ref)
        if owed is not None and not (change != "DELETED" and later(owed[0], meta.resource_version)):
            del self._owed[ref]
        if change == "DELETED":
            memory.remove(ref, meta.uid)
        elif memory.exact(ref, meta.uid, meta.resource_version) is None:
            record = (
                foreign(meta)
                if is_foreign(meta, ref) and not memory.attended(ref)
                else live(meta, ref, self.api_version, self._health(raw), self._sight.protects)
            )
            memory.observe(ref, record, quiet=self._fresh and not scope.synced)
        if scope.synced and self._on_touch is not None:
            self._on_touch(change, meta.name)

    def _health(self, raw: msgspec.Raw) -> Health:
        try:
            if self._metadata_only:
                return self._sight.health(shell(self.info.ref, self.api_version, bytes(raw)))
            body = read_body(raw)
        except TargetError as error:
            # Anybody who may write an object of this kind can make one like this: the watch of all others must not end with it.
            return Health(HealthStatus.UNKNOWN, error.what)
        body.setdefault("apiVersion", self.api_version)
        body.setdefault("kind", self.info.ref.kind)
        return self._sight.health(body)

    def completed(self, scope: _Scope, seen: set[tuple[str, str]], resource_version: str) -> None:
        """A scope has its whole state."""
        self._sight.memory.sweep(self.info.ref, scope.namespace, seen, resource_version)
        self._owed.clear()
        first, scope.synced, scope.settled = not scope.synced, True, True
        self._tell()
        if first and self.synced:
            self._say()

    def works(self, scope: _Scope) -> None:
        """A scope's connection stands."""
        if scope.error is not None:
            scope.error, scope.failing_since = None, 0.0
            self._say()

    def fails(self, scope: _Scope, error: TargetError) -> None:
        """A scope's connection does not stand."""
        if error.status == 403 and not scope.namespace and self._divides():
            self._divide(scope)
            return
        news = scope.error is None or str(scope.error) != str(error)
        scope.error = error
        scope.failing_since = scope.failing_since or time.time()
        scope.settled = True
        self._tell()
        if news:
            self._say()

    def _divide(self, wide: _Scope) -> None:
        """Not allowed to see all namespaces: watch those that matter, one by one."""
        del self._scopes[""]
        if wide.task is not None:
            self._leaving.add(wide.task)
            wide.task.add_done_callback(self._leaving.discard)
            wide.task.cancel()
        for namespace in self._namespaces:
            self._add(namespace)
        self._tell()

    def vanishes(self, scope: _Scope) -> None:
        """The kind is not served any more, or not in this version."""
        with contextlib.suppress(KeyError):
            del self._scopes[scope.namespace]
        self._tell()
        if not self._scopes:
            self._on_gone(self.info.ref)


class _Handler:
    """What a watch tells, brought to its collection."""

    def __init__(self, collection: Collection, scope: _Scope) -> None:
        self._collection = collection
        self._scope = scope
        self._seen: set[tuple[str, str]] | None = None

    def begin(self) -> None:
        self._seen = set()

    def item(self, change: str, meta: ObjectMeta, raw: msgspec.Raw) -> None:
        if self._seen is not None:
            self._seen.add((meta.namespace, meta.name))
        self._collection.taken(self._scope, change, meta, raw)

    def synced(self, resource_version: str) -> None:
        seen, self._seen = self._seen or set(), None
        self._collection.completed(self._scope, seen, resource_version)

    def working(self) -> None:
        self._collection.works(self._scope)

    def failing(self, error: TargetError) -> None:
        self._collection.fails(self._scope, error)

    def gone(self) -> None:
        self._collection.vanishes(self._scope)
