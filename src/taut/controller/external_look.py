"""The ExternalSecrets of one application, in one look: each becomes its Secret, or says why it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from taut.controller.external_asker import ClusterAsker
from taut.controller.external_values import Due, Kept
from taut.controller.policy_lookups import ClusterLookups
from taut.controller.state import AppState
from taut.model.errors import TautError
from taut.model.manifests import Body, Manifest, content_hash
from taut.model.plan import Hold, HoldKind
from taut.model.refs import ObjectRef
from taut.model.times import rfc3339
from taut.planning.options import DELETE, PRUNE
from taut.secrets.external.asking import Options, Templates
from taut.secrets.external.documents import ExternalSecret, cluster_external_secret, external_secret
from taut.secrets.external.http import Http
from taut.secrets.external.resolve import Action, Resolved, resolve
from taut.secrets.external.selecting import expand
from taut.targets.kubernetes.cluster import Cluster

_LONGEST_RETRY = 60.0


@dataclass(frozen=True)
class Needs:
    """What resolving needs from outside."""

    asker: ClusterAsker
    templates: Templates
    http: Http
    options: Options
    fingerprint: Callable[[str, str, str], str]
    """Stands for a store's document (kind, namespace, name); empty when there is none."""


class Keeper(Protocol):
    """Keeps values."""

    asked: int
    """How often stores were asked for the values of a document."""

    @property
    def now(self) -> float:
        """Unix seconds."""
        ...

    def recall(self, name: str) -> Kept | None:
        """What was had last. `name` stands for the application, its document and the Secret: values are lent to nobody else."""
        ...

    def remember(self, name: str, kept: Kept) -> None:
        """Keep it, sealed."""
        ...


