"""What a project lets an application do: where it may read from, where it may write to, and as whom. Pure.

Globs: names (clusters, namespaces, groups, kinds) know no segments; addresses do, so `https://git.example.com/team/*` is one level and `/**`
all of them, while `*` alone is every address. A leading `!` denies, and a denial wins over any permission, in whichever order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from taut.dialects.addresses import canonical_address
from taut.dialects.globs import match_name, match_path
from taut.dialects.problems import DocumentProblem, one_of
from taut.model.application import Application, Substitute
from taut.model.errors import Where
from taut.model.manifests import Manifest
from taut.model.project import Destination, KindRule, Project, ServiceAccountRule

DEFAULT_PROJECT = "default"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a project forbids: what, the object or field it is about, and what to do."""

    what: str
    where: Where
    advice: str = ""

    def __str__(self) -> str:
        place = str(self.where)
        return f"{place}: {self.what}" if place else self.what


def repository_allowed(project: Project, url: str) -> bool:
    """Whether the project lets its applications read `url` (sources, remote bases, chart dependencies)."""
    address = canonical_address(url)
    allowed = [rule for rule in project.spec.repositories if not rule.startswith("!")]
    denied = [rule[1:] for rule in project.spec.repositories if rule.startswith("!")]
    if any(_address_matches(rule, address) for rule in denied):
        return False
    return not project.spec.repositories or not allowed or any(_address_matches(rule, address) for rule in allowed)


def destination_allowed(project: Project, cluster: str, namespace: str | None) -> bool:
    """Whether the project lets its applications write into `namespace` of `cluster`; None asks for cluster-scoped objects.

    A cluster is open to cluster-scoped objects when any of its namespaces is: which kinds is another rule. A denial of single namespaces
    does not close it; `!` on the cluster with every namespace does.
    """
    rules = project.spec.destinations
    allowed = [rule for rule in rules if not _denies(rule)]
    if any(_destination_matches(rule, cluster, namespace, deny=True) for rule in rules if _denies(rule)):
        return False
    return not rules or not allowed or any(_destination_matches(rule, cluster, namespace) for rule in allowed)


def kind_allowed(project: Project, group: str, kind: str, *, namespaced: bool) -> bool:
    """Whether the project lets its applications declare objects of this kind. An empty list of cluster-scoped kinds allows none."""
    spec = project.spec
    allowed = spec.namespaced_kinds if namespaced else spec.cluster_kinds
    denied = spec.denied_namespaced_kinds if namespaced else spec.denied_cluster_kinds
    if any(_kind_matches(rule, group, kind) for rule in denied):
        return False
    return any(_kind_matches(rule, group, kind) for rule in allowed) or (namespaced and not allowed)


def check_application(project: Project, app: Application) -> list[Violation]:
    """What the application's own document asks for that the project forbids: sources, target, service account."""
    target = app.spec.target
    found = [
        _at(app, "spec.sources" if app.spec.sources else "spec.source", _repository_violation(project, source.url))
        for source in app.spec.all_sources
        if not repository_allowed(project, source.url)
    ]
    if not destination_allowed(project, target.cluster, target.namespace or None):
        what = f"project {project.name} does not allow {_place(target.cluster, target.namespace)}"
        found.append(_at(app, "spec.target", what, "add it to the project's destinations, or choose another target"))
    return found + _read_violations(project, app) + _service_account_violations(project, app)


def check_manifests(
    project: Project, app: Application, manifests: Iterable[tuple[Manifest, bool | None]]
) -> list[Violation]:
    """What the rendered objects ask for that the project forbids.

    Each manifest comes with its scope: True for namespaced, False for cluster-scoped, None when it is unknown; then both rules have to allow
    it, for nothing may slip through while a CRD is missing.
    """
    found: list[Violation] = []
    for manifest, namespaced in manifests:
        scopes = (True, False) if namespaced is None else (namespaced,)
        for scope in scopes:
            found += _manifest_violations(project, app, manifest, scope)
    return list(dict.fromkeys(found))


