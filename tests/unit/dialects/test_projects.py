import pytest

from taut.dialects.addresses import canonical_address
from taut.dialects.projects import (
    Violation,
    check_application,
    check_manifests,
    destination_allowed,
    kind_allowed,
    project_of,
    repository_allowed,
    service_account_for,
    usable_projects,
)
from taut.model.application import (
    Application,
    ApplicationSpec,
    HelmOptions,
    Source,
    Substitute,
    Target,
    ValuesFrom,
)
from taut.model.manifests import Manifest, Origin
from taut.model.project import Destination, KindRule, Project, ProjectSpec, ServiceAccountRule
from taut.model.refs import AppKey


def project(**spec: object) -> Project:
    return Project(name="team", spec=ProjectSpec(**spec))  # type: ignore[arg-type]


def app(url: str = "https://git.example.com/team/fleet", **target: str) -> Application:
    spec = ApplicationSpec(project="team", source=Source(git=url), target=Target(**target))  # type: ignore[arg-type]
    return Application(key=AppKey("fleet", "", "shop"), spec=spec, origin_file="f.yaml", origin_line=3)


def manifest(kind: str, namespace: str = "", api: str = "v1", name: str = "x") -> Manifest:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return Manifest({"apiVersion": api, "kind": kind, "metadata": metadata}, Origin(file="a.yaml", line=7))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://User:pw@Git.Example.com:443/Team/a.git/", "https://git.example.com/Team/a"),
        ("git@git.example.com:team/a.git", "ssh://git.example.com/team/a"),
        ("ssh://git@git.example.com:22/team/a", "ssh://git.example.com/team/a"),
        ("https://h/a/../b", "https://h/b"),
        ("https://h/a/%2e%2e/b", "https://h/b"),
        ("https://h//a//./b?x=1#y", "https://h/a/b"),
        ("https://h/a\\..\\b", "https://h/b"),
        ("https://h", "https://h"),
        ("oci://R/a", "oci://r/a"),
    ],
)
def test_one_form_of_an_address(url: str, address: str):
    assert canonical_address(url) == address


@pytest.mark.parametrize(
    ("rules", "url", "allowed"),
    [
        (["*"], "https://anything/x/y", True),
        ([], "https://anything/x/y", True),
        (["https://git.example.com/team/*"], "https://git.example.com/team/a.git", True),
        (["https://git.example.com/team/*"], "https://git.example.com/team/a/b", False),
        (["https://git.example.com/team/**"], "https://git.example.com/team/a/b", True),
        (["https://git.example.com/team/**"], "https://git.example.com/other/a", False),
        (["https://git.example.com/team/**"], "https://git.example.com/team/../other/a", False),
        (["https://git.example.com/team/**"], "https://git.example.com/team/%2e%2e/other/a", False),
        (["https://git.example.com/team/**"], "https://git.example.com@evil.com/team/a", False),
        (["https://*.example.com/**"], "https://evil.com/x.example.com/a", False),
        (["https://git.example.com/team/**"], "http://git.example.com/team/a", False),
        (["https://GIT.example.com/team/a.git"], "https://git.example.com/team/a", True),
        (["git@git.example.com:team/*"], "ssh://git@git.example.com/team/a.git", True),
        (["*", "!https://git.example.com/secret/**"], "https://git.example.com/secret/a", False),
        (["!https://git.example.com/secret/**"], "https://git.example.com/open/a", True),
        (["!https://git.example.com/secret/**", "*"], "https://GIT.EXAMPLE.COM/x/../secret/a.git", False),
    ],
)
def test_repositories(rules: list[str], url: str, allowed: bool):
    assert repository_allowed(project(repositories=tuple(rules)), url) is allowed


