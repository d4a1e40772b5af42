"""Manifests: objects as they are wanted, with the place they come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from taut.model.refs import ObjectRef

type Body = dict[str, Any]
"""A Kubernetes object as JSON. Treated as immutable once it is inside a Manifest: copy before changing."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest was rendered from. `file` is relative to the repository, `line` counts from 1 (0: unknown)."""

    source: str = ""
    file: str = ""
    line: int = 0
    secret: tuple[tuple[str, ...], ...] = ()
    """The keys on the way to fields whose value is from an encrypted file; positions in lists are left out."""

    @property
    def place(self) -> str:
        """File and line, for people; empty where no file is known."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Manifest:
    """One desired object. `body` holds apiVersion, kind, metadata and the rest, exactly as it will be sent."""

    body: Body
    origin: Origin = field(default=Origin(), compare=False)

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return str(self.body.get("apiVersion", ""))

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        head, slash, _ = self.api_version.partition("/")
        return head if slash else ""

    @property
    def version(self) -> str:
        """The API version without the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def kind(self) -> str:
        """The kind."""
        return str(self.body.get("kind", ""))

    @property
    def metadata(self) -> Body:
        """The metadata; empty when there is none."""
        value = self.body.get("metadata")
        return value if isinstance(value, dict) else {}

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(self.metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        """metadata.namespace, empty when not set."""
        return str(self.metadata.get("namespace") or "")

    @property
    def annotations(self) -> dict[str, str]:
        """metadata.annotations; empty when there are none."""
        value = self.metadata.get("annotations")
        return value if isinstance(value, dict) else {}

    @property
    def labels(self) -> dict[str, str]:
        """metadata.labels; empty when there are none."""
        value = self.metadata.get("labels")
        return value if isinstance(value, dict) else {}

    def ref(self, cluster: str) -> ObjectRef:
        """The object's identity in `cluster`."""
        return ObjectRef(cluster, self.group, self.kind, self.namespace, self.name)

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of the body in canonical JSON."""
        return content_hash(self.body)

    def __str__(self) -> str:
        return str(self.ref(""))


def canonical(value: object) -> bytes:
    """The canonical JSON form: sorted keys, no spaces. Integers above 64 bit are written as floats, as kubectl reads them."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return orjson.dumps(_within_64_bit(value), option=orjson.OPT_SORT_KEYS)


def _within_64_bit(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _within_64_bit(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_within_64_bit(v) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def content_hash(value: object) -> str:
    """sha256 (hex) of a JSON value's canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()
