from pathlib import Path

import pytest

from taut.dialects.admission_config import AdmissionConfig, AdmissionServiceConfig, FailurePolicy
from taut.dialects.config import Config, load_config, read_config
from taut.model.errors import BadInput

FULL = """
store: state/taut.db
listen: 127.0.0.1:0
clusters:
  - {name: local, kubeconfig: kube/config, context: dev}
  - {name: here, inCluster: true}
roots:
  - {name: fleet, git: https://git.example.com/a, ref: main, path: taut, poll: 90s, projects: true, credentials: forge}
  - {name: beside, git: ../other}
credentials:
  - {name: forge, urlPrefix: 'https://git.example.com/', username: taut, passwordFile: secrets/token, caFile: /etc/ca.pem}
  - {name: sealed, secret: {cluster: local, namespace: taut, name: forge}}
projects:
  - {name: team, spec: {repositories: ['https://git.example.com/**']}}
webhook: {secretFile: secrets/hook}
tokenFile: ~/token
"""


def test_paths_are_relative_to_the_file(tmp_path: Path):
    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "taut.yaml"
    file.write_text(FULL)
    config = load_config(file)
    base = tmp_path.resolve() / "conf"
    assert config.store == str(base / "state/taut.db")
    assert config.clusters[0].kubeconfig == str(base / "kube/config")
    assert config.credentials[0].password_file == str(base / "secrets/token")
    assert config.credentials[0].ca_file == "/etc/ca.pem"
    assert config.webhook.secret_file == str(base / "secrets/hook")
    assert config.token_file == str(Path.home() / "token")
    assert config.roots[0].git == "https://git.example.com/a"
    assert config.roots[1].git == (tmp_path.resolve() / "other").as_uri()
    assert config.roots[0].poll_seconds == 90
    assert [p.name for p in config.configured_projects()] == ["team"]
    assert config.configured_projects()[0].root == ""


def test_an_empty_configuration_is_one(tmp_path: Path):
    (tmp_path / "taut.yaml").write_text("")
    config = load_config(tmp_path / "taut.yaml")
    assert config.roots == ()
    assert config.store == str(tmp_path.resolve() / "taut.db")


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(BadInput, match="cannot be read"):
        load_config(tmp_path / "taut.yaml")


def test_several_faults_are_all_told(tmp_path: Path):
    (tmp_path / "taut.yaml").write_text("stor: a\nroots:\n  - {name: a}\n  - {name: b, git: 5}\n")
    with pytest.raises(BadInput) as caught:
        load_config(tmp_path / "taut.yaml")
    error = caught.value
    assert (error.where.line, error.where.field, error.code) == (1, "stor", 2)
    assert "did you mean store?" in error.advice
    assert "'git' is missing" in error.advice
    assert "roots[1].git" in error.advice


