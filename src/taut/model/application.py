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

# `$` alone would let a text end with a line break.
Duration = Annotated[
    str, Meta(pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$(?!\n)", description="A duration, such as 30s or 1h30m.")
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


class PlainOptions(Spec, frozen=True):
    """How a folder of YAML, JSON is read. Patterns are globs on paths relative to the folder; `{a,b}` works."""

    recurse: bool = True
    """Whether folders inside the folder are read too."""
    include: tuple[str, ...] = ()
    """Only files that match one of these are read; empty means every `.yaml`, `.yml` and `.json`."""
    exclude: tuple[str, ...] = ()
    """Files that match one of these are left out."""


class KustomizeImage(Spec, frozen=True):
    """An image override, as in a kustomization's `images`."""

    name: str
    """The image as the manifests name it."""
    new_name: str | None = None
    """What it is called instead."""
    new_tag: str | None = None
    """Its tag instead."""
    digest: str | None = None
    """Its digest instead (`sha256:…`); it wins over a tag."""


class KustomizeReplicas(Spec, frozen=True):
    """A replica override."""

    name: str
    """The name of the workload."""
    count: int
    """How many replicas it gets."""


class PatchTarget(Spec, frozen=True):
    """Which objects a patch applies to; empty fields match everything."""

    group: str | None = None
    """The API group."""
    version: str | None = None
    """The API version."""
    kind: str | None = None
    """The kind."""
    name: str | None = None
    """The name; a regular expression."""
    namespace: str | None = None
    """The namespace; a regular expression."""
    label_selector: str | None = None
    """A label selector."""
    annotation_selector: str | None = None
    """A selector on annotations."""


class KustomizePatch(Spec, frozen=True):
    """An inline patch: strategic merge or JSON 6902, as YAML text."""

    patch: str
    """The patch, as YAML text."""
    target: PatchTarget | None = None
    """Which objects it applies to; without it, the patch itself names its object."""
    options: dict[str, bool] = {}
    """kustomize's patch options, `allowNameChange` and `allowKindChange`."""


class KustomizeOptions(Spec, frozen=True):
    """What is laid over a kustomization before it is built. The names are kustomize's own."""

    images: tuple[KustomizeImage, ...] = ()
    """Images to replace."""
    replicas: tuple[KustomizeReplicas, ...] = ()
    """Replica counts to set."""
    patches: tuple[KustomizePatch, ...] = ()
    """Patches to lay over."""
    components: tuple[str, ...] = ()
    """Components to add, as paths relative to the kustomization."""
    ignore_missing_components: bool = False
    """Leave out components that do not exist."""
    name_prefix: str | None = None
    """Put before every name."""
    name_suffix: str | None = None
    """Put after every name."""
    namespace: str | None = None
    """The namespace of every namespaced object."""
    common_labels: dict[str, str] = {}
    """Labels for every object, and for selectors unless `labelWithoutSelector`."""
    label_without_selector: bool = False
    """Leave selectors alone."""
    label_include_templates: bool = False
    """Label Pod templates too, when selectors are left alone."""
    common_annotations: dict[str, str] = {}
    """Annotations for every object."""
    build_metadata: tuple[str, ...] = ()
    """What kustomize notes on objects: `managedByLabel`, `originAnnotations`, `transformerAnnotations`."""


class ValuesFrom(Spec, frozen=True):
    """Values (or variables) read from a ConfigMap or Secret of the target, in the application's namespace unless told."""

    kind: str
    """`ConfigMap` or `Secret`."""
    name: Name
    """Its name."""
    namespace: str | None = None
    """Its namespace; default: the application's target namespace."""
    key: str | None = None
    """One key (Helm: default `values.yaml`). For substitution None means every key."""
    target_path: str | None = None
    """Helm only: where in the values the key's text goes; None means that the key holds YAML to be merged."""
    optional: bool = False
    """Go on without it when it does not exist."""


class HelmParameter(Spec, frozen=True):
    """One `--set` (or `--set-string`)."""

    name: str
    """The path of the value (`image.tag`, `hosts[0]`)."""
    value: str
    """What it is set to; for `fileParameters` the path of the file that holds it."""
    force_string: bool = False
    """Take the value as text, whatever it looks like."""


class HelmOptions(Spec, frozen=True):
    """How a chart is rendered. Later wins: values of the chart, valueFiles, valuesFrom, values, fileParameters, parameters."""

    release_name: str | None = None
    """The release's name; default: the application's name."""
    value_files: tuple[str, ...] = ()
    """Relative to the chart's folder, absolute in the repository with a leading `/`, or `$name/path` in another source."""
    ignore_missing_value_files: bool = False
    """Leave out values files that do not exist."""
    values: dict[str, Any] = {}
    """Values, written here."""
    values_from: tuple[ValuesFrom, ...] = ()
    """Values from ConfigMaps and Secrets of the target."""
    parameters: tuple[HelmParameter, ...] = ()
    """Single values, as with `--set`."""
    file_parameters: tuple[HelmParameter, ...] = ()
    """Single values that are the content of a file, as with `--set-file`."""
    skip_crds: bool = False
    """Leave out the chart's `crds/`."""
    skip_tests: bool = True
    """Leave out test hooks."""
    skip_hooks: bool = False
    """Leave out all hooks."""
    skip_schema_validation: bool = False
    """Do not hold the values against the chart's schema."""
    kube_version: str | None = None
    """The Kubernetes version the chart is told; default: the target's."""
    api_versions: tuple[str, ...] = ()
    """API versions the chart is told, besides the target's."""
    namespace: str | None = None
    """The namespace the chart is told; default: the target's."""


class JsonnetVar(Spec, frozen=True):
    """An external variable or top-level argument; `code` evaluates the value as Jsonnet."""

    name: str
    """Its name."""
    value: str
    """Its value."""
    code: bool = False
    """Whether the value is Jsonnet, not text."""


class JsonnetOptions(Spec, frozen=True):
    """How Jsonnet is evaluated. `libs` are folders of the repository."""

    ext_vars: tuple[JsonnetVar, ...] = ()
    """External variables (`std.extVar`)."""
    tlas: tuple[JsonnetVar, ...] = ()
    """Top-level arguments."""
    libs: tuple[str, ...] = ()
    """Folders of the repository in which imports are looked for."""
    include: tuple[str, ...] = ()
    """Only files that match one of these are evaluated."""
    exclude: tuple[str, ...] = ()
    """Files that match one of these are left out."""


class Substitute(Spec, frozen=True):
    """Flux-style variable substitution after rendering (`${var}`, `${var:=default}`, `$${var}`)."""

    vars: dict[str, str] = {}
    """Variables and their values."""
    vars_from: tuple[ValuesFrom, ...] = ()
    """Variables from ConfigMaps and Secrets of the target; later ones win, and `vars` wins over all."""
    strict: bool = True
    """An unknown variable without a default is an error."""


class Source(Spec, frozen=True):
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
    """The chart's name in the Helm repository."""
    version: str | None = None
    """The chart's version, or a semver range."""
    path: str = "."
    """The folder in the repository (or artifact) that is rendered."""
    credentials: str | None = None
    """The name of credentials in taut's configuration; default: the first whose URL prefix matches."""
    submodules: bool = False
    """Whether Git submodules are fetched too."""
    renderer: Renderer = Renderer.AUTO
    """How the folder is rendered: auto, plain, kustomize, helm or jsonnet."""
    plain: PlainOptions | None = None
    """Options for plain YAML."""
    kustomize: KustomizeOptions | None = None
    """Options for Kustomize."""
    helm_options: HelmOptions | None = None
    """Options for Helm."""
    jsonnet: JsonnetOptions | None = None
    """Options for Jsonnet."""
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


class Backoff(Spec, frozen=True):
    """Time between tries."""

    duration: Duration = "5s"
    """Before the first retry."""
    factor: float = 2.0
    """How much longer each wait is than the one before."""
    max_duration: Duration = "3m"
    """The longest wait."""


class Retry(Spec, frozen=True):
    """How often a failed sync is tried again at the same revision; limit -1 never stops."""

    limit: int = 5
    """How often; -1 never stops."""
    backoff: Backoff = Backoff()
    """How long to wait between tries."""


class SyncWindow(Spec, frozen=True, kw_only=True):
    """When syncs may (allow) or may not (deny) start: a cron expression, its time zone and how long it stays open."""

    kind: Annotated[str, Meta(pattern=r"^(allow|deny)$(?!\n)")] = "allow"
    """`allow` or `deny`."""
    schedule: str
    """When it opens: a cron expression of five fields."""
    duration: Duration
    """How long it stays open."""
    time_zone: str = "UTC"
    """The time zone of the schedule."""
    manual_sync: bool = False
    """Whether a sync by hand may start although the window forbids it."""


class SyncPolicy(Spec, frozen=True):
    """How desired becomes live."""

    mode: SyncMode = SyncMode.AUTOMATIC
    """automatic (taut starts syncs), manual (a person does), or report (nobody does: differences are shown only)."""
    prune: bool = True
    """Whether objects that Git no longer declares are deleted."""
    heal: bool = True
    """Whether changes made by others are put back."""
    retry: Retry = Retry()
    """How often a failed sync is tried again."""
    timeout: Duration = "10m"
    """How long one operation may take, waiting for health included."""
    windows: tuple[SyncWindow, ...] = ()
    """When syncs may start; the project's windows count too."""
    create_namespace: bool = False
    """Whether the target's namespace is made when it is missing. It belongs to nobody then, and stays."""
    namespace_labels: dict[str, str] = {}
    """Labels of the namespace that is made."""
    namespace_annotations: dict[str, str] = {}
    """Annotations of the namespace that is made."""
    wait: bool = True
    """Whether a wave waits until the one before it is healthy."""
    prune_last: bool = False
    """Whether deletions wait until everything else is healthy."""
    propagation: Annotated[str, Meta(pattern=r"^(background|foreground|orphan)$(?!\n)")] = "background"
    """How dependants are deleted: background, foreground or orphan."""


class IgnoreRule(Spec, frozen=True):
    """Fields that are not compared and, once the object exists, not applied. Empty selectors match all; globs work."""

    group: str = "*"
    """The API group; empty for the core group."""
    kind: str = "*"
    """The kind."""
    name: str = "*"
    """The object's name."""
    namespace: str = "*"
    """The object's namespace."""
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


class Guards(Spec, frozen=True):
    """When a plan is held for approval."""

    max_delete_share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """The share of an application's objects that may be deleted without asking."""
    max_delete_count: Annotated[int, Meta(ge=0)] = 3
    """The share counts only when more objects than this would be deleted."""
    allow_empty: bool = False
    """Whether a render without any object may delete everything."""


class Target(Spec, frozen=True):
    """Where the application runs."""

    cluster: str = "local"
    """A cluster of taut's configuration."""
    namespace: str = ""
    """The namespace of objects that name none."""
    service_account: str | None = None
    """Impersonated when writing, `namespace:name` or a name in the target's namespace."""


class Folders(Spec, frozen=True):
    """One application for each folder that matches; `folder.name`, `folder.path` are the variables."""

    include: tuple[str, ...]
    """Globs on the folders' paths: `*` is one level, `**` any number."""
    exclude: tuple[str, ...] = ()
    """Folders that are left out, with all below them."""


class ForEach(Spec, frozen=True):
    """One document, many applications: exactly one of the three. An empty or failed result deletes nothing."""

    folders: str | tuple[str, ...] | Folders | None = None
    """Globs on paths of folders (`apps/*`); `folder.name` and `folder.path` are the variables."""
    branches: str | tuple[str, ...] | None = None
    """Globs on branch names; `branch.name`, `branch.slug`, `branch.commit` are the variables."""
    list: tuple[dict[str, Any], ...] | None = None
    """Explicit elements; their keys are the variables, `element` is the whole."""
    git: str | None = None
    """The repository that folders and branches are looked for in; default: the source's."""
    ref: str | None = None
    """The revision that folders are looked for in; default: the source's."""


class ApplicationSpec(Spec, frozen=True):
    """The `spec` of an Application document."""

    project: str = "default"
    """The project whose rules hold."""
    for_each: ForEach | None = None
    """Make one application of each folder, branch or element."""
    source: Source | None = None
    """Where the manifests come from."""
    sources: tuple[Source, ...] = ()
    """Several sources, when one is not enough: charts here, values there."""
    target: Target = Target()
    """Where the objects go."""
    sync: SyncPolicy = SyncPolicy()
    """When and how syncs happen."""
    depends_on: tuple[str, ...] = ()
    """`name`, `namespace/name` in the same root, or `root/namespace/name`; `root//name` without a namespace."""
    ignore: tuple[IgnoreRule, ...] = ()
    """Fields that are not compared and not overwritten."""
    deletion: DeletionPolicy = DeletionPolicy.DELETE
    """Whether the application's objects go with it (`delete`) or stay (`orphan`)."""
    guards: Guards = Guards()
    """When a sync waits for approval."""
    suspended: bool = False
    """Whether taut leaves the application alone: no sync, no pruning, no deletion."""
    substitute: Substitute | None = None
    """Variables to put into the rendered manifests."""
    history_limit: Annotated[int, Meta(ge=1)] = 100
    """How many syncs are remembered."""
    info: dict[str, str] = {}
    """Anything to show with the application, such as links."""

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
