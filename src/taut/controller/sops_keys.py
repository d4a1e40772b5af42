"""The keys of SOPS files that taut's configuration names: in files, in Secrets of a cluster, in the environment; some for one project alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from taut.clients.credentials import Stamp, stamp
from taut.controller.decryption import SopsDecrypter
from taut.dialects.config import SopsKeyConfig
from taut.model.errors import TargetError, TautError
from taut.model.refs import KindRef, ObjectRef
from taut.secrets.sops import keysets
from taut.secrets.sops.allowed import Allowed
from taut.secrets.sops.keys import Keyring
from taut.targets.kubernetes.cluster import Cluster, Event
from taut.targets.kubernetes.collection import KindState

log = logging.getLogger("taut.secrets")
PATIENCE = 10.0
"""Seconds that the start waits for clusters whose Secrets hold keys: one that is away must not keep the others waiting."""
LOOK = 15.0
"""Seconds between two looks at whether a key file was changed: one call of the system for each, and nothing is read."""
_SECRET = KindRef("", "Secret")


class SopsKeys:
    """Keyrings by project. Secrets are read at the start and when their watch tells of a change, files when they were changed."""

    def __init__(self, entries: Sequence[SopsKeyConfig], clusters: Mapping[str, Cluster]) -> None:
        self._entries = entries
        self._clusters = clusters
        self._rings: dict[int, Keyring] = {}
        self._problems: dict[int, str] = {}
        self._stamps: dict[int, Stamp] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_change: Callable[[], None] = lambda: None
        """Called after keys were read that are not those from before."""
        for number, entry in enumerate(entries):
            if entry.secret is not None:
                self._problems[number] = f"the Secret {entry.secret.namespace}/{entry.secret.name} was not read yet"
            elif not entry.file:
                self._rings[number] = keysets.of_environment(_allowed(entry), local=entry.environment)
        self._look_at_files()

    def of(self, project: str) -> SopsDecrypter:
        """What opens the files of a project's applications: keys that are for all, and those that are for this project."""
        usable = [n for n, e in enumerate(self._entries) if not e.projects or project in e.projects]
        rings = [self._rings[n] for n in usable if n in self._rings]
        problems = [self._problems[n] for n in usable if n in self._problems]
        advice = (
            f"add a key for it to secrets.sops.keys in taut's configuration, for the project {project!r} or for all"
        )
        return SopsDecrypter(keysets.together(rings), "; ".join((*problems, advice)))

    async def load(self) -> None:
        """Read every Secret, and watch for changes. What is in a cluster that is away is read when it answers."""
        held = {ref for e in self._entries if (ref := _ref(e)) is not None}
        for ref in held:
            self._clusters[ref.cluster].attend(ref)
        looks = {self._spawn(self._look(cluster)) for cluster in {ref.cluster for ref in held}}
        if any(e.file for e in self._entries):
            self._spawn(self._watch_files())
        if looks:
            await asyncio.wait(looks, timeout=PATIENCE)

    async def close(self) -> None:
        """Stop looking."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def on_event(self, event: Event) -> None:
        """A Secret that holds keys has changed: read it again."""
        for number, entry in enumerate(self._entries):
            if event.ref == _ref(entry):
                self._spawn(self._reload(number, entry))

    def on_state(self, cluster: str, kind: KindState) -> None:
        """The Secrets of a cluster can be seen (again): read those that could not be read."""
        if kind.kind != _SECRET or not kind.synced or kind.failing_since:
            return
        for number, entry in enumerate(self._entries):
            if entry.secret is not None and entry.secret.cluster == cluster and number in self._problems:
                self._spawn(self._reload(number, entry))

    def on_kinds(self, cluster: str) -> None:
        """Which kinds a cluster has is of no matter here."""

    async def _look(self, cluster: str) -> None:
        await self._clusters[cluster].watch_kinds([_SECRET])
        for number, entry in enumerate(self._entries):
            if entry.secret is not None and entry.secret.cluster == cluster:
                await self._reload(number, entry)

    async def _reload(self, number: int, entry: SopsKeyConfig) -> None:
        secret = entry.secret
        if secret is None:
            return
        name = f"the Secret {secret.namespace}/{secret.name}"
        try:
            data = await self._clusters[secret.cluster].read_data("Secret", secret.namespace, secret.name)
        except TargetError as error:
            self._problems[number] = f"{name} cannot be read: {error.what}"
            return
        if data is None:
            self._put(number, None, f"there is no {name.removeprefix('the ')} with keys")
        else:
            self._put(number, keysets.of_secret(data, _allowed(entry)), "")

    def _put(self, number: int, ring: Keyring | None, problem: str) -> None:
        if problem and self._problems.get(number) != problem:
            log.warning("keys of SOPS files: %s", problem)
        before = self._rings.pop(number, None)
        self._problems.pop(number, None)
        if ring is not None:
            self._rings[number] = ring
        if problem:
            self._problems[number] = problem
        if ring != before:
            self.on_change()

    def _look_at_files(self) -> None:
        for number, entry in enumerate(self._entries):
            if not entry.file:
                continue
            now = stamp(entry.file)
            if number in self._stamps and self._stamps[number] == now:
                continue
            self._stamps[number] = now
            try:
                self._put(number, keysets.of_file(Path(entry.file), entry.type.value), "")
            except TautError as error:
                self._put(number, None, error.what)

    async def _watch_files(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self._look_at_files()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _allowed(entry: SopsKeyConfig) -> Allowed:
    return Allowed(entry.aws_kms, entry.gcp_kms, entry.azure_key_vault, entry.vault)


def _ref(entry: SopsKeyConfig) -> ObjectRef | None:
    secret = entry.secret
    return None if secret is None else ObjectRef(secret.cluster, "", "Secret", secret.namespace, secret.name)
