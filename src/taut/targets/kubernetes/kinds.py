"""Which kinds are watched, kept true while kinds come and go and the cluster does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.discovery import Discovery
from taut.clients.kubernetes.watch import SILENCE, Recovery
from taut.model.errors import TargetError, TautError, Where
from taut.model.live import KindInfo
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.collection import Collection as KindCollection
from taut.targets.kubernetes.collection import KindState, Sight

_log = logging.getLogger(__name__)

CRD = KindRef("apiextensions.k8s.io", "CustomResourceDefinition")
API_SERVICE = KindRef("apiregistration.k8s.io", "APIService")
SETTLE_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0)
"""A CRD is served a moment after it is established, and nothing tells when: look again after these pauses (seconds)."""
RETRY_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
START_PATIENCE = 5.0
"""Seconds that the start of a cluster waits for it: one that is away must not keep the others waiting."""
BLIND_INTERVAL = 30.0
"""Seconds after which a kind that was missing is looked for again, where the CRDs cannot be watched."""

_TRIES = 3
type KindsChanged = Callable[[frozenset[KindRef], frozenset[KindRef]], None]


def no_such_kind(cluster: str, kind: KindRef) -> TargetError:
    """The error for a kind that the cluster does not serve."""
    return TargetError(
        f"the cluster {cluster} does not serve the kind {kind}",
        where=Where(object=str(kind)),
        advice="install its CRD, or correct apiVersion and kind",
        status=404,
        reason="UnknownKind",
    )


class Kinds:
    """Discovery and the watches of one cluster."""

    def __init__(
        self,
        cluster: str,
        client: KubernetesClient,
        discovery: Discovery,
        sight: Sight,
        *,
        needs_body: Callable[[KindRef], bool],
        namespaces: Iterable[str] = (),
        on_state: Callable[[KindState], None] = lambda _: None,
        on_kinds: KindsChanged = lambda _came, _went: None,
        silence: float = SILENCE,
    ) -> None:
        self._cluster = cluster
        self._client = client
        self.discovery = discovery
        self._sight = sight
        self._needs_body = needs_body
        self._namespaces = set(namespaces)
        self._places: dict[KindRef, set[str]] = {}
        self._on_state = on_state
        self._on_kinds = on_kinds
        self._silence = silence
        self._recovery = Recovery()
        self._collections: dict[KindRef, KindCollection] = {}
        self._wanted: set[KindRef] = {CRD, API_SERVICE}
        self._failures: dict[KindRef, TargetError] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: asyncio.Task[None] | None = None
        self._retrying: asyncio.Task[None] | None = None
        self._touched = False
        self._promised: set[str] = set()
        self._looked_blind = 0.0

    async def start(self) -> None:
        """Watch what serves kinds; returns when it is watched, or after a few seconds.

        Does not raise when the cluster cannot be reached: it is tried again, and said.
        """
        await asyncio.wait({self._spawn(self._watch_servers())}, timeout=START_PATIENCE)

    async def _watch_servers(self) -> None:
        await self.watch((CRD, API_SERVICE))

    async def close(self) -> None:
        """End all watches."""
        self._wanted.clear()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(c.close() for c in self._collections.values()))
        self._collections.clear()

    async def watch(
        self,
        kinds: Iterable[KindRef],
        namespaces: Iterable[str] = (),
        where: Mapping[KindRef, Collection[str]] | None = None,
    ) -> dict[KindRef, TargetError]:
        """Watch these kinds as well; returns when each is in memory or has failed, with the failures.

        `where` says which namespaces of a kind matter to who asks: a failure elsewhere is none of theirs.
        """
        new = set(namespaces) - self._namespaces
        self._namespaces |= new
        if new:
            for collection in self._collections.values():
                collection.widen(new)
        asked = list(dict.fromkeys(kinds))
        self._wanted.update(asked)
        places = where or {}
        for kind, spaces in places.items():
            self._places.setdefault(kind, set()).update(spaces)
        results = await asyncio.gather(*(self._ensure(kind, places.get(kind, ())) for kind in asked))
        failures = {kind: error for kind, error in zip(asked, results, strict=True) if error is not None}
        if any(kind not in self._collections and e.reason != "UnknownKind" for kind, e in failures.items()):
            self._retry()
        return failures

    def namespaces(self) -> frozenset[str]:
        """The namespaces that are looked at one by one where rights end there."""
        return frozenset(self._namespaces.union(*self._places.values()))

    async def info(self, kind: KindRef) -> KindInfo | None:
        """The kind as the cluster serves it, None when it does not. Raises TargetError when the cluster cannot be asked."""
        crds = self._collections.get(CRD)
        if kind not in self.discovery.known and (crds is None or crds.error is not None):
            now = asyncio.get_running_loop().time()
            if now - self._looked_blind > BLIND_INTERVAL:
                self._looked_blind = now
                self.discovery.changed()
        return await self.discovery.kind(kind)

    def expect(self, ref: ObjectRef, version: str) -> None:
        """The watch of the object's kind has to tell of a write that was answered with this version (empty: of a deletion)."""
        collection = self._collections.get(ref.kind_ref)
        if collection is not None:
            collection.expect(ref, version)

    def states(self) -> dict[KindRef, KindState]:
        """Of each kind that is to be watched."""
        found: dict[KindRef, KindState] = {}
        for kind in self._wanted:
            collection, failure = self._collections.get(kind), self._failures.get(kind)
            if collection is not None:
                found[kind] = collection.state()
            else:
                found[kind] = KindState(kind, False, 0.0, str(failure) if failure else "not watched yet")
        return found

    def failures(self) -> Mapping[KindRef, TargetError]:
        """The present failure of each kind that has one."""
        now = {kind: c.error for kind, c in self._collections.items()}
        return {kind: e for kind in self._wanted if (e := now.get(kind) or self._failures.get(kind)) is not None}

    async def _ensure(self, kind: KindRef, namespaces: Collection[str]) -> TargetError | None:
        for _ in range(_TRIES):
            collection, error = await self._ensure_once(kind, namespaces)
            # A kind that vanishes, or is served in another version, takes its watch with it, also from those who wait.
            if collection is None or self._collections.get(kind) is collection:
                return error
        return self._failed(kind, no_such_kind(self._cluster, kind))

    async def _ensure_once(
        self, kind: KindRef, namespaces: Collection[str]
    ) -> tuple[KindCollection | None, TargetError | None]:
        collection = self._collections.get(kind)
        if collection is None:
            try:
                info = await self.info(kind)
            except TautError as e:
                return None, self._failed(kind, e)
            if info is None:
                return None, self._failed(kind, no_such_kind(self._cluster, kind))
            if not {"list", "watch"} <= info.verbs:
                return None, self._failed(kind, _unwatchable(kind))
            # Between the question and its answer somebody else may have started the same watch.
            collection = self._collections.get(kind) or self._open(info)
        return collection, await collection.settle(namespaces)

    def _failed(self, kind: KindRef, error: TautError) -> TargetError:
        found = (
            error if isinstance(error, TargetError) else TargetError(error.what, where=error.where, advice=error.advice)
        )
        self._failures[kind] = found
        return found

    def _open(self, info: KindInfo) -> KindCollection:
        kind = info.ref
        collection = self._collections[kind] = KindCollection(
            self._client,
            info,
            self._sight,
            metadata_only=not self._needs_body(kind),
            recovery=self._recovery,
            namespaces=self._namespaces | self._places.get(kind, set()),
            on_state=self._state_changed,
            on_touch=self._touch if kind in (CRD, API_SERVICE) else None,
            on_gone=self._gone,
            silence=self._silence,
        )
        self._failures.pop(kind, None)
        collection.start()
        return collection

    def _state_changed(self, state: KindState) -> None:
        if state.kind in (CRD, API_SERVICE) and state.synced and not state.failing_since:
            # What came between the last look and the watch was told by neither.
            self._touch("", "")
        self._on_state(state)

    def promised(self, crd: str) -> None:
        """A CRD of this name was written: its kind will be served in a moment, also where CRDs cannot be watched."""
        self._promised.add(crd)
        self._touch("", "")

    def _gone(self, kind: KindRef) -> None:
        """A watch found its kind gone. Perhaps only its version is: settling finds out."""
        self._leave(kind)
        self._touch("", "")

    def _leave(self, kind: KindRef) -> None:
        """End a watch whose kind is not there as it was; its objects are not there either."""
        collection = self._collections.pop(kind, None)
        if collection is not None:
            self._failures[kind] = no_such_kind(self._cluster, kind)
            self._spawn(collection.close())
            self._sight.memory.drop(kind)
            self._on_state(KindState(kind, False, 0.0, str(self._failures[kind])))

    def _touch(self, change: str, name: str) -> None:
        """Something that serves kinds changed.

        The API server lets watches of a deleted CRD hang for a minute, without a word even when the CRD is made again: end them here.
        """
        if change == "DELETED":
            for kind, collection in list(self._collections.items()):
                if f"{collection.info.plural}.{kind.group}" == name:
                    self._leave(kind)
        self.discovery.changed()
        self._touched = True
        if self._settling is None or self._settling.done():
            self._settling = self._spawn(self._settle())

    async def _settle(self) -> None:
        """Look until what the CRDs promise is served, and start the watches of wanted kinds that came."""
        pauses = iter(SETTLE_PAUSES)
        while (pause := next(pauses, None)) is not None:
            await asyncio.sleep(pause)
            if self._touched:
                self._touched = False
                pauses = iter(SETTLE_PAUSES[1:])
            try:
                came, went = await self.discovery.refresh()
            except TautError:
                continue
            if came or went:
                self._tell(came, went)
            await self._reopen()
            if not self._touched and not self._unserved():
                break
        self._promised.clear()

    def _tell(self, came: frozenset[KindRef], went: frozenset[KindRef]) -> None:
        try:
            self._on_kinds(came, went)
        except Exception:  # noqa: BLE001 -- a listener's mistake must not end the looking after kinds
            _log.exception("a listener failed on the kinds of %s", self._cluster)

    def _unserved(self) -> bool:
        """Whether there is a CRD whose kind is not served yet. A CRD is called by plural and group."""
        served = {f"{info.plural}.{kind.group}" for kind, info in self.discovery.known.items()}
        return not self._sight.memory.names(CRD) | self._promised <= served

    async def _reopen(self) -> None:
        """Bring the watches in line with what is served now."""
        known = self.discovery.known
        for kind, collection in list(self._collections.items()):
            info = known.get(kind)
            if info is None:
                if kind.group not in self.discovery.unavailable:
                    self._leave(kind)
            elif collection.version not in info.versions:
                # The objects stay what they are: the new watch finds them, and tells what differs.
                del self._collections[kind]
                await collection.close()
        for kind in self._wanted - self._collections.keys():
            info = known.get(kind)
            if info is not None and {"list", "watch"} <= info.verbs:
                self._open(info)

    def _retry(self) -> None:
        if self._retrying is None or self._retrying.done():
            self._retrying = self._spawn(self._keep_trying())

    async def _keep_trying(self) -> None:
        """The cluster could not be asked: until it can, ask again."""
        n = 0
        while self._wanted - self._collections.keys():
            await asyncio.sleep(RETRY_PAUSES[min(n, len(RETRY_PAUSES) - 1)])
            n += 1
            try:
                await self.discovery.refresh()
            except TautError as e:
                for kind in self._wanted - self._collections.keys():
                    self._failed(kind, e)
                continue
            self._tell(frozenset(self.discovery.known), frozenset())
            await self._reopen()
            for kind in self._wanted - self._collections.keys():
                self._failed(kind, no_such_kind(self._cluster, kind))
            return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("looking after the kinds of %s failed", self._cluster, exc_info=task.exception())


def _unwatchable(kind: KindRef) -> TargetError:
    return TargetError(
        f"{kind} cannot be watched: the cluster offers no list and watch for it",
        where=Where(object=str(kind)),
        advice="taut cannot keep objects that it cannot see: leave this kind to what serves it",
        status=405,
        reason="MethodNotAllowed",
    )
