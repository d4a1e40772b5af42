"""Secret values never reach a diff: what is told instead is whether they are equal, by a keyed digest."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from taut.model.manifests import Body, Manifest, canonical
from taut.planning.fields import MISSING, Path

HIDDEN: Final = "••••••"
DIFFERS: Final = "•••••• differs"


@dataclass(frozen=True)
class Redactor:
    """`key` is taut's own key: without it the digests of short secrets could be found by trying.

    `marked` holds, for objects (group, kind, name) that are no Secrets, the keys on the way to values that are secret all the same:
    decrypted ones.
    """

    key: bytes = field(repr=False)
    marked: Mapping[tuple[str, str, str], tuple[tuple[str, ...], ...]] = field(
        default_factory=dict[tuple[str, str, str], tuple[tuple[str, ...], ...]]
    )

    def marking(self, manifests: Iterable[Manifest]) -> Redactor:
        """The same, and what these objects hold of encrypted files is secret."""
        marked = {(m.group, m.kind, m.name): m.origin.secret for m in manifests if m.origin.secret}
        return replace(self, marked=marked) if marked else self

    def hides(self, body: Mapping[str, Any], path: Path) -> bool:
        """Whether the value at `path` of `body` is secret, or holds or lies inside one that is."""
        if is_secret(body) and (not path or path[0] in ("f:data", "f:stringData")):
            return True
        if not self.marked:
            return False
        keys = tuple(step[2:] for step in path if step.startswith("f:"))
        return any(keys[: len(m)] == m or m[: len(keys)] == keys for m in self.marked.get(_identity(body), ()))

    def digest(self, value: Any) -> str:
        """HMAC-SHA256 (hex) of a JSON value; "" for MISSING."""
        return "" if value is MISSING else hmac.new(self.key, canonical(value), hashlib.sha256).hexdigest()


def _identity(body: Mapping[str, Any]) -> tuple[str, str, str]:
    found = Manifest(dict(body))
    return found.group, found.kind, found.name


def is_secret(body: Mapping[str, Any]) -> bool:
    """Whether the object is a core Secret."""
    return body.get("kind") == "Secret" and body.get("apiVersion") == "v1"


def redacted(body: Body, redactor: Redactor) -> Body:
    """A copy of `body` to show: every secret value replaced by HIDDEN."""
    return {k: _shown(v, (f"f:{k}",), body, redactor) for k, v in body.items()}


def _shown(value: Any, path: Path, body: Body, redactor: Redactor) -> Any:
    if not redactor.hides(body, path):
        return value
    if isinstance(value, dict):
        return {k: _shown(v, (*path, f"f:{k}"), body, redactor) for k, v in value.items()}
    return HIDDEN
