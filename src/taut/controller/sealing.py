"""SealedSecrets in the loop: taut looks into them before they are applied, where it has the controller's key.

What is applied is the SealedSecret, and the controller makes the Secret. What is kept of the values is a keyed hash; they themselves are opened, used
and forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from taut.controller.sealed_keys import Keys, SealedKeys
from taut.model.errors import BadInput
from taut.model.manifests import Body, Manifest, canonical, content_hash
from taut.render.protocols import Cache
from taut.secrets.sealed import API_VERSION, KIND
from taut.targets.kubernetes.cluster import Cluster


class _Known(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one SealedSecret: a keyed hash of its values, or why they cannot be opened."""

    values: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Looked:
    """What taut saw: keyed hashes by namespace and name of the Secrets to be, and what will not work."""

    values: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    warnings: tuple[str, ...] = ()


NOTHING = Looked()


def is_sealed(manifest: Manifest) -> bool:
    """Whether it is a SealedSecret."""
    return manifest.kind == KIND and manifest.api_version == API_VERSION


class Sealing:
    """Opens SealedSecrets for plans. `mac` is a keyed hash; what it says is kept sealed in `cache`, for opening costs milliseconds a value."""

    def __init__(self, keys: SealedKeys, cache: Cache, mac: Callable[[bytes], str]) -> None:
        self._keys = keys
        self._cache = cache
        self._mac = mac

    async def looked(self, cluster: Cluster, manifests: Iterable[Manifest]) -> Looked:
        """What the SealedSecrets among manifests hold; nothing where the configuration names no keys for the cluster."""
        sealed = [m for m in manifests if is_sealed(m)]
        keys = await self._keys.of(cluster) if sealed else None
        if keys is None:
            return NOTHING
        values: dict[tuple[str, str], str] = {}
        warnings = list(keys.problems)
        for manifest in sealed:
            known = await self._known(cluster, keys, manifest)
            if known.problem:
                again = await self._keys.of(cluster, fresh=True)
                if again is not None and again.name != keys.name:
                    keys = again
                    known = await self._known(cluster, keys, manifest)
            if known.problem:
                place = f" ({manifest.origin.place})" if manifest.origin.place else ""
                warnings.append(f"{manifest}{place}: {known.problem}")
            else:
                values[manifest.namespace, manifest.name] = known.values
        return Looked(values, tuple(warnings))

    async def opened(self, cluster: Cluster, manifest: Manifest) -> Body | None:
        """The Secret that the cluster will have of a SealedSecret; None where it cannot be told."""
        keys = await self._keys.of(cluster)
        if keys is None:
            return None
        try:
            return await asyncio.to_thread(keys.unsealer.unseal, manifest.body)
        except BadInput:
            return None

    async def _known(self, cluster: Cluster, keys: Keys, manifest: Manifest) -> _Known:
        name = f"sealed {content_hash([cluster.name, keys.name, manifest.body])}"
        data = self._cache.get(name)
        if data is not None:
            try:
                return msgspec.msgpack.decode(data, type=_Known)
            except msgspec.MsgspecError:
                pass
        try:
            secret = await asyncio.to_thread(keys.unsealer.unseal, manifest.body)
            parts = [secret.get(part) for part in ("type", "data", "stringData")]
            known = _Known(self._mac(canonical(parts)))
        except BadInput as error:
            text = f"{error.what} ({error.where.field})" if error.where.field else error.what
            known = _Known(problem=f"{text}; {error.advice}" if error.advice else text)
        self._cache.put(name, msgspec.msgpack.encode(known))
        return known