@pytest.mark.parametrize(
    ("rules", "cluster", "namespace", "allowed"),
    [
        ([("*", "*")], "a", "b", True),
        ([], "a", "b", True),
        ([("prod", "team-*")], "prod", "team-a", True),
        ([("prod", "team-*")], "prod", "kube-system", False),
        ([("prod", "team-*")], "dev", "team-a", False),
        ([("prod", "team-*")], "prod", None, True),
        ([("prod", "team-*")], "dev", None, False),
        ([("*", "*"), ("*", "!kube-*")], "prod", "kube-system", False),
        ([("*", "*"), ("*", "!kube-*")], "prod", "team", True),
        ([("*", "*"), ("*", "!kube-*")], "prod", None, True),
        ([("*", "*"), ("!prod", "*")], "prod", "team", False),
        ([("*", "*"), ("!prod", "*")], "prod", None, False),
        ([("!prod", "*")], "dev", "team", True),
    ],
)
def test_destinations(rules: list[tuple[str, str]], cluster: str, namespace: str | None, allowed: bool):
    destinations = tuple(Destination(cluster=c, namespace=n) for c, n in rules)
    assert destination_allowed(project(destinations=destinations), cluster, namespace) is allowed


def test_kinds():
    spec = project(
        cluster_kinds=(KindRule(group="", kind="Namespace"),),
        denied_namespaced_kinds=(KindRule(group="", kind="Secret"), KindRule(group="rbac.*", kind="*")),
    )
    assert kind_allowed(spec, "", "Namespace", namespaced=False)
    assert not kind_allowed(spec, "rbac.authorization.k8s.io", "ClusterRole", namespaced=False)
    assert kind_allowed(spec, "apps", "Deployment", namespaced=True)
    assert not kind_allowed(spec, "", "Secret", namespaced=True)
    assert not kind_allowed(spec, "rbac.authorization.k8s.io", "Role", namespaced=True)
    assert not kind_allowed(project(cluster_kinds=()), "", "Namespace", namespaced=False)
    assert kind_allowed(project(namespaced_kinds=()), "", "Pod", namespaced=True)
    assert not kind_allowed(project(namespaced_kinds=(KindRule(kind="Pod"),)), "apps", "Deployment", namespaced=True)


def test_an_application_is_held_to_its_project():
    rules = project(
        repositories=("https://git.example.com/other/**",),
        destinations=(Destination(cluster="prod", namespace="team"),),
    )
    found = check_application(rules, app(cluster="prod", namespace="kube-system"))
    assert [v.where.field for v in found] == ["spec.source", "spec.target"]
    assert "https://git.example.com/team/fleet" in found[0].what
    assert str(found[1]).startswith("f.yaml:3, Application shop, spec.target: ")
    assert not check_application(rules, app("https://git.example.com/other/x", cluster="prod", namespace="team"))


def test_values_are_read_only_from_where_the_application_may_write():
    """taut reads them with its own rights: a document must not name the Secrets of others."""
    own = project(destinations=(Destination(namespace="team-*"),))
    foreign = ValuesFrom(kind="Secret", name="admin", namespace="kube-system")
    for allowed in (ValuesFrom(kind="Secret", name="a"), ValuesFrom(kind="Secret", name="a", namespace="team-b")):
        assert check_application(own, reading(values=allowed)) == []
    for document, field in (
        (reading(values=foreign), "spec.source"),
        (reading(vars=foreign), "spec.substitute.varsFrom"),
    ):
        [found] = check_application(own, document)
        assert "Secret admin in namespace kube-system" in found.what
        assert found.where.field == field
    assert check_application(project(), reading(values=foreign)) == []


def reading(*, values: ValuesFrom | None = None, vars: ValuesFrom | None = None) -> Application:
    source = Source(
        git="https://git.example.com/team/fleet", helm_options=HelmOptions(values_from=(values,)) if values else None
    )
    substitute = Substitute(vars_from=(vars,)) if vars else None
    spec = ApplicationSpec(project="team", source=source, target=Target(namespace="team-a"), substitute=substitute)
    return Application(key=AppKey("fleet", "", "shop"), spec=spec)


def test_a_password_in_an_address_is_not_told():
    (found,) = check_application(project(repositories=("https://a/**",)), app("https://user:hunter2@b/x"))
    assert "hunter2" not in str(found)


