"""Policies in the loop: read from Git, they complete what is rendered before the plan, and judge what a plan would write.

Which policies hold for an application, its cluster and its project say. While policies cannot be read for the first time nothing is written
that they could be about; afterwards the last ones that could be read hold.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from taut.controller.fleet import Fleet
from taut.controller.kept_completions import KeptCompletions
from taut.controller.policy_lookups import ClusterLookups, synced_kinds
from taut.controller.policy_places import Identity, Place, Together, identity_of, together
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.controller.triggers import Watched
from taut.dialects.config import PoliciesConfig
from taut.dialects.globs import match_name
from taut.model.application import Source
from taut.model.errors import PolicyError, TautError
from taut.model.manifests import Body, Manifest, content_hash
from taut.model.plan import Action, Change, Hold, HoldKind, Plan
from taut.model.refs import KindRef, ObjectRef
from taut.model.verdict import Outcome, Verdict
from taut.planning.order import NAMESPACE
from taut.policy.masking import without_origin
from taut.policy.messages import About, Description
from taut.policy.review import Given, Operation, Review, Trouble
from taut.policy.service import PolicyService, PolicySet, Said
from taut.policy.waivers import Waiver, content_of, waived
from taut.render.engine import RenderEngine, RenderJob, RenderSource
from taut.sources.service import Sources
from taut.targets.kubernetes.cluster import Cluster

if TYPE_CHECKING:
    from taut.controller.sealing import Sealing

log = logging.getLogger("taut.policies")
_OPERATIONS = {
    Action.CREATE: Operation.CREATE,
    Action.UPDATE: Operation.UPDATE,
    Action.ADOPT: Operation.UPDATE,
    Action.RECREATE: Operation.CREATE,
    Action.DELETE: Operation.DELETE,
}
_MOST_TOLD = 10
_NO_SPACES: Mapping[str, Body] = {}
_NAMESPACES_KEPT = 500
_UNWATCHED_SECONDS = 10


@dataclass
class _Place:
    """One place in Git with policies, and what was found there last."""

    config: PoliciesConfig
    documents: tuple[Given, ...] | None = None
    revision: str = ""
    failure: TautError | None = None

    @property
    def source(self) -> Source:
        """As sources are asked for."""
        config = self.config
        return Source(git=config.git, ref=config.ref, path=config.path, credentials=config.credentials)

    def concerns(self, cluster: str, project: str) -> bool:
        """Whether its policies hold for applications of this project in this cluster."""
        return any(match_name(p, cluster) for p in self.config.clusters) and any(
            match_name(p, project) for p in self.config.projects
        )


@dataclass(frozen=True)
class Policies:
    """Policies that hold together."""

    set: PolicySet
    waivers: tuple[Waiver, ...]
    troubles: tuple[Trouble, ...]
    about: tuple[About, ...]
    """The policies, in the places by which they are left out."""
    synced: tuple[tuple[str, str], ...]
    by_namespace: bool = False
    """Whether a policy asks for the namespace that an object is in."""

    @property
    def mutates(self) -> bool:
        """Whether some complete objects."""
        return any(p.mutates for p in self.about)


class Policing:
    """Keeps the policies of all places, and asks them."""

    def __init__(
        self,
        places: Iterable[PoliciesConfig],
        service: PolicyService,
        sources: Sources,
        engine: RenderEngine,
        fleet: Fleet,
        queue: WorkQueue,
        kept: KeptCompletions,
        clock: Callable[[], float] = time.time,
        sealing: Sealing | None = None,
    ) -> None:
        self._sealing = sealing
        self._places = [_Place(config) for config in places]
        self._service = service
        self._sources = sources
        self._engine = engine
        self._fleet = fleet
        self._queue = queue
        self._kept = kept
        self._clock = clock
        self._built: dict[tuple[int, ...], Policies] = {}
        self._namespaces: dict[ObjectRef, tuple[str, Body]] = {}
        self._usable: dict[tuple[str, Identity], Given] = {}
        """The last version of each document that could be used, by place and identity."""
        self.on_changed: list[Callable[[], None]] = []
        """Hear that policies have changed."""

    # Where policies come from

    def watched(self) -> Iterable[Watched]:
        """The repositories to look at, as often as the configuration says."""
        for place in self._places:
            yield Watched(place.config.git, place.config.poll_seconds, place.config.credentials)

    def warm(self) -> None:
        """Something was pushed: have workers with the policies ready when it is rendered."""
        for policies in self._built.values():
            self._service.warm(policies.set)

    async def look(self, url: str | None = None) -> None:
        """Read the policies of this repository (None: of all) as it is now; applications that others hold for are looked at again."""
        before = {number: place.documents for number, place in enumerate(self._places)}
        for place in self._places:
            if url is None or place.config.git == url:
                await self._read(place)
        changed = {n for n, place in enumerate(self._places) if place.documents != before[n]}
        if not changed:
            return
        for hear in self.on_changed:
            hear()
        old, self._built = self._built, {}
        for state in self._fleet.states.values():
            numbers = self._numbers(state)
            if changed.isdisjoint(numbers):
                continue
            if state.run is not None:
                state.run.judge_again = True
            completes = (numbers in old and old[numbers].mutates) or (await self._policies(numbers)).mutates
            if completes or state.asks_stores:
                state.mark_stale()
            self._queue.add(state.key, Reason.PUSH, project=state.app.spec.project)

    async def _read(self, place: _Place) -> None:
        try:
            snapshot = await self._sources.resolve(place.source, fetch=False)
            if place.documents is not None and place.revision == snapshot.tree.hash:
                return
            job = RenderJob("policies", "", (RenderSource(place.source, snapshot),))
            rendered = await self._engine.render(job)
        except TautError as error:
            if place.failure is None or place.failure.what != error.what:
                log.warning("policies %s: %s", place.config.name, error)
            place.failure = error
            return
        found = tuple(Given(m.body, _place_of(place.config.name, m)) for m in rendered.manifests)
        if place.documents and not found:
            # As with an application that renders to nothing: nobody means it, or it can be said in the configuration.
            what = "there is no policy any more; the last ones hold until the place is taken out of the configuration"
            if place.failure is None or place.failure.what != what:
                log.warning("policies %s: %s", place.config.name, what)
            place.failure = PolicyError(what)
            return
        place.documents, place.revision, place.failure = found, snapshot.tree.hash, None

    # Which hold

    async def of(self, state: AppState) -> Policies | None:
        """The policies for an application; None when no place has any for it. Raises PolicyError when they could never be read."""
        numbers = self._numbers(state)
        return await self._policies(numbers) if numbers else None

    async def in_cluster(self, cluster: str, project: str = "") -> Policies | None:
        """The policies for what is written into a cluster by whomever: those that are for every project, and those for the one (if any) that
        an object belongs to. None when there are none. Raises PolicyError when they could never be read.
        """
        numbers = tuple(
            n
            for n, place in enumerate(self._places)
            if place.concerns(cluster, project) and (project or "*" in place.config.projects)
        )
        return await self._policies(numbers) if numbers else None

    async def anywhere_in(self, cluster: str) -> Policies | None:
        """Everything that may be asked about objects of a cluster, whichever project they belong to. As `in_cluster` otherwise."""
        places = enumerate(self._places)
        numbers = tuple(n for n, place in places if any(match_name(p, cluster) for p in place.config.clusters))
        return await self._policies(numbers) if numbers else None

    @property
    def now(self) -> float:
        """Unix seconds: waivers run out."""
        return self._clock()

    @property
    def service(self) -> PolicyService:
        """Who judges."""
        return self._service

    def _numbers(self, state: AppState) -> tuple[int, ...]:
        cluster, project = state.app.spec.target.cluster, state.app.spec.project
        return tuple(n for n, place in enumerate(self._places) if place.concerns(cluster, project))

    async def _policies(self, numbers: tuple[int, ...]) -> Policies:
        built = self._built
        found = built.get(numbers)
        if found is None:
            for number in numbers:
                place = self._places[number]
                if place.documents is None:
                    why = place.failure.what if place.failure else "they were not looked at yet"
                    raise PolicyError(
                        f"the policies {place.config.name!r} cannot be read: {why}",
                        advice="nothing is written until they can",
                    )
            places = [self._places[n] for n in numbers]
            found = await self._build(
                together([Place(p.config.name, p.config.waives, p.documents or ()) for p in places])
            )
            if built is not self._built:  # others were read meanwhile, and these hold no longer
                return await self._policies(numbers)
            built[numbers] = found
        return found

    async def _build(self, found: Together) -> Policies:
        documents, waivers = found.documents, found.waivers
        policies = PolicySet.of(documents)
        description = await self._described(policies)
        wrong = tuple(t for t in description.troubles if not t.elsewhere)
        broken = {t.origin for t in wrong if t.grave}
        keys = {g.origin: (place, identity_of(g.body)) for g, place in zip(documents, found.owners, strict=True)}
        before = {g.origin: self._usable.get(keys[g.origin]) for g in documents if g.origin in broken}
        if any(before.values()):
            # A slip of the pen opens nothing: what could be used last holds until it is mended.
            documents = tuple(before.get(g.origin) or g for g in documents)
            policies = PolicySet.of(documents)
            description = await self._described(policies)
            wrong = tuple(
                replace(t, what=f"{t.what}; what it said before holds") if before.get(t.origin) else t for t in wrong
            )
        self._usable |= {keys[g.origin]: g for g in documents if g.origin not in broken}
        troubles = (*found.troubles, *wrong)
        for trouble in troubles:
            log.warning("%s", trouble)
        synced = synced_kinds([g.body for g in documents])
        texts = [msgspec.json.encode(g.body) for g in documents]
        by_namespace = any(b"namespaceSelector" in t or b"namespaceObject" in t for t in texts)
        return Policies(policies, waivers, troubles, tuple(description.policies), synced, by_namespace)

    async def _described(self, policies: PolicySet) -> Description:
        """What is in a set: known from before, or asked of a worker, which takes seconds to load the engines."""
        found = self._kept.describe(policies.hash)
        if found is None:
            found = await self._service.describe(policies)
            self._kept.note(policies.hash, found)
        return found

    # Before the plan

    async def completed(
        self, state: AppState, cluster: Cluster, manifests: tuple[Manifest, ...]
    ) -> tuple[Manifest, ...]:
        """The manifests as the policies complete them. What was completed before is remembered, also through a restart.

        Raises PolicyError when the policies could never be read, or one cannot be asked.
        """
        policies = await self.of(state)
        if policies is None or not policies.mutates:
            return manifests
        kept = self._kept.recall(state.key, policies.set.hash)
        keys = [await self._key(policies, cluster, m) for m in manifests]
        found = {key: kept[key] for key in keys if key in kept}
        asked = [n for n, key in enumerate(keys) if key not in found]
        if asked:
            reviews = [await self._review(cluster, Operation.CREATE, manifests[n].body, None) for n in asked]
            said = await self._service.complete(policies.set, reviews, ClusterLookups(cluster, policies.synced))
            _refuse(said, [manifests[n] for n in asked])
            found |= {keys[n]: s.body for n, s in zip(asked, said, strict=True)}
            again = {keys[n] for n, s in zip(asked, said, strict=True) if s.looked}
            self._kept.remember(state.key, policies.set.hash, {k: b for k, b in found.items() if k not in again})
        made = [found[key] for key in keys]
        if not any(made):
            return manifests
        return tuple(m if body is None else Manifest(body, m.origin) for m, body in zip(manifests, made, strict=True))

    async def _key(self, policies: Policies, cluster: Cluster, manifest: Manifest) -> str:
        """What a completion depends on: the object, and where a policy asks for it, its namespace."""
        space = None
        if policies.by_namespace and manifest.namespace:
            found = await self.namespace(cluster, manifest.namespace)
            space = (found.get("metadata") or {}).get("labels") if found is not None else False
        return content_hash([cluster.name, manifest.body, space])

    async def denied(self, state: AppState, cluster: Cluster, manifests: Sequence[Manifest]) -> tuple[Hold, ...]:
        """What policies say against documents that taut uses itself, and that therefore are in no plan. Raises PolicyError when they could never be read."""
        policies = await self.of(state)
        if policies is None:
            return ()
        reviews = [await self._review(cluster, Operation.CREATE, m.body, None) for m in manifests]
        said = await self._service.validate(policies.set, reviews, ClusterLookups(cluster, policies.synced))
        made = (Change(m.ref(cluster.name), Action.CREATE, m, origin=m.origin.place) for m in manifests)
        words = (self._words(policies, c, m.body, s) for c, m, s in zip(made, manifests, said, strict=True))
        return tuple(hold for hold, _ in words if hold is not None)

    # On the plan

    async def judged(
        self, state: AppState, cluster: Cluster, plan: Plan, bodies: Mapping[ObjectRef, Body | None]
    ) -> Plan:
        """The plan, held where a policy denies what it would write, with a warning where one warns."""
        writes = [c for c in plan.writes if c.desired is not None or bodies.get(c.ref) is not None]
        if not writes or not self._numbers(state):
            return plan
        try:
            policies = await self.of(state)
            if policies is None:
                return plan
            spaces = {
                c.ref.name: c.desired.body
                for c in plan.changes
                if c.ref.kind_ref == NAMESPACE and c.desired is not None
            }
            reviews = [
                await self._review(
                    self._fleet.clusters.get(c.ref.cluster, cluster),
                    _OPERATIONS[c.action],
                    c.desired.body if c.desired is not None else None,
                    bodies.get(c.ref) if c.action is not Action.RECREATE else None,
                    spaces,
                )
                for c in writes
            ]
            secrets = await self._unsealed(cluster, writes)
            reviews += [await self._review(cluster, _OPERATIONS[c.action], body, None, spaces) for c, body in secrets]
            said = await self._service.validate(policies.set, reviews, ClusterLookups(cluster, policies.synced))
        except PolicyError as error:
            text = f"{error.what} ({error.advice})" if error.advice else error.what
            return plan.with_holds(Hold(HoldKind.POLICY, text, approvable=False))
        holds: list[Hold] = []
        warnings = [str(t) for t in policies.troubles]
        judged = [(c, c.desired.body if c.desired is not None else None) for c in writes]
        for (change, body), answer in zip([*judged, *secrets], said, strict=True):
            hold, told = self._words(policies, change, body, answer)
            holds += [hold] if hold is not None else []
            warnings += told
        return replace(plan.with_holds(*holds), warnings=(*plan.warnings, *warnings[:_MOST_TOLD]))

    def _words(
        self, policies: Policies, change: Change, body: Body | None, said: Said
    ) -> tuple[Hold | None, list[str]]:
        """What is said of a change: a hold where it is denied, and warnings. Waivers are heard; nothing out of encrypted files is told."""
        content = content_of(body) if body is not None else ""
        told = said.verdicts
        if change.desired is not None:
            told = tuple(without_origin(v, change.desired.body, change.desired.origin.secret) for v in told)
        verdicts = waived(told, policies.waivers, content, self._clock())
        denials = [v for v in verdicts if v.denies]
        warnings = [explained(v, change) for v in verdicts if not v.denies and v.result is not Outcome.SKIP]
        return _denied(change, denials, content) if denials else None, warnings

    async def _unsealed(self, cluster: Cluster, writes: Iterable[Change]) -> list[tuple[Change, Body]]:
        """The Secrets that the cluster will have of SealedSecrets, where taut can look into them: policies judge those as well."""
        found: list[tuple[Change, Body]] = []
        for change in writes if self._sealing is not None else ():
            if change.ref.kind == "SealedSecret" and change.desired is not None and self._sealing is not None:
                body = await self._sealing.opened(cluster, change.desired)
                found += [(change, body)] if body is not None else []
        return found

    async def _review(
        self,
        cluster: Cluster,
        operation: Operation,
        body: Body | None,
        old: Body | None,
        spaces: Mapping[str, Body] = _NO_SPACES,
    ) -> Review:
        """`spaces` are the namespaces of the same plan, as they will be."""
        judged = body if body is not None else old or {}
        version, kind = str(judged.get("apiVersion") or ""), str(judged.get("kind") or "")
        info = await cluster.kind(KindRef(version.rpartition("/")[0], kind))
        namespace = str((judged.get("metadata") or {}).get("namespace") or "")
        return Review(
            object=None if operation is Operation.DELETE else body,
            old_object=old,
            operation=operation,
            resource=f"{version}/{info.plural}" if info else "",
            namespaced=info.namespaced if info else None,
            namespace_object=spaces.get(namespace) or (await self.namespace(cluster, namespace) if namespace else None),
        )

    async def namespace(self, cluster: Cluster, name: str) -> Body | None:
        """The namespace as it was read last, as long as the watch has seen no other version of it; one that is not watched for some seconds."""
        ref = ObjectRef(cluster.name, NAMESPACE.group, NAMESPACE.kind, "", name)
        live = cluster.get(ref)
        # Of what nobody declares or attends the watch keeps no version.
        seen = live.resource_version if live is not None else ""
        version = seen or f"unwatched {int(self._clock() / _UNWATCHED_SECONDS)}"
        kept = self._namespaces.get(ref)
        if kept is not None and kept[0] == version:
            return kept[1]
        try:
            body = await cluster.read(ref, "v1")
        except TautError:
            return None  # policies that ask for its labels say that they are not known
        if body is not None:
            if len(self._namespaces) >= _NAMESPACES_KEPT:
                self._namespaces.clear()
            self._namespaces[ref] = (version, body)
        return body


def _refuse(said: Sequence[Said], manifests: Sequence[Manifest]) -> None:
    """What could not be completed is not planned: it would be changed back and forth."""
    for each, manifest in zip(said, manifests, strict=True):
        for found in each.verdicts:
            verdict = without_origin(found, manifest.body, manifest.origin.secret)
            raise PolicyError(
                f"the policy {verdict.policy} cannot complete {verdict.subject}: {verdict.message}",
                advice="mend the policy, or take it away",
            )


def _denied(change: Change, denials: Sequence[Verdict], content: str) -> Hold:
    first = explained(denials[0], change)
    more = f" (and {len(denials) - 1} more)" if len(denials) > 1 else ""
    told = content if change.desired is not None and not change.desired.origin.secret else ""
    waiver = f"; waive it with a PolicyWaiver for {change.ref}" + (f", hash {told}" if told else "")
    return Hold(HoldKind.POLICY, f"{first}{more}{waiver}", (change.ref,), approvable=False)


def explained(verdict: Verdict, change: Change) -> str:
    """A denial or warning in one sentence: policy and rule, object, what is wrong, the path with what was found and wanted, where it is from."""
    rule = f"{verdict.policy}/{verdict.rule}" if verdict.rule else verdict.policy
    verb = "denies" if verdict.denies else "warns of"
    text = f"policy {rule} {verb} {change.ref}: {verdict.message or verdict.result.value}"
    if verdict.path:
        values = [f"found {verdict.found}"] if verdict.found else []
        values += [f"wanted {verdict.wanted}"] if verdict.wanted else []
        text += f" (at {verdict.path}" + (f": {', '.join(values)}" if values else "") + ")"
    origin = change.origin
    return text + (f", from {origin}" if origin else "")


def _place_of(name: str, manifest: Manifest) -> str:
    """No two documents have one place, for what cannot be used is told apart by it: files of one name may be in several, and a chart tells no lines."""
    origin = manifest.origin
    parts = (origin.place,) if origin.line else (origin.file, str(manifest))
    return f"policies {name}: {', '.join(filter(None, parts))}"
