"""Credentials for sources: from files, and from Secrets of a cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from taut.clients.credentials import Credentials
from taut.dialects.config import CredentialsConfig, RootConfig
from taut.model.errors import SourceError, TargetError
from taut.model.refs import KindRef, ObjectRef
from taut.sources.credentials import CredentialFiles, FileCredentials
from taut.sources.repository_url import within
from taut.targets.kubernetes.cluster import Cluster, Event
from taut.targets.kubernetes.collection import KindState

log = logging.getLogger("taut.credentials")
PATIENCE = 10.0
"""Seconds that the start waits for clusters with credentials: one that is away must not keep the others waiting."""
SECRET = KindRef("", "Secret")

_FILES = {
    "username_file": "username",
    "password_file": "password",
    "token_file": "bearer",
    "ssh_key_file": "ssh_key",
    "ssh_passphrase_file": "ssh_passphrase",
    "known_hosts_file": "known_hosts",
    "ca_file": "ca",
    "client_certificate_file": "client_cert",
    "client_key_file": "client_key",
}
"""The configuration's fields, and those of Credentials that they fill."""

_KEYS = {
    "username": "username",
    "password": "password",
    "bearerToken": "bearer",
    "token": "bearer",
    "identity": "ssh_key",
    "sshPrivateKey": "ssh_key",
    "known_hosts": "known_hosts",
    "ca.crt": "ca",
    "caFile": "ca",
    "tls.crt": "client_cert",
    "tls.key": "client_key",
}
"""A Secret's keys (Kubernetes', Flux' and Argo CD's), and the fields of Credentials that they fill."""


class SecretCredentials:
    """A provider of both. Secrets are read at the start, and again when their watch tells of a change."""

    def __init__(
        self,
        entries: Iterable[CredentialsConfig],
        clusters: Mapping[str, Cluster],
        roots: Iterable[RootConfig] = (),
    ) -> None:
        self._entries = {e.name: e for e in entries}
        named = [(r.credentials, r.git) for r in roots]
        self._prefixes = {
            e.name: (e.url_prefix,) if e.url_prefix else tuple(git for name, git in named if name == e.name)
            for e in self._entries.values()
        }
        self._files = FileCredentials(
            _files(e, prefix)
            for e in self._entries.values()
            if e.secret is None
            for prefix in self._prefixes[e.name] or ("",)
        )
        self._clusters = clusters
        self._read: dict[str, Credentials] = {}
        self._problems: dict[str, str] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called after credentials were read anew."""
        self._tasks: set[asyncio.Task[None]] = set()

    def for_url(self, url: str, name: str | None = None) -> Credentials | None:
        """The credentials of that name, else those with the longest prefix that covers `url`.

        Raises SourceError when the name is unknown, when they are not meant for `url`, or when they cannot be read.
        """
        if name is None:
            fitting = [(p, n) for n, prefixes in self._prefixes.items() for p in prefixes if within(p, url)]
            if not fitting:
                return None
            entry = self._entries[max(fitting, key=lambda found: len(found[0]))[1]]
        else:
            entry = self._entries.get(name)
        if entry is None or entry.secret is None:
            held = self._files.for_url(url, entry.name if entry else name)
            return replace(held, username=entry.username) if held and entry and entry.username else held
        prefixes = self._prefixes[entry.name]
        if not any(within(prefix, url) for prefix in prefixes):
            raise SourceError(
                f"the credentials {entry.name!r} are not meant for this address",
                advice=f"they are for {', '.join(prefixes) or 'no address'}: set their urlPrefix in taut's configuration",
            )
        return self._held(entry)

    def _held(self, entry: CredentialsConfig) -> Credentials:
        held = self._read.get(entry.name)
        if held is None:
            raise SourceError(
                f"the credentials {entry.name!r} cannot be used: {self._problems.get(entry.name, 'not read yet')}",
                advice="see that the Secret exists, and that taut may read it",
            )
        return held

    async def load(self) -> None:
        """Read every Secret, and watch for changes. What is in a cluster that is away is read when it answers."""
        held = {ref for e in self._entries.values() if (ref := _ref(e)) is not None}
        for ref in held:
            self._clusters[ref.cluster].attend(ref)
        looks = {self._spawn(self._look(cluster)) for cluster in {ref.cluster for ref in held}}
        if looks:
            await asyncio.wait(looks, timeout=PATIENCE)

    async def _look(self, cluster: str) -> None:
        await self._clusters[cluster].watch_kinds([SECRET])
        for name, entry in self._entries.items():
            if entry.secret is not None and entry.secret.cluster == cluster:
                await self._reload(name, entry)

    async def _load(self, name: str, entry: CredentialsConfig) -> None:
        secret = entry.secret
        if secret is None:
            return
        try:
            data = await self._clusters[secret.cluster].read_data("Secret", secret.namespace, secret.name)
        except TargetError as error:
            self._problems[name] = error.what
            return
        if data is None:
            self._problems[name] = f"there is no Secret {secret.namespace}/{secret.name}"
            self._read.pop(name, None)
            return
        self._read[name] = _credentials(data)
        self._problems.pop(name, None)

    async def _reload(self, name: str, entry: CredentialsConfig) -> None:
        await self._load(name, entry)
        self.on_change()

    def on_event(self, event: Event) -> None:
        """A Secret that holds credentials has changed: read it again."""
        for name, entry in self._entries.items():
            if event.ref == _ref(entry):
                self._spawn(self._reload(name, entry))

    def on_state(self, cluster: str, kind: KindState) -> None:
        """The Secrets of a cluster can be seen (again): read those that could not be read."""
        if kind.kind != SECRET or not kind.synced or kind.failing_since:
            return
        for name, entry in self._entries.items():
            if entry.secret is not None and entry.secret.cluster == cluster and name in self._problems:
                self._spawn(self._reload(name, entry))

    def on_kinds(self, cluster: str) -> None:
        """Which kinds a cluster has is of no matter here."""

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _ref(entry: CredentialsConfig) -> ObjectRef | None:
    """The Secret that holds the credentials; None when files do."""
    secret = entry.secret
    return None if secret is None else ObjectRef(secret.cluster, "", "Secret", secret.namespace, secret.name)


def _files(entry: CredentialsConfig, prefix: str) -> CredentialFiles:
    files = {field: Path(path) for name, field in _FILES.items() if (path := getattr(entry, name))}
    return CredentialFiles(entry.name, prefix, files)


def _credentials(data: Mapping[str, bytes]) -> Credentials:
    values: dict[str, str | bytes] = {}
    for key, field in _KEYS.items():
        if key in data:
            raw = data[key]
            values[field] = raw if field in _BYTES else raw.decode("utf-8", "replace").strip()
    if "ssh_key" in values and "password" in values:
        values["ssh_passphrase"] = values["password"]  # as Flux does
    return Credentials(**values)  # pyright: ignore[reportArgumentType] (the fields are those of the table)


_BYTES = frozenset({"ssh_key", "known_hosts", "ca", "client_cert", "client_key"})
