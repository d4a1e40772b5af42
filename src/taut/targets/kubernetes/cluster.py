"""A Kubernetes cluster as taut sees it: what is there (from memory), what it can do, and every write to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import Impersonation
from taut.clients.kubernetes.discovery import Discovery
from taut.clients.kubernetes.watch import SILENCE
from taut.model.errors import TargetError
from taut.model.live import Applied, Capabilities, KindInfo, LiveObject
from taut.model.manifests import Body
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.collection import KindState, Sight
from taut.targets.kubernetes.kinds import CRD, Kinds, KindsChanged
from taut.targets.kubernetes.memory import Event, Memory
from taut.targets.kubernetes.projection import Assess, Protects, keeps_from_pruning, live, metadata_of
from taut.targets.kubernetes.reads import ObjectEvent, Reader, TreeNode
from taut.targets.kubernetes.writes import Deletion, Writer, impersonation


@dataclass(frozen=True)
class ClusterState:
    """How the connection is doing. `failing_since` is Unix seconds, 0 while everything works; `message` is the first failure."""

    reachable: bool
    failing_since: float
    message: str
    kinds: Mapping[KindRef, KindState]


class Cluster:
    """One cluster. At rest it makes no request but its open watches.

    `assess` tells an object's health, `needs_body` whether a kind's health needs more than metadata, `protects` whether
    annotations forbid pruning. `on_event` hears of every change of a watched object (not of the first listing, and not of
    taut's own writes), `on_state` when a kind's watch is complete, fails or works again, `on_kinds` of kinds that came and went.
    All are called from the event loop, and must be quick. `namespaces` are watched one by one where rights end there. A watch
    that is silent for `silence` seconds, or does not bring taut's own writes in a fifth of that, is opened anew.
    """

    def __init__(
        self,
        name: str,
        client: KubernetesClient,
        *,
        assess: Assess,
        needs_body: Callable[[KindRef], bool],
        on_event: Callable[[Event], None] = lambda _: None,
        on_state: Callable[[KindState], None] = lambda _: None,
        on_kinds: KindsChanged = lambda _came, _went: None,
        protects: Protects = keeps_from_pruning,
        namespaces: Iterable[str] = (),
        silence: float = SILENCE,
    ) -> None:
        self.name = name
        self.client = client
        discovery = Discovery(client)
        self._memory = Memory(name, on_event)
        sight = Sight(name, self._memory, assess, protects)
        self._kinds = Kinds(
            name,
            client,
            discovery,
            sight,
            needs_body=needs_body,
            namespaces=namespaces,
            on_state=on_state,
            on_kinds=on_kinds,
            silence=silence,
        )
        self._discovery = discovery
        self._sight = sight
        self._writer = Writer(client, self._kinds.info, sight)
        self._reader = Reader(client, discovery, self._kinds.info, needs_body, sight, self._kinds.namespaces)
        self._unreachable_since = 0.0

    async def start(self) -> None:
        """Start to watch CRDs and APIServices. Never raises for a cluster that is away: `state` says so, and it is tried again."""
        await self._kinds.start()

    async def close(self) -> None:
        """End all watches and close all connections."""
        await self._kinds.close()
        await self.client.close()

    # What the cluster can do

    async def capabilities(self) -> Capabilities:
        """Version and API versions, for renderers. Raises TargetError when the cluster cannot be asked."""
        return await self._discovery.capabilities()

    async def kind(self, ref: KindRef) -> KindInfo | None:
        """The kind as it is served, None when it is not. Raises TargetError when the cluster cannot be asked."""
        return await self._kinds.info(ref)

    async def kinds(self) -> Sequence[KindInfo]:
        """Every kind that the cluster serves. Raises TargetError when the cluster cannot be asked."""
        await self._discovery.capabilities()
        return tuple(self._discovery.known.values())

    # What is there, from memory

    async def watch_kinds(
        self, kinds: Iterable[KindRef], *, namespaces: Iterable[str] = ()
    ) -> dict[KindRef, TargetError]:
        """Watch these kinds too; returns when each is in memory or has failed, with the failures by kind.

        One watch a kind, however often it is asked for. What failed is tried again in the background (a kind that is not served
        as soon as it is), and `on_state` tells of it.
        """
        return await self._kinds.watch(kinds, namespaces)

    async def watch_refs(self, refs: Iterable[ObjectRef]) -> dict[KindRef, TargetError]:
        """Watch the kinds of these objects, as `watch_kinds`. Where rights end at namespaces, only the objects' own count."""
        where: dict[KindRef, set[str]] = {}
        for ref in refs:
            spaces = where.setdefault(ref.kind_ref, set())
            if ref.namespace:
                spaces.add(ref.namespace)
        return await self._kinds.watch(where, where=where)

    def get(self, ref: ObjectRef) -> LiveObject | None:
        """The object, from memory: meaningful only for kinds that are watched and synced. None for another cluster's object."""
        return self._memory.get(ref) if ref.cluster == self.name else None

    def watched(self, kind: KindRef) -> bool:
        """Whether the memory has all objects of a kind, so that one it does not have is not there."""
        state = self._kinds.states().get(kind)
        return state is not None and state.synced and not state.failing_since

    def attend(self, ref: ObjectRef) -> None:
        """Have every change of this object told to `on_event`, whoever declares it; its kind must be watched. `neglect` undoes it."""
        self._memory.attend(ref)

    def neglect(self, ref: ObjectRef) -> None:
        """Undo one `attend`."""
        self._memory.neglect(ref)

    def hear_versions(self, hear: Callable[[ObjectRef], None]) -> None:
        """Have `hear` told of every new version of an object with taut's mark (or an attended one), taut's own writes too, and of every object that
        goes. It is called from the event loop, must be quick, and must not raise.
        """
        self._memory.on_version = hear

    def owned_by(self, app_key: str) -> list[LiveObject]:
        """The watched objects that carry an application's mark."""
        return self._memory.owned_by(app_key)

    def owners(self) -> frozenset[str]:
        """The keys of all applications that own a watched object."""
        return self._memory.apps()

    def foreign(self, namespace: str) -> Iterator[LiveObject]:
        """The watched objects of a namespace that nobody here declares (with `owner_uids` where others made them)."""
        return self._memory.foreign(namespace)

    def state(self) -> ClusterState:
        """How the watches are doing; a cluster that cannot be reached is said."""
        failures = self._kinds.failures()
        states = self._kinds.states()
        away = [e for e in failures.values() if e.status == 0]
        if away and not self._unreachable_since:
            self._unreachable_since = time.time()
        elif not away:
            self._unreachable_since = 0.0
        since = [s.failing_since for s in states.values() if s.failing_since]
        since += [self._unreachable_since] if away else []
        first = next(iter(away), None) or next(iter(failures.values()), None)
        return ClusterState(not away, min(since, default=0.0), str(first) if first else "", states)

    # Reads, when somebody asks

    async def read(self, ref: ObjectRef, api_version: str = "") -> Body | None:
        """GET one object in the version that Git uses; None when there is none. It may hold secrets: never log it."""
        return await self._reader.read(ref, api_version)

    async def look(self, ref: ObjectRef, api_version: str = "") -> LiveObject | None:
        """GET one object as `get` has it, for when the memory may be behind; None when there is none."""
        body = await self.read(ref, api_version)
        if body is None:
            return None
        sight = self._sight
        return live(metadata_of(body), ref, str(body["apiVersion"]), sight.assess(body), sight.protects)

    async def read_data(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        """The decoded entries of a ConfigMap or Secret; None when there is none."""
        return await self._reader.read_data(kind, namespace, name)

    def list_metadata(
        self,
        kinds: Iterable[KindRef] | None = None,
        namespace: str | None = None,
        *,
        on_failure: Callable[[KindRef, TargetError], None] | None = None,
    ) -> AsyncIterator[LiveObject]:
        """Every object of these kinds (None: of all that can be listed and deleted), by metadata only.

        For orphans, and to rebuild a lost inventory. A kind that cannot be listed is told to `on_failure`; without it, raises.
        """
        return self._reader.list_metadata(kinds, namespace, on_failure)

    async def children(
        self, ref: ObjectRef, *, uid: str = "", kinds: Iterable[KindRef] | None = None
    ) -> TreeNode | None:
        """The object and everything that belongs to it by owner references; None when it is not there (or has another uid)."""
        return await self._reader.children(ref, uid, kinds)

    async def forest(self, roots: Sequence[LiveObject]) -> list[TreeNode]:
        """The trees of several objects of one namespace, in their order, at the cost of one."""
        return await self._reader.forest(roots)

    async def events_of(self, ref: ObjectRef) -> list[ObjectEvent]:
        """The Kubernetes Events about an object, the latest last."""
        return await self._reader.events_of(ref)

    async def log(self, ref: ObjectRef, container: str, lines: int) -> str:
        """The last lines of a container of a Pod, each with its time before it. What programs write may hold secrets: never log it."""
        return await self._reader.log(ref, container, lines)

    # Writes

    async def apply(
        self,
        body: Body,
        *,
        dry_run: bool = False,
        force: bool = True,
        impersonate: str | Impersonation | None = None,
        before: Body | None = None,
        validate: bool = True,
    ) -> tuple[Applied, Body]:
        """Server-side apply as field manager `taut`; returns what the server made of it.

        `before` is the live object if it was read: then one request does, and the answer tells who lost fields. Without it
        the apply is tried without force first, because only the refusal names the losers. With `force=False` a
        conflict raises. `validate` refuses unknown fields. Raises TargetError; `immutable_cause` tells whether a recreate would help.
        """
        who = impersonation(impersonate, _namespace(body))
        answer = await self._writer.apply(
            body, dry_run=dry_run, force=force, impersonate=who, before=before, validate=validate
        )
        applied = answer[0]
        if applied.changed and not dry_run:
            self._kinds.expect(applied.live.ref, applied.live.resource_version)
            if applied.live.ref.kind_ref == CRD:
                self._kinds.promised(applied.live.ref.name)
        return answer

    async def absorb(self, live_body: Body, *, impersonate: str | Impersonation | None = None) -> Body | None:
        """Before the first apply: make taut the heir of what kubectl, Helm, Argo CD or Flux applied, and drop last-applied.

        Returns the object afterwards; None when there was nothing to take over. Reads the object again when it changed meanwhile.
        """
        return await self._writer.absorb(live_body, impersonate=impersonation(impersonate, _namespace(live_body)))

    async def create(
        self, body: Body, *, impersonate: str | Impersonation | None = None, dry_run: bool = False
    ) -> tuple[Applied, Body]:
        """POST an object, a hook's (also with generateName). Never repeated: look for the run key when the answer was lost."""
        who = impersonation(impersonate, _namespace(body))
        answer = await self._writer.create(body, impersonate=who, dry_run=dry_run)
        if not dry_run:
            self._kinds.expect(answer[0].live.ref, answer[0].live.resource_version)
        return answer

    async def delete(
        self,
        ref: ObjectRef,
        api_version: str,
        *,
        uid: str,
        propagation: str = "background",
        impersonate: str | Impersonation | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """Delete the object with this uid, and no other. That it is gone, or another, is no error but the answer.

        The memory forgets the object when the watch tells so: that is the confirmation.
        """
        who = impersonation(impersonate, ref.namespace)
        done = await self._writer.delete(
            ref, api_version, uid=uid, propagation=propagation, impersonate=who, dry_run=dry_run
        )
        known = self.get(ref)
        if not dry_run and known is not None and known.uid == uid and not known.deleting:
            self._kinds.expect(ref, "")
        return done

    async def restart(self, ref: ObjectRef, *, impersonate: str | Impersonation | None = None) -> None:
        """Restart a workload by its template's annotation, as field manager `taut-restart`: no drift, not taken back.

        Raises BadInput for a kind that cannot be restarted.
        """
        await self._writer.restart(ref, impersonate=impersonation(impersonate, ref.namespace))


def _namespace(body: Body) -> str:
    return str((body.get("metadata") or {}).get("namespace") or "")
