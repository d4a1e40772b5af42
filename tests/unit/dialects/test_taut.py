import textwrap

import pytest

from taut.dialects.native import Place, application_body, project_body, read_application, read_project
from taut.dialects.taut import Parsed, parse
from taut.documents.yaml import Locator, dump, load_documents
from taut.model.application import Application, SyncMode
from taut.model.project import Project
from taut.model.refs import AppKey


def parsed(text: str) -> Parsed:
    data = textwrap.dedent(text).lstrip("\n").encode()
    return parse(load_documents(data, file="apps.yaml"), root="fleet", file="apps.yaml", data=data)


def application(spec: str, name: str = "shop") -> str:
    head = f"apiVersion: taut.dev/v1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n"
    return head + textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ") + "\n"


def problems(text: str) -> list[tuple[int, str, str, str]]:
    return [(p.where.line, p.where.field, p.what, p.advice) for p in parsed(text).problems]


GIT = "source: {git: 'https://git.example.com/a.git'}"


def test_one_bad_document_hides_no_other():
    text = "---\n".join(
        [
            application(GIT, "one"),
            application("source: {gti: x}", "two"),
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: stray}\n",
            "apiVersion: taut.dev/v1\nkind: Project\nmetadata: {name: team}\n",
            "just text\n",
            application(GIT, "three"),
        ]
    )
    found = parsed(text)
    assert [t.name for t in found.applications] == ["one", "three"]
    assert [p.name for p in found.projects] == ["team"]
    assert [(p.where.line, p.where.object, p.where.field) for p in found.problems] == [
        (13, "Application two", "spec.source.gti"),
        (15, "Deployment stray", ""),
        (23, "", ""),
    ]
    assert found.doubtful == {"apps.yaml"}
    assert not parsed(application(GIT)).doubtful