def service_account_for(project: Project, app: Application, namespace: str) -> str | None:
    """The user that a write into `namespace` is made as (`system:serviceaccount:<namespace>:<name>`), None for taut itself.

    The project's first matching rule decides; without one it is the application's own `target.serviceAccount`. For cluster-scoped objects
    `namespace` is empty, and the target's namespace stands in.
    """
    cluster, own = app.spec.target.cluster, namespace or app.spec.target.namespace
    rule = _service_account_rule(project, cluster, own)
    if rule is not None:
        return _user(rule.service_account.replace("{namespace}", own), own)
    return (
        _user(app.spec.target.service_account, app.spec.target.namespace) if app.spec.target.service_account else None
    )


def reads_allowed(project: Project, cluster: str, namespace: str) -> bool:
    """Whether taut may read in a namespace for the project's applications: where they may write, and with rules of service accounts, where one holds."""
    if not destination_allowed(project, cluster, namespace):
        return False
    return not project.spec.service_accounts or _service_account_rule(project, cluster, namespace) is not None


def usable_projects(
    configured: Iterable[Project], declared: Iterable[Project], trusted_roots: Collection[str]
) -> tuple[dict[str, Project], list[DocumentProblem]]:
    """The projects that count, by name, and what is wrong with the others.

    A project that a root declares counts only when the root is in `trusted_roots`: no root widens its own rights. The configuration wins
    over a root; when two roots declare the same name, neither counts. `default` is there even when nobody declares it, and allows all.
    """
    projects = {project.name: project for project in configured}
    problems: list[DocumentProblem] = []
    found: dict[str, Project] = {}
    twice: set[str] = set()
    for project in declared:
        where = Where(object=f"Project {project.name}", repository=project.root)
        if project.root not in trusted_roots:
            advice = "set projects: true on the root in taut's configuration, or declare the project there"
            problems.append(DocumentProblem(f"root {project.root} may not declare projects", where, advice))
        elif project.name in projects:
            problems.append(
                DocumentProblem(
                    "the configuration declares this project, and it counts", where, "remove one of the two"
                )
            )
        elif project.name in found:
            twice.add(project.name)
            others = f"roots {found[project.name].root} and {project.root}"
            problems.append(
                DocumentProblem(f"{others} declare the same project, so neither counts", where, "remove one")
            )
        else:
            found[project.name] = project
    projects |= {name: project for name, project in found.items() if name not in twice}
    projects.setdefault(DEFAULT_PROJECT, Project(name=DEFAULT_PROJECT))
    return projects, problems


def project_of(
    app: Application, projects: dict[str, Project], allowed: Collection[str] = ("*",)
) -> Project | Violation:
    """The application's project, or why it has none: it does not exist, or the application's root may not use it (`allowed`: globs on names)."""
    name = app.spec.project
    if not any(match_name(pattern, name) for pattern in allowed):
        usable = [known for known in projects if any(match_name(pattern, known) for pattern in allowed)]
        return _at(app, "spec.project", f"root {app.key.root} may not use project {name}", one_of(name, usable))
    if name not in projects:
        return _at(app, "spec.project", f"there is no project {name!r}", one_of(name, projects))
    return projects[name]


def _manifest_violations(project: Project, app: Application, manifest: Manifest, namespaced: bool) -> list[Violation]:
    cluster = app.spec.target.cluster
    namespace = (manifest.namespace or app.spec.target.namespace) if namespaced else ""
    where = Where(file=manifest.origin.file, line=manifest.origin.line, object=str(manifest))
    found: list[Violation] = []
    if not destination_allowed(project, cluster, namespace if namespaced else None):
        what = f"project {project.name} does not allow {_place(cluster, namespace)}"
        found.append(Violation(what, where, "add it to the project's destinations, or remove the object"))
    if (
        project.spec.service_accounts
        and _service_account_rule(project, cluster, namespace or app.spec.target.namespace) is None
    ):
        what = f"project {project.name} has no service account for {_place(cluster, namespace)}"
        found.append(Violation(what, where, "add a rule to the project's serviceAccounts, or remove the object"))
    if not kind_allowed(project, manifest.group, manifest.kind, namespaced=namespaced):
        scope, rules = ("namespaced", "namespacedKinds") if namespaced else ("cluster-scoped", "clusterKinds")
        what = f"project {project.name} does not allow the {scope} kind {manifest.kind}"
        found.append(Violation(what, where, f"allow it in the project's {rules}, or remove the object"))
    return found


