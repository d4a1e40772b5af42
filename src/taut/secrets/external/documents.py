"""ExternalSecrets and ClusterExternalSecrets, read to the field. What is not known is refused by its name, and never passed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from taut.model.durations import seconds
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body, Manifest

GROUP = "external-secrets.io"
VERSIONS = ("v1", "v1beta1")
API_VERSIONS = tuple(f"{GROUP}/{v}" for v in VERSIONS)
_DEFAULT_REFRESH = "1h"

type Decoding = Literal["Auto", "Base64", "Base64URL", "None"]
type Conversion = Literal["Default", "Unicode"]
type NullBytes = Literal["Ignore", "Fail"]
type Creation = Literal["Owner", "Orphan", "Merge", "None", "CreateOrMerge"]
type Deletion = Literal["Retain", "Delete", "Merge"]


class Strict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A part of a document."""


class StoreRef(Strict, frozen=True):
    """Which store is asked."""

    name: str = ""
    kind: Literal["SecretStore", "ClusterSecretStore", ""] = ""


class RemoteRef(Strict, frozen=True):
    """One value in a store."""

    key: str
    property: str = ""
    version: str = ""
    metadata_policy: Literal["None", "Fetch"] = "None"
    conversion_strategy: Conversion = "Default"
    decoding_strategy: Decoding = "None"
    null_byte_policy: NullBytes = "Ignore"


class SourceRef(Strict, frozen=True):
    """Another store than the document's; a generator is read, to say that it is not supported."""

    store_ref: StoreRef | None = None
    generator_ref: dict[str, Any] | None = None


class Data(Strict, frozen=True):
    """One key of the Secret."""

    secret_key: str
    remote_ref: RemoteRef
    source_ref: SourceRef | None = None


class FindName(Strict, frozen=True):
    """Names, by a regular expression (RE2)."""

    regexp: str = ""


class Find(Strict, frozen=True):
    """Many values, by their names or tags."""

    path: str | None = None
    name: FindName | None = None
    tags: dict[str, str] | None = None
    conversion_strategy: Conversion = "Default"
    decoding_strategy: Decoding = "None"
    null_byte_policy: NullBytes = "Ignore"


class RewriteRegexp(Strict, frozen=True):
    """A key becomes what Go's `regexp.ReplaceAllString` makes of it."""

    source: str
    target: str


class RewriteTransform(Strict, frozen=True):
    """A key becomes what a template makes of `.value`."""

    template: str


class RewriteMerge(Strict, frozen=True):
    """Values that are JSON objects become one."""

    into: str = ""
    priority: tuple[str, ...] = ()
    priority_policy: Literal["Strict", "IgnoreNotFound"] = "Strict"
    conflict_policy: Literal["Error", "Ignore"] = "Error"
    strategy: Literal["Extract", "JSON"] = "Extract"


class Rewrite(Strict, frozen=True):
    """One step of rewriting; exactly one of its fields is set."""

    regexp: RewriteRegexp | None = None
    transform: RewriteTransform | None = None
    merge: RewriteMerge | None = None


class DataFrom(Strict, frozen=True):
    """Many keys of the Secret."""

    extract: RemoteRef | None = None
    find: Find | None = None
    rewrite: tuple[Rewrite, ...] = ()
    source_ref: SourceRef | None = None


class TemplateItem(Strict, frozen=True):
    """One template of a ConfigMap or Secret."""

    key: str
    template_as: Literal["Values", "KeysAndValues"] = "Values"


class TemplateRef(Strict, frozen=True):
    """Templates that lie in a ConfigMap or Secret."""

    name: str
    items: tuple[TemplateItem, ...]


class TemplateFrom(Strict, frozen=True):
    """Templates from elsewhere, or a text that gives keys and values."""

    config_map: TemplateRef | None = None
    secret: TemplateRef | None = None
    literal: str | None = None
    target: Literal["Data", "Annotations", "Labels"] = "Data"


