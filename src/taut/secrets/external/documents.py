"""The documents of External Secrets (`external-secrets.io/v1` and `v1beta1`), as far as taut resolves them. Others' fields are passed over."""

from __future__ import annotations

from typing import Any

import msgspec

from taut.model.durations import seconds
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body


class _Document(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    pass


class StoreRef(_Document, frozen=True):
    """A store. `kind` is SecretStore (of the same namespace) or ClusterSecretStore."""

    name: str = ""
    kind: str = "SecretStore"


class RemoteRef(_Document, frozen=True):
    """A value (or with `property` a part of one) of a manager."""

    key: str
    property: str = ""
    version: str = ""
    decoding_strategy: str = "None"
    conversion_strategy: str = "Default"
    metadata_policy: str = "None"


class SourceRef(_Document, frozen=True):
    """Another store than the document's own; generators are not resolved."""

    store_ref: StoreRef | None = None
    generator_ref: dict[str, Any] | None = None


class Datum(_Document, frozen=True):
    """One entry of the Secret."""

    secret_key: str
    remote_ref: RemoteRef
    source_ref: SourceRef | None = None


class FindName(_Document, frozen=True):
    """Names, by a regular expression."""

    regexp: str = ""


class Find(_Document, frozen=True):
    """Values by their names, tags and path."""

    name: FindName | None = None
    tags: dict[str, str] = {}
    path: str = ""
    decoding_strategy: str = "None"
    conversion_strategy: str = "Default"


class RegexpRewrite(_Document, frozen=True):
    """Every match of `source` (RE2) in a key becomes `target` (`$1` is a group)."""

    source: str
    target: str


class TransformRewrite(_Document, frozen=True):
    """The key is what a template makes of `.value`."""

    template: str


class MergeRewrite(_Document, frozen=True):
    """The values, which are JSON objects, become one."""

    into: str = ""
    conflict_policy: str = "Error"
    priority: list[str] = []
    strategy: str = "Extract"


class Rewrite(_Document, frozen=True):
    """How keys are renamed; one of them."""

    regexp: RegexpRewrite | None = None
    transform: TransformRewrite | None = None
    merge: MergeRewrite | None = None


class DataFrom(_Document, frozen=True):
    """Several entries at once."""

    extract: RemoteRef | None = None
    find: Find | None = None
    rewrite: list[Rewrite] = []
    source_ref: SourceRef | None = None


class TemplateItem(_Document, frozen=True):
    """An entry of a ConfigMap or Secret that is a template: of values by their key, or of whole `key: value` lines."""

    key: str
    template_as: str = "Values"


class TemplatePlace(_Document, frozen=True):
    """A ConfigMap or Secret with templates."""

    name: str
    items: list[TemplateItem]


class TemplateFrom(_Document, frozen=True):
    """Templates from elsewhere, or written here; `target` is Data, Annotations or Labels."""

    config_map: TemplatePlace | None = None
    secret: TemplatePlace | None = None
    literal: str | None = None
    target: str = "Data"


class TemplateMetadata(_Document, frozen=True):
    """Labels, annotations and finalizers of the Secret; values are templates."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []


class Template(_Document, frozen=True):
    """How the Secret looks."""

    type: str = ""
    engine_version: str = "v2"
    metadata: TemplateMetadata | None = None
    data: dict[str, str] = {}
    merge_policy: str = "Replace"
    template_from: list[TemplateFrom] = []


class Target(_Document, frozen=True):
    """The Secret that is made."""

    name: str = ""
    creation_policy: str = "Owner"
    deletion_policy: str = "Retain"
    template: Template | None = None
    immutable: bool = False


class ExternalSecret(_Document, frozen=True):
    """The `spec` of an ExternalSecret."""

    secret_store_ref: StoreRef | None = None
    target: Target = Target()
    refresh_policy: str = ""
    refresh_interval: str = "1h"
    data: list[Datum] = []
    data_from: list[DataFrom] = []

    @property
    def seconds(self) -> float:
        """Seconds after which the values are asked for again; 0: never."""
        if self.refresh_policy in {"CreatedOnce", "OnChange"}:
            return 0.0
        return duration(self.refresh_interval)


class StoreCondition(_Document, frozen=True):
    """Which namespaces may use a ClusterSecretStore; one of the conditions has to hold."""

    namespace_selector: dict[str, Any] | None = None
    namespaces: list[str] = []
    namespace_regexes: list[str] = []


class Store(_Document, frozen=True):
    """The `spec` of a store. `provider` holds exactly one."""

    provider: dict[str, Any]
    conditions: list[StoreCondition] = []
    controller: str = ""


_CHOICES = {
    "target.creationPolicy": frozenset({"Owner", "Orphan", "Merge", "None"}),
    "target.deletionPolicy": frozenset({"Retain", "Delete", "Merge"}),
    "refreshPolicy": frozenset({"", "Periodic", "OnChange", "CreatedOnce"}),
}


def read_external(body: Body, where: Where) -> ExternalSecret:
    """An ExternalSecret's spec. Raises BadInput with the field."""
    found = read(body.get("spec"), ExternalSecret, where)
    values = {
        "target.creationPolicy": found.target.creation_policy,
        "target.deletionPolicy": found.target.deletion_policy,
        "refreshPolicy": found.refresh_policy,
    }
    for field, allowed in _CHOICES.items():
        if values[field] not in allowed:
            known = ", ".join(sorted(filter(None, allowed)))
            raise BadInput(
                f"{values[field]!r} is not known", where=at(where, f"spec.{field}"), advice=f"one of {known}"
            )
    try:
        duration(found.refresh_interval)
    except ValueError:
        what = f"{found.refresh_interval!r} is no duration"
        raise BadInput(what, where=at(where, "spec.refreshInterval"), advice="write 1h, 30m or 15s") from None
    template = found.target.template
    if template is not None and template.engine_version != "v2":
        raise BadInput(
            f"templates of engine {template.engine_version} are not rendered",
            where=at(where, "spec.target.template.engineVersion"),
            advice="write v2",
        )
    if not found.data and not found.data_from:
        raise BadInput("it asks for nothing", where=at(where, "spec"), advice="add data or dataFrom")
    return found


def read[T](value: object, kind: type[T], where: Where) -> T:
    """A part of a document. Raises BadInput with the field that does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        field = "spec" + (path.rstrip("`") if path else "")
        raise BadInput(text, where=at(where, field), advice="compare it with External Secrets' documentation") from None


def at(where: Where, field: str) -> Where:
    """The same place, with a field."""
    return Where(where.repository, where.file, where.line, where.object, field)


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it (`1h0m0s`, `0`). Raises ValueError."""
    if text.strip() in {"", "0"}:
        return 0.0
    return seconds(text)
