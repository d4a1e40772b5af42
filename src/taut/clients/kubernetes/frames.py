"""What of a watched object is decoded at once: its metadata. The rest stays bytes until somebody needs it."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from taut.model.errors import TargetError


class OwnerReference(msgspec.Struct, frozen=True):
    """Whom an object belongs to."""

    uid: str = ""
    controller: bool | None = None


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata that taut looks at. `managed_fields` is JSON, empty when there are none."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None
    managed_fields: msgspec.Raw = msgspec.Raw(b"")


class Header(msgspec.Struct, frozen=True):
    """An object's metadata, whatever else it has."""

    metadata: ObjectMeta


class Frame(msgspec.Struct, frozen=True):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and the object as JSON."""

    type: str
    object: msgspec.Raw


class ListMeta(msgspec.Struct, frozen=True, rename={"continue_": "continue", "resource_version": "resourceVersion"}):
    """The metadata of a list."""

    resource_version: str = ""
    continue_: str = ""


class ListPage(msgspec.Struct, frozen=True):
    """One page of a list; the items as JSON. Items of typed lists have neither kind nor apiVersion."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


_frame = msgspec.json.Decoder(Frame)
_header = msgspec.json.Decoder(Header)
_page = msgspec.json.Decoder(ListPage)


def read_frame(line: bytes) -> Frame:
    """Read a line of a watch. Raises msgspec.DecodeError for anything else."""
    return _decoded(_frame, line)


def read_meta(raw: msgspec.Raw | bytes) -> ObjectMeta:
    """Read an object's metadata. Raises msgspec.DecodeError for anything else."""
    return _decoded(_header, raw).metadata


def read_page(data: bytes) -> ListPage:
    """Read a page of a list. Raises msgspec.DecodeError for anything else."""
    return _decoded(_page, data)


def _decoded[T](decoder: msgspec.json.Decoder[T], data: msgspec.Raw | bytes) -> T:
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:  # msgspec's own errors cover what is no JSON, and not these
        raise msgspec.DecodeError(str(error)) from None


def read_body(raw: msgspec.Raw | bytes) -> dict[str, Any]:
    """Read the whole object. Raises TargetError for one that is nested without end: API servers take them."""
    try:
        found = orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError as error:
        raise TargetError(
            f"the object cannot be read: {error.msg}", advice="an object may be nested 1000 levels deep"
        ) from None
    return found if isinstance(found, dict) else {}
