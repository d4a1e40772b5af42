"""What Git wants of one application: resolve, verify, render, normalise, and hold it against its project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from taut.clients.urls import shown
from taut.controller.externals import Resolution
from taut.controller.fleet import Fleet
from taut.controller.kept import KeptRenders
from taut.controller.own_checks import Examined
from taut.controller.state import AppState, Desired
from taut.dialects.projects import Violation, check_application, check_manifests, repository_allowed
from taut.model.application import ApplicationSpec, Source
from taut.model.errors import BadInput, RenderError, SourceError, TargetError, TautError, Where
from taut.model.live import KindInfo
from taut.model.manifests import Manifest, content_hash
from taut.model.plan import Hold, HoldKind
from taut.model.project import Project, Signatures
from taut.model.refs import KindRef, ObjectRef, parse_object_id
from taut.model.snapshot import Snapshot
from taut.planning.normalise import Normalised, normalise
from taut.planning.prepare import wanted_hash
from taut.planning.redact import Redactor
from taut.planning.wanted import Interpreted, interpret
from taut.render.engine import Rendered, RenderEngine, RenderJob, RenderSource
from taut.render.protocols import Decrypter
from taut.targets.kubernetes.cluster import Cluster

SOURCE_PATIENCE = 10.0
"""Seconds that a run waits for a source that has to be fetched first."""


class Snapshots(Protocol):
    """Where snapshots come from: repositories, or a working copy."""

    async def resolve(self, source: Source, *, fetch: bool, allowed: Callable[[str], bool]) -> Snapshot:
        """The snapshot that a source names."""
        ...

    async def verify(self, snapshot: Snapshot, signatures: Signatures) -> None:
        """Refuse a snapshot that is not signed as it must be."""
        ...


class Completes(Protocol):
    """Policies that complete what is rendered."""

    async def completed(
        self, state: AppState, cluster: Cluster, manifests: tuple[Manifest, ...]
    ) -> tuple[Manifest, ...]:
        """The manifests as the policies complete them."""
        ...

    async def denied(self, state: AppState, cluster: Cluster, manifests: Sequence[Manifest]) -> tuple[Hold, ...]:
        """Why documents that never come to the cluster may not be used."""
        ...


class Examines(Protocol):
    """taut's own checks."""

    def examined(self, manifests: Sequence[Manifest], cluster: str) -> Examined:
        """What they say of the objects of one application."""
        ...


