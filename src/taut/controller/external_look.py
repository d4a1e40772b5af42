"""The ExternalSecrets of one application, in one look: each becomes its Secret, or says why it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from taut.controller.external_values import Due, Kept, where_of
from taut.controller.policy_lookups import ClusterLookups
from taut.controller.state import AppState
from taut.model.errors import TautError
from taut.model.manifests import Body, Manifest, content_hash
from taut.model.plan import Hold, HoldKind
from taut.model.refs import ObjectRef
from taut.model.times import rfc3339
from taut.planning.options import DELETE, PRUNE
from taut.secrets.external.documents import read_external
from taut.secrets.external.resolve import Needs, Resolved, Wanted, expand, secret, values
from taut.targets.kubernetes.cluster import Cluster

_LONGEST_RETRY = 60.0


class Keeper(Protocol):
    """Keeps values."""

    asked: int
    """How often stores were asked for the values of a document."""

    @property
    def now(self) -> float:
        """Unix seconds."""
        ...

    def recall(self, place: ObjectRef) -> Kept | None:
        """The values that were had last."""
        ...

    def remember(self, place: ObjectRef, kept: Kept) -> None:
        """Keep values, sealed."""
        ...


class Look:
    """What became of the documents of one application."""

    def __init__(self, keeper: Keeper, needs: Needs, state: AppState, cluster: Cluster, due: Due) -> None:
        self._keeper = keeper
        self._state = state
        self._cluster = cluster
        self._needs = needs
        self.due = due
        self.holds: list[Hold] = []
        self.unsettled: set[ObjectRef] = set()
        self.unresolved: list[str] = []

    async def secrets(self, manifest: Manifest) -> AsyncIterator[Manifest]:
        """The Secrets of a document."""
        try:
            bodies = await self._bodies(manifest)
        except TautError as error:
            self._held(manifest, (), error)
            return
        for body in bodies:
            made = await self._secret(Manifest(body, manifest.origin))
            if made is not None:
                yield Manifest(made, manifest.origin)

    async def _bodies(self, manifest: Manifest) -> list[Body]:
        if manifest.kind == "ExternalSecret":
            return [manifest.body]
        spaces = await ClusterLookups(self._cluster).list("v1", "Namespace", "")
        return expand(manifest.body, spaces, where_of(manifest))

    async def _secret(self, manifest: Manifest) -> Body | None:
        namespace = manifest.namespace or self._state.app.spec.target.namespace
        ref = ObjectRef(self._cluster.name, "", "Secret", namespace, manifest.name)
        try:
            where = where_of(manifest)
            spec = read_external(manifest.body, where)
            wanted = Wanted(manifest.name, namespace, spec, manifest.body, where)
            ref = ref._replace(name=wanted.target)
            if spec.target.creation_policy == "None":
                return None
            found = await self._values(wanted, ref)
            if found is None or (found.gone and spec.target.deletion_policy == "Delete"):
                return None
            body = await secret(wanted, found.data, self._needs)
            return await self._as_created(wanted, ref, body)
        except TautError as error:
            self._held(manifest, (ref,), error)
            return None

    async def _values(self, wanted: Wanted, ref: ObjectRef) -> Resolved | None:
        """The values: kept ones while they are fresh, else asked for; the last ones where they cannot be had."""
        kept = self._keeper.recall(ref)
        spec, interval = content_hash([wanted.body.get("spec"), wanted.namespace]), wanted.spec.seconds
        if kept is not None and self._fresh(wanted, kept, spec, interval):
            return Resolved(kept.data, kept.missing)
        now = self._keeper.now
        self._keeper.asked += 1
        try:
            found = await values(wanted, self._needs)
        except TautError as error:
            self.due.soon(min(interval or _LONGEST_RETRY, _LONGEST_RETRY))
            if kept is None:
                raise
            self.unresolved.append(
                f"the values of {rfc3339(kept.at)} stay in Secret {ref.namespace}/{ref.name}: {_short(error)}"
            )
            return Resolved(kept.data, kept.missing)
        self._keeper.remember(ref, Kept(spec, now, dict(found.data), found.missing))
        if interval:
            self.due.soon(interval)
        return found

    def _fresh(self, wanted: Wanted, kept: Kept, spec: str, interval: float) -> bool:
        if wanted.spec.refresh_policy == "CreatedOnce":
            return True
        if kept.spec != spec:
            return False
        if not interval:
            return True
        left = kept.at + interval - self._keeper.now
        if 0 < left <= interval:  # a clock that was set back makes nothing fresh for longer
            self.due.soon(left)
            return True
        return False

    async def _as_created(self, wanted: Wanted, ref: ObjectRef, body: Body) -> Body | None:
        """The Secret, with what `creationPolicy` asks for besides."""
        policy = wanted.spec.target.creation_policy
        if policy == "Owner":
            return body
        if policy == "Merge" and await self._cluster.read(ref, "v1") is None:
            self.due.soon(_LONGEST_RETRY)
            self._held_ref(ref, f"{ref} is not there, and creationPolicy Merge makes none")
            return None
        metadata = body["metadata"]
        annotations = {**(metadata.get("annotations") or {}), PRUNE: "false", DELETE: "false"}
        return {**body, "metadata": {**metadata, "annotations": annotations}}

    def _held(self, manifest: Manifest, refs: tuple[ObjectRef, ...], error: TautError) -> None:
        self.due.soon(_LONGEST_RETRY)
        where = where_of(manifest)
        place = ", ".join(filter(None, (f"{where.file}:{where.line}" if where.file else "", error.where.field)))
        why = f"{where.object} ({place}) cannot be resolved: {_short(error)}"
        for ref in refs:
            self._held_ref(ref, why)
        if not refs:
            self.holds.append(Hold(HoldKind.SECRET, why, approvable=False))

    def _held_ref(self, ref: ObjectRef, why: str) -> None:
        """It is neither written nor taken for removed; everything else goes on."""
        self.unsettled.add(ref)
        self.unresolved.append(why)
        self.holds.append(Hold(HoldKind.SECRET, why, (ref,), approvable=False))


def _short(error: TautError) -> str:
    """Without its place, which is told already."""
    return f"{error.what} ({error.advice})" if error.advice else error.what
