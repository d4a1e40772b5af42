"""From an ExternalSecret to the Secret that it asks for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from taut.model.errors import BadInput, TautError, Where
from taut.model.manifests import Body
from taut.secrets.external.asking import Rules
from taut.secrets.external.documents import (
    DataFrom,
    ExternalSecret,
    RemoteRef,
    Rewrite,
    SourceRef,
    StoreRef,
    Template,
    TemplateFrom,
    TemplatePlace,
    at,
)
from taut.secrets.external.errors import NoValueError, SecretError
from taut.secrets.external.provider import Provider
from taut.secrets.external.stores import Asker, Opening, StoreDocument, Templates, open_store
from taut.secrets.external.values import checked_keys, converted, decoded, merged, renamed

_COPIED_NOT = ("taut.dev/", "kubectl.kubernetes.io/", "argocd.argoproj.io/")
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Wanted:
    """An ExternalSecret, read."""

    name: str
    namespace: str
    spec: ExternalSecret
    body: Body = field(repr=False)
    where: Where = field(default_factory=Where)

    @property
    def target(self) -> str:
        """The Secret's name."""
        return self.spec.target.name or self.name


@dataclass(frozen=True)
class Needs:
    """What resolving needs from outside. `store` gives a store's document by kind, namespace and name; None: there is none."""

    asker: Asker
    templates: Templates
    store: Callable[[str, str, str], StoreDocument | None]
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class Resolved:
    """The values of a Secret, without its template. `missing` are entries that their stores no longer have (deletionPolicy Merge or Delete)."""

    data: Mapping[str, bytes] = field(repr=False)
    missing: tuple[str, ...] = ()

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left."""
        return not self.data and bool(self.missing)


async def values(wanted: Wanted, needs: Needs) -> Resolved:
    """Ask the stores. Raises SecretError for what cannot be had now, NoValueError for a value that is not there while `deletionPolicy` retains,
    BadInput for what cannot be meant; all name the document, the store and the key.
    """
    asking = _Asking(wanted, needs)
    found: dict[str, bytes] = {}
    missing: list[str] = []
    for number, entry in enumerate(wanted.spec.data_from):
        part = await asking.tried(lambda e=entry: asking.several(e), f"spec.dataFrom[{number}]", missing)
        found |= part or {}
    for number, datum in enumerate(wanted.spec.data):
        ref, source = datum.remote_ref, datum.source_ref
        part = await asking.tried(lambda r=ref, s=source: asking.one(r, s), f"spec.data[{number}]", missing)
        if part is not None:
            found[datum.secret_key] = part
    if sum(map(len, found.values())) > _MOST_BYTES:
        raise SecretError("the values are larger than a Secret may be (1 MiB)", where=wanted.where)
    return Resolved(_keys(found, wanted.where), tuple(missing))


class _Asking:
    def __init__(self, wanted: Wanted, needs: Needs) -> None:
        self._wanted = wanted
        self._needs = needs
        self._open: dict[tuple[str, str], tuple[StoreDocument, Provider]] = {}

    async def tried[T](self, ask: Callable[[], Any], field_: str, missing: list[str]) -> T | None:
        """What was asked for; None where it is gone and may be. Errors get their place."""
        try:
            return await ask()
        except NoValueError as error:
            if self._wanted.spec.target.deletion_policy != "Retain":
                missing.append(field_)
                return None
            error.where = at(self._wanted.where, field_)
            raise
        except TautError as error:
            if not error.where.object and not error.where.file:
                error.where = at(self._wanted.where, field_)
            raise

    async def one(self, ref: RemoteRef, source: SourceRef | None) -> bytes:
        store, provider = await self._store(source)
        data = await self._told(store, ref.key, lambda: provider.get(ref))
        return decoded(data, ref.decoding_strategy, ref.key)

    async def several(self, entry: DataFrom) -> dict[str, bytes]:
        store, provider = await self._store(entry.source_ref)
        if entry.extract is not None:
            ref = entry.extract
            data = await self._told(store, ref.key, lambda: dict(provider.get_map(ref)))
        elif entry.find is not None:
            ref = find = entry.find
            data = await self._told(store, find.path or "values", lambda: dict(provider.find(find)))
        else:
            raise BadInput("dataFrom needs extract or find")
        data = {k: decoded(v, ref.decoding_strategy, k) for k, v in data.items()}
        for rule in entry.rewrite:
            data = await self._rewritten(data, rule)
        named: dict[str, bytes] = {}
        for key, value in data.items():
            new = converted(key, ref.conversion_strategy)
            if new in named:
                raise SecretError(f"two values would have the key {new!r}", advice="rename one with rewrite")
            named[new] = value
        return named

    async def _rewritten(self, data: dict[str, bytes], rule: Rewrite) -> dict[str, bytes]:
        if rule.regexp is not None:
            return renamed(data, rule.regexp)
        if rule.merge is not None:
            return merged(data, rule.merge)
        if rule.transform is not None:
            template = rule.transform.template
            names = [(await self._needs.templates({"key": template}, {"value": key}))["key"] for key in data]
            return dict(zip(names, data.values(), strict=True))
        return data

    async def _told[T](self, store: StoreDocument, key: str, ask: Callable[[], T]) -> T:
        """A provider's answer, got in a thread; its errors say which store and key."""
        try:
            return await asyncio.to_thread(ask)
        except SecretError as error:
            error.what = f"{store}, {key}: {error.what}"
            error.args = (str(error),)
            raise

    async def _store(self, source: SourceRef | None) -> tuple[StoreDocument, Provider]:
        if source is not None and source.generator_ref is not None:
            raise BadInput(
                "generators are not resolved", advice="have External Secrets' operator resolve this document"
            )
        ref = (source.store_ref if source is not None else None) or self._wanted.spec.secret_store_ref or StoreRef()
        key = (ref.kind, ref.name)
        if key not in self._open:
            space = self._wanted.namespace if ref.kind == "SecretStore" else ""
            store = self._needs.store(ref.kind, space, ref.name)
            if store is None:
                place = f"{space}/{ref.name}" if space else ref.name
                raise SecretError(
                    f"there is no {ref.kind} {place}", advice="declare it in an application of this cluster"
                )
            needs = self._needs
            opening = Opening(self._wanted.namespace, needs.asker, needs.templates, needs.rules, self._refs())
            self._open[key] = store, await open_store(store, opening)
        return self._open[key]

    def _refs(self) -> tuple[RemoteRef, ...]:
        spec = self._wanted.spec
        return (*(d.remote_ref for d in spec.data), *(e.extract for e in spec.data_from if e.extract is not None))