class Resolves(Protocol):
    """Makes Secrets of the documents that ask for them."""

    async def understood(self, cluster: Cluster, kind: KindRef) -> KindInfo | None:
        """What is known of a kind that the cluster need not serve."""
        ...

    async def documents(self, cluster: Cluster, manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
        """The documents that taut resolves itself."""
        ...

    async def resolved(self, state: AppState, cluster: Cluster, manifests: tuple[Manifest, ...]) -> Resolution:
        """The manifests with a Secret in the place of each such document."""
        ...


class Refused(BadInput):
    """The application's project forbids what its document asks for, or what was rendered."""


@dataclass(frozen=True)
class ClusterData:
    """Reads ConfigMaps and Secrets of a cluster for renderers."""

    cluster: Cluster

    async def read(self, kind: str, namespace: str, name: str) -> dict[str, bytes] | None:
        """The decoded data; None when there is none."""
        return await self.cluster.read_data(kind, namespace, name)


class StillReading(SourceError):
    """A source is fetched for the first time, and that takes long. `reading` ends when it is here, or cannot be read."""

    def __init__(self, url: str, reading: asyncio.Future[Snapshot]) -> None:
        super().__init__(
            "the source has not answered yet",
            where=Where(shown(url)),
            advice="taut goes on when it is here",
        )
        self.reading = reading
        reading.add_done_callback(lambda r: r.cancelled() or r.exception())  # nobody may be there to take it


def _no_keys(_: str) -> Decrypter | None:
    return None


class Wanting:
    """Answers what an application's desired state is."""

    def __init__(
        self,
        sources: Snapshots,
        engine: RenderEngine,
        fleet: Fleet,
        redactor: Redactor,
        kept: KeptRenders | None = None,
        decrypter_of: Callable[[str], Decrypter | None] = _no_keys,
        policing: Completes | None = None,
        externals: Resolves | None = None,
        checks: Examines | None = None,
    ) -> None:
        self._checks = checks
        self._policing = policing
        self._externals = externals
        self._kept = kept
        self._decrypter_of = decrypter_of
        self._sources = sources
        self._engine = engine
        self._fleet = fleet
        self._redactor = redactor
        self.renders = 0
        """How many renders ran a renderer, results that were kept not among them."""

    async def find(self, state: AppState) -> Desired:
        """The desired state now. Raises SourceError, RenderError, BadInput and TargetError, each naming its place, and Refused."""
        app = state.app  # Git may declare it anew meanwhile: what was rendered for this one is kept for this one
        project = self._fleet.project_of(state)
        _refuse(check_application(project, app))
        snapshots = [await self._snapshot(state, project, n) for n in range(len(app.spec.all_sources))]
        cluster = self._fleet.cluster_of(state)
        unseen = await self._follow_reads(state, cluster)
        identity = self._engine.identity(state.app.spec, state.key.name) if self._kept is not None else ""
        if (
            self._kept is not None and state.desired is None
        ):  # a start: what was rendered before need not be looked for again
            kept = self._kept.recall_same(state.app, identity, snapshots, self.keys_of(project.name))
            if kept is not None:
                return await self._understand(state, project, cluster, kept, snapshots)
        rendered = await self._render(state, project, cluster, snapshots)
        rendered = replace(rendered, warnings=(*rendered.warnings, *unseen))
        desired = await self._understand(state, project, cluster, rendered, snapshots)
        if self._kept is not None:
            self._kept.remember(app, rendered, desired.snapshots, identity)
        return desired

    def keys_of(self, project: str) -> str:
        """A keyed hash that stands for the keys with which encrypted files of a project are opened; empty when there are none."""
        decrypter = self._decrypter_of(project)
        return self._engine.keys_of(decrypter) if decrypter is not None else ""

    async def last_good(self, state: AppState) -> Desired | None:
        """What was found last, perhaps by an earlier process, as far as the project still allows it; None when there is none."""
        found = self._kept.recall(state.app) if self._kept is not None else None
        if found is None:
            return None
        rendered, snapshots = found
        try:
            project = self._fleet.project_of(state)
            _refuse(check_application(project, state.app))
            return await self._understand(state, project, self._fleet.cluster_of(state), rendered, snapshots)
        except TautError:
            return None

    async def _follow_reads(self, state: AppState, cluster: Cluster) -> tuple[str, ...]:
        """Watch the ConfigMaps and Secrets that the render reads: a change of one is a change of what is wanted."""
        refs = target_reads(state.app.spec, cluster.name)
        self._fleet.reads(state.key, refs)
        if not refs:
            return ()
        failures = await cluster.watch_refs(refs)
        return tuple(f"changes of a {kind} go unnoticed: {error.what}" for kind, error in failures.items())

    async def _understand(
        self, state: AppState, project: Project, cluster: Cluster, rendered: Rendered, snapshots: list[Snapshot]
    ) -> Desired:
        normalised, scopes = await self._normalise(state, cluster, rendered.manifests)
        if self._policing is not None:
            manifests = await self._policing.completed(state, cluster, normalised.manifests)
            if manifests is not normalised.manifests:
                normalised, scopes = await self._normalise(state, cluster, manifests)
        _refuse(check_manifests(project, state.app, ((m, scopes(m)) for m in normalised.manifests)))
        if self._checks is not None:
            examined = self._checks.examined(normalised.manifests, cluster.name)
            normalised = replace(
                normalised,
                warnings=(*normalised.warnings, *examined.warnings),
                holds=(*normalised.holds, *examined.holds),
            )
        resolution = await self._resolved(state, cluster, normalised.manifests)
        if self._externals is not None:
            if resolution.manifests is not normalised.manifests:
                before = normalised
                normalised, scopes = await self._normalise(state, cluster, resolution.manifests)
                normalised = replace(
                    normalised,
                    warnings=before.warnings,
                    holds=before.holds,
                    unsettled=before.unsettled | normalised.unsettled,
                )
                _refuse(check_manifests(project, state.app, ((m, scopes(m)) for m in normalised.manifests)))
            normalised = replace(
                normalised,
                warnings=(*normalised.warnings, *resolution.warnings),
                holds=(*normalised.holds, *resolution.holds),
                unsettled=normalised.unsettled | resolution.unsettled,
            )
        digest = self._content(normalised.manifests, state)
        revision = snapshots[0].revision.id
        if state.run is not None and state.run.operation.content_hash == digest:
            revision = state.run.operation.hook_revision or revision
        elif (state.removed or state.record.attempted == digest) and state.record.attempted_revision:
            revision = state.record.attempted_revision
        understood = interpret(
            normalised.manifests,
            app=state.key,
            cluster=cluster.name,
            revision=revision,
            rules=state.app.spec.ignore,
            redact=self._redactor,
        )
        desired = self._desired(state, rendered, normalised, understood, snapshots, digest, revision)
        return replace(desired, unresolved=resolution.unresolved)

    async def _resolved(self, state: AppState, cluster: Cluster, manifests: tuple[Manifest, ...]) -> Resolution:
        """The manifests with Secrets in the place of documents that ask for them; where a policy denies one of those nobody is asked."""
        if self._externals is None:
            return Resolution(manifests)
        ours = await self._externals.documents(cluster, manifests)
        state.asks_stores = bool(ours)
        denied = await self._policing.denied(state, cluster, ours) if ours and self._policing is not None else ()
        if not denied:
            return await self._externals.resolved(state, cluster, manifests)
        # The plan is held as a whole; what these documents made is nobody's to remove.
        kept = tuple(m for m in manifests if m not in ours)
        return Resolution(kept, holds=denied, unsettled=state.secrets)

    def _desired(
        self,
        state: AppState,
        rendered: Rendered,
        normalised: Normalised,
        understood: Interpreted,
        snapshots: list[Snapshot],
        digest: str,
        revision: str,
    ) -> Desired:
        return Desired(
            objects=understood.objects,
            hooks=understood.hooks,
            content_hash=digest,
            hook_revision=revision,
            render_key=rendered.key,
            closure=rendered.closure,
            snapshots=tuple(snapshots),
            capabilities=rendered.capabilities,
            decryption=rendered.decryption,
            warnings=(*rendered.warnings, *normalised.warnings, *understood.warnings),
            holds=(*normalised.holds, *_random_holds(state, rendered, understood)),
            unsettled=normalised.unsettled,
            refs=frozenset(w.ref for w in understood.objects),
        )

    async def _snapshot(self, state: AppState, project: Project, number: int) -> Snapshot:
        source = state.app.spec.all_sources[number]
        reading = asyncio.ensure_future(
            self._sources.resolve(source, fetch=False, allowed=lambda url: repository_allowed(project, url))
        )
        # A server that hangs, or a long first download, must not keep the worker; what was begun goes on.
        try:
            done, _ = await asyncio.wait({reading}, timeout=SOURCE_PATIENCE)
        except asyncio.CancelledError:
            reading.cancel()
            raise
        if not done:
            raise StillReading(source.url, reading)
        snapshot = reading.result()
        await self._sources.verify(snapshot, project.spec.signatures)
        return snapshot

    async def _render(self, state: AppState, project: Project, cluster: Cluster, snapshots: list[Snapshot]) -> Rendered:
        spec = state.app.spec
        pairs = zip(spec.all_sources, snapshots, strict=True)
        job = RenderJob(
            app=state.key.name,
            namespace=spec.target.namespace,
            sources=tuple(RenderSource(source, snapshot) for source, snapshot in pairs),
            substitute=spec.substitute,
            capabilities=await cluster.capabilities(),
            allowed=lambda url: repository_allowed(project, url),
            decrypter=self._decrypter_of(project.name),
        )
        rendered = await self._engine.render(job, ClusterData(cluster))
        self.renders += not rendered.cached
        return rendered

    async def _normalise(
        self, state: AppState, cluster: Cluster, manifests: Iterable[Manifest]
    ) -> tuple[Normalised, Callable[[Manifest], bool | None]]:
        kinds = {KindRef(m.group, m.kind) for m in _flat(manifests)}
        known: dict[KindRef, KindInfo | None] = {kind: await cluster.kind(kind) for kind in kinds}
        if self._externals is not None:
            for kind in [k for k, info in known.items() if info is None]:
                known[kind] = await self._externals.understood(cluster, kind)
        result = normalise(manifests, cluster=cluster.name, namespace=state.app.spec.target.namespace, kinds=known.get)

        def scope(manifest: Manifest) -> bool | None:
            info = known.get(KindRef(manifest.group, manifest.kind))
            return info.namespaced if info else bool(manifest.namespace)

        return result, scope

    def _content(self, manifests: Iterable[Manifest], state: AppState) -> str:
        """Everything of the desired state that a sync would make live: the objects, and what the application says about them."""
        spec = state.app.spec
        rules = [repr(rule) for rule in spec.ignore]
        hashes = sorted([str(m), wanted_hash(m, redact=self._redactor)] for m in manifests)
        return content_hash([hashes, rules, spec.target.cluster])

    def stage_of(self, error: TautError) -> str:
        """The stage that a problem belongs to."""
        for kind, stage in ((SourceError, "source"), (TargetError, "target"), (RenderError, "render")):
            if isinstance(error, kind):
                return stage
        return "render"


def target_reads(spec: ApplicationSpec, cluster: str) -> frozenset[ObjectRef]:
    """The ConfigMaps and Secrets of the target that values and variables come from."""
    found = [v for s in spec.all_sources if s.helm_options for v in s.helm_options.values_from]
    found += spec.substitute.vars_from if spec.substitute else ()
    return frozenset(ObjectRef(cluster, "", v.kind, v.namespace or spec.target.namespace, v.name) for v in found)


def _flat(manifests: Iterable[Manifest]) -> Iterable[Manifest]:
    for manifest in manifests:
        items = manifest.body.get("items")
        if manifest.kind.endswith("List") and isinstance(items, list):
            yield from _flat(Manifest(i, manifest.origin) for i in items if isinstance(i, dict))
        else:
            yield manifest


def _random_holds(state: AppState, rendered: Rendered, understood: Interpreted) -> tuple[Hold, ...]:
    """What a chart makes up anew at each render is held: applying it would rotate it without anybody asking.

    The renderer names objects as the chart wrote them: most charts leave the namespace to the target.
    """
    if not rendered.random:
        return ()
    cluster = state.app.spec.target.cluster
    refs: dict[ObjectRef, None] = {}
    for found in rendered.random:
        ref = parse_object_id(found.object, cluster)
        if ref is not None:
            same = (w.ref for w in understood.objects if w.ref._replace(namespace=ref.namespace) == ref)
            refs |= {r: None for r in same if ref.namespace or r.namespace in ("", state.app.spec.target.namespace)}
    fields = ", ".join(f"{r.object} {r.path}".strip() for r in rendered.random[:3])
    message = f"the chart makes up a new value at each render ({fields}); set it in the values, or ignore the field"
    return (Hold(HoldKind.RANDOM, message, tuple(refs)),)


def _refuse(violations: Iterable[Violation]) -> None:
    found = list(violations)
    if found:
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Refused(first.what + more, where=first.where, advice=first.advice)
