"""From a manifest to exactly what is sent: one place, so that what is compared is what is applied."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from taut.model.errors import BadInput, Where
from taut.model.manifests import Body, Manifest, content_hash
from taut.planning.fields import MISSING, get, managed_fields, owned_fields
from taut.planning.ignore import NOTHING, ResolvedIgnore
from taut.planning.locate import changed, is_atomic_inside
from taut.planning.redact import Redactor, is_secret
from taut.planning.values import base64_bytes

# What the server writes; a manifest exported from a cluster still has it, and sent along it would refuse the apply.
_SERVERS_METADATA: Final = frozenset(
    {"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields"}
    | {"resourceVersion", "selfLink", "uid"}
)


def canonical_body(body: Body) -> Body:
    """A copy of a desired body without what only the server writes, and with `stringData` folded into `data`.

    `stringData` goes because the API server tracks it apart from `data`: an edit of `data` would not be seen as drift.
    Raises BadInput when a Secret's `stringData` holds something else than text.
    """
    metadata = body.get("metadata")
    clean = {k: v for k, v in body.items() if k != "status"}
    if isinstance(metadata, dict):
        clean["metadata"] = {k: v for k, v in metadata.items() if k not in _SERVERS_METADATA}
    return _folded(clean) if is_secret(clean) else clean


def _folded(body: Body) -> Body:
    """A Secret with all of its values in `data`, each as base64 in the form that the server gives back."""
    texts = body.get("stringData") or {}
    data = body.get("data") or {}
    if not isinstance(texts, dict) or not isinstance(data, dict):
        raise _bad_secret(body, "stringData" if not isinstance(texts, dict) else "data", "it must be a map of texts")
    values = {k: _same_base64(v) for k, v in data.items()}
    for key, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise _bad_secret(body, f"stringData.{key}", "only texts are allowed; put numbers and booleans in quotes")
        values[key] = base64.b64encode((text or "").encode()).decode()
    rest = {k: v for k, v in body.items() if k not in ("stringData", "data")}
    return {**rest, "data": values} if values or "data" in body else rest


def _same_base64(value: Any) -> Any:
    decoded = base64_bytes(value)
    return value if decoded is None else base64.b64encode(decoded).decode()


def _bad_secret(body: Body, field: str, advice: str) -> BadInput:
    return BadInput(
        "the Secret has a value that is no text", where=Where(object=str(Manifest(body)), field=field), advice=advice
    )


def for_apply(
    manifest: Manifest,
    *,
    annotations: Mapping[str, str] | None = None,
    ignore: ResolvedIgnore = NOTHING,
    live: Body | None = None,
) -> Body:
    """The body of the server-side apply of `manifest`.

    `annotations` are taut's own (owner, run key); `live` is the object as it is, None for a create. Ignored fields (an
    autoscaler's replicas among them) are sent with a create only. Raises BadInput (see `canonical_body`).
    """
    body = canonical_body(manifest.body)
    if annotations:
        metadata: dict[str, Any] = body.get("metadata") or {}
        body["metadata"] = {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotations}}
    return _without_ignored(body, ignore, live) if live is not None and ignore else body


def _without_ignored(body: Body, ignore: ResolvedIgnore, live: Body) -> Body:
    """Leave ignored fields as they are in the target.

    Leaving out a field that taut owns would remove it (an autoscaled Deployment would fall back to one replica), and so
    would leaving out a member of a list that is one value. Both are sent as they are live.
    """
    owned = owned_fields(managed_fields(live))
    for path in sorted(ignore.paths, key=len):
        value = get(live, path) if is_atomic_inside(path) or owned.touches(path) else MISSING
        if value is not MISSING or get(body, path) is not MISSING:
            body = changed(body, path, value) if path else body
    return body


def wanted_hash(manifest: Manifest, rules_hash: str = "", redact: Redactor | None = None) -> str:
    """What an inventory remembers as applied: the manifest's hash, and the ignore rules where there are any.

    With another rule the same manifest is another desired state: a field comes under taut's care, or leaves it. With
    `redact` the hash of a Secret, and of what holds a decrypted value, is keyed: it is kept, and from a plain hash a short password
    could be found by trying.
    """
    keyed = redact is not None and (is_secret(manifest.body) or manifest.origin.secret)
    content = redact.digest(manifest.body) if redact is not None and keyed else manifest.hash
    return content_hash([content, rules_hash]) if rules_hash else content