@pytest.mark.parametrize(
    ("text", "line", "field", "what"),
    [
        ("a: [", 1, "", "no YAML"),
        ("- a", 1, "", "cannot stand here"),
        ("listen: 8080", 1, "listen", "cannot stand here"),
        ("listen: abc", 1, "listen", "no address"),
        ("listen: 0.0.0.0:80", 1, "listen", "can be reached from other machines"),
        ("clusters:\n- {name: a}\n- {name: a}", 3, "clusters[1].name", "taken twice"),
        ("clusters:\n- {name: A}", 2, "clusters[0].name", "not allowed"),
        ("clusters:\n- {name: a, inCluster: true, context: b}", 2, "clusters[0].inCluster", "exclude each other"),
        ("roots:\n- {name: a, git: x}", 2, "roots[0].git", "no repository's URL"),
        ("roots:\n- {name: a, git: 'https://x/y', path: ../z}", 2, "roots[0].path", "leaves the repository"),
        ("roots:\n- {name: a, git: 'https://x/y', poll: soon}", 2, "roots[0].poll", "not allowed"),
        ("roots:\n- {name: a, git: 'https://x/y', poll: \"5m\\n\"}", 2, "roots[0].poll", "not allowed"),
        (
            "roots:\n- {name: a, git: 'https://x/y', credentials: b}",
            2,
            "roots[0].credentials",
            "there are no credentials 'b'",
        ),
        (
            "roots:\n- {name: a, git: 'https://x/y', allowedProjects: ['[']}",
            2,
            "roots[0].allowedProjects[0]",
            "no glob",
        ),
        ("credentials:\n- {name: a}", 2, "credentials[0]", "nothing to sign in with"),
        (
            "credentials:\n- {name: a, passwordFile: b, tokenFile: c}",
            2,
            "credentials[0].tokenFile",
            "exclude each other",
        ),
        ("credentials:\n- {name: a, password: hunter2}", 2, "credentials[0].password", "no field 'password'"),
        ("credentials:\n- {name: a, clientKeyFile: b, tokenFile: c}", 2, "credentials[0]", "needs its key"),
        (
            "credentials:\n- {name: a, secret: {cluster: x, namespace: taut, name: z}}",
            2,
            "credentials[0].secret.cluster",
            "no cluster 'x'",
        ),
        ("secrets: {sops: {keys: [{projects: [a]}]}}", 1, "secrets.sops.keys[0]", "there is no key in it"),
        ("secrets: {sops: {keys: [{file: a, environment: true}]}}", 1, "secrets.sops.keys[0].environment", "exclude"),
        ("secrets: {sops: {keys: [{environment: true, type: pgp}]}}", 1, "secrets.sops.keys[0].type", "about a file"),
        ("secrets: {sops: {keys: [{file: a, awsKms: [x]}]}}", 1, "secrets.sops.keys[0].file", "sign in"),
        ("secrets: {sops: {keys: [{awsKms: ['**x']}]}}", 1, "secrets.sops.keys[0].awsKms[0]", "no pattern"),
        ("secrets: {sops: {keys: [{azureKeyVault: ['']}]}}", 1, "secrets.sops.keys[0].azureKeyVault[0]", "no pattern"),
        (
            "secrets: {sops: {keys: [{secret: {cluster: x, namespace: a, name: b}}]}}",
            1,
            "secrets.sops.keys[0].secret.cluster",
            "no cluster 'x'",
        ),
        ("projects:\n- {name: a, spec: {repositories: ['[']}}", 2, "projects[0].spec.repositories[0]", "no glob"),
        ("render: {workers: 0}", 1, "render.workers", "out of range"),
        ("admission: {listen: 9443}", 1, "admission.listen", "cannot stand here"),
        ("admission: {listen: abc}", 1, "admission.listen", "no address"),
        ("admission:\n  listen: 0.0.0.0:9443", 2, "admission.listen", "not told how to find taut"),
        ("admission:\n  url: http://taut:9443", 2, "admission.url", "over https only"),
        ("admission:\n  url: https://", 2, "admission.url", "no host"),
        ("admission:\n  url: https://a:b@taut/x", 2, "admission.url", "no user"),
        ("admission:\n  url: https://taut:99999", 2, "admission.url", "no address"),
        ("admission:\n  url: https://taut/x?y=1", 2, "admission.url", "no query"),
        ("admission: {timeoutSeconds: 31}", 1, "admission.timeoutSeconds", "out of range"),
        ("admission: {failurePolicy: maybe}", 1, "admission.failurePolicy", "'maybe' is not allowed"),
        ("admission: {exemptNamespaces: [A_b]}", 1, "admission.exemptNamespaces[0]", "not allowed"),
    ],
)
def test_faults_have_line_and_field(text: str, line: int, field: str, what: str):
    config, problems = read_config(text.encode(), "taut.yaml")
    assert config is None
    assert [(p.where.line, p.where.field) for p in problems if what in p.what] == [(line, field)], problems
    assert "hunter2" not in str(problems)


def test_admission_as_it_is_written():
    text = b"""
admission:
  listen: 0.0.0.0:9443
  service: {namespace: taut, name: hook}
  timeoutSeconds: 3
  exemptNamespaces: [monitoring]
  failurePolicy: fail
"""
    config, problems = read_config(text, "taut.yaml")
    assert not problems
    assert config is not None
    assert config.admission is not None
    assert config.admission.service == AdmissionServiceConfig(namespace="taut", name="hook", port=443)
    assert config.admission.failure_policy is FailurePolicy.FAIL
    assert (config.admission.timeout_seconds, config.admission.exempt_namespaces) == (3, ("monitoring",))
    assert AdmissionConfig().listen == "127.0.0.1:9443"


def test_the_defaults_are_safe():
    config = Config()
    assert config.admission is None
    assert config.listen.startswith("127.0.0.1:")
    assert not config.webhook.secret_file
