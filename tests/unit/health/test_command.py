"""`taut health`: what goes in and comes out, and how bad input ends."""

import json

import pytest
import yaml

from taut.cli.ending import run_command
from taut.cli.health import health

GOOD = """\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web}
status:
  conditions: [{type: Ready, status: "False", reason: Bad, message: "no: issuer"}]
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {type: LoadBalancer}}
"""
EXPECTED = [
    {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "name": "web",
        "status": "Degraded",
        "message": "no: issuer",
    },
    {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "status": "Healthy", "message": ""},
    {"apiVersion": "v1", "kind": "Service", "name": "b", "status": "Progressing", "message": ""},
]


@pytest.fixture
def tell(tmp_path, capsys):
    def run(text, *args):
        path = tmp_path / "objects.yaml"
        path.write_text(text)
        code = run_command(health, ["-f", str(path), *args])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


def test_json_and_yaml_hold_the_same(tell):
    code, out, _ = tell(GOOD, "-o", "json")
    assert (code, json.loads(out)) == (0, EXPECTED)
    code, out, _ = tell(GOOD, "-o", "yaml")
    assert (code, yaml.safe_load(out)) == (0, EXPECTED)


def test_a_table_for_people(tell):
    code, out, _ = tell(GOOD)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["KIND", "NAME", "HEALTH", "MESSAGE"]
    assert lines[1].split() == ["Certificate", "web", "Degraded", "no:", "issuer"]


def test_an_empty_file_is_an_empty_list(tell):
    assert tell("# nothing\n", "-o", "json")[:2] == (0, "[]\n")


def test_json_goes_in_too(tell):
    code, out, _ = tell(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}), "-o", "json")
    assert (code, json.loads(out)) == (0, EXPECTED[1:2])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("apiVersion: v1\nkind: ConfigMap\n---\n\n- a\n", 5, "this document is no Kubernetes object"),
        ("kind: ConfigMap\n", 1, "this document has no apiVersion"),
        ("apiVersion: v1\nkind: 3\n", 1, "this document has no kind"),
        ("apiVersion: v1\nkind: List\nitems: [3]\n", 1, "an item of this list is no Kubernetes object"),
        ("a: [1\n", 1, "no YAML"),
    ],
)
def test_bad_input_names_file_and_line(tell, text, line, what):
    code, out, err = tell(text, "-o", "json")
    assert (code, out) == (2, "")
    assert f"objects.yaml:{line}: " in err
    assert what in err
    assert "Traceback" not in err


def test_a_missing_file_is_bad_input(capsys):
    assert run_command(health, ["-f", "no-such-file.yaml"]) == 2
    assert "no-such-file.yaml" in capsys.readouterr().err
