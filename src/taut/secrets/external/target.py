"""The Secret that an ExternalSecret asks for: its values through the template, its metadata, and whose it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from taut.documents.yaml import load_documents
from taut.model.errors import BadInput
from taut.model.live import OWNER
from taut.model.manifests import Body
from taut.secrets.external.asking import Asker, TemplateError, Templates, Values, decoded, run
from taut.secrets.external.documents import GROUP, ExternalSecret, Template, TemplateFrom, TemplateRef, data_of
from taut.secrets.external.errors import ExternalError, ProviderError
from taut.secrets.external.keys import check_keys, is_key

_NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration", OWNER})
_MOST_BYTES = 2**20
_AT = "spec.target.template"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A template, and where what it gives belongs. `keys`: it gives keys and values. `hidden`: its own text is a secret."""

    text: str
    target: str
    key: str
    field: str
    keys: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What the Secret holds."""

    data: dict[str, bytes]
    labels: dict[str, str]
    annotations: dict[str, str]

    def __repr__(self) -> str:
        return f"Content({sorted(self.data)})"


async def content(external: ExternalSecret, values: Values, asker: Asker, templates: Templates) -> Content:
    """What the Secret holds for these values. Raises ExternalError that names the field whose template fails."""
    template = external.spec.target.template
    if template is None:
        kept = {k: v for k, v in external.annotations.items() if k not in _NOT_COPIED}
        return _checked(external, Content(dict(values), dict(external.labels), kept))
    bare = not template.data and not template.template_from
    made = Content(dict(values) if bare or template.merge_policy == "Merge" else {}, {}, {})
    pieces = [p for n, f in enumerate(template.template_from) for p in await _from(external, n, f, asker)]
    pieces += _own(template)
    try:
        results = await run(templates, [(p.text, 0) for p in pieces], [values])
    except TemplateError as error:
        piece = pieces[error.number] if error.number >= 0 else None
        why = (
            "it cannot be run (it comes from a Secret, so its text is not told)"
            if piece and piece.hidden
            else str(error)
        )
        raise ExternalError(f"the template fails: {why}", where=external.at(piece.field if piece else _AT)) from None
    for piece, result in zip(pieces, results, strict=True):
        _put(external, made, piece, result)
    return _checked(external, made)


def _own(template: Template) -> list[_Piece]:
    metadata = template.metadata
    pieces = [_Piece(t, "Data", k, f"{_AT}.data.{k}") for k, t in template.data.items()]
    pieces += [_Piece(t, "Labels", k, f"{_AT}.metadata.labels.{k}") for k, t in metadata.labels.items()]
    return pieces + [
        _Piece(t, "Annotations", k, f"{_AT}.metadata.annotations.{k}") for k, t in metadata.annotations.items()
    ]


async def _from(external: ExternalSecret, number: int, part: TemplateFrom, asker: Asker) -> list[_Piece]:
    field = f"{_AT}.templateFrom[{number}]"
    if part.literal is not None:
        return [_Piece(part.literal, part.target, "literal", f"{field}.literal", keys=True)]
    ref = part.config_map or part.secret
    if ref is None:
        return []
    kind = "ConfigMap" if part.config_map else "Secret"
    field += f".{kind[0].lower()}{kind[1:]}"
    texts = await _texts(external, kind, ref, field, asker)
    pieces: list[_Piece] = []
    for item in ref.items:
        if item.key not in texts:
            raise ExternalError(
                f"{kind} {external.namespace}/{ref.name} has no key {item.key}", where=external.at(f"{field}.items")
            )
        keys = item.template_as == "KeysAndValues"
        pieces.append(_Piece(texts[item.key], part.target, item.key, field, keys=keys, hidden=kind == "Secret"))
    return pieces


async def _texts(external: ExternalSecret, kind: str, ref: TemplateRef, field: str, asker: Asker) -> dict[str, str]:
    if kind == "ConfigMap":
        body = await asker.config_map(external.namespace, ref.name)
        texts = {str(k): str(v) for k, v in data_of(body or {}).items()}
    else:
        body = await asker.secret(external.namespace, ref.name)
        try:
            texts = {k: v.decode() for k, v in decoded(body or {}).items()}
        except (ProviderError, UnicodeDecodeError):
            raise ExternalError(
                f"Secret {external.namespace}/{ref.name} holds no text", where=external.at(field)
            ) from None
    if body is None:
        raise ExternalError(
            f"there is no {kind} {external.namespace}/{ref.name}", where=external.at(field), advice="create it"
        )
    return texts


def _put(external: ExternalSecret, made: Content, piece: _Piece, result: bytes) -> None:
    entries = _mapping(external, piece, result) if piece.keys else {piece.key: result}
    if piece.target == "Data":
        made.data.update(entries)
        return
    into = made.labels if piece.target == "Labels" else made.annotations
    into.update({k: v.decode(errors="replace") for k, v in entries.items()})


def _mapping(external: ExternalSecret, piece: _Piece, result: bytes) -> dict[str, bytes]:
    """Keys and values that a template gave as YAML. What it gave is told in no error."""
    where = external.at(piece.field)
    try:
        documents = load_documents(result)
    except BadInput as error:
        line = f" (line {error.where.line})" if error.where.line else ""
        raise ExternalError(f"what the template gives is no YAML{line}", where=where) from None
    body = documents[0].body if len(documents) == 1 else {} if not documents else None
    if not isinstance(body, dict):
        raise ExternalError("what the template gives is no mapping of keys and values", where=where)
    # A key may be made of values, so keys are counted here, and not told.
    for number, (key, value) in enumerate(body.items(), 1):
        if not isinstance(value, str):
            raise ExternalError(f"value number {number} is no text", where=where, advice="quote it in the template")
        if piece.target == "Data" and not is_key(str(key)):
            raise ExternalError(f"key number {number} is none that a Secret can have", where=where)
    return {str(k): str(v).encode() for k, v in body.items()}


def _checked(external: ExternalSecret, made: Content) -> Content:
    try:
        data = check_keys(made.data)
    except ProviderError as error:
        raise ExternalError(str(error), where=external.at("spec"), advice=error.advice) from None
    size = sum(len(v) for v in data.values())
    if size > _MOST_BYTES:
        raise ExternalError(
            f"the Secret would hold {size} bytes, and Kubernetes takes {_MOST_BYTES}",
            where=external.at("spec"),
            advice="split the ExternalSecret",
        )
    return Content(data, made.labels, made.annotations)


def secret(external: ExternalSecret, made: Content, live: Body | None) -> Body:
    """The Secret as it is to be applied; for a merge only what is ours."""
    target = external.spec.target
    template = target.template
    metadata: dict[str, Any] = {"name": external.target, "namespace": external.namespace}
    metadata |= {k: v for k, v in (("labels", made.labels), ("annotations", made.annotations)) if v}
    if template and template.metadata.finalizers:
        metadata["finalizers"] = list(template.metadata.finalizers)
    if target.creation_policy == "Owner" and external.uid:
        metadata["ownerReferences"] = [
            {
                "apiVersion": external.api_version,
                "kind": "ExternalSecret",
                "name": external.name,
                "uid": external.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    data = {k: base64.b64encode(v).decode() for k, v in sorted(made.data.items())}
    body: Body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    merging = target.creation_policy in {"Merge", "CreateOrMerge"} and live is not None
    if template and template.type:
        body["type"] = template.type
    elif not merging:
        body["type"] = "Opaque"
    if target.immutable:
        body["immutable"] = True
    return body


def other_owner(external: ExternalSecret, live: Body) -> str:
    """Who else controls a Secret, empty for nobody."""
    for owner in (live.get("metadata") or {}).get("ownerReferences") or ():
        group = str(owner.get("apiVersion") or "").rpartition("/")[0]
        ours = (group, owner.get("kind"), owner.get("name")) == (GROUP, "ExternalSecret", external.name)
        if owner.get("controller") and not ours:
            return f"{owner.get('kind')} {owner.get('name')}"
    return ""
