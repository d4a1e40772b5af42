"""ExternalSecrets in the loop: each becomes the Secret that it asks for before the plan is made.

The values are asked for when their interval has passed, and kept sealed in the store: a restart asks nobody, and while a source is away the
old ones stay. Stores may be declared by any application of the same cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from taut.controller.external_asker import ClusterAsker
from taut.controller.fleet import Fleet
from taut.controller.policy_lookups import ClusterLookups
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.dialects.config import ExternalSecretsConfig
from taut.model.errors import TautError, Where
from taut.model.live import KindInfo
from taut.model.manifests import Body, Manifest, content_hash
from taut.model.plan import Hold, HoldKind
from taut.model.refs import AppKey, KindRef, ObjectRef
from taut.model.times import rfc3339
from taut.planning.options import DELETE, PRUNE
from taut.planning.rolling import rolled
from taut.render.engine import RenderEngine
from taut.render.protocols import Cache
from taut.secrets.external.asking import Rules
from taut.secrets.external.documents import GROUP, KINDS, is_external, read_external
from taut.secrets.external.resolve import Needs, Resolved, Wanted, expand, secret, values
from taut.secrets.external.stores import StoreDocument
from taut.targets.kubernetes.cluster import Cluster

_STORES = frozenset({"SecretStore", "ClusterSecretStore"})
_LONGEST_RETRY = 60.0
_SHORTEST = 1.0

type _Place = tuple[str, str, str, str]
"""A store: cluster, kind, namespace, name."""


@dataclass(frozen=True)
class Resolution:
    """What became of an application's manifests. `unresolved` says of which values the last ones stay, or which are not there at all."""

    manifests: tuple[Manifest, ...]
    holds: tuple[Hold, ...] = ()
    unsettled: frozenset[ObjectRef] = frozenset()
    unresolved: tuple[str, ...] = ()


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    spec: str
    at: float
    data: dict[str, bytes]
    missing: tuple[str, ...] = ()


@dataclass
class _Due:
    """When an application has to be looked at again, in seconds from now."""

    seconds: float = float("inf")

    def soon(self, seconds: float) -> None:
        self.seconds = min(self.seconds, max(seconds, _SHORTEST))


