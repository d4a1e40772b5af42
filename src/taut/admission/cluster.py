"""One cluster's side of admission: who taut is there, what it manages, and the configuration that is kept right."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from taut.admission.decision import Interests, Policies
from taut.admission.interests import resources, rules_for_managed
from taut.admission.notes import note_of
from taut.admission.registration import KIND, Registration, Service, Wish, name_of, wanted
from taut.admission.reviews import Question
from taut.controller.controller import Controller
from taut.dialects.admission_config import AdmissionConfig
from taut.model.errors import StoreError, TautError
from taut.model.live import FIELD_MANAGER
from taut.model.refs import KindRef, ObjectRef
from taut.targets.kubernetes.cluster import Cluster, Event

log = logging.getLogger("taut.admission")

TICK = 2.0
"""Seconds between two looks (into memory) for kinds that taut manages since."""
START = 30.0
"""Seconds that the roots are waited for: until then it is not known what is managed."""
CALM, LONGEST, QUIET = 1.0, 60.0, 300.0
"""Seconds between two writes (or vain tries) at least, twice as long after each that is not the first for a while: another program may want
something else."""
_NOTE = "admission registered"


class Running(Protocol):
    """What a door asks of the webhook it belongs to."""

    config: AdmissionConfig
    policies: Policies

    @property
    def bundle(self) -> bytes:
        """The CAs to trust, as PEM."""
        ...


class ClusterDoor:
    """Keeps one cluster's configuration as it should be."""

    def __init__(
        self, controller: Controller, cluster: Cluster, running: Running, reach: str | Service, exempt: tuple[str, ...]
    ) -> None:
        self._controller = controller
        self._cluster = cluster
        self._running = running
        self._reach = reach
        self._exempt = exempt
        self._registration = Registration(cluster.client, running.config.instance)
        self._ref = _configuration(cluster.name, running.config.instance)
        self._news = asyncio.Event()
        self.own_user: str | None = None
        """The user that taut is to this cluster: None until it was asked, empty when it does not tell."""
        self._runs = -1
        self._managed: frozenset[KindRef] = frozenset()
        self._kinds: dict[tuple[str, str], KindRef] = {}
        self.trouble = ""
        """Why the configuration cannot be kept right; empty when it is."""
        self._noted = ""
        self._about: Interests | None = None
        self._unsure = False
        self.writes = 0
        """How often the configuration had to be written."""

    def poke(self) -> None:
        """Something that the configuration is made from has changed."""
        self._news.set()

    def on_event(self, event: Event) -> None:
        """An object of the cluster changed: the configuration, perhaps."""
        if event.ref == self._ref:
            self._news.set()

    # What a request is about

    def ref(self, question: Question) -> ObjectRef | None:
        """The object that is changed; None when it has no name yet."""
        kind = self._kinds.get(question.resource)
        if kind is None:
            if question.review.subresource:
                return None
            kind = question.kind
        if not question.name:
            return None
        return ObjectRef(self._cluster.name, kind.group, kind.kind, question.namespace, question.name)

    def is_taut(self, question: Question, ref: ObjectRef) -> bool:
        """Whether it is taut that writes: as itself, or as the account that the object's application has it write as."""
        user = question.review.user.name
        if user == self.own_user:
            return True
        if not self.own_user:
            return question.manager.startswith(FIELD_MANAGER)
        fleet = self._controller.fleet
        owner = fleet.owner(ref)
        state = fleet.states.get(owner) if owner is not None else None
        if state is None or question.manager != FIELD_MANAGER:
            return False
        try:
            return fleet.impersonation_of(state)(ref.namespace) == user
        except TautError:
            return False

    # The configuration

    async def stay_told(self) -> None:
        """Keep the configuration right, until cancelled."""
        self._cluster.attend(self._ref)
        try:
            await self._until_known()
            await self._keep()
        finally:
            self._cluster.neglect(self._ref)

    async def _keep(self) -> None:
        loop, pause, last = asyncio.get_running_loop(), CALM, -QUIET
        while True:
            self._news.clear()
            wrote = await self._tell()
            if wrote is None:
                self._news.set()
            if wrote is not False:
                pause = CALM if loop.time() - last >= QUIET else min(pause * 2, LONGEST)
                last = loop.time()
                await asyncio.sleep(pause)
            await self._something_new()

    async def _until_known(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + START
        while self._controller.starting and loop.time() < end:  # noqa: ASYNC110 (a start of seconds tells nobody of its end)
            await asyncio.sleep(0.05)

    async def _something_new(self) -> None:
        """Wait for news: a poke, or a kind that taut manages since. At rest this asks nobody."""
        while not self._news.is_set():
            try:
                async with asyncio.timeout(TICK):
                    await self._news.wait()
            except TimeoutError:
                if self._controller.runs == self._runs:
                    continue
                self._runs = self._controller.runs
                if self._managed_kinds() != self._managed:
                    return

    async def _tell(self) -> bool | None:
        """Whether the cluster had to be told something; None when it could not be."""
        try:
            blind = (await self._cluster.watch_kinds([KIND])).get(KIND)
            wish = await self._wish()
            await self._write_ahead()
            wrote = await self._registration.keep(wanted(wish))
        except TautError as error:
            self._say(f"cluster {self._cluster.name}: admission cannot be set up: {error}")
            return None
        except Exception as error:  # noqa: BLE001 (one cluster's odd answer must not end what keeps it right)
            self._say(f"cluster {self._cluster.name}: admission cannot be set up ({type(error).__name__})")
            return None
        if blind is not None:
            self._say(
                f"cluster {self._cluster.name}: changes of the admission webhook by hand are not noticed: {blind}"
            )
        elif not self._unsure:
            self.trouble = ""
        self.writes += wrote
        return wrote

    async def _write_ahead(self) -> None:
        """Note what is about to be made, so that it is taken down even if taut is configured otherwise at its next start."""
        instance = self._running.config.instance
        if self._noted == instance:
            return
        before = await self._controller.store.noted(note_of(self._cluster.name))
        if before and before != instance:
            await Registration(self._cluster.client, before).keep(None)
        await self._controller.store.note(note_of(self._cluster.name), instance)
        self._noted = instance

    def _say(self, text: str) -> None:
        if text != self.trouble:
            log.warning("%s", text)
        self.trouble = text

    async def _wish(self) -> Wish:
        config = self._running.config
        if self.own_user is None:
            self.own_user = await _who_am_i(self._cluster)
        interests = await self._interests()
        self._runs = self._controller.runs
        self._managed = self._managed_kinds()
        found = [await self._cluster.kind(kind) for kind in sorted(self._managed)]
        infos = [info for info in found if info is not None]
        self._kinds = resources(infos)
        return Wish(
            instance=config.instance,
            cluster=self._cluster.name,
            reach=self._reach,
            bundle=self._running.bundle,
            interests=interests,
            managed=rules_for_managed(infos),
            own_user=self.own_user,
            exempt=self._exempt,
            timeout=config.timeout_seconds,
        )

    async def _interests(self) -> Interests:
        """What the policies are about; what they were about last while that cannot be told: a new CA has to reach the cluster all the same."""
        try:
            self._about = await self._running.policies.interests(self._cluster.name)
        except TautError as error:
            if self._about is None:
                raise
            self._say(f"cluster {self._cluster.name}: what the policies are about cannot be told: {error}")
            self._unsure = True
        else:
            self._unsure = False
        return self._about

    def _managed_kinds(self) -> frozenset[KindRef]:
        name = self._cluster.name
        states = self._controller.fleet.states.values()
        return frozenset(ref.kind_ref for state in states for ref in state.items if ref.cluster == name)

    # Taken down

    @staticmethod
    def cleaner(controller: Controller) -> Callable[[], Awaitable[None]]:
        """What takes down everything that earlier starts had asked for: admission was switched off."""

        async def clean() -> None:
            pause = CALM
            while not await _removed(controller):
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST)

        return clean


