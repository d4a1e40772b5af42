"""Writing to a cluster: server-side apply, creation, deletion; who lost what, and what the memory learns from it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from taut.clients.kubernetes.client import APPLY, JSON_PATCH, MERGE_PATCH, KubernetesClient
from taut.clients.kubernetes.config import Impersonation, service_account
from taut.clients.kubernetes.discovery import collection_path, object_path
from taut.clients.kubernetes.errors import conflicting_managers
from taut.model.errors import BadInput, TargetError, Where
from taut.model.live import FIELD_MANAGER, Applied, FieldOwner, KindInfo, LiveObject
from taut.model.manifests import Body
from taut.model.refs import KindRef, ObjectRef
from taut.planning.fields import LAST_APPLIED, absorb, lost_fields, managed_fields
from taut.targets.kubernetes.collection import Sight
from taut.targets.kubernetes.kinds import no_such_kind
from taut.targets.kubernetes.projection import live, metadata_of, ref_of

RESTART_MANAGER = "taut-restart"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
ABSORB_TRIES = 4
RESTARTABLE = frozenset({KindRef("apps", "Deployment"), KindRef("apps", "StatefulSet"), KindRef("apps", "DaemonSet")})
_OTHER_UID = re.compile(r"UID in (the )?precondition", re.IGNORECASE)
_PROPAGATION = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


class Deletion(StrEnum):
    """What became of a deletion. DONE: it is gone. WAITING: finalizers (or dependants) hold it. MISSING: it was gone before.
    REPLACED: another object has its name now, and was left alone."""

    DONE = "done"
    WAITING = "waiting"
    MISSING = "missing"
    REPLACED = "replaced"


def impersonation(who: str | Impersonation | None, namespace: str = "") -> Impersonation | None:
    """Read `namespace:name`, or a name in `namespace`, of a service account; a full user name (`system:…`) stays one.

    Raises BadInput when the service account's namespace is not known: a cluster-scoped object has none to lend.
    """
    if who is None or isinstance(who, Impersonation):
        return who
    if who.startswith("system:serviceaccount:"):
        who = who.removeprefix("system:serviceaccount:")
    elif who.startswith("system:"):
        return Impersonation(who)
    head, colon, name = who.partition(":")
    space, account = (head, name) if colon else (namespace, who)
    if not space or not account:
        raise BadInput(
            f"the service account {who!r} that writes cluster-scoped objects needs its namespace",
            advice="write it as namespace:name",
        )
    return service_account(space, account)


class Writer:
    """The writes of one cluster. Every answer goes into the memory, so that the watch's event of it is no news."""

    def __init__(
        self, client: KubernetesClient, kind: Callable[[KindRef], Awaitable[KindInfo | None]], sight: Sight
    ) -> None:
        self._client = client
        self._kind = kind
        self._sight = sight

    async def served(self, ref: ObjectRef, version: str) -> KindInfo:
        """The kind, if the cluster serves it in this version. Raises TargetError (reason UnknownKind) otherwise."""
        info = await self._kind(ref.kind_ref)
        if info is None:
            raise no_such_kind(self._sight.cluster, ref.kind_ref)
        if version not in info.versions:
            raise TargetError(
                f"the cluster {self._sight.cluster} does not serve {ref.kind_ref} in version {version}",
                where=Where(object=str(ref)),
                advice=f"it serves {', '.join(info.versions)}",
                status=404,
                reason="UnknownKind",
            )
        return info

    async def apply(
        self,
        body: Body,
        *,
        dry_run: bool = False,
        force: bool = True,
        impersonate: Impersonation | None = None,
        before: Body | None = None,
        validate: bool = True,
    ) -> tuple[Applied, Body]:
        """Apply by server-side apply. See `Cluster.apply`."""
        ref = ref_of(self._sight.cluster, body)
        path = await self._path(ref, body)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict" if validate else "Warn"}
        if dry_run:
            query["dryRun"] = "All"

        async def send(forced: bool) -> tuple[int, Body]:
            answer = await self._client.send(
                "PATCH",
                path,
                query={**query, "force": "true" if forced else "false"},
                body=body,
                content_type=APPLY,
                impersonate=impersonate,
                subject=str(ref),
            )
            return answer.status, answer.body

        known = self._sight.memory.get(ref)
        with self._writing(ref, dry_run) as answered:
            status, after, lost = await _apply(send, force, before)
            record = self._record(after, stays=not dry_run)
            answered(record)
        if status == 201:
            changed = True
        elif dry_run:
            changed = before is None or _content(before) != _content(after)
        else:
            last = str(before["metadata"].get("resourceVersion")) if before else known.resource_version if known else ""
            changed = last != record.resource_version
        return Applied(record, changed, lost), after

    async def create(
        self, body: Body, *, impersonate: Impersonation | None = None, dry_run: bool = False
    ) -> tuple[Applied, Body]:
        """Create by POST. See `Cluster.create`."""
        ref = ref_of(self._sight.cluster, body)
        info = await self.served(ref, _version(body))
        _check_namespace(ref, info)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        with self._writing(ref, dry_run or not body["metadata"].get("name")) as answered:
            after = await self._client.request(
                "POST",
                collection_path(info, _version(body), ref.namespace),
                query=query,
                body=body,
                impersonate=impersonate,
                subject=str(ref),
            )
            record = self._record(after)
            answered(record)
        return Applied(record, True), after

    async def delete(
        self,
        ref: ObjectRef,
        api_version: str,
        *,
        uid: str,
        propagation: str = "background",
        impersonate: Impersonation | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """Delete one object. See `Cluster.delete`."""
        version = api_version.rpartition("/")[2]
        info = await self._kind(ref.kind_ref)
        if info is None:
            return Deletion.MISSING
        if version not in info.versions:
            version = info.preferred
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": _PROPAGATION[propagation],
        }
        if dry_run:
            options["dryRun"] = ["All"]
        try:
            answer = await self._client.request(
                "DELETE",
                object_path(info, version, ref.namespace, ref.name),
                body=options,
                impersonate=impersonate,
                subject=str(ref),
            )
        except TargetError as e:
            if e.status == 404:
                return Deletion.MISSING
            if e.status == 409 and _OTHER_UID.search(e.what):
                return Deletion.REPLACED
            raise
        return Deletion.DONE if answer.get("kind") == "Status" else Deletion.WAITING

    async def absorb(self, body: Body, *, impersonate: Impersonation | None = None) -> Body | None:
        """Take over from earlier tools. See `Cluster.absorb`."""
        ref = ref_of(self._sight.cluster, body)
        info = await self.served(ref, _version(body))
        path = object_path(info, _version(body), ref.namespace, ref.name)
        for _ in range(ABSORB_TRIES):
            patch = absorbing_patch(body)
            if patch is None:
                return None
            try:
                with self._writing(ref) as answered:
                    after = await self._client.request(
                        "PATCH",
                        path,
                        query={"fieldManager": FIELD_MANAGER},
                        body=patch,
                        content_type=JSON_PATCH,
                        impersonate=impersonate,
                        subject=str(ref),
                    )
                    answered(self._record(after))
                    return after
            except TargetError as e:
                if e.status != 409:
                    raise
                body = await self._client.request("GET", path, subject=str(ref), impersonate=impersonate)
        raise TargetError(
            "the object is changed all the time; its fields could not be taken over",
            where=Where(object=str(ref)),
            advice="find out who writes it so often (metadata.managedFields), and stop that",
            status=409,
            reason="Conflict",
        )

    async def restart(self, ref: ObjectRef, *, impersonate: Impersonation | None = None) -> None:
        """Restart a workload. See `Cluster.restart`."""
        if ref.kind_ref not in RESTARTABLE:
            raise BadInput(
                f"a {ref.kind} cannot be restarted",
                where=Where(object=str(ref)),
                advice="Deployments, StatefulSets and DaemonSets can",
            )
        info = await self.served(ref, "v1")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._writing(ref) as answered:
            after = await self._client.request(
                "PATCH",
                object_path(info, "v1", ref.namespace, ref.name),
                query={"fieldManager": RESTART_MANAGER},
                body={"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}},
                content_type=MERGE_PATCH,
                impersonate=impersonate,
                subject=str(ref),
            )
            answered(self._record(after))

    async def _path(self, ref: ObjectRef, body: Body) -> str:
        info = await self.served(ref, _version(body))
        _check_namespace(ref, info)
        return object_path(info, _version(body), ref.namespace if info.namespaced else "", ref.name)

    def _writing(
        self, ref: ObjectRef, nothing_stays: bool = False
    ) -> contextlib.AbstractContextManager[Callable[[LiveObject], None]]:
        if nothing_stays:
            return contextlib.nullcontext(lambda _: None)
        return self._sight.memory.writing(ref)

    def _record(self, after: Body, *, stays: bool = True) -> LiveObject:
        ref = ref_of(self._sight.cluster, after)
        meta = metadata_of(after)
        known = self._sight.memory.exact(ref, meta.uid, meta.resource_version)
        if known is not None and stays:
            return known
        return live(meta, ref, str(after["apiVersion"]), self._sight.health(after), self._sight.protects)


type _Send = Callable[[bool], Awaitable[tuple[int, Body]]]
type _Lost = tuple[tuple[str, FieldOwner], ...]


async def _apply(send: _Send, force: bool, before: Body | None) -> tuple[int, Body, _Lost]:
    """Apply, and tell who lost fields by it."""
    if not force or before is not None:
        status, after = await send(force)
        return status, after, tuple(lost_fields(managed_fields(before or {}), managed_fields(after)))
    # The polite way first: only a refusal names those who are about to lose their fields.
    try:
        return *await send(False), ()
    except TargetError as e:
        lost = _losers(e)
        if not lost:
            raise
    return *await send(True), lost


def absorbing_patch(body: Body) -> list[dict[str, Any]] | None:
    """The JSON patch that makes taut the heir of earlier tools' entries, guarded by the resource version; None: nothing to do."""
    entries = managed_fields(body)
    merged = absorb(entries, str(body["apiVersion"]))
    annotations = body["metadata"].get("annotations") or {}
    if merged is None and LAST_APPLIED not in annotations:
        return None
    patch: list[dict[str, Any]] = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": body["metadata"]["resourceVersion"]}
    ]
    if merged is not None:
        patch.append({"op": "replace", "path": "/metadata/managedFields", "value": merged})
    if LAST_APPLIED in annotations:
        patch.append({"op": "remove", "path": f"/metadata/annotations/{LAST_APPLIED.replace('/', '~1')}"})
    return patch


def _check_namespace(ref: ObjectRef, info: KindInfo) -> None:
    if info.namespaced and not ref.namespace:
        raise BadInput(
            "the object has no namespace",
            where=Where(object=str(ref), field="metadata.namespace"),
            advice="write one, or give the application a target namespace",
        )


def _version(body: Body) -> str:
    return str(body.get("apiVersion", "")).rpartition("/")[2]


def _content(body: Body) -> Body:
    """A body without what changes although nothing was changed."""
    metadata = {
        k: v for k, v in body["metadata"].items() if k not in ("managedFields", "resourceVersion", "generation")
    }
    return {**body, "metadata": metadata}


def _losers(error: TargetError) -> tuple[tuple[str, FieldOwner], ...]:
    return tuple(
        (field.removeprefix("."), FieldOwner(manager, subresource=subresource))
        for field, manager, subresource in conflicting_managers(error)
    )