@pytest.mark.parametrize(
    ("text", "field", "what", "advice"),
    [
        (
            "apiVersion: apps/v1\nkind: Deployment\n",
            "",
            "a Deployment (apps/v1) is none of taut's documents",
            "move this",
        ),
        ("apiVersion: taut.dev/v2\nkind: Application\n", "apiVersion", "there is no taut.dev/v2", "taut.dev/v1"),
        ("apiVersion: taut.dev/v1\nkind: Aplication\n", "kind", "no kind 'Aplication'", "did you mean Application?"),
        ("apiVersion: taut.dev/v1\n", "kind", "no kind None", "Application, Project"),
        ("kind: Application\n", "apiVersion", "apiVersion is None", "taut.dev/v1"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Application\n", "", "none of taut's documents", "move this"),
        ("- a\n", "", "this is no document", "move it"),
        ("{}\n", "", "apiVersion and kind are missing", "move this"),
        ("apiVersion: taut.dev/v1\nkind: Application\nmetadata: {name: a}\n", "", "'spec' is missing", "add spec"),
        ("apiVersion: taut.dev/v1\nkind: Application\nspec: 5\n", "spec", "cannot stand here", "a mapping"),
        (
            "apiVersion: taut.dev/v1\nkind: Project\nmetadata: 5\nspec: {}\n",
            "metadata",
            "cannot stand here",
            "a mapping",
        ),
    ],
)
def test_documents_that_are_none(text: str, field: str, what: str, advice: str):
    found = problems(text)
    assert any(f == field and what in w and advice in a for _, f, w, a in found), found


@pytest.mark.parametrize(
    ("spec", "line", "field", "what"),
    [
        ("target: {namespace: a}", 5, "spec", "there is no source"),
        (f"{GIT}\nsources: [{{git: 'https://x/y'}}]", 7, "spec.sources", "exclude each other"),
        ("source: {path: a}", 6, "spec.source", "not said where this comes from"),
        ("source:\n  git: https://x/y\n  helm: https://x", 6, "spec.source", "git and helm exclude each other"),
        ("source:\n  helm: https://x", 6, "spec.source", "the chart is missing"),
        ("source:\n  helm: oci://x/y\n  chart: a", 7, "spec.source.helm", "no Helm repository's URL"),
        ("source:\n  helm: https://x\n  chart: a\n  ref: main", 9, "spec.source.ref", "has no refs"),
        ("source:\n  git: https://x/y\n  version: '1'", 8, "spec.source.version", "charts of a Helm repository"),
        ("source:\n  git: https://x/y\n  chart: a", 8, "spec.source.chart", "Helm repositories"),
        ("source:\n  git: x", 7, "spec.source.git", "no repository's URL"),
        ("source:\n  git: ext::sh -c x", 7, "spec.source.git", "no repository's URL"),
        ("source:\n  git: --upload-pack=x:y", 7, "spec.source.git", "no repository's URL"),
        ("source:\n  git: ssh://-oProxyCommand=x/y", 7, "spec.source.git", "no repository's URL"),
        ("source:\n  git: https://ada:hunter2@x/y", 7, "spec.source.git", "a password stands in the URL"),
        ("source:\n  helm: https://ada:hunter2@x/y\n  chart: a", 7, "spec.source.helm", "a password stands in the URL"),
        ("source:\n  git: https://x/y\n  ref: --output=x", 8, "spec.source.ref", "no ref"),
        ('source:\n  git: https://x/y\n  path: "a\\0b"', 8, "spec.source.path", "no path"),
        ("source:\n  oci: x/y", 7, "spec.source.oci", "no OCI repository"),
        ("source:\n  oci: oci://x/y:1.0", 7, "spec.source.oci", "tag or digest does not belong here"),
        ("source:\n  oci: oci://x/y\n  submodules: true", 8, "spec.source.submodules", "for git"),
        ("source:\n  git: https://x/y\n  tagPrefix: v", 8, "spec.source.tagPrefix", "needs a range"),
        ("source:\n  git: https://x/y\n  path: ../a", 8, "spec.source.path", "leaves the repository"),
        ("source:\n  git: https://x/y\n  path: /a", 8, "spec.source.path", "leaves the repository"),
        ("source:\n  git: https://x/y\n  filesOnly: true", 5, "spec", "nothing is rendered"),
        ("source:\n  git: https://x/y\n  kustomize: {}\n  jsonnet: {}", 9, "spec.source.jsonnet", "exclude each other"),
        ("source:\n  git: https://x/y\n  renderer: helm\n  kustomize: {}", 9, "spec.source.kustomize", "renderer helm"),
        ("source:\n  git: https://x/y\n  plain: {include: ['[']}", 8, "spec.source.plain.include[0]", "no glob"),
        (
            f"{GIT}\nsync:\n  windows:\n    - {{schedule: '0 25 * * *', duration: 1h}}",
            9,
            "spec.sync.windows[0].schedule",
            "cron",
        ),
        (
            f"{GIT}\nsync:\n  windows:\n    - {{schedule: '0 * *', duration: 1h}}",
            9,
            "spec.sync.windows[0].schedule",
            "3 fields",
        ),
        (
            f"{GIT}\nsync:\n  windows:\n    - {{schedule: '0 1 * * *', duration: 0s}}",
            9,
            "spec.sync.windows[0].duration",
            "never open",
        ),
        (
            f"{GIT}\nsync:\n  windows:\n    - schedule: '0 1 * * *'\n      duration: 1h\n      timeZone: Europe/Nowhere",
            11,
            "spec.sync.windows[0].timeZone",
            "no time zone 'Europe/Nowhere'",
        ),
        (f"{GIT}\nsync: {{retry: {{limit: -2}}}}", 7, "spec.sync.retry.limit", "out of range"),
        (f"{GIT}\nsync: {{retry: {{backoff: {{factor: 0.5}}}}}}", 7, "spec.sync.retry.backoff.factor", "out of range"),
        (f"{GIT}\ntarget: {{namespace: A_b}}", 7, "spec.target.namespace", "no name of a namespace"),
        (f"{GIT}\ntarget: {{cluster: ''}}", 7, "spec.target.cluster", "empty"),
        (f"{GIT}\ntarget: {{serviceAccount: 'a b'}}", 7, "spec.target.serviceAccount", "no service account"),
        (f"{GIT}\nproject: 'A B'", 7, "spec.project", "no name of a project"),
        (f"{GIT}\ndependsOn: [db, 'a/b/c/d']", 7, "spec.dependsOn[1]", "names no application"),
        (f"{GIT}\ndependsOn: [shop]", 7, "spec.dependsOn[0]", "depends on itself"),
        (f"{GIT}\nignore: [{{kind: Deployment}}]", 7, "spec.ignore[0]", "ignores nothing"),
        (f"{GIT}\nignore: [{{pointers: [spec.replicas]}}]", 7, "spec.ignore[0].pointers[0]", "no JSON pointer"),
        (f"{GIT}\nignore: [{{jq: ['.spec[']}}]", 7, "spec.ignore[0].jq[0]", "no jq"),
        (f"{GIT}\nsubstitute: {{vars: {{a-b: x}}}}", 7, "spec.substitute.vars.a-b", "no variable name"),
        (
            f"{GIT}\nsubstitute: {{varsFrom: [{{kind: Pod, name: x}}]}}",
            7,
            "spec.substitute.varsFrom[0].kind",
            "from a Pod",
        ),
        (f"{GIT}\nforEach: {{}}", 7, "spec.forEach", "no generator"),
        (f"{GIT}\nforEach: {{folders: a, list: []}}", 7, "spec.forEach", "exclude each other"),
        (f"{GIT}\nforEach: {{folders: []}}", 7, "spec.forEach.folders", "no pattern"),
        (f"{GIT}\nforEach: {{folders: '['}}", 7, "spec.forEach.folders", "no glob"),
        (f"{GIT}\nforEach: {{list: [], git: 'https://x/y'}}", 7, "spec.forEach.git", "not looked for"),
        (f"{GIT}\nforEach: {{list: []}}", 7, "spec.forEach.list", "empty"),
        (f"{GIT}\nforEach: {{folder: a}}", 7, "spec.forEach.folder", "no field 'folder'"),
    ],
)
def test_what_no_schema_can_say(spec: str, line: int, field: str, what: str):
    found = problems(application(spec))
    assert [(at, name) for at, name, text, _ in found if what in text] == [(line, field)], found


@pytest.mark.parametrize(
    ("files", "what", "advice"),
    [
        ("[$valeus/a.yaml]", "no source is called 'valeus'", "did you mean $values?"),
        ("[$charts/a.yaml]", "is a chart, whose files", "refer to a git"),
        ("[$values]", "the file in the source is missing", "$values/path"),
    ],
)
def test_references_between_sources(files: str, what: str, advice: str):
    text = application(
        f"""
        sources:
          - name: charts
            helm: https://charts.example.com
            chart: a
            helmOptions: {{valueFiles: {files}}}
          - name: values
            git: https://git.example.com/values.git
        """
    )
    ((line, field, found, advised),) = problems(text)
    assert (line, field) == (10, "spec.sources[0].helmOptions.valueFiles[0]")
    assert what in found
    assert advice in advised


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/a.git",
        "http://127.0.0.1:8080/a",
        "https://ada@git.example.com/a",
        "ssh://git@git.example.com:2222/team/a.git",
        "file:///srv/git/a.git",
        "git@git.example.com:team/a.git",
        "host:a",
    ],
)
def test_addresses_of_git_repositories(url: str):
    assert not problems(application(f"source: {{git: '{url}'}}"))


