"""The background scan: what the policies say of what runs, told in each cluster as reports. It has time, and takes its own worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from taut.clients.fair import FLOW
from taut.controller.fleet import Fleet
from taut.controller.policing import Policing
from taut.controller.scan_cluster import ClusterScan
from taut.controller.scan_memory import ScanMemory
from taut.controller.scan_note import scan_note
from taut.controller.scan_reading import Pace
from taut.controller.scan_reports import Shelf, served_flavour
from taut.model.errors import StoreError, TautError
from taut.model.refs import ObjectRef
from taut.planning.order import NAMESPACE
from taut.policy.report import FLAVOURS
from taut.policy.service import PolicyService
from taut.store.store import Store
from taut.targets.kubernetes.cluster import Cluster
from taut.targets.kubernetes.collection import KindState

log = logging.getLogger("taut.policies")

TICK = 1.0
"""Seconds between two looks (into memory) for something to do."""
RETRY, LONGEST = 5.0, 300.0
"""Seconds after a failure, twice as long after each that follows."""

SPARSE = 50
"""What is managed is gone through for one part in so many of the time at most."""


class Scanning:
    """The scans of all clusters where `policyReports` is on; elsewhere, reports that an earlier start had made are removed.

    `service` judges for the scan alone, so that nobody waits for it. `runs` counts looks at applications, `starting` is empty as soon as
    it is known which there are.
    """

    def __init__(
        self,
        fleet: Fleet,
        policing: Policing | None,
        service: PolicyService | None,
        store: Store,
        memory: ScanMemory,
        wanted: Iterable[str],
        runs: Callable[[], int],
        starting: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._store = store
        self._runs = runs
        self._starting = starting
        self._tasks: list[asyncio.Task[None]] = []
        self.service = service
        self.doors: dict[str, Door] = {}
        if policing is not None and service is not None:
            for name in wanted:
                pace = Pace()
                cluster = fleet.clusters[name]
                scan = ClusterScan(cluster, fleet, policing, service, memory, pace, clock, store.mac)
                self.doors[name] = Door(cluster, scan, store, pace, runs, starting)
            policing.on_changed.append(self.policies_changed)

    def start(self) -> None:
        """Begin, in the background."""
        for name, cluster in self._fleet.clusters.items():
            door = self.doors.get(name)
            work = door.run() if door is not None else take_down(cluster, self._store)
            self._tasks.append(asyncio.create_task(work, name=f"policy reports of {name}"))

    async def close(self) -> None:
        """Stop. The reports stay: the next start goes on with them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def policies_changed(self) -> None:
        """Others may hold."""
        for door in self.doors.values():
            door.policies_changed()

    def on_kinds(self, cluster: str) -> None:
        """Kinds came or went in a cluster: reports may be among them."""
        if cluster in self.doors:
            self.doors[cluster].kinds_changed()

    def on_state(self, cluster: str, kind: KindState) -> None:
        """A kind's watch is complete, fails, or works again."""
        if cluster in self.doors and any(kind.kind.group == flavour.group for flavour in FLAVOURS):
            self.doors[cluster].kinds_changed()


