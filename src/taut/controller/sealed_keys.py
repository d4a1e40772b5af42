"""The private keys of Sealed Secrets' controllers: from files, and from the clusters themselves where the configuration says so."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taut.clients.credentials import stamp
from taut.clients.kubernetes.client import segment
from taut.dialects.globs import match_name
from taut.dialects.sealed_config import SealedKeysConfig
from taut.model.errors import BadInput, TautError, Where
from taut.secrets.sealed import Unsealer, private_keys
from taut.targets.kubernetes.cluster import Cluster

LABEL = "sealedsecrets.bitnami.com/sealed-secrets-key"
FRESH_SECONDS = 60.0
"""A controller makes a new key every 30 days. Where no key opens a value, and the keys were read longer ago than this, they are read again."""


@dataclass(frozen=True)
class Keys:
    """The keys of a cluster, and what could not be read. `name` changes with them."""

    unsealer: Unsealer
    name: str
    problems: tuple[str, ...] = ()
    read_at: float = 0.0


class SealedKeys:
    """Keys by cluster, read when they are first needed."""

    def __init__(self, entries: Sequence[SealedKeysConfig]) -> None:
        self._entries = entries
        self._kept: dict[str, tuple[object, Keys]] = {}

    async def of(self, cluster: Cluster, *, fresh: bool = False) -> Keys | None:
        """The keys of a cluster's controller; None where the configuration names none. `fresh`: not those that were read before a minute."""
        entries = [e for e in self._entries if match_name(e.cluster, cluster.name)]
        if not entries:
            return None
        stamps = [stamp(e.file) for e in entries if e.file]
        kept = self._kept.get(cluster.name)
        now = time.monotonic()
        if kept is not None and kept[0] == stamps and not (fresh and now - kept[1].read_at > FRESH_SECONDS):
            return kept[1]
        keys = await _read(entries, cluster, now)
        self._kept[cluster.name] = (stamps, keys)
        return keys


async def _read(entries: Sequence[SealedKeysConfig], cluster: Cluster, now: float) -> Keys:
    found: list[bytes] = []
    problems: list[str] = []
    for entry in entries:
        try:
            found += _of_file(entry.file) if entry.file else []
            found += await _of_cluster(cluster, entry.namespace) if entry.namespace else []
        except TautError as error:
            problems.append(str(error))
    unsealer = Unsealer.of_pem(found)
    return Keys(unsealer, unsealer.name, tuple(problems), now)


def _of_file(file: str) -> list[bytes]:
    try:
        return private_keys(Path(file).read_bytes())
    except OSError as error:
        raise BadInput(
            f"the keys of Sealed Secrets cannot be read: {error.strerror}",
            where=Where(file=file),
            advice="correct secrets.sealed in taut's configuration, or let taut read the file",
        ) from None


async def _of_cluster(cluster: Cluster, namespace: str) -> list[bytes]:
    """The keys in the controller's Secrets, the newest first. Raises TargetError."""
    path = f"/api/v1/namespaces/{segment(namespace)}/secrets"
    answer = await cluster.client.request(
        "GET", path, query={"labelSelector": LABEL}, subject="the keys of Sealed Secrets"
    )
    items: list[dict[str, Any]] = answer.get("items") or []
    items.sort(key=lambda i: str((i.get("metadata") or {}).get("creationTimestamp")), reverse=True)
    texts = [str((item.get("data") or {}).get("tls.key") or "") for item in items]
    return [key for text in texts for key in private_keys(base64.b64decode(text))]
