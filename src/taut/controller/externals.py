"""ExternalSecrets in the loop: each becomes the Secret that it asks for before the plan is made.

The values are asked for when their interval has passed, and kept sealed in the store: a restart asks nobody, and while a source is away the
old ones stay. Stores may be declared by any application of the same cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from taut.clients.guarded import allowed
from taut.controller.external_values import Due, Kept
from taut.controller.fleet import Fleet
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.dialects.config import ExternalSecretsConfig
from taut.dialects.projects import reads_allowed, service_account_for
from taut.model.errors import TargetError
from taut.model.live import KindInfo
from taut.model.manifests import Manifest
from taut.model.plan import Hold
from taut.model.refs import AppKey, KindRef, ObjectRef
from taut.planning.rolling import rolled
from taut.render.engine import RenderEngine
from taut.render.protocols import Cache
from taut.secrets.external.kinds import GROUP, KINDS, is_external
from taut.targets.kubernetes.cluster import Cluster

if TYPE_CHECKING:  # what no application asks for takes no memory
    from taut.controller.external_asker import User
    from taut.controller.external_look import Needs
    from taut.controller.sealing import Sealing
    from taut.secrets.external.http import Http
    from taut.secrets.external.stores import Store

_LOOK_AGAIN = 300.0
"""Seconds after which a SealedSecret that could not be opened is looked into again: the controller may have another key."""
_STORES = frozenset({"SecretStore", "ClusterSecretStore"})

_OWNERS = "owners of stores"

type _Place = tuple[str, str, str, str]
"""A store: cluster, kind, namespace, name."""


@dataclass(frozen=True)
class Resolution:
    """What became of an application's manifests. `unresolved` says of which values the last ones stay, or which are not there at all."""

    manifests: tuple[Manifest, ...]
    holds: tuple[Hold, ...] = ()
    unsettled: frozenset[ObjectRef] = frozenset()
    unresolved: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Notes(Protocol):
    """Remembers words."""

    async def note(self, name: str, value: str | None) -> None:
        """Remember a word under a name."""
        ...

    async def noted(self, name: str) -> str | None:
        """The word of a name."""
        ...


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
        sealing: Sealing | None = None,
        store: Notes | None = None,
    ) -> None:
        self._store = store
        self._owners: dict[_Place, AppKey] = {}
        self._known_owners: dict[_Place, AppKey] | None = None
        self._sealing = sealing
        self._fleet = fleet
        self._queue = queue
        self._engine = engine
        self._cache = cache
        self._settings = settings
        self._mac = mac
        self._clock = clock
        self._http: Http | None = None
        self._stores: dict[_Place, tuple[AppKey, Manifest]] = {}
        self._sought: dict[_Place, set[AppKey]] = {}
        self._timers: dict[AppKey, asyncio.TimerHandle] = {}
        self.asked = 0
        """How often stores were asked for the values of a document."""

    async def close(self) -> None:
        """No timer goes off any more, and no connection stays open."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._http is not None:
            await self._http.close()

    async def resolved(self, state: AppState, cluster: Cluster, manifests: tuple[Manifest, ...]) -> Resolution:
        """The manifests, with a Secret in the place of each ExternalSecret; stores are left out. SealedSecrets are looked into where taut has the key.

        Raises TargetError when the cluster cannot be asked whether External Secrets' operator is there.
        """
        looked = await self._sealing.looked(cluster, manifests) if self._sealing is not None else None
        warnings = looked.warnings if looked is not None else ()
        sealed = looked.values if looked is not None else {}
        await self._know_owners()
        externals = any(is_external(m.body) for m in manifests)
        if not externals or not await self._is_ours(cluster):
            self._declare(state, cluster, ())
            await self._keep_owners()
            self._again(state, _LOOK_AGAIN if warnings else float("inf"))
            made = rolled(manifests, self._mac, sealed)
            # The operator makes them from now on: what taut made before is nobody's to remove.
            left = state.secrets if externals else frozenset[ObjectRef]()
            return Resolution(made, unsettled=left, warnings=warnings)
        stores = [m for m in manifests if is_external(m.body) and m.kind in _STORES]
        taken = self._declare(state, cluster, stores)
        await self._keep_owners()
        from taut.controller.external_look import Look

        due = Due()
        one = Look(self, self.needs(state, cluster), state, cluster, due)
        found: list[Manifest] = []
        for manifest in manifests:
            if not is_external(manifest.body):
                found.append(manifest)
            elif manifest.kind not in _STORES:
                found += [made async for made in one.secrets(manifest)]
        if warnings:
            due.soon(_LOOK_AGAIN)
        self._again(state, due.seconds)
        made = rolled(tuple(found), self._mac, sealed)
        unresolved = (*one.unresolved, *taken)
        return Resolution(made, tuple(one.holds), frozenset(one.unsettled), unresolved, warnings)

    async def documents(self, cluster: Cluster, manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
        """The documents of External Secrets that taut resolves itself: they never come to the cluster. Raises TargetError as `resolved` does."""
        found = tuple(m for m in manifests if is_external(m.body))
        return found if found and await self._is_ours(cluster) else ()

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

    def _declare(self, state: AppState, cluster: Cluster, manifests: Iterable[Manifest]) -> tuple[str, ...]:
        """Know these stores, and forget others that the application had. Who looked for one in vain, or uses one that changed, looks again.

        A store that another application declares stays that one's, also through a restart: whoever declares it again would get what it signs in
        with. That is told.
        """
        before = {place: manifest for place, (key, manifest) in self._stores.items() if key == state.key}
        now: dict[_Place, Manifest] = {}
        taken: list[str] = []
        for manifest in manifests:
            place = (cluster.name, manifest.kind, manifest.namespace, manifest.name)
            owner = self._owners.get(place)
            if owner is not None and owner != state.key and owner in self._fleet.states:
                taken.append(f"{manifest} is declared by {owner} as well, and that one counts")
            else:
                now[place] = manifest
        for place in [p for p, key in self._owners.items() if key == state.key and p not in now]:
            del self._owners[place]
        self._owners |= dict.fromkeys(now, state.key)
        for place in before.keys() - now.keys():
            del self._stores[place]
        for place, manifest in now.items():
            self._stores[place] = (state.key, manifest)
        places = before.keys() | now.keys()
        changed = [p for p in places if p not in before or p not in now or before[p].body != now[p].body]
        for key in {key for place in changed for key in self._sought.get(place, ())} - {state.key}:
            self._stale(key)
        return tuple(taken)

    def forget(self, key: AppKey) -> None:
        """The application is gone, and its stores with it."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        for place in [p for p, (owner, _) in self._stores.items() if owner == key]:
            del self._stores[place]
            self._owners.pop(place, None)
            for other in self._sought.get(place, set()) - {key}:
                self._stale(other)

    async def _know_owners(self) -> None:
        if self._known_owners is None:
            text = await self._store.noted(_OWNERS) if self._store is not None else None
            found = msgspec.json.decode(text, type=list[tuple[_Place, AppKey]]) if text else []
            self._owners = {**dict(found), **self._owners}
            self._known_owners = dict(self._owners)

    async def _keep_owners(self) -> None:
        if self._store is not None and self._owners != self._known_owners:
            self._known_owners = dict(self._owners)
            await self._store.note(_OWNERS, msgspec.json.encode(sorted(self._owners.items())).decode())

    def _manifest(self, asking: AppKey, place: _Place) -> Manifest | None:
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

    def recall(self, name: str) -> Kept | None:
        """The values that were had last."""
        data = self._cache.get(f"external values of {name}")
        try:
            return msgspec.msgpack.decode(data, type=Kept) if data is not None else None
        except msgspec.MsgspecError:
            return None

    def remember(self, name: str, kept: Kept) -> None:
        """Keep values, sealed."""
        self._cache.put(f"external values of {name}", msgspec.msgpack.encode(kept))

    # What resolving needs

    def needs(self, state: AppState, cluster: Cluster) -> Needs:
        """For one application."""
        from taut.controller.external_asker import ClusterAsker
        from taut.controller.external_look import Needs
        from taut.secrets.external.asking import Options
        from taut.secrets.external.http import Http
        from taut.secrets.external.stores import store

        settings = self.settings_of(cluster.name)

        def may_ask(url: str) -> bool:
            return allowed(settings.hosts, url)

        def manifest_of(kind: str, space: str, name: str) -> Manifest | None:
            return self._manifest(state.key, (cluster.name, kind, space, name))

        def store_of(kind: str, space: str, name: str) -> Store | None:
            manifest = manifest_of(kind, space, name)
            return store(manifest, namespace=space) if manifest is not None else None

        def fingerprint(kind: str, space: str, name: str) -> str:
            manifest = manifest_of(kind, space, name)
            return manifest.hash if manifest is not None else ""

        if self._http is None:
            self._http = Http()
        options = Options(may_ask=may_ask, aws_endpoint=settings.aws_endpoint or "")

        def user_of(store: Store) -> User:
            owner = self._stores.get((cluster.name, "ClusterSecretStore", "", store.name))
            declared = self._fleet.states.get(owner[0]) if owner is not None else None
            return self._reader(declared) if declared is not None else _nobody

        asker = ClusterAsker(cluster, self._reader(state), store_of, may_ask, user_of)
        return Needs(asker, self._engine.templates(), self._http, options, fingerprint)

    def _reader(self, state: AppState) -> User:
        """As whom taut reads for an application, by namespace. It raises TargetError where the project allows nobody to."""

        def user(namespace: str) -> str | None:
            project = self._fleet.project_of(state)
            cluster = state.app.spec.target.cluster
            if not reads_allowed(project, cluster, namespace):
                raise TargetError(
                    f"project {project.name} does not allow reading in {cluster}/{namespace}",
                    advice="add the namespace to the project's destinations (and serviceAccounts), or use one that is there",
                    status=403,
                )
            return service_account_for(project, state.app, namespace)

        return user

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock()


def _nobody(namespace: str) -> str | None:
    raise TargetError(f"nobody declares this store any more, so nothing is read in {namespace} for it", status=403)