class Door:
    """One cluster's scan at work."""

    def __init__(
        self,
        cluster: Cluster,
        scan: ClusterScan,
        store: Store,
        pace: Pace,
        runs: Callable[[], int],
        starting: Callable[[], str],
    ) -> None:
        self._cluster = cluster
        self.scan = scan
        self._store = store
        self._pace = pace
        self._runs = runs
        self._starting = starting
        self._seen_runs = -1
        self._not_before = 0.0
        self._kinds_changed = True
        self._poked = asyncio.Event()
        self._noted: frozenset[str] = frozenset()
        self.shelf: Shelf | None = None
        self.trouble = ""
        """Why nothing is reported; empty when all is well."""

    def policies_changed(self) -> None:
        """Others may hold."""
        self.scan.policies_changed()
        self._poked.set()

    def kinds_changed(self) -> None:
        """Reports may be served now, or no longer."""
        self._kinds_changed = True
        self._poked.set()

    async def run(self) -> None:
        """Keep the reports right, until cancelled."""
        FLOW.set("policy reports")
        self._cluster.hear_versions(self._versioned)
        pause = RETRY
        try:
            await _until_known(self._starting)
            while True:
                try:
                    await self._round()
                except TautError as error:
                    self._say(f"cluster {self._cluster.name}: policy reports wait: {error}")
                except Exception as error:  # noqa: BLE001 (one odd answer must not end the scan)
                    self._say(
                        f"cluster {self._cluster.name}: policy reports wait: an error inside taut ({type(error).__name__})"
                    )
                else:
                    pause = RETRY
                    await self._something_new()
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._poked.wait()
                pause = min(pause * 2, LONGEST)
        finally:
            self._cluster.hear_versions(lambda _: None)
            self.scan.close()
            if self.shelf is not None:
                self.shelf.close()

    def _versioned(self, ref: ObjectRef) -> None:
        self.scan.versioned(ref)
        place = self.shelf.disturbed(ref) if self.shelf is not None else None
        if place is not None:
            self.scan.stale([place])

    async def _something_new(self) -> None:
        """Wait until there is something to do. At rest this asks nobody."""
        while not self._news:  # noqa: ASYNC110 (events come by the hundred, and nobody waits: they are looked at together)
            await asyncio.sleep(TICK)

    @property
    def _news(self) -> bool:
        late = asyncio.get_running_loop().time() >= self._not_before
        if self._kinds_changed or (late and self._runs() != self._seen_runs):
            return True
        return self.shelf is not None and self.scan.needs_work()

    async def _round(self) -> None:
        self._poked.clear()
        self._manage()
        if self._kinds_changed:
            self._kinds_changed = False
            try:
                await self._open()
            except BaseException:
                self._kinds_changed = True
                raise
        if self.shelf is None:
            return
        while await self.scan.look():
            pass
        await self._note(self.scan.roots)
        await self.scan.tell(self.shelf)
        self._say("")

    def _manage(self) -> None:
        """Learn what is managed, when applications were looked at since; how often depends on how long it takes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._runs() == self._seen_runs or began < self._not_before:
            return
        self._seen_runs = self._runs()
        self.scan.manage()
        self._not_before = loop.time() + SPARSE * (loop.time() - began)

    async def _open(self) -> None:
        """Learn which reports the cluster serves, and which of taut's there are."""
        flavour = await served_flavour(self._cluster)
        if flavour is None:
            if self.shelf is not None:
                self.shelf.close()
            self.shelf = None
            self.scan.withdraw()
            self._say(f"cluster {self._cluster.name}: nothing is reported: it serves no PolicyReport; install its CRD")
            return
        if self.shelf is not None and self.shelf.flavour == flavour:
            return
        await self._cluster.watch_kinds([NAMESPACE, flavour.kind_for("any"), flavour.kind_for("")])
        roots = _roots(await self._store.noted(scan_note(self._cluster.name)))
        self._noted = roots
        for other in FLAVOURS:
            if other != flavour:
                await _removed(Shelf(self._cluster, other, self._pace), roots)
        shelf = Shelf(self._cluster, flavour, self._pace)
        await shelf.load(roots | self.scan.roots)
        if self.shelf is not None:
            self.shelf.close()
        self.shelf = shelf
        self.scan.tell_anew(shelf.places)

    async def _note(self, roots: frozenset[str]) -> None:
        """Note ahead whose reports are about to be written, so that they are removed even if taut is configured otherwise at its next start."""
        if not roots <= self._noted:
            noted = self._noted | roots
            await self._store.note(scan_note(self._cluster.name), " ".join(sorted(noted)))
            self._noted = noted

    def _say(self, text: str) -> None:
        if text and text != self.trouble:
            log.warning("%s", text)
        self.trouble = text


async def take_down(cluster: Cluster, store: Store) -> None:
    """Remove every report that an earlier start has made: it was switched off. Tries until that is done."""
    pause = RETRY
    while not await _taken_down(cluster, store):
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST)


async def _taken_down(cluster: Cluster, store: Store) -> bool:
    try:
        roots = _roots(await store.noted(scan_note(cluster.name)))
        if not roots:
            return True
        for flavour in FLAVOURS:
            await _removed(Shelf(cluster, flavour, Pace()), roots)
        await store.note(scan_note(cluster.name), None)
    except StoreError as error:
        log.warning("whether there are policy reports cannot be looked up: %s", error)
        return False
    except TautError as error:
        log.warning("cluster %s: the policy reports cannot be removed: %s", cluster.name, error)
        return False
    log.info("cluster %s: the policy reports were removed", cluster.name)
    return True


async def _removed(shelf: Shelf, roots: frozenset[str]) -> None:
    try:
        await shelf.load(roots)
        await shelf.remove_all()
    finally:
        shelf.close()


async def _until_known(starting: Callable[[], str]) -> None:
    while starting():  # noqa: ASYNC110 (a start of seconds tells nobody of its end)
        await asyncio.sleep(0.05)


def _roots(note: str | None) -> frozenset[str]:
    return frozenset((note or "").split())