def _keys(data: Mapping[str, bytes], where: Where) -> dict[str, bytes]:
    try:
        return checked_keys(data)
    except SecretError as error:
        error.where = where
        raise


async def secret(wanted: Wanted, data: Mapping[str, bytes], needs: Needs) -> Body:
    """The Secret with these values, as its template says. Raises RenderError for a template that fails, SecretError for one that is not there."""
    target, template = wanted.spec.target, wanted.spec.target.template
    made = (
        _Made(dict(data), *_copied(wanted.body))
        if template is None
        else await _templated(wanted, data, template, needs)
    )
    metadata: dict[str, Any] = {"name": wanted.target, "namespace": wanted.namespace}
    if made.labels:
        metadata["labels"] = made.labels
    if made.annotations:
        metadata["annotations"] = made.annotations
    if template is not None and template.metadata is not None and template.metadata.finalizers:
        metadata["finalizers"] = list(template.metadata.finalizers)
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": (template.type if template else "") or "Opaque",
        "data": {k: base64.b64encode(v).decode() for k, v in sorted(_keys(made.data, wanted.where).items())},
    }
    if target.immutable:
        body["immutable"] = True
    return body


@dataclass(frozen=True)
class _Made:
    data: dict[str, bytes]
    labels: dict[str, str] = field(default_factory=dict[str, str])
    annotations: dict[str, str] = field(default_factory=dict[str, str])


