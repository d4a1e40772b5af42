"""Projects: what an application may use. Enforced on every object after rendering."""

from __future__ import annotations

import msgspec

from taut.model.application import Spec, SyncWindow


class KindRule(Spec, frozen=True):
    """A group and a kind; globs."""

    group: str = "*"
    """The API group; empty for the core group."""
    kind: str = "*"
    """The kind."""


class Destination(Spec, frozen=True):
    """A cluster and a namespace; globs, a leading `!` denies."""

    cluster: str = "*"
    """The cluster's name."""
    namespace: str = "*"
    """The namespace."""


class ServiceAccountRule(Spec, frozen=True, kw_only=True):
    """Which service account is impersonated for a destination; the first match counts. `{namespace}` is filled in."""

    cluster: str = "*"
    """The cluster's name."""
    namespace: str = "*"
    """The namespace that is written into."""
    service_account: str
    """`name` in that namespace, or `namespace:name`."""


class Signatures(Spec, frozen=True):
    """Whose signature a revision must carry: `commit` or `tag`, by one of these keys."""

    require: str = "none"
    """none, commit, or tag."""
    open_pgp: tuple[str, ...] = ()
    """Armoured public keys."""
    ssh: tuple[str, ...] = ()
    """Public keys, as in an allowed_signers file without the principal."""


class ProjectSpec(Spec, frozen=True):
    """The `spec` of a Project document. Empty lists of repositories, destinations and namespaced kinds mean all."""

    repositories: tuple[str, ...] = ("*",)
    """Globs on source URLs; a leading `!` denies. Remote kustomize bases and chart dependencies count too."""
    destinations: tuple[Destination, ...] = (Destination(),)
    """Where objects may go."""
    cluster_kinds: tuple[KindRule, ...] = (KindRule(),)
    """Cluster-scoped kinds that are allowed."""
    denied_cluster_kinds: tuple[KindRule, ...] = ()
    """Cluster-scoped kinds that are not allowed; they win."""
    namespaced_kinds: tuple[KindRule, ...] = (KindRule(),)
    """Namespaced kinds that are allowed."""
    denied_namespaced_kinds: tuple[KindRule, ...] = ()
    """Namespaced kinds that are not allowed; they win."""
    service_accounts: tuple[ServiceAccountRule, ...] = ()
    """As whom taut writes; with rules, a place without one is refused."""
    signatures: Signatures = Signatures()
    """Whose signatures revisions must carry."""
    windows: tuple[SyncWindow, ...] = ()
    """When syncs may start, besides the applications' own windows."""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project. `root` is empty for one that comes from taut's configuration; only those widen rights."""

    name: str
    spec: ProjectSpec = ProjectSpec()
    root: str = ""