def _read_violations(project: Project, app: Application) -> list[Violation]:
    """Values and variables are read with taut's own rights: only from where the application may write."""
    cluster, own = app.spec.target.cluster, app.spec.target.namespace
    places = [
        ("spec.sources" if app.spec.sources else "spec.source", found)
        for source in app.spec.all_sources
        for found in (source.helm_options.values_from if source.helm_options else ())
    ]
    places += [("spec.substitute.varsFrom", found) for found in (app.spec.substitute or Substitute()).vars_from]
    return [
        _at(
            app,
            field,
            f"project {project.name} does not allow reading {found.kind} {found.name} in {_place(cluster, found.namespace)}",
            "add the namespace to the project's destinations, or copy what is needed into the target's namespace",
        )
        for field, found in places
        if found.namespace and found.namespace != own and not destination_allowed(project, cluster, found.namespace)
    ]


def _service_account_violations(project: Project, app: Application) -> list[Violation]:
    target, rules = app.spec.target, project.spec.service_accounts
    if not rules:
        return []
    rule = _service_account_rule(project, target.cluster, target.namespace)
    if rule is None:
        what = f"project {project.name} has no service account for {_place(target.cluster, target.namespace)}"
        return [_at(app, "spec.target", what, "add a rule to the project's serviceAccounts")]
    wanted = rule.service_account.replace("{namespace}", target.namespace)
    own = target.service_account
    if own and _user(own, target.namespace) != _user(wanted, target.namespace):
        what = f"project {project.name} impersonates {wanted} here, not {own}"
        return [_at(app, "spec.target.serviceAccount", what, "remove the field")]
    return []


def _service_account_rule(project: Project, cluster: str, namespace: str) -> ServiceAccountRule | None:
    for rule in project.spec.service_accounts:
        if match_name(rule.cluster, cluster) and match_name(rule.namespace, namespace):
            return rule
    return None


def _user(account: str, namespace: str) -> str:
    head, colon, name = account.rpartition(":")
    return f"system:serviceaccount:{head if colon else namespace}:{name}"


def _repository_violation(project: Project, url: str) -> str:
    return f"project {project.name} does not allow the repository {canonical_address(url)}"


def _at(app: Application, field: str, what: str, advice: str = "") -> Violation:
    where = Where(file=app.origin_file, line=app.origin_line, object=f"Application {app.key.name}", field=field)
    return Violation(what, where, advice or "add it to the project's repositories, or use another")


def _place(cluster: str, namespace: str) -> str:
    return f"namespace {namespace} of cluster {cluster}" if namespace else f"cluster {cluster}"


def _address_matches(rule: str, address: str) -> bool:
    return rule in {"*", "**"} or match_path(canonical_address(rule, glob=True), address)


def _denies(rule: Destination) -> bool:
    return rule.cluster.startswith("!") or rule.namespace.startswith("!")


def _destination_matches(rule: Destination, cluster: str, namespace: str | None, *, deny: bool = False) -> bool:
    if not match_name(rule.cluster.removeprefix("!"), cluster):
        return False
    pattern = rule.namespace.removeprefix("!")
    if namespace is None:
        return not deny or pattern == "*"
    return match_name(pattern, namespace)


def _kind_matches(rule: KindRule, group: str, kind: str) -> bool:
    return match_name(rule.group, group) and match_name(rule.kind, kind)