def _copied(body: Body) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of the document, which its Secret has too where no template says otherwise."""
    metadata = body.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    kept = {k: v for k, v in annotations.items() if not k.startswith(_COPIED_NOT)}
    return dict(metadata.get("labels") or {}), kept


async def _templated(wanted: Wanted, data: Mapping[str, bytes], template: Template, needs: Needs) -> _Made:
    texts = {k: v.decode(errors="replace") for k, v in data.items()}
    own = template.metadata
    labels, annotations = (own.labels, own.annotations) if own is not None else _copied(wanted.body)
    asked = {f"d.{k}": v for k, v in template.data.items()}
    asked |= {f"l.{k}": v for k, v in labels.items()} | {f"a.{k}": v for k, v in annotations.items()}
    made = await needs.templates(asked, texts) if asked else {}
    found = _Made(
        dict(data) if template.merge_policy == "Merge" or not (template.data or template.template_from) else {},
        {k: made[f"l.{k}"] for k in labels},
        {k: made[f"a.{k}"] for k in annotations},
    )
    for place in template.template_from:
        _put(found, place.target, await _from(wanted, place, texts, needs))
    found.data.update({k: made[f"d.{k}"].encode() for k in template.data})
    return found


def _put(found: _Made, target: str, texts: Mapping[str, str]) -> None:
    if target == "Labels":
        found.labels.update(texts)
    elif target == "Annotations":
        found.annotations.update(texts)
    else:
        found.data.update({k: v.encode() for k, v in texts.items()})


async def _from(wanted: Wanted, place: TemplateFrom, data: Mapping[str, str], needs: Needs) -> dict[str, str]:
    if place.literal is not None:
        return _pairs((await needs.templates({"literal": place.literal}, data))["literal"], wanted.where)
    found: dict[str, str] = {}
    for kind, entry, ask in (
        ("ConfigMap", place.config_map, needs.asker.config_map),
        ("Secret", place.secret, needs.asker.secret),
    ):
        if entry is None:
            continue
        texts = await ask(wanted.namespace, entry.name)
        found |= await _items(wanted, kind, entry, texts, data, needs)
    return found


async def _items(
    wanted: Wanted,
    kind: str,
    place: TemplatePlace,
    texts: Mapping[str, bytes] | None,
    data: Mapping[str, str],
    needs: Needs,
) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in place.items:
        if texts is None or item.key not in texts:
            what = f"the {kind} {wanted.namespace}/{place.name} with the template {item.key} is not there"
            raise SecretError(what, where=wanted.where, advice="make it")
        text = (await needs.templates({item.key: texts[item.key].decode(errors="replace")}, data))[item.key]
        found |= _pairs(text, wanted.where) if item.template_as == "KeysAndValues" else {item.key: text}
    return found


def _pairs(text: str, where: Where) -> dict[str, str]:
    """A rendered template that holds `key: value` lines."""
    from taut.documents.yaml import load_documents

    try:
        documents = load_documents(text.encode(), file="the template")
    except BadInput:
        raise SecretError("what the template gives is no YAML", where=where, advice="write key: value lines") from None
    body = documents[0].body if documents else {}
    if not isinstance(body, dict):
        raise SecretError("what the template gives is no mapping", where=where, advice="write key: value lines")
    return {str(k): v if isinstance(v, str) else str(v) for k, v in body.items()}


def expand(body: Body, namespaces: Sequence[Body], where: Where) -> list[Body]:
    """The ExternalSecrets of a ClusterExternalSecret: one for each namespace that it names or selects. Raises BadInput."""
    from taut.secrets.external.stores import selected

    spec, metadata = body.get("spec"), body.get("metadata") or {}
    inner = spec.get("externalSecretSpec") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(inner, dict):
        raise BadInput("spec.externalSecretSpec is missing", where=replace(where, field="spec.externalSecretSpec"))
    selectors = [s for s in (spec.get("namespaceSelector"), *(spec.get("namespaceSelectors") or ())) if s]
    names = {str(n): None for n in spec.get("namespaces") or ()}
    for space in namespaces:
        own = space.get("metadata") or {}
        if any(selected(s, own.get("labels") or {}) for s in selectors):
            names[str(own.get("name"))] = None
    name = str(spec.get("externalSecretName") or metadata.get("name") or "")
    own_metadata = spec.get("externalSecretMetadata") or {}
    return [
        {
            "apiVersion": body["apiVersion"],
            "kind": "ExternalSecret",
            "metadata": {**own_metadata, "name": name, "namespace": space},
            "spec": inner,
        }
        for space in sorted(names)
    ]
