"""Roots: which applications and projects there are, as Git says; and what it means when one is no longer there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import msgspec
import semver

from taut.controller.fleet import Fleet
from taut.controller.queue import Reason, WorkQueue
from taut.controller.state import AppState
from taut.controller.status import problem_of
from taut.controller.triggers import Watched
from taut.dialects.alerts import AlertBook, usable_alerts
from taut.dialects.alerts_config import AlertsConfig
from taut.dialects.config import RootConfig
from taut.dialects.for_each import (
    Expansion,
    Found,
    Needs,
    expand,
    generator_needs,
    match_branches,
    match_folders,
    without_duplicates,
)
from taut.dialects.native import ApplicationTemplate
from taut.dialects.problems import DocumentProblem
from taut.dialects.projects import DEFAULT_PROJECT, Violation, project_of, repository_allowed, usable_projects
from taut.dialects.root import read_root
from taut.dialects.taut import Parsed
from taut.model.alerts import AlertReceiver, AlertRule
from taut.model.application import Application, Source
from taut.model.errors import SourceError, TautError
from taut.model.plan import Hold
from taut.model.project import Project
from taut.model.record import AppRecord
from taut.model.refs import AppKey
from taut.model.status import Problem
from taut.planning.dependencies import cycle_error, find_cycles, resolve
from taut.planning.guard import guard_root
from taut.sources.service import Sources
from taut.store.store import Store

log = logging.getLogger("taut.roots")
type Alerting = tuple[Sequence[AlertRule], Sequence[AlertReceiver]]
"""What a root says of alerts."""
NO_ALERTS = AlertsConfig()
LONGEST_READ = 10.0
"""Seconds that one root may keep the others waiting."""
WITHOUT_ROOT = 60.0
"""Seconds between looks for an application whose root is no longer configured, and which is not removed yet."""


@dataclass(slots=True)
class RootState:
    """One root. `generators` are the repositories that its forEach documents look into."""

    config: RootConfig
    revision: str = ""
    parsed: Parsed | None = None
    tree_hash: str = ""
    found: dict[Needs, Found] = field(default_factory=dict[Needs, Found])
    applications: dict[AppKey, Application] = field(default_factory=dict[AppKey, Application])
    problems: tuple[Problem, ...] = ()
    loaded: bool = False
    """Its documents were read at least once since taut started."""
    returned: bool = False
    """An application that was to go is declared again: what was held with it is judged anew."""

    @property
    def urls(self) -> dict[str, str | None]:
        """Every address that this root's list of applications depends on, with the name of its credentials."""
        return {self.config.git: self.config.credentials} | {n.git: n.credentials for n in self.found}