def test_no_problem_tells_a_password():
    assert "hunter2" not in str(
        parsed(application("source: {git: 'https://ada:hunter2@x/y'}\ntarget: {cluster: ''}")).problems
    )


def test_a_good_reference_is_good():
    text = "sources: [{helm: 'https://c', chart: a, helmOptions: {valueFiles: [$v/a.yaml, /b.yaml, c.yaml]}}, {git: 'https://x/y', name: v}]"
    assert not problems(application(text))


@pytest.mark.parametrize(
    ("spec", "field", "what"),
    [
        ("repositories: ['[']", "spec.repositories[0]", "no glob"),
        ("destinations: [{namespace: '{'}]", "spec.destinations[0].namespace", "no glob"),
        ("clusterKinds: [{kind: '['}]", "spec.clusterKinds[0].kind", "no glob"),
        ("serviceAccounts: [{serviceAccount: 'a b'}]", "spec.serviceAccounts[0].serviceAccount", "no service account"),
        ("serviceAccounts: [{}]", "spec.serviceAccounts[0]", "missing"),
        ("signatures: {require: commits}", "spec.signatures.require", "not allowed"),
        ("signatures: {require: commit}", "spec.signatures", "no key is given"),
        ("windows: [{schedule: x, duration: 1h}]", "spec.windows[0].schedule", "fields"),
        ("windows: [{schedule: '* * * * *', duration: 1h, kind: alow}]", "spec.windows[0].kind", "not allowed"),
    ],
)
def test_faults_of_projects(spec: str, field: str, what: str):
    ((_, where, text, _),) = problems(
        f"apiVersion: taut.dev/v1\nkind: Project\nmetadata: {{name: team}}\nspec: {{{spec}}}\n"
    )
    assert where == field
    assert what in text


def test_a_file_tells_of_a_hundred_problems_at_most():
    assert len(parsed("---\n".join(["kind: Nothing\n"] * 500)).problems) == 100


def test_an_application_has_its_place_and_all_its_fields():
    text = application(
        "source: {git: 'git@h:a.git', ref: main}\nsync: {mode: report}\ndependsOn: [db, other/db, r/n/db, r//db]"
    )
    (template,) = parsed("# first\n---\n" + text).applications
    app, findings = read_application(template.body, template.place)
    assert not findings
    assert app
    assert app.key == AppKey("fleet", "", "shop")
    assert (app.origin_file, app.origin_line, app.dialect) == ("apps.yaml", 3, "taut")
    assert app.spec.sync.mode is SyncMode.REPORT


def place() -> Place:
    return Place("fleet", "f.yaml", 1, 0, Locator(b""))


def test_documents_and_model_are_two_forms_of_the_same():
    text = application(
        "source: {git: 'git@h:a.git', helmOptions: {values: {a: [1, null]}}}\nguards: {allowEmpty: true}"
    )
    (template,) = parsed(text).applications
    app, _ = read_application(template.body, template.place)
    assert isinstance(app, Application)
    body = application_body(app)
    assert body == template.body
    again, _ = read_application(load_documents(dump(body).encode())[0].body, place())
    assert again is not None
    assert (again.key, again.spec) == (app.key, app.spec)
    project = Project(name="team", root="fleet")
    assert read_project(project_body(project), "fleet") == (project, [])