class Externals:
    """Resolves the ExternalSecrets of all applications."""

    def __init__(
        self,
        fleet: Fleet,
        queue: WorkQueue,
        engine: RenderEngine,
        cache: Cache,
        settings: Mapping[str, ExternalSecretsConfig],
        mac: Callable[[bytes], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._queue = queue
        self._engine = engine
        self._cache = cache
        self._settings = settings
        self._mac = mac
        self._clock = clock
        self._stores: dict[_Place, tuple[AppKey, StoreDocument]] = {}
        self._sought: dict[_Place, set[AppKey]] = {}
        self._timers: dict[AppKey, asyncio.TimerHandle] = {}
        self.asked = 0
        """How often stores were asked for the values of a document."""

    def close(self) -> None:
        """No timer goes off any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def resolved(self, state: AppState, cluster: Cluster, manifests: tuple[Manifest, ...]) -> Resolution:
        """The manifests, with a Secret in the place of each ExternalSecret; stores are left out. Raises TargetError when the cluster cannot be
        asked whether External Secrets' operator is there.
        """
        if not any(is_external(m.body) for m in manifests):
            self._declare(state, cluster, ())
            return Resolution(rolled(manifests, self._mac))
        if not await self._is_ours(cluster):
            self._declare(state, cluster, ())
            return Resolution(rolled(manifests, self._mac))
        self._declare(state, cluster, [m for m in manifests if is_external(m.body) and m.kind in _STORES])
        one = _One(self, state, cluster, _Due())
        found: list[Manifest] = []
        for manifest in manifests:
            if not is_external(manifest.body):
                found.append(manifest)
            elif manifest.kind not in _STORES:
                found += [made async for made in one.secrets(manifest)]
        self._again(state, one.due.seconds)
        made = rolled(tuple(found), self._mac)
        return Resolution(made, tuple(one.holds), frozenset(one.unsettled), tuple(one.unresolved))

    async def understood(self, cluster: Cluster, kind: KindRef) -> KindInfo | None:
        """What is known of a kind that taut resolves itself, and the cluster need not serve; None for any other."""
        if kind.group != GROUP or kind.kind not in KINDS or not await self._is_ours(cluster):
            return None
        return KindInfo(kind, kind.kind.lower() + "s", not kind.kind.startswith("Cluster"), ("v1", "v1beta1"))

    async def _is_ours(self, cluster: Cluster) -> bool:
        """By default the operator does it where its kinds are served: two would write one Secret."""
        mode = self.settings_of(cluster.name).mode
        if mode == "auto":
            return await cluster.kind(KindRef(GROUP, "ExternalSecret")) is None
        return mode == "taut"

    def settings_of(self, cluster: str) -> ExternalSecretsConfig:
        """What the configuration says for a cluster."""
        return self._settings.get(cluster) or ExternalSecretsConfig()

    def _declare(self, state: AppState, cluster: Cluster, manifests: Iterable[Manifest]) -> None:
        """Know these stores, and forget others that the application had. Who looked for one in vain, or uses one that changed, looks again."""
        before = {place: doc for place, (key, doc) in self._stores.items() if key == state.key}
        now: dict[_Place, StoreDocument] = {}
        for m in manifests:
            document = StoreDocument(m.kind, m.namespace, m.name, m.body, _where(m))
            now[cluster.name, m.kind, m.namespace, m.name] = document
        for place in before.keys() - now.keys():
            del self._stores[place]
        for place, document in now.items():
            self._stores[place] = (state.key, document)
        changed = [
            p for p in before.keys() | now.keys() if p not in before or p not in now or before[p].body != now[p].body
        ]
        for key in {key for place in changed for key in self._sought.get(place, ())} - {state.key}:
            self._stale(key)

    def store(self, asking: AppKey, place: _Place) -> StoreDocument | None:
        """A store's document; who asked hears when it comes, changes or goes."""
        self._sought.setdefault(place, set()).add(asking)
        found = self._stores.get(place)
        return found[1] if found is not None else None

    def _again(self, state: AppState, seconds: float) -> None:
        timer = self._timers.pop(state.key, None)
        if timer is not None:
            timer.cancel()
        if seconds < float("inf"):
            self._timers[state.key] = asyncio.get_running_loop().call_later(seconds, self._stale, state.key)

    def _stale(self, key: AppKey) -> None:
        self._timers.pop(key, None)
        state = self._fleet.states.get(key)
        if state is not None:
            state.mark_stale()
            self._queue.add(key, Reason.TIMER)

    # What is kept

    def recall(self, place: ObjectRef) -> _Kept | None:
        """The values that were had last."""
        data = self._cache.get(_place(place))
        try:
            return msgspec.msgpack.decode(data, type=_Kept) if data is not None else None
        except msgspec.MsgspecError:
            return None

    def remember(self, place: ObjectRef, kept: _Kept) -> None:
        """Keep values, sealed."""
        self._cache.put(_place(place), msgspec.msgpack.encode(kept))

    # What resolving needs

    def needs(self, state: AppState, cluster: Cluster) -> Needs:
        """For one application."""
        settings = self.settings_of(cluster.name)
        return Needs(
            ClusterAsker(cluster, self._fleet.impersonation_of(state)),
            self._engine.texts,
            lambda kind, space, name: self.store(state.key, (cluster.name, kind, space, name)),
            Rules(settings.hosts, settings.aws_endpoint or ""),
        )

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock()


class _One:
    """The documents of one application, in one look."""

    def __init__(self, externals: Externals, state: AppState, cluster: Cluster, due: _Due) -> None:
        self._externals = externals
        self._state = state
        self._cluster = cluster
        self._needs = externals.needs(state, cluster)
        self.due = due
        self.holds: list[Hold] = []
        self.unsettled: set[ObjectRef] = set()
        self.unresolved: list[str] = []

    async def secrets(self, manifest: Manifest) -> AsyncIterator[Manifest]:
        """The Secrets of a document."""
        try:
            bodies = await self._bodies(manifest)
        except TautError as error:
            self._held(manifest, (), error)
            return
        for body in bodies:
            made = await self._secret(Manifest(body, manifest.origin))
            if made is not None:
                yield Manifest(made, manifest.origin)

    async def _bodies(self, manifest: Manifest) -> list[Body]:
        if manifest.kind == "ExternalSecret":
            return [manifest.body]
        spaces = await ClusterLookups(self._cluster).list("v1", "Namespace", "")
        return expand(manifest.body, spaces, _where(manifest))

    async def _secret(self, manifest: Manifest) -> Body | None:
        namespace = manifest.namespace or self._state.app.spec.target.namespace
        ref = ObjectRef(self._cluster.name, "", "Secret", namespace, manifest.name)
        try:
            where = _where(manifest)
            spec = read_external(manifest.body, where)
            wanted = Wanted(manifest.name, namespace, spec, manifest.body, where)
            ref = ref._replace(name=wanted.target)
            if spec.target.creation_policy == "None":
                return None
            found = await self._values(wanted, ref)
            if found is None or (found.gone and spec.target.deletion_policy == "Delete"):
                return None
            body = await secret(wanted, found.data, self._needs)
            return await self._as_created(wanted, ref, body)
        except TautError as error:
            self._held(manifest, (ref,), error)
            return None

    async def _values(self, wanted: Wanted, ref: ObjectRef) -> Resolved | None:
        """The values: kept ones while they are fresh, else asked for; the last ones where they cannot be had."""
        kept = self._externals.recall(ref)
        spec, interval = content_hash([wanted.body.get("spec"), wanted.namespace]), wanted.spec.seconds
        if kept is not None and self._fresh(wanted, kept, spec, interval):
            return Resolved(kept.data, kept.missing)
        now = self._externals.now
        self._externals.asked += 1
        try:
            found = await values(wanted, self._needs)
        except TautError as error:
            self.due.soon(min(interval or _LONGEST_RETRY, _LONGEST_RETRY))
            if kept is None:
                raise
            self.unresolved.append(
                f"the values of {rfc3339(kept.at)} stay in Secret {ref.namespace}/{ref.name}: {_short(error)}"
            )
            return Resolved(kept.data, kept.missing)
        self._externals.remember(ref, _Kept(spec, now, dict(found.data), found.missing))
        if interval:
            self.due.soon(interval)
        return found

    def _fresh(self, wanted: Wanted, kept: _Kept, spec: str, interval: float) -> bool:
        if wanted.spec.refresh_policy == "CreatedOnce":
            return True
        if kept.spec != spec:
            return False
        if not interval:
            return True
        left = kept.at + interval - self._externals.now
        if 0 < left <= interval:  # a clock that was set back makes nothing fresh for longer
            self.due.soon(left)
            return True
        return False

    async def _as_created(self, wanted: Wanted, ref: ObjectRef, body: Body) -> Body | None:
        """The Secret, with what `creationPolicy` asks for besides."""
        policy = wanted.spec.target.creation_policy
        if policy == "Owner":
            return body
        if policy == "Merge" and await self._cluster.read(ref, "v1") is None:
            self.due.soon(_LONGEST_RETRY)
            self._held_ref(ref, f"{ref} is not there, and creationPolicy Merge makes none")
            return None
        metadata = body["metadata"]
        annotations = {**(metadata.get("annotations") or {}), PRUNE: "false", DELETE: "false"}
        return {**body, "metadata": {**metadata, "annotations": annotations}}

    def _held(self, manifest: Manifest, refs: tuple[ObjectRef, ...], error: TautError) -> None:
        self.due.soon(_LONGEST_RETRY)
        where = _where(manifest)
        place = ", ".join(filter(None, (f"{where.file}:{where.line}" if where.file else "", error.where.field)))
        why = f"{where.object} ({place}) cannot be resolved: {_short(error)}"
        for ref in refs:
            self._held_ref(ref, why)
        if not refs:
            self.holds.append(Hold(HoldKind.SECRET, why, approvable=False))

    def _held_ref(self, ref: ObjectRef, why: str) -> None:
        """It is neither written nor taken for removed; everything else goes on."""
        self.unsettled.add(ref)
        self.unresolved.append(why)
        self.holds.append(Hold(HoldKind.SECRET, why, (ref,), approvable=False))


def _short(error: TautError) -> str:
    """Without its place, which is told already."""
    return f"{error.what} ({error.advice})" if error.advice else error.what


def _where(manifest: Manifest) -> Where:
    origin = manifest.origin
    place = f"{manifest.namespace}/{manifest.name}" if manifest.namespace else manifest.name
    return Where(origin.source, origin.file, origin.line, f"{manifest.kind} {place}")


def _place(ref: ObjectRef) -> str:
    return f"external values of {ref.cluster} {ref.namespace}/{ref.name}"
