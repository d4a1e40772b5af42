"""What an application says: its sources, its target, its policy. The JSON Schemas are generated from these structs.

Every dialect parses into `Application`. Field names are snake_case here and camelCase in documents.
Durations are texts such as `30s`, `5m`, `1h30m` (Go's form); `taut.model.durations.seconds` reads them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from taut.model.refs import AppKey, ObjectRef

Duration = Annotated[
    str, Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", description="A duration, such as 30s or 1h30m.")
]
Name = Annotated[str, Meta(min_length=1, max_length=253)]


class Spec(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The base of all that is written in documents."""


class Renderer(StrEnum):
    """Which renderer reads a source. AUTO detects it as the peers do: Chart.yaml, then kustomization.yaml, else plain."""

    AUTO = "auto"
    PLAIN = "plain"
    KUSTOMIZE = "kustomize"
    HELM = "helm"
    JSONNET = "jsonnet"


class PlainOptions(Spec):
    """How a folder of YAML, JSON is read. Patterns are globs on paths relative to the folder; `{a,b}` works."""

    recurse: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class KustomizeImage(Spec):
    """An image override, as in a kustomization's `images`."""

    name: str
    new_name: str | None = None
    new_tag: str | None = None
    digest: str | None = None


class KustomizeReplicas(Spec):
    """A replica override."""

    name: str
    count: int


class PatchTarget(Spec):
    """Which objects a patch applies to; empty fields match everything."""

    group: str | None = None
    version: str | None = None
    kind: str | None = None
    name: str | None = None
    namespace: str | None = None
    label_selector: str | None = None
    annotation_selector: str | None = None


class KustomizePatch(Spec):
    """An inline patch: strategic merge or JSON 6902, as YAML text."""

    patch: str
    target: PatchTarget | None = None
    options: dict[str, bool] = {}


class KustomizeOptions(Spec):
    """What is laid over a kustomization before it is built. The names are kustomize's own."""

    images: tuple[KustomizeImage, ...] = ()
    replicas: tuple[KustomizeReplicas, ...] = ()
    patches: tuple[KustomizePatch, ...] = ()
    components: tuple[str, ...] = ()
    ignore_missing_components: bool = False
    name_prefix: str | None = None
    name_suffix: str | None = None
    namespace: str | None = None
    common_labels: dict[str, str] = {}
    label_without_selector: bool = False
    label_include_templates: bool = False
    common_annotations: dict[str, str] = {}
    build_metadata: tuple[str, ...] = ()


class ValuesFrom(Spec):
    """Values (or variables) read from a ConfigMap or Secret of the target, in the application's namespace unless told."""

    kind: str
    name: Name
    namespace: str | None = None
    key: str | None = None
    """One key (Helm: default `values.yaml`). For substitution None means every key."""
    target_path: str | None = None
    """Helm only: where in the values the key's text goes; None means that the key holds YAML to be merged."""
    optional: bool = False


class HelmParameter(Spec):
    """One `--set` (or `--set-string`)."""

    name: str
    value: str
    force_string: bool = False


class HelmOptions(Spec):
    """How a chart is rendered. Later wins: values of the chart, valueFiles, valuesFrom, values, fileParameters, parameters."""

    release_name: str | None = None
    value_files: tuple[str, ...] = ()
    """Relative to the chart's folder, absolute in the repository with a leading `/`, or `$name/path` in another source."""
    ignore_missing_value_files: bool = False
    values: dict[str, Any] = {}
    values_from: tuple[ValuesFrom, ...] = ()
    parameters: tuple[HelmParameter, ...] = ()
    file_parameters: tuple[HelmParameter, ...] = ()
    skip_crds: bool = False
    skip_tests: bool = True
    skip_hooks: bool = False
    skip_schema_validation: bool = False
    kube_version: str | None = None
    api_versions: tuple[str, ...] = ()
    namespace: str | None = None


class JsonnetVar(Spec):
    """An external variable or top-level argument; `code` evaluates the value as Jsonnet."""

    name: str
    value: str
    code: bool = False


class JsonnetOptions(Spec):
    """How Jsonnet is evaluated. `libs` are folders of the repository."""

    ext_vars: tuple[JsonnetVar, ...] = ()
    tlas: tuple[JsonnetVar, ...] = ()
    libs: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Substitute(Spec):
    """Flux-style variable substitution after rendering (`${var}`, `${var:=default}`, `$${var}`)."""

    vars: dict[str, str] = {}
    vars_from: tuple[ValuesFrom, ...] = ()
    strict: bool = True
    """An unknown variable without a default is an error."""


class Source(Spec):
    """Where manifests, a chart or values come from: exactly one of `git`, `helm`, `oci`."""

    name: str | None = None
    """The name other sources use to refer to this one's files (`$name/path`)."""
    git: str | None = None
    """A repository's URL: https, http, ssh, file, or `git@host:path`."""
    helm: str | None = None
    """A Helm repository's URL (http or https); `chart` and `version` choose."""
    oci: str | None = None
    """`oci://registry/repository`: a chart or an artifact of manifests; `ref` is a tag, digest or semver range."""
    ref: str | None = None
    """A branch, tag, full ref, commit, or semver range of tags (`1.x`, `>=1.2 <2`). Default: the default branch."""
    tag_prefix: str | None = None
    """Only tags with this prefix are candidates for a range; it is cut off before comparing."""
    chart: str | None = None
    version: str | None = None
    path: str = "."
    credentials: str | None = None
    """The name of credentials in taut's configuration; default: the first whose URL prefix matches."""
    submodules: bool = False
    renderer: Renderer = Renderer.AUTO
    plain: PlainOptions | None = None
    kustomize: KustomizeOptions | None = None
    helm_options: HelmOptions | None = None
    jsonnet: JsonnetOptions | None = None
    files_only: bool = False
    """Nothing is rendered from this source; others read its files. Implied when it has a name and no path or chart."""

    @property
    def url(self) -> str:
        """The address, whichever kind it is."""
        return self.git or self.helm or self.oci or ""


