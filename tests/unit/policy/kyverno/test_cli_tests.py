"""The runner of kyverno-test.yaml files: what the library's own files do not show."""

from __future__ import annotations

from pathlib import Path

import pytest

from taut.policy.engines import build
from taut.policy.kyverno.cli_tests import run_tests

FILES = {
    "policy.yaml": """apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec:
  rules:
  - name: mark
    match: {any: [{resources: {kinds: [ConfigMap], names: [trigger]}}]}
    mutate:
      targets:
      - {apiVersion: v1, kind: Secret, name: "s*", namespace: "{{ request.object.metadata.namespace }}"}
      patchStrategicMerge: {metadata: {labels: {seen: "{{ target.metadata.name }}"}}}
  - name: each
    match: {any: [{resources: {kinds: [ConfigMap]}}]}
    validate:
      message: no
      foreach:
      - list: request.object.data.keys(@)
        context: [{name: size, apiCall: {urlPath: /x}}]
        deny: {conditions: {any: [{key: "{{ size }}", operator: GreaterThan, value: 5}]}}
""",
    "resources.yaml": """apiVersion: v1
kind: ConfigMap
metadata: {name: trigger}
data: {a: "1", b: "2"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {a: "1"}
""",
    "targets.yaml": """apiVersion: v1
kind: Secret
metadata: {name: s1}
---
apiVersion: v1
kind: Secret
metadata: {name: t1}
""",
    "patched.yaml": """apiVersion: v1
kind: Secret
metadata: {name: s1, labels: {seen: s1}}
""",
    "values.yaml": """apiVersion: cli.kyverno.io/v1alpha1
kind: Values
policies:
- name: p
  rules:
  - name: each
    foreachValues: {size: [1, 9]}
""",
    "kyverno-test.yaml": """apiVersion: cli.kyverno.io/v1alpha1
kind: Test
metadata: {name: t}
policies: [policy.yaml]
resources: [resources.yaml]
targetResources: [targets.yaml]
variables: values.yaml
results:
- {policy: p, rule: mark, resources: [s1], kind: Secret, patchedResources: patched.yaml, result: pass}
- {policy: p, rule: each, resources: [trigger], kind: ConfigMap, result: fail}
- {policy: p, rule: each, resources: [other], kind: ConfigMap, result: pass}
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_targets_and_values_of_elements(folder: Path) -> None:
    report = run_tests(folder, build)
    assert report.failures == ()
    assert report.total == 3


def test_another_result_is_a_failure(folder: Path) -> None:
    (folder / "patched.yaml").write_text(FILES["patched.yaml"].replace("seen: s1", "seen: t1"))
    (folder / "values.yaml").write_text(FILES["values.yaml"].replace("[1, 9]", "[9, 1]"))
    report = run_tests(folder, build)
    assert {(f.case.split()[0], f.wanted, f.found) for f in report.failures} == {
        ("p/mark", "pass", "fail"),
        ("p/each", "pass", "fail"),
    }


@pytest.mark.parametrize(
    "text", ["a: [", "results: 5", "policies: [../../../../etc/passwd]", "policies: [nothing.yaml]", "- 1"]
)
def test_a_file_that_cannot_be_read_fails_alone(folder: Path, text: str) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "kyverno-test.yaml").write_text(text)
    report = run_tests(folder, build)
    assert report.passed == 3
    assert all("root:" not in f.why for f in report.failures)