class TemplateMetadata(Strict, frozen=True):
    """Labels and annotations; their values are templates."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class Template(Strict, frozen=True):
    """What the Secret is made from."""

    type: str = ""
    engine_version: Literal["v2"] = "v2"
    metadata: TemplateMetadata = TemplateMetadata()
    merge_policy: Literal["Replace", "Merge"] = "Replace"
    data: dict[str, str] = {}
    template_from: tuple[TemplateFrom, ...] = ()


class Target(Strict, frozen=True):
    """The Secret."""

    name: str = ""
    creation_policy: Creation = "Owner"
    deletion_policy: Deletion = "Retain"
    template: Template | None = None
    immutable: bool = False


class Spec(Strict, frozen=True):
    """What an ExternalSecret says."""

    secret_store_ref: StoreRef = StoreRef()
    target: Target = Target()
    refresh_policy: Literal["Periodic", "OnChange", "CreatedOnce", ""] = ""
    refresh_interval: str | int = _DEFAULT_REFRESH
    data: tuple[Data, ...] = ()
    data_from: tuple[DataFrom, ...] = ()


class Labelled(Strict, frozen=True):
    """Metadata of the ExternalSecrets that a ClusterExternalSecret makes."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ClusterSpec(Strict, frozen=True):
    """What a ClusterExternalSecret says."""

    external_secret_spec: Spec
    external_secret_name: str = ""
    external_secret_metadata: Labelled = Labelled()
    namespace_selector: dict[str, Any] | None = None
    namespace_selectors: tuple[dict[str, Any], ...] = ()
    namespaces: tuple[str, ...] = ()
    refresh_time: str | int = ""


class ExternalSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An ExternalSecret with its place. `uid` is known when it lives in a cluster; `origin` is the ClusterExternalSecret it was made from."""

    namespace: str
    name: str
    spec: Spec
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    uid: str = ""
    api_version: str = API_VERSIONS[0]
    where: Where = Where()
    origin: str = ""

    @property
    def target(self) -> str:
        """The Secret's name."""
        return self.spec.target.name or self.name

    @property
    def refresh_seconds(self) -> float:
        """The refreshInterval; 0 when it is switched off."""
        return duration(self.spec.refresh_interval)

    def at(self, field: str) -> Where:
        """The place of a field."""
        return place(self.where, field)

    def __str__(self) -> str:
        return f"ExternalSecret {self.namespace}/{self.name}"


class ClusterExternalSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A ClusterExternalSecret with its place."""

    name: str
    spec: ClusterSpec
    api_version: str = API_VERSIONS[0]
    where: Where = Where()

    def __str__(self) -> str:
        return f"ClusterExternalSecret {self.name}"


def is_external(manifest: Manifest) -> bool:
    """Whether a manifest is one of the operator's that is read here (stores too)."""
    kinds = {"ExternalSecret", "ClusterExternalSecret", "SecretStore", "ClusterSecretStore"}
    return manifest.api_version in API_VERSIONS and manifest.kind in kinds


def external_secret(manifest: Manifest, *, namespace: str = "") -> ExternalSecret:
    """An ExternalSecret of its document; `namespace` is where it goes when it does not say. Raises BadInput with file, line and field."""
    where = where_of(manifest)
    spec = convert(manifest.body.get("spec"), Spec, where)
    check(spec, where, "spec")
    return ExternalSecret(
        namespace=manifest.namespace or namespace,
        name=manifest.name,
        spec=spec,
        labels={str(k): str(v) for k, v in manifest.labels.items()},
        annotations={str(k): str(v) for k, v in manifest.annotations.items()},
        uid=str(manifest.metadata.get("uid") or ""),
        api_version=manifest.api_version,
        where=where,
    )


def cluster_external_secret(manifest: Manifest) -> ClusterExternalSecret:
    """A ClusterExternalSecret of its document. Raises BadInput with file, line and field."""
    where = where_of(manifest)
    spec = convert(manifest.body.get("spec"), ClusterSpec, where)
    check(spec.external_secret_spec, where, "spec.externalSecretSpec")
    if spec.refresh_time != "":
        _duration(spec.refresh_time, place(where, "spec.refreshTime"))
    return ClusterExternalSecret(name=manifest.name, spec=spec, api_version=manifest.api_version, where=where)


def where_of(manifest: Manifest) -> Where:
    """Where a manifest is from. Raises BadInput when it has no name, or is of another version."""
    where = Where(
        repository=manifest.origin.source, file=manifest.origin.file, line=manifest.origin.line, object=str(manifest)
    )
    if manifest.api_version not in API_VERSIONS:
        raise BadInput(
            f"{manifest.api_version} is not read", where=where, advice=f"write it as {' or '.join(API_VERSIONS)}"
        )
    if not manifest.name:
        raise BadInput("it has no name", where=place(where, "metadata.name"))
    return where


def place(where: Where, field: str) -> Where:
    """The same document, at a field."""
    return Where(where.repository, where.file, where.line, where.object, field)