def test_every_object_is_held_to_the_project():
    rules = project(
        destinations=(Destination(cluster="local", namespace="team"),), cluster_kinds=(KindRule(kind="Namespace"),)
    )
    owner = app(namespace="team")
    objects = [
        (manifest("ConfigMap"), True),
        (manifest("ConfigMap", "team"), True),
        (manifest("ConfigMap", "other"), True),
        (manifest("Namespace"), False),
        (manifest("ClusterRole", api="rbac.authorization.k8s.io/v1"), False),
        (manifest("Thing", api="example.com/v1"), None),
    ]
    found = check_manifests(rules, owner, objects)
    assert [(v.where.object, v.what.removeprefix("project team does not allow ")) for v in found] == [
        ("ConfigMap other/x", "namespace other of cluster local"),
        ("ClusterRole.rbac.authorization.k8s.io x", "the cluster-scoped kind ClusterRole"),
        ("Thing.example.com x", "the cluster-scoped kind Thing"),
    ]
    assert found[0].where.file == "a.yaml"
    assert not check_manifests(project(), owner, objects)


def test_service_accounts():
    rules = (
        ServiceAccountRule(cluster="prod", namespace="team-*", service_account="deployer"),
        ServiceAccountRule(cluster="prod", namespace="shared", service_account="ops:{namespace}-writer"),
    )
    team = project(service_accounts=rules)
    owner = app(cluster="prod", namespace="team-a")
    assert service_account_for(team, owner, "team-b") == "system:serviceaccount:team-b:deployer"
    assert service_account_for(team, owner, "shared") == "system:serviceaccount:ops:shared-writer"
    assert service_account_for(team, owner, "") == "system:serviceaccount:team-a:deployer"
    assert service_account_for(project(), owner, "x") is None
    own = app(cluster="prod", namespace="team-a", service_account="me")
    assert service_account_for(project(), own, "x") == "system:serviceaccount:team-a:me"
    assert service_account_for(team, own, "team-a") == "system:serviceaccount:team-a:deployer"


def test_where_rules_name_service_accounts_nothing_is_written_as_taut_itself():
    team = project(service_accounts=(ServiceAccountRule(cluster="*", namespace="team", service_account="deployer"),))
    assert [v.what for v in check_application(team, app(namespace="other"))] == [
        "project team has no service account for namespace other of cluster local"
    ]
    assert [v.where.field for v in check_application(team, app(namespace="team", service_account="admin"))] == [
        "spec.target.serviceAccount"
    ]
    assert not check_application(team, app(namespace="team", service_account="team:deployer"))
    found = check_manifests(
        team, app(namespace="team"), [(manifest("ConfigMap", "other"), True), (manifest("ConfigMap"), True)]
    )
    assert [v.what for v in found] == ["project team has no service account for namespace other of cluster local"]
    assert not check_manifests(team, app(namespace="team"), [(manifest("Namespace"), False)])


def test_no_root_widens_its_own_rights():
    configured = Project(name="team", spec=ProjectSpec(repositories=("https://a/**",)))
    grab = Project(name="team", root="trusted")
    sneaky = Project(name="wide", root="untrusted")
    good = Project(name="more", root="trusted")
    projects, problems = usable_projects([configured], [grab, sneaky, good], {"trusted"})
    assert projects["team"] is configured
    assert projects["more"] is good
    assert "wide" not in projects
    assert [p.where.object for p in problems] == ["Project team", "Project wide"]
    assert projects["default"].spec == ProjectSpec()


def test_a_project_that_two_roots_declare_counts_for_neither():
    both = [Project(name="x", root="a"), Project(name="x", root="b")]
    projects, problems = usable_projects([], both, {"a", "b"})
    assert set(projects) == {"default"}
    assert "neither counts" in problems[0].what


def test_default_can_be_declared():
    own = Project(name="default", spec=ProjectSpec(cluster_kinds=()))
    assert usable_projects([own], [], set())[0]["default"] is own


def test_the_project_of_an_application():
    projects = {"team": project(), "default": Project(name="default")}
    assert project_of(app(), projects) is projects["team"]
    missing = project_of(app(), {"teams": project()})
    assert isinstance(missing, Violation)
    assert (missing.what, missing.advice) == ("there is no project 'team'", "did you mean teams?")
    refused = project_of(app(), projects, ("def*",))
    assert isinstance(refused, Violation)
    assert "root fleet may not use project team" in refused.what