class Roots:
    """Reads roots and keeps the fleet to what they declare."""

    def __init__(
        self,
        configs: Iterable[RootConfig],
        configured_projects: Iterable[Project],
        sources: Sources,
        fleet: Fleet,
        queue: WorkQueue,
        store: Store,
        adopt: Callable[[Application], Awaitable[AppState]],
        alerts: AlertsConfig = NO_ALERTS,
    ) -> None:
        self.states = {c.name: RootState(c) for c in configs}
        self._configured = tuple(configured_projects)
        self._alerts = alerts
        self._sources = sources
        self._fleet = fleet
        self._queue = queue
        self._store = store
        self._adopt = adopt
        self._changed: list[AppState] = []
        self._projects: dict[str, Project] = {}
        self._former: dict[str, Project] = {}
        self._late: set[asyncio.Task[tuple[Parsed, str] | None]] = set()
        """Roots that are still being read, although nobody waits for it."""
        self._matched: dict[Needs, tuple[tuple[str, ...], Found]] = {}
        """What a generator found among these folders."""
        self._looking = asyncio.Lock()
        self._owed = False
        fleet.allowed_projects = {name: s.config.allowed_projects for name, s in self.states.items()}
        fleet.projects = usable_projects(self._configured, (), ())[0]
        self.on_changed: Callable[[], None] = lambda: None
        self.listeners: list[Callable[[], None]] = []
        """Who else hears that roots say something else."""

    async def look(self, url: str | None = None) -> None:
        """Read anew every root that depends on `url` (None: all), and bring the fleet to what they declare.

        One look at a time: two that declare the same new application would each make a state for it. What was read and could
        not be carried out (the store failed) is carried out by the next look.
        """
        async with self._looking:
            asked = [root for root in self.states.values() if url is None or url in root.urls]
            answers = await asyncio.gather(*map(self._read_soon, asked))
            read = [(root, found) for root, found in zip(asked, answers, strict=True) if found is not None]
            self._projects = self._usable({r.config.name: found[0] for r, found in read})[0]
            for root, (parsed, digest) in read:
                self._owed |= await self._take_in(root, parsed, digest)
            if self._owed:
                await self._apply()
                self._owed = False
                self.on_changed()
                for listener in self.listeners:
                    listener()

    async def _read_soon(self, root: RootState) -> tuple[Parsed, str] | None:
        """`_read`, but a server that hangs does not keep the other roots waiting: what it brings later is a move of its source."""
        reading = asyncio.create_task(self._read(root), name=f"root {root.config.name}")
        done, _ = await asyncio.wait({reading}, timeout=LONGEST_READ)
        if done:
            return reading.result()
        self._late.add(reading)
        reading.add_done_callback(self._late.discard)
        self._failed(root, SourceError("the repository has not answered yet", advice="taut goes on when it does"))
        return None

    async def _read(self, root: RootState) -> tuple[Parsed, str] | None:
        """The root's documents now, and their hash; None when they cannot be read."""
        config = root.config
        source = Source(git=config.git, ref=config.ref, path=config.path, credentials=config.credentials)
        try:
            snapshot = await self._sources.resolve(source, fetch=False)
        except TautError as error:
            self._failed(root, error)
            return None
        entry = snapshot.tree.entry(config.path)
        digest = snapshot.tree.hash if config.path in ("", ".") else entry.hash if entry else ""
        parsed = root.parsed
        if parsed is None or digest != root.tree_hash:
            try:
                parsed = read_root(snapshot.tree, config.path, root=config.name)
            except TautError as error:
                self._failed(root, error)
                return None
        root.revision = snapshot.revision.label
        return parsed, digest

    async def _take_in(self, root: RootState, parsed: Parsed, digest: str) -> bool:
        """Ask the generators; whether anything is other than before."""
        allowed = [t for t in parsed.applications if not self._may_not_look(root, t)]
        needs = {n for t in allowed if (n := generator_needs(t)) is not None}
        found = {n: await self._generate(n) for n in needs}
        if root.loaded and parsed is root.parsed and found == root.found and not root.problems:
            return False
        root.parsed, root.tree_hash, root.found, root.loaded = parsed, digest, found, True
        root.problems = ()
        return True

    def _may_not_look(self, root: RootState, template: ApplicationTemplate) -> str:
        """Why a generator may not look into its repository: only the root's own, and what the document's project lists, is read."""
        needs = generator_needs(template)
        if needs is None or needs.git == root.config.git:
            return ""
        spec = template.body.get("spec") or {}
        name = str(spec.get("project", DEFAULT_PROJECT))
        project = self._projects.get(name)
        if project is None:
            return f"there is no project {name!r} to allow the repository {needs.git}"
        return "" if repository_allowed(project, needs.git) else f"project {name} does not allow {needs.git}"

    def _usable(self, parsed: Mapping[str, Parsed]) -> tuple[dict[str, Project], list[DocumentProblem]]:
        """The projects that count, and what is wrong with others. `parsed` is newer than what was taken in."""
        now = {name: parsed.get(name, s.parsed) for name, s in self.states.items()}
        return usable_projects(
            self._configured,
            [p for found in now.values() if found for p in found.projects],
            {r.config.name for r in self.states.values() if r.config.projects},
        )

    def alert_book(
        self, remembered: Mapping[str, Alerting] = MappingProxyType({})
    ) -> tuple[AlertBook, list[DocumentProblem]]:
        """The alert rules and receivers that count, and what is wrong with others. `remembered` counts instead of what a root says."""
        declared: dict[str, Alerting] = dict(remembered)
        for name, state in self.states.items():
            if state.parsed is not None:
                declared.setdefault(name, (state.parsed.alert_rules, state.parsed.alert_receivers))
        trusted = {name for name, state in self.states.items() if state.config.alerts}
        return usable_alerts(self._alerts, declared, trusted)

    def _failed(self, root: RootState, error: TautError) -> None:
        """A root that cannot be read changes nothing: what it declared last goes on."""
        problem = problem_of(error, "source")
        if root.problems != (problem,):
            log.warning("root %s: %s", root.config.name, error)
        root.problems = (problem,)

    async def _generate(self, needs: Needs) -> Found:
        try:
            if needs.kind == "branches":
                branches = await self._sources.branches(needs.git, credentials=needs.credentials)
                names = match_branches(branches, needs.include)
                return Found(branches={n: branches[n] for n in names})
            source = Source(git=needs.git, ref=needs.ref, credentials=needs.credentials)
            snapshot = await self._sources.resolve(source, fetch=False)
            folders = await self._sources.folders(snapshot)
            known = self._matched.get(needs)
            if known is None or known[0] is not folders:  # the same folders are the same tuple
                known = (folders, Found(folders=match_folders(folders, needs.include, needs.exclude)))
                self._matched[needs] = known
            return known[1]
        except TautError as error:
            return Found(failed=str(error))

    # From documents to the fleet

    async def _apply(self) -> None:
        projects, problems = self._usable({})
        problems = [*problems, *self.alert_book()[1]]
        self._reproject(projects)
        for root in self.states.values():
            if root.loaded:
                own = [p for p in problems if p.where.repository == root.config.name]
                await self._apply_root(root, own)
        self._link()
        self._release()

    def _reproject(self, projects: dict[str, Project]) -> None:
        """Take the projects, and have every application looked at whose project says something else now."""
        before, self._fleet.projects = self._fleet.projects, projects
        self._former |= before
        for state in self._fleet.states.values():
            name = state.app.spec.project
            if not state.removed and before.get(name) != projects.get(name):
                state.mark_stale()
                self._changed.append(state)

    async def _apply_root(self, root: RootState, problems: list[DocumentProblem]) -> None:
        parsed = root.parsed
        if parsed is None:
            return
        expansions = [(t, self._expand(root, t)) for t in parsed.applications]
        declared, claimed = without_duplicates(a for _, e in expansions for a in e.applications)
        every = [*parsed.problems, *problems, *claimed, *(p for _, e in expansions for p in e.problems)]
        root.problems = tuple(p.as_problem() for p in every)
        for problem in every:
            log.warning("root %s: %s", root.config.name, problem)
        doubtful = self._doubtful(parsed, expansions, claimed)
        root.applications = {a.key: a for a in declared}
        for app in declared:
            await self._declare(root, app)
        await self._undeclare(root, doubtful, every)
        if not doubtful:
            self._fleet.known_roots |= {root.config.name}
            self._fleet.wake_claiming()
        else:
            self._fleet.known_roots -= {root.config.name}

    def _expand(self, root: RootState, template: ApplicationTemplate) -> Expansion:
        needs = generator_needs(template)
        refused = self._may_not_look(root, template)
        if refused:
            return expand(template, Found(failed=refused))
        return expand(template, root.found.get(needs) if needs else None)

    def _doubtful(
        self,
        parsed: Parsed,
        expansions: list[tuple[ApplicationTemplate, Expansion]],
        claimed: Iterable[DocumentProblem],
    ) -> frozenset[str]:
        """The files of which it is not known what they declare: nothing that came from them is taken for removed."""
        incomplete = {t.place.file for t, e in expansions if not e.complete}
        return parsed.doubtful | incomplete | {p.where.file for p in claimed}

    async def _declare(self, root: RootState, app: Application) -> None:
        state = self._fleet.states.get(app.key)
        project = project_of(app, self._fleet.projects, root.config.allowed_projects)
        broken = (_violation_problem(project),) if isinstance(project, Violation) else ()
        if state is None:
            self._fleet.returns(app.key)
            state = await self._adopt(app)
            self._fleet.add(state)
        elif not state.removed and state.document_problems == broken and _same_words(state.app, app):
            await self._moved(state, app)
            return
        else:
            if state.removed:
                root.returned = True
                await self._come_back(state)
            state.removed = False
            state.app = app
            await self._remember(state)
        state.document_problems = broken
        state.problems = ()
        state.mark_stale()
        self._changed.append(state)

    async def _moved(self, state: AppState, app: Application) -> None:
        """The document stands elsewhere and says the same. Which file it is in is remembered: it may become unreadable."""
        other_file = state.app.origin_file != app.origin_file
        state.app = app
        if other_file:
            await self._remember(state)

    async def _come_back(self, state: AppState) -> None:
        """Its removal may have begun: what is gone was deleted by taut, and is no drift."""
        items = [replace(item, pending=True) for item in state.items.values()]
        await self._store.put_items(state.key, items)
        for item in items:
            self._fleet.put_item(state, item)

    async def _remember(self, state: AppState) -> None:
        spec = msgspec.json.encode(state.app)
        if state.record.spec != spec or state.record.deleting:
            state.record = msgspec.structs.replace(
                state.record, spec=spec, deleting=False, removal_held="", parting=b""
            )
            await self._store.put_app(state.record)

    async def _undeclare(self, root: RootState, doubtful: frozenset[str], problems: list[DocumentProblem]) -> None:
        """Applications that the root no longer declares: taken down, unless it is not sure, or too many go at once.

        A file that cannot be read and that nothing came from before may be one that was renamed: it may hold any of them.
        """
        known = {k: s for k, s in self._fleet.states.items() if k.root == root.config.name}
        strange = doubtful - {s.app.origin_file for s in known.values()}
        gone: list[AppState] = []
        for key, state in known.items():
            if key in root.applications:
                continue
            if state.app.origin_file in doubtful or (strange and not state.removed):
                files = {state.app.origin_file} if state.app.origin_file in doubtful else strange
                state.document_problems = tuple(p.as_problem() for p in problems if p.where.file in files)
                self._fleet.publish(state)
            else:
                gone.append(state)
        # One that only waits for others to take what it had loses nothing any more.
        through = {s.key for s in gone if s.only_hands_over}
        hold = guard_root([s.key for s in gone if s.key not in through], len(known) - len(through), root.config.guards)
        # Those that were approved and went make the others' share smaller; that is no reason to let them go unasked.
        held = {} if root.returned else {s.key: s.removal_hold for s in gone if s.removed}
        root.returned = False
        for state in gone:
            await self._take_down(state, (None if state.key in through else hold) or held.get(state.key))

    async def _take_down(self, state: AppState, hold: Hold | None) -> None:
        state.removal_hold = hold
        state.removal_sure = True
        message = hold.message if hold else ""
        if state.removed and state.record.removal_held != message:
            state.record = msgspec.structs.replace(state.record, removal_held=message)
            await self._store.put_app(state.record)
        if not state.removed:
            state.removed = True
            project = self._former.get(state.app.spec.project)
            if project is not None:
                self._fleet.parting[state.key] = project
            state.document_problems = ()
            state.problems = ()
            # Should it come back, everything is looked at as for the first time: some of it may be gone.
            parting = msgspec.json.encode(project) if project is not None else b""
            state.record = msgspec.structs.replace(
                state.record, deleting=True, content_hash="", removal_held=message, parting=parting
            )
            await self._store.put_app(state.record)
        self._changed.append(state)

    def _release(self) -> None:
        """Let what changed be looked at: not before all dependencies are known."""
        changed, self._changed = self._changed, []
        for state in changed:
            self._queue.add(state.key, Reason.PUSH, project=state.app.spec.project)
            self._fleet.publish(state)

    def _link(self) -> None:
        """Learn the dependencies anew, and which of them go round in circles."""
        states = self._fleet.states
        graph: dict[AppKey, set[AppKey]] = {}
        faults: dict[AppKey, TautError] = {}
        for state in states.values():
            app = state.app
            graph[app.key] = set()
            for text in app.spec.depends_on:
                try:
                    graph[app.key].add(resolve(text, app.key, states))
                except TautError as error:
                    faults[app.key] = error
        for cycle in find_cycles(graph):
            for key in cycle:
                faults[key] = cycle_error(cycle)
        for key, state in states.items():
            before = state.dependency_problems
            state.dependency_problems = (problem_of(faults[key], "dependency"),) if key in faults else ()
            if state.dependency_problems != before:
                self._fleet.publish(state)
        self._fleet.dependence.link(graph, {key: error.what for key, error in faults.items()})
        for key in states:
            if self._fleet.dependence.changed(key):
                self._queue.add(key, Reason.DEPENDENCY)