class SyncMode(StrEnum):
    """Who starts a sync: taut, a person, or nobody (report: drift and difference are shown and recorded only)."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    REPORT = "report"


class Backoff(Spec):
    """Time between tries."""

    duration: Duration = "5s"
    factor: float = 2.0
    max_duration: Duration = "3m"


class Retry(Spec):
    """How often a failed sync is tried again at the same revision; limit -1 never stops."""

    limit: int = 5
    backoff: Backoff = Backoff()


class SyncWindow(Spec, kw_only=True):
    """When syncs may (allow) or may not (deny) start: a cron expression, its time zone and how long it stays open."""

    kind: Annotated[str, Meta(pattern="^(allow|deny)$")] = "allow"
    schedule: str
    duration: Duration
    time_zone: str = "UTC"
    manual_sync: bool = False
    """Whether a sync by hand may start although the window forbids it."""


class SyncPolicy(Spec):
    """How desired becomes live."""

    mode: SyncMode = SyncMode.AUTOMATIC
    prune: bool = True
    heal: bool = True
    retry: Retry = Retry()
    timeout: Duration = "10m"
    """How long one operation may take, waiting for health included."""
    windows: tuple[SyncWindow, ...] = ()
    create_namespace: bool = False
    namespace_labels: dict[str, str] = {}
    namespace_annotations: dict[str, str] = {}
    wait: bool = True
    """Whether a wave waits until the one before it is healthy."""
    prune_last: bool = False
    propagation: Annotated[str, Meta(pattern="^(background|foreground|orphan)$")] = "background"
    replace: bool = False
    validate_schema: bool = True
    skip_dry_run_on_missing_kind: bool = False


class IgnoreRule(Spec):
    """Fields that are not compared and, once the object exists, not applied. Empty selectors match all; globs work."""

    group: str = "*"
    kind: str = "*"
    name: str = "*"
    namespace: str = "*"
    pointers: tuple[str, ...] = ()
    """JSON pointers (`/spec/replicas`)."""
    jq: tuple[str, ...] = ()
    """jq path expressions (`.spec.containers[] | select(.name == "x") | .image`)."""
    managers: tuple[str, ...] = ()
    """Fields owned by these field managers."""


class DeletionPolicy(StrEnum):
    """What happens to an application's objects when the application itself goes."""

    DELETE = "delete"
    ORPHAN = "orphan"


class Guards(Spec):
    """When a plan is held for approval."""

    max_delete_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    max_delete_count: Annotated[int, Meta(ge=0)] = 3
    """The share counts only when more objects than this would be deleted."""
    allow_empty: bool = False


class Target(Spec):
    """Where the application runs."""

    cluster: str = "local"
    namespace: str = ""
    service_account: str | None = None
    """Impersonated when writing, `namespace:name` or a name in the target's namespace."""


class Folders(Spec):
    """One application for each folder that matches; `folder.name`, `folder.path` are the variables."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()


class ForEach(Spec):
    """One document, many applications: exactly one of the three. An empty or failed result deletes nothing."""

    folders: str | tuple[str, ...] | Folders | None = None
    branches: str | tuple[str, ...] | None = None
    """Globs on branch names; `branch.name`, `branch.slug`, `branch.commit` are the variables."""
    list: tuple[dict[str, Any], ...] | None = None
    """Explicit elements; their keys are the variables, `element` is the whole."""
    git: str | None = None
    """The repository that folders and branches are looked for in; default: the source's."""
    ref: str | None = None


class ApplicationSpec(Spec):
    """The `spec` of an Application document."""

    project: str = "default"
    for_each: ForEach | None = None
    source: Source | None = None
    sources: tuple[Source, ...] = ()
    target: Target = Target()
    sync: SyncPolicy = SyncPolicy()
    depends_on: tuple[str, ...] = ()
    """`name`, `namespace/name` in the same root, or `root/namespace/name`; `root//name` without a namespace."""
    ignore: tuple[IgnoreRule, ...] = ()
    deletion: DeletionPolicy = DeletionPolicy.DELETE
    guards: Guards = Guards()
    suspended: bool = False
    substitute: Substitute | None = None
    history_limit: Annotated[int, Meta(ge=1)] = 100
    info: dict[str, str] = {}

    @property
    def all_sources(self) -> tuple[Source, ...]:
        """The sources in order, whether written as `source` or `sources`."""
        return ((self.source,) if self.source else ()) + self.sources


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """One application, ready to be reconciled (forEach already expanded)."""

    key: AppKey
    spec: ApplicationSpec
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    dialect: str = "taut"
    origin_file: str = ""
    origin_line: int = 0
    ref: ObjectRef | None = None
    """The document in a cluster that status is written back to, for dialects that live there."""