class Look:
    """What became of the documents of one application."""

    def __init__(self, keeper: Keeper, needs: Needs, state: AppState, cluster: Cluster, due: Due) -> None:
        self._keeper = keeper
        self._needs = needs
        self._state = state
        self._cluster = cluster
        self.due = due
        self.holds: list[Hold] = []
        self.unsettled: set[ObjectRef] = set()
        self.unresolved: list[str] = []

    async def secrets(self, manifest: Manifest) -> AsyncIterator[Manifest]:
        """The Secrets of a document."""
        try:
            externals = await self._externals(manifest)
        except TautError as error:
            self._held(str(manifest), self._refs_of(manifest), error)
            if manifest.kind != "ExternalSecret":  # nobody knows which Secrets are its: none is taken for removed
                self.unsettled.update(self._state.secrets)
            return
        for external in externals:
            made = await self._secret(external)
            if made is not None:
                yield Manifest(made, manifest.origin)

    def _refs_of(self, manifest: Manifest) -> tuple[ObjectRef, ...]:
        """The Secret that a document that cannot be read may have made: it must not be taken for removed."""
        if manifest.kind != "ExternalSecret":
            return ()
        spec = manifest.body.get("spec")
        target = spec.get("target") if isinstance(spec, dict) else None
        name = target.get("name") if isinstance(target, dict) else None
        namespace = manifest.namespace or self._state.app.spec.target.namespace
        return (ObjectRef(self._cluster.name, "", "Secret", namespace, str(name or manifest.name)),)

    async def _externals(self, manifest: Manifest) -> list[ExternalSecret]:
        if manifest.kind == "ExternalSecret":
            return [external_secret(manifest, namespace=self._state.app.spec.target.namespace)]
        spaces = await ClusterLookups(self._cluster).list("v1", "Namespace", "")
        return list(expand(cluster_external_secret(manifest), spaces))

    async def _secret(self, external: ExternalSecret) -> Body | None:
        ref = ObjectRef(self._cluster.name, "", "Secret", external.namespace, external.target)
        if external.spec.target.creation_policy == "None":
            return None
        try:
            kept = await self._resolved(external, ref)
        except TautError as error:
            self._held(str(external), (ref,), error)
            return None
        match kept.action:
            case Action.DELETE:
                return None
            case Action.APPLY | Action.MERGE if kept.secret is not None:
                return _as_created(external, kept.secret)
            case _:
                # The one that is there, if there is one, is nobody's to remove.
                self.unsettled.add(ref)
                self.unresolved.append(f"{external}: {kept.why}")
                self.due.soon(_LONGEST_RETRY)
                return None

    async def _resolved(self, external: ExternalSecret, ref: ObjectRef) -> Kept:
        """The Secret: the kept one while it is fresh, else the stores are asked; the last one where they cannot be."""
        name = f"{self._state.key} {external} {ref}"
        kept = self._keeper.recall(name)
        stores = [self._needs.fingerprint(*place) for place in _stores_of(external)]
        spec = content_hash([repr(external.spec), external.labels, external.annotations, stores])
        if kept is None and external.spec.refresh_policy == "CreatedOnce" and ref in self._state.items:
            # What was had is forgotten (the cache is no memory), and the Secret is there: it is created once.
            return Kept(spec, self._keeper.now, Action.KEEP.value, None, "it was created once, and stays as it is")
        interval = external.refresh_seconds if external.spec.refresh_policy not in {"CreatedOnce", "OnChange"} else 0.0
        if kept is not None and self._fresh(external, kept, spec, interval):
            return kept
        now = self._keeper.now
        self._keeper.asked += 1
        try:
            found = await resolve(
                external,
                replace(self._needs.asker, namespace_of=external.namespace),
                templates=self._needs.templates,
                http=self._needs.http,
                options=self._needs.options,
            )
        except TautError as error:
            self.due.soon(min(interval or _LONGEST_RETRY, _LONGEST_RETRY))
            if kept is None:
                raise
            place = f"Secret {ref.namespace}/{ref.name}"
            self.unresolved.append(f"the values of {rfc3339(kept.at)} stay in {place}: {_short(error)}")
            return kept
        if interval:
            self.due.soon(interval)
        made = _kept(found, kept, spec, now)
        if made.secret is not None or made.action == Action.DELETE:
            self._keeper.remember(name, made)
        return made

    def _fresh(self, external: ExternalSecret, kept: Kept, spec: str, interval: float) -> bool:
        if external.spec.refresh_policy == "CreatedOnce" and kept.secret is not None:
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

    def _held(self, what: str, refs: tuple[ObjectRef, ...], error: TautError) -> None:
        """The Secret is neither written nor taken for removed; everything else goes on."""
        self.due.soon(_LONGEST_RETRY)
        where = error.where
        place = ", ".join(filter(None, (f"{where.file}:{where.line}" if where.file else "", where.field)))
        why = f"{what} ({place}) cannot be resolved: {_short(error)}" if place else f"{what}: {_short(error)}"
        self.unsettled.update(refs)
        self.unresolved.append(why)
        self.holds.append(Hold(HoldKind.SECRET, why, refs, approvable=False))


def _stores_of(external: ExternalSecret) -> Iterator[tuple[str, str, str]]:
    """The stores that a document names."""
    spec = external.spec
    refs = [spec.secret_store_ref, *(s.store_ref for s in (e.source_ref for e in (*spec.data, *spec.data_from)) if s)]
    for ref in refs:
        if ref is not None:
            kind = ref.kind or "SecretStore"
            yield kind, external.namespace if kind == "SecretStore" else "", ref.name


def _kept(found: Resolved, before: Kept | None, spec: str, now: float) -> Kept:
    """What is to be kept. One that stays as it is (`KEEP`) stays as it was had last."""
    if found.action is Action.KEEP and before is not None and before.secret is not None:
        return Kept(before.spec, now, before.action, before.secret, found.why)
    return Kept(spec, now, found.action.value, found.secret, found.why)


def _as_created(external: ExternalSecret, body: Body) -> Body:
    """The Secret; one that is not the document's own does not go with it."""
    if external.spec.target.creation_policy == "Owner":
        return body
    metadata = body["metadata"]
    annotations = {**(metadata.get("annotations") or {}), PRUNE: "false", DELETE: "false"}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def _short(error: TautError) -> str:
    """Without its place, which is told already."""
    return f"{error.what} ({error.advice})" if error.advice else error.what