def _violation_problem(violation: Violation) -> Problem:
    return Problem(what=violation.what, where=str(violation.where), advice=violation.advice, stage="document")


def _same_words(one: Application, other: Application) -> bool:
    """Whether two documents say the same, wherever they stand: a line that is put above many of them changes none."""
    return one == msgspec.structs.replace(other, origin_file=one.origin_file, origin_line=one.origin_line)


def restored(record: AppRecord) -> Application | None:
    """The application as the store remembers it; None when this version of taut cannot read it."""
    try:
        return msgspec.json.decode(record.spec, type=Application)
    except msgspec.DecodeError:
        return None


def watched(roots: Mapping[str, RootState], fleet: Fleet) -> Iterable[Watched]:
    """Every address that has to be looked at, as often as the root that needs it says. What a project forbids is not."""
    for root in roots.values():
        for url, credentials in root.urls.items():
            yield Watched(url, root.config.poll_seconds, credentials)
    for state in fleet.states.values():
        config = roots.get(state.key.root)
        seconds = config.config.poll_seconds if config else WITHOUT_ROOT
        for source in state.app.spec.all_sources:
            if (source.git or not _is_fixed(source)) and fleet.may_read(state, source.url):
                yield Watched(source.url, seconds, source.credentials, git=source.git is not None)


def _is_fixed(source: Source) -> bool:
    """A chart's version and an artifact's digest stay what they are: nothing to look for."""
    if source.helm:
        return semver.Version.is_valid((source.version or source.ref or "").removeprefix("v"))
    return (source.ref or "").startswith("sha256:") or "@sha256:" in (source.oci or "")