async def _removed(controller: Controller) -> bool:
    try:
        return await remove_all(controller)
    except StoreError as error:
        log.warning("what was set up at admission cannot be looked up: %s", error)
        return False


async def remove_all(controller: Controller) -> bool:
    """Remove every configuration that this taut has made; False when a cluster did not let it, and it has to be tried again.

    For who switches admission off, and before taut is taken away for good: a webhook that fails closed and has nobody behind it refuses writes.
    """
    done = True
    for name, cluster in controller.fleet.clusters.items():
        instance = await controller.store.noted(note_of(name))
        if not instance:
            continue
        try:
            if await Registration(cluster.client, instance).keep(None):
                log.info("cluster %s: the admission webhook was taken down", name)
        except TautError as error:
            log.warning("cluster %s: the admission webhook cannot be taken down: %s", name, error)
            done = False
        else:
            await controller.store.note(note_of(name), None)
    return done


async def _who_am_i(cluster: Cluster) -> str:
    """The user that taut is to this cluster; empty when it does not tell."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = await cluster.client.request("POST", path, body=body, subject="who taut is")
    except TautError as error:
        if getattr(error, "status", 0) not in (403, 404):
            raise
        return ""
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")


def _configuration(cluster: str, instance: str) -> ObjectRef:
    return ObjectRef(cluster, KIND.group, KIND.kind, "", name_of(instance))
