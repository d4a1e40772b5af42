"""The scan of one cluster: which objects have to be judged again, and which reports say something else then.

An object is read when the watch told of another version of it, and judged when its content, its namespace or the policies are others. At
rest nothing is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from taut.controller.fleet import Fleet
from taut.controller.policing import Policing
from taut.controller.policy_lookups import ClusterLookups
from taut.controller.scan_memory import Judged, ScanMemory
from taut.controller.scan_reading import Pace, ScanReader, bare, scan_content
from taut.controller.scan_reports import Place, Shelf
from taut.controller.scan_rules import RuleBook, Rules, Type
from taut.controller.state import AppState, PolicyResults
from taut.model.manifests import Body, Manifest
from taut.model.refs import AppKey, ObjectRef
from taut.model.verdict import Subject, Verdict
from taut.planning.order import NAMESPACE
from taut.policy.masking import without_origin
from taut.policy.report import Flavour, Scanned, Trait, counted, reports
from taut.policy.review import Operation, Review
from taut.policy.service import PolicyService
from taut.policy.waivers import content_of, waived
from taut.targets.kubernetes.cluster import Cluster

log = logging.getLogger("taut.policies")

CALM, LONGEST = 1.0, 60.0
"""Seconds after which a changed object is read; twice as long each time it changes again soon."""
UNWATCHED = 5.0
"""Seconds until it is looked again whether a kind is watched."""
GRACE = 30.0
"""Seconds after the first look in which watches may still come."""
ANEW = 3600.0
"""Seconds after which an object is judged again whose policies looked something else up: nothing tells that it changed."""
BATCH = 32
"""Objects that are judged at once."""
RECALLED = 500
"""Objects whose verdicts are in memory at once."""
_FAILS = ("fail", "error")
_UNKNOWN = "?"


@dataclass(slots=True)
class _Seen:
    """An object as it was judged, and what came of it after waivers."""

    uid: str
    version: str
    content: str
    key: str
    at: float
    looked: bool
    waivers: str = ""
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def fails(self) -> bool:
        return any(self.counts.get(result) for result in _FAILS)


@dataclass(frozen=True, slots=True)
class _Owner:
    app: AppKey
    api_version: str


@dataclass(frozen=True, slots=True)
class _Namespace:
    version: str
    digest: str
    body: Body | None


class ClusterScan:
    """What is known of the objects that run in a cluster. For one task; `versioned` may be called from the event loop at any time."""

    def __init__(
        self,
        cluster: Cluster,
        fleet: Fleet,
        policing: Policing,
        service: PolicyService,
        memory: ScanMemory,
        pace: Pace,
        clock: Callable[[], float],
        mac: Callable[[bytes], str],
    ) -> None:
        self._mac = mac
        self._cluster = cluster
        self._fleet = fleet
        self._policing = policing
        self._service = service
        self._memory = memory
        self._pace = pace
        self._clock = clock
        self._reader = ScanReader(cluster, pace)
        self._rules = RuleBook(policing, cluster.name)
        self._managed: dict[ObjectRef, _Owner] = {}
        self._types: frozenset[Type] = frozenset()
        self._seen: dict[ObjectRef, _Seen] = {}
        self._due: dict[ObjectRef, float] = {}
        self._calm: dict[ObjectRef, tuple[float, float]] = {}
        self._blind: set[ObjectRef] = set()
        self._places: defaultdict[Place, set[ObjectRef]] = defaultdict(set)
        self._namespaces: dict[str, _Namespace] = {}
        self._attended: frozenset[str] = frozenset()
        self._stale: set[Place] = set()
        """Places whose reports may say something else now."""
        self._told: set[AppKey] = set()
        self._ends: float | None = None
        self._began: float | None = None
        self.reads = 0
        """How many objects were read."""

    # What changes

    def versioned(self, ref: ObjectRef) -> None:
        """The watch has seen another version of an object, or that it is gone."""
        if ref in self._managed:
            due = self._now() + self._pause(ref)
            self._due[ref] = min(due, self._due.get(ref, due))
        elif ref.kind_ref == NAMESPACE and ref.name in self._attended:
            self._all_due(r for r in self._managed if r.namespace == ref.name)

    def policies_changed(self) -> None:
        """Others may hold: every object is looked at, in memory; those for which they do are judged."""
        self._rules.forget()
        self._all_due(self._managed)

    def withdraw(self) -> None:
        """Nothing is reported any more, nor counted."""
        for state in self._fleet.states.values():
            self._told_app(state, PolicyResults())

    def tell_anew(self, places: Iterable[Place]) -> None:
        """The reports are to be compared with what they should say, those on these places too."""
        self._stale.update(places, self._places)
        self._told.update(owner.app for owner in self._managed.values())

    def stale(self, places: Iterable[Place]) -> None:
        """The reports on these places have to be compared with what they should say."""
        self._stale.update(places)

    def manage(self) -> None:
        """Learn which objects there are: those in the inventories of applications."""
        name, before = self._cluster.name, self._managed
        managed = {
            ref: _Owner(key, item.api_version)
            for key, state in self._fleet.states.items()
            for ref, item in state.items.items()
            if ref.cluster == name
        }
        self._managed = managed
        for ref, owner in before.items():
            if ref not in managed or managed[ref].app.root != owner.app.root:
                self._forget(ref, owner)
        changed = [ref for ref, owner in managed.items() if before.get(ref) != owner]
        self._told.update(before[ref].app for ref in changed if ref in before)
        self._all_due(changed)
        self._types = frozenset((owner.api_version, ref.kind) for ref, owner in managed.items())
        self._attend(frozenset(ref.namespace for ref in managed if ref.namespace))

    def needs_work(self) -> bool:
        """Whether something is due. Asks nobody."""
        now = self._now()
        if self._ends is not None and self._clock() > self._ends:
            self._ends = None
            self._all_due(self._managed)
        return bool(self._stale or self._told) or any(due <= now for due in self._due.values())

    def _attend(self, namespaces: frozenset[str]) -> None:
        for name in namespaces - self._attended:
            self._cluster.attend(self._namespace_ref(name))
        for name in self._attended - namespaces:
            self._cluster.neglect(self._namespace_ref(name))
            self._namespaces.pop(name, None)
        self._attended = namespaces

    def close(self) -> None:
        """Attend to nothing any more."""
        self._attend(frozenset())

    def _all_due(self, refs: Iterable[ObjectRef]) -> None:
        now = self._now()
        self._due.update((ref, now) for ref in refs)

    def _pause(self, ref: ObjectRef) -> float:
        """How long a changed object is left alone: something that changes all the time is not read all the time."""
        now = self._now()
        last, pause = self._calm.get(ref, (-LONGEST, CALM))
        pause = CALM if now - last >= LONGEST + pause else min(pause * 2, LONGEST)
        self._calm[ref] = (now, pause)
        return pause

    # Which have to be judged

    async def look(self) -> bool:
        """Look at what is due; False when nothing was. Raises TargetError, PolicyError; what could not be looked at stays due."""
        now = self._now()
        self._began = self._began or now
        ready = sorted(ref for ref, due in self._due.items() if due <= now)
        if not ready:
            return False
        wanted = set(ready)
        try:
            for first in range(0, len(ready), RECALLED):
                chunk = ready[first : first + RECALLED]
                recalled = await self._memory.recall(chunk)
                for ref in chunk:
                    self._due.pop(ref, None)
                    if not await self._needs_reading(ref, recalled.get(ref)):
                        wanted.discard(ref)
            await self._read(wanted)
        finally:
            self._all_due(wanted)  # those that could not be read
        self._calm = {ref: calm for ref, calm in self._calm.items() if calm[0] > now - 2 * LONGEST}
        return True

    async def _needs_reading(self, ref: ObjectRef, kept: Judged | None) -> bool:
        owner = self._managed.get(ref)
        state = self._fleet.states.get(owner.app) if owner is not None else None
        if owner is None or state is None:
            return False
        seen = self._adopted(ref, owner, kept)
        live = self._cluster.get(ref)
        if live is None:
            if self._cluster.watched(ref.kind_ref):
                self._forget(ref, owner)
            else:
                self._blind.add(ref)
                self._due.setdefault(ref, self._now() + (UNWATCHED if self._starting else LONGEST))
            return False
        self._blind.discard(ref)
        rules = await self._rules.of(state.app.spec.project, self._types)
        if rules is None or (owner.api_version, ref.kind) not in rules.about:
            self._forget(ref, owner)
            return False
        if seen is None or not self._recounted(ref, owner, seen, rules, kept):
            return True
        if (seen.uid, seen.version) != (live.uid, live.resource_version) or self._outdated(seen):
            return True
        return seen.key != await self._key(ref, rules)

    def _recounted(self, ref: ObjectRef, owner: _Owner, seen: _Seen, rules: Rules, kept: Judged | None) -> bool:
        """Have the present waivers heard; False when it is not known any more what was said before them."""
        if seen.waivers == rules.waivers_at(self._clock()):
            return True
        if kept is None or (kept.uid, kept.content, kept.key) != (seen.uid, seen.content, seen.key):
            self._forget(ref, owner)
            return False
        state = self._fleet.states.get(owner.app)
        if seen.waivers == _UNKNOWN and state is not None and state.desired is None and rules.bound:
            self._due.setdefault(ref, self._now() + UNWATCHED)  # what its author wrote is not known yet
            return True
        self._count(ref, owner, seen, rules, kept.verdicts)
        return True

    def _adopted(self, ref: ObjectRef, owner: _Owner, kept: Judged | None) -> _Seen | None:
        """What is known of an object: from an earlier start, when this one knows nothing yet."""
        seen = self._seen.get(ref)
        if seen is None and kept is not None:
            seen = _Seen(kept.uid, kept.version, kept.content, kept.key, kept.at, kept.looked, waivers=_UNKNOWN)
            self._seen[ref] = seen
            self._places[_place(owner, ref)].add(ref)
        if seen is not None and seen.looked:
            self._due.setdefault(ref, self._now() + max(seen.at + ANEW - self._clock(), 0.0) + CALM)
        return seen

    def _outdated(self, seen: _Seen) -> bool:
        return seen.looked and self._clock() - seen.at >= ANEW

    async def _key(self, ref: ObjectRef, rules: Rules) -> str:
        """Stands for all that decides a judgement, besides the object."""
        digest = (await self._namespace(ref.namespace)).digest if ref.namespace else ""
        return f"{rules.hash} {digest}"

    async def _namespace(self, name: str) -> _Namespace:
        live = self._cluster.get(self._namespace_ref(name))
        version = live.resource_version if live is not None else ""
        known = self._namespaces.get(name)
        if known is None or known.version != version:
            await self._pace.turn()
            body = await self._policing.namespace(self._cluster, name)
            digest = scan_content(body)[:16] if body is not None else ""
            known = self._namespaces[name] = _Namespace(version, digest, body)
        return known

    # Judging

    async def _read(self, wanted: set[ObjectRef]) -> None:
        """Read and judge; what was read leaves `wanted`."""
        listed = [(ref, self._managed[ref].api_version) for ref in sorted(wanted) if ref in self._managed]
        async for page in self._reader.read(listed):
            self.reads += len(page)
            await self._judge(page)
            wanted.difference_update(page)
        wanted.clear()  # the rest is not there: the watch will say so

    async def _judge(self, page: Mapping[ObjectRef, Body]) -> None:
        groups: defaultdict[str, list[tuple[ObjectRef, Body]]] = defaultdict(list)
        for ref, body in page.items():
            owner = self._managed.get(ref)
            state = self._fleet.states.get(owner.app) if owner is not None else None
            if state is not None:
                groups[state.app.spec.project].append((ref, body))
        for project, found in groups.items():
            rules = await self._rules.of(project, self._types)
            if rules is None:
                continue
            changed = [(ref, body) for ref, body in found if not await self._same(ref, body, rules)]
            for first in range(0, len(changed), BATCH):
                await self._ask(rules, changed[first : first + BATCH])

    async def _same(self, ref: ObjectRef, body: Body, rules: Rules) -> bool:
        """Whether an object says what it said when it was judged; only its status, or who manages its fields, is another."""
        seen = self._seen.get(ref)
        if seen is None or self._outdated(seen) or seen.uid != body["metadata"].get("uid"):
            return False
        if seen.content != self._content(body) or seen.key != await self._key(ref, rules):
            return False
        seen.version = str(body["metadata"].get("resourceVersion") or "")
        return seen.waivers == rules.waivers_at(self._clock())

    async def _ask(self, rules: Rules, found: Sequence[tuple[ObjectRef, Body]]) -> None:
        reviews = [await self._review(ref, body) for ref, body in found]
        keys = [await self._key(ref, rules) for ref, _ in found]
        lookups = ClusterLookups(self._cluster, rules.policies.synced)
        began = self._now()
        said = await self._service.validate(rules.policies.set, reviews, lookups, without=rules.without, brief=False)
        judged: dict[ObjectRef, Judged] = {}
        for (ref, body), key, answer in zip(found, keys, said, strict=True):
            metadata = body["metadata"]
            judged[ref] = Judged(
                str(metadata.get("uid") or ""),
                str(metadata.get("resourceVersion") or ""),
                self._content(body),
                key,
                self._clock(),
                answer.looked,
                answer.verdicts,
            )
        await self._memory.keep(judged)
        for ref, each in judged.items():
            owner = self._managed.get(ref)
            if owner is not None:
                self._take(ref, owner, each, rules)
        await self._pace.rest(self._now() - began)

    def _content(self, body: Body) -> str:
        """Keyed, for it stands in reports: from a plain hash the value of a Secret could be guessed."""
        return self._mac(scan_content(body).encode())

    async def _review(self, ref: ObjectRef, body: Body) -> Review:
        info = await self._cluster.kind(ref.kind_ref)
        return Review(
            object=bare(body),
            operation=Operation.CREATE,
            resource=f"{body['apiVersion']}/{info.plural}" if info else "",
            namespaced=info.namespaced if info else None,
            namespace_object=(await self._namespace(ref.namespace)).body if ref.namespace else None,
        )

    def _take(self, ref: ObjectRef, owner: _Owner, judged: Judged, rules: Rules) -> None:
        seen = _Seen(judged.uid, judged.version, judged.content, judged.key, judged.at, judged.looked)
        self._seen[ref] = seen
        self._places[_place(owner, ref)].add(ref)
        if judged.looked:
            self._due.setdefault(ref, self._now() + ANEW + CALM)
        self._count(ref, owner, seen, rules, judged.verdicts)

    def _count(self, ref: ObjectRef, owner: _Owner, seen: _Seen, rules: Rules, verdicts: Sequence[Verdict]) -> None:
        now = self._clock()
        seen.waivers = rules.waivers_at(now)
        seen.counts = counted(self._after_waivers(ref, owner, rules, verdicts), rules.traits)
        ends = rules.next_end(now)
        if ends is not None and (self._ends is None or ends < self._ends):
            self._ends = ends
        self._stale.add(_place(owner, ref))
        self._told.add(owner.app)

    def _after_waivers(
        self, ref: ObjectRef, owner: _Owner, rules: Rules, verdicts: Sequence[Verdict]
    ) -> tuple[Verdict, ...]:
        waivers = rules.policies.waivers
        if not verdicts:
            return ()
        state = self._fleet.states.get(owner.app)
        desired = _in_git(state, ref)
        content = ""
        if rules.bound and desired is not None and state is not None and ref not in state.out_of_sync:
            content = content_of(
                desired.body
            )  # waivers are bound to what the author of an object that is as Git says wrote
        if desired is not None and desired.origin.secret:
            verdicts = [without_origin(v, desired.body, desired.origin.secret) for v in verdicts]
        return waived(verdicts, waivers, content, self._clock())

    def _forget(self, ref: ObjectRef, owner: _Owner) -> None:
        self._blind.discard(ref)
        if ref not in self._managed:
            self._due.pop(ref, None)
        place = _place(owner, ref)
        if self._seen.pop(ref, None) is not None:
            self._stale.add(place)
            self._told.add(owner.app)
        self._places[place].discard(ref)
        if not self._places[place]:
            del self._places[place]

    # Reports

    @property
    def roots(self) -> frozenset[str]:
        """The roots whose applications run something here."""
        return frozenset(owner.app.root for owner in self._managed.values())

    async def tell(self, shelf: Shelf) -> None:
        """Bring the reports in line. Places with objects that are not judged yet wait. Raises TargetError; what could not be told stays so."""
        self._tell_apps()
        waiting = self._waiting()
        for place in sorted(self._stale - waiting):
            self._stale.discard(place)  # what happens from here on may make it stale again
            try:
                bodies = await self._reports(shelf.flavour, place)
                if bodies is not None:
                    await shelf.keep(place, bodies)
            except BaseException:
                self._stale.add(place)
                raise

    def _waiting(self) -> set[Place]:
        found: set[Place] = set()
        for ref, due in self._due.items():
            seen = self._seen.get(ref)
            if seen is None:
                waits = self._starting or ref not in self._blind
            else:
                waits = self._starting and seen.waivers == _UNKNOWN
            if waits or due <= self._now():
                found.add(_place(self._managed[ref], ref))
        return found

    @property
    def _starting(self) -> bool:
        """Watches, and what Git wants, may still become known."""
        return self._began is None or self._now() - self._began < GRACE

    async def _reports(self, flavour: Flavour, place: Place) -> list[Body] | None:
        """The reports on a place; None when something of it has to be judged again first."""
        refs = sorted(self._places.get(place, ()))
        kept = await self._memory.recall(refs)
        scanned: list[Scanned] = []
        traits, hashes = dict[str, Trait](), set[str]()
        for ref in refs:
            owner, seen, judged = self._managed[ref], self._seen[ref], kept.get(ref)
            state = self._fleet.states.get(owner.app)
            rules = await self._rules.of(state.app.spec.project, self._types) if state is not None else None
            if judged is None or (judged.content, judged.uid) != (seen.content, seen.uid):
                self._forget(ref, owner)
                self._all_due([ref])
                self._stale.add(place)
                return None
            if rules is None:
                continue
            traits |= rules.traits
            hashes.add(rules.hash)
            verdicts = self._after_waivers(ref, owner, rules, judged.verdicts)
            subject = Subject(owner.api_version, ref.kind, ref.namespace, ref.name)
            scanned.append(Scanned(subject, judged.uid, judged.content[:16], judged.at, verdicts))
        hash_ = " ".join(sorted(hashes))
        return await asyncio.to_thread(reports, flavour, place[0], place[1], hash_, scanned, traits)

    def _tell_apps(self) -> None:
        for key in self._told:
            state = self._fleet.states.get(key)
            if state is None:
                continue
            seen = [self._seen[ref] for ref in state.items if ref in self._seen]
            counts: Counter[str] = Counter()
            for each in seen:
                counts.update(each.counts)
            self._told_app(state, PolicyResults(dict(counts), sum(each.fails for each in seen)))
        self._told.clear()

    def _told_app(self, state: AppState, found: PolicyResults) -> None:
        before = state.policy_results.get(self._cluster.name, PolicyResults())
        if found == before:
            return
        if found.results:
            state.policy_results[self._cluster.name] = found
        else:
            state.policy_results.pop(self._cluster.name, None)
        self._fleet.publish(state)

    def _namespace_ref(self, name: str) -> ObjectRef:
        return ObjectRef(self._cluster.name, NAMESPACE.group, NAMESPACE.kind, "", name)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _place(owner: _Owner, ref: ObjectRef) -> Place:
    return owner.app.root, ref.namespace


def _in_git(state: AppState | None, ref: ObjectRef) -> Manifest | None:
    """An object as Git has it, if it is known."""
    if state is None or state.desired is None:
        return None
    return next((w.manifest for w in state.desired.objects if w.ref == ref), None)