def convert[T](value: Any, kind: type[T], where: Where, at: str = "spec") -> T:
    """A part of a document as data. Raises BadInput that names the field."""
    if value is None:
        raise BadInput(f"{at} is missing", where=place(where, at))
    try:
        return msgspec.convert(_without_nulls(value), kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        field = f"{at}{path.rstrip('`')}".replace("[...]", "")
        raise BadInput(_sentence(what), where=place(where, field)) from None


def _without_nulls(value: Any) -> Any:
    """Kubernetes takes a field that is null for one that is left out."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value


def _sentence(what: str) -> str:
    if what.startswith("Object contains unknown field "):
        return f"there is no field {what.rpartition(' ')[2].strip('`')}, or taut does not support it"
    if what.startswith("Object missing required field "):
        return f"the field {what.rpartition(' ')[2].strip('`')} is missing"
    return f"{what[:1].lower()}{what[1:]}"


def check(spec: Spec, where: Where, at: str) -> None:
    """What the types do not say. Raises BadInput that names the field."""
    interval = _duration(spec.refresh_interval, place(where, f"{at}.refreshInterval"))
    if interval < 0:
        raise BadInput("a negative interval cannot be meant", where=place(where, f"{at}.refreshInterval"))
    if not spec.data and not spec.data_from:
        raise BadInput("neither data nor dataFrom says what to read", where=place(where, at))
    if spec.target.deletion_policy == "Delete" and spec.target.creation_policy != "Owner":
        raise BadInput(
            "deletionPolicy Delete needs creationPolicy Owner: taut deletes no Secret that is not its own",
            where=place(where, f"{at}.target.deletionPolicy"),
        )
    if spec.target.deletion_policy == "Merge" and spec.target.creation_policy == "None":
        raise BadInput(
            "deletionPolicy Merge needs a Secret, and creationPolicy None makes none",
            where=place(where, f"{at}.target.deletionPolicy"),
        )
    for number, item in enumerate(spec.data):
        _source(item.source_ref, spec, place(where, f"{at}.data[{number}]"))
    for number, many in enumerate(spec.data_from):
        _many(many, spec, place(where, f"{at}.dataFrom[{number}]"))
    _template(spec.target.template, where, f"{at}.target.template")


def _many(item: DataFrom, spec: Spec, where: Where) -> None:
    _source(item.source_ref, spec, where)
    if (item.extract is None) == (item.find is None):
        raise BadInput("exactly one of extract and find must be set", where=where)
    if item.find is not None and item.find.name is None and item.find.tags is None:
        raise BadInput("find needs name or tags", where=place(where, f"{where.field}.find"))
    for number, step in enumerate(item.rewrite):
        if sum(part is not None for part in (step.regexp, step.transform, step.merge)) != 1:
            at = place(where, f"{where.field}.rewrite[{number}]")
            raise BadInput("exactly one of regexp, transform and merge must be set", where=at)
        if step.merge and step.merge.strategy == "JSON" and not step.merge.into:
            at = place(where, f"{where.field}.rewrite[{number}].merge.into")
            raise BadInput("strategy JSON needs `into`", where=at)


def _source(source: SourceRef | None, spec: Spec, where: Where) -> None:
    if source is not None and source.generator_ref is not None:
        raise BadInput(
            "generators are not supported",
            where=place(where, f"{where.field}.sourceRef.generatorRef"),
            advice="write the value into a store, and read it from there",
        )
    store = source.store_ref if source is not None and source.store_ref is not None else spec.secret_store_ref
    if not store.name:
        raise BadInput("no store is named", where=where, advice="set spec.secretStoreRef.name")


def _template(template: Template | None, where: Where, at: str) -> None:
    for number, part in enumerate(template.template_from if template else ()):
        if sum(p is not None for p in (part.config_map, part.secret, part.literal)) != 1:
            raise BadInput(
                "exactly one of configMap, secret and literal must be set",
                where=place(where, f"{at}.templateFrom[{number}]"),
            )


def duration(value: str | int) -> float:
    """Seconds of a Go duration; a number counts nanoseconds, as in Go. Raises ValueError."""
    if isinstance(value, int):
        return value / 1e9
    if value in {"0", ""}:
        return 0.0
    return -seconds(value[1:]) if value.startswith("-") else seconds(value)


def _duration(value: str | int, where: Where) -> float:
    try:
        return duration(value)
    except (ValueError, OverflowError) as error:
        raise BadInput(str(error), where=where) from None


def data_of(body: Body) -> Mapping[str, Any]:
    """The `data` of an object, empty when there is none."""
    data = body.get("data")
    return data if isinstance(data, dict) else {}
