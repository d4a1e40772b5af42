"""From an object to the little that is remembered of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from taut.clients.kubernetes.frames import ObjectMeta, read_body, read_meta
from taut.model.health import Health
from taut.model.live import RUN_KEY, LiveObject
from taut.model.manifests import Body
from taut.model.refs import KindRef, ObjectRef
from taut.model.times import unix_seconds
from taut.planning.fields import owned_hash
from taut.planning.options import Removal, parse_annotations
from taut.planning.ownership import checked_owner

type Assess = Callable[[Body], Health]
type Protects = Callable[[Mapping[str, str], Mapping[str, str]], bool]

_OUR_ENTRY = b'"manager":"taut"'


class Foreign(msgspec.Struct, frozen=True, gc=False):
    """An object that nobody here declared. A cluster may hold 100,000 of them: a few words each, none for the collector."""

    uid: str
    controller: str = ""
    created: int = 0
    deleting: bool = False


type Record = LiveObject | Foreign


def keeps_from_pruning(annotations: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether an object says that it must not be pruned, in taut's words or in those that people already have."""
    return parse_annotations(annotations, labels)[0].prune is Removal.NEVER


def app_text(owner: str) -> str:
    """The application's key in an OWNER annotation."""
    return owner.partition("|")[0]


def api_version_of(group: str, version: str) -> str:
    """`apps/v1`, `v1`."""
    return f"{group}/{version}" if group else version


def is_foreign(meta: ObjectMeta, ref: ObjectRef) -> bool:
    """Whether nothing on the object says that taut has to do with it: no annotation that means it, no managed field."""
    annotations = meta.annotations or {}
    if RUN_KEY in annotations or checked_owner(annotations, ref):
        return False
    return _OUR_ENTRY not in bytes(meta.managed_fields)


def foreign(meta: ObjectMeta) -> Foreign:
    """The record of a foreign object."""
    controller = next((o.uid for o in meta.owner_references or () if o.controller), "")
    if not controller and meta.owner_references:
        controller = meta.owner_references[0].uid
    return Foreign(
        meta.uid,
        sys.intern(controller),
        int(unix_seconds(meta.creation_timestamp)),
        meta.deletion_timestamp is not None,
    )


def live(
    meta: ObjectMeta, ref: ObjectRef, api_version: str, health: Health | None, protects: Protects = keeps_from_pruning
) -> LiveObject:
    """The record of an object that taut has to do with."""
    annotations = meta.annotations or {}
    entries = _entries(meta)
    return LiveObject(
        ref=ref,
        api_version=api_version,
        uid=meta.uid,
        resource_version=meta.resource_version,
        generation=meta.generation,
        owned_hash=owned_hash(entries),
        owner=sys.intern(checked_owner(annotations, ref)),
        run_key=annotations.get(RUN_KEY, ""),
        health=health,
        deleting=meta.deletion_timestamp is not None,
        finalizers=tuple(meta.finalizers or ()),
        owner_uids=tuple(o.uid for o in meta.owner_references or ()),
        created=unix_seconds(meta.creation_timestamp),
        protected=protects(annotations, meta.labels or {}),
    )


def _entries(meta: ObjectMeta) -> list[dict[str, Any]]:
    """The field managers. None for what is nested without end: it then counts as changed, and reading it says why it cannot be."""
    try:
        found = orjson.loads(memoryview(meta.managed_fields)) if bytes(meta.managed_fields) else []
    except orjson.JSONDecodeError:
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def expand(ref: ObjectRef, record: Record | None, api_version: str) -> LiveObject | None:
    """A record as LiveObject; a foreign one has no resource version, no hash and no health."""
    if record is None or isinstance(record, LiveObject):
        return record
    return LiveObject(
        ref=ref,
        api_version=api_version,
        uid=record.uid,
        resource_version="",
        deleting=record.deleting,
        owner_uids=(record.controller,) if record.controller else (),
        created=float(record.created),
    )


def metadata_of(body: Body) -> ObjectMeta:
    """The metadata of an object that was decoded already."""
    return read_meta(orjson.dumps({"metadata": body.get("metadata") or {}}))


def ref_of(cluster: str, body: Body) -> ObjectRef:
    """The identity of an object as the server gave it."""
    group, slash, _ = str(body.get("apiVersion", "")).partition("/")
    metadata: dict[str, Any] = body.get("metadata") or {}
    return ObjectRef(
        cluster,
        group if slash else "",
        str(body.get("kind", "")),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or metadata.get("generateName") or ""),
    )


def shell(kind: KindRef, api_version: str, raw: bytes) -> Body:
    """The body of a metadata-only object under its real kind: enough for kinds whose health is in the metadata. Raises TargetError as `read_body`."""
    return {**read_body(raw), "apiVersion": api_version, "kind": kind.kind}
