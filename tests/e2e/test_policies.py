"""`taut check` with policies, and `taut decrypt`, as a person or a pipeline calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

TAUT = Path(sys.executable).with_name("taut")
SOPS = Path(sys.executable).with_name("sops")
POLICY = """apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: no-host-network}
spec:
  validationFailureAction: Enforce
  rules:
  - name: host-network
    match: {any: [{resources: {kinds: [Pod]}}]}
    validate:
      message: The host's network is not for applications.
      pattern: {spec: {"=(hostNetwork)": "false"}}
"""
PODS = """apiVersion: v1
kind: Pod
metadata: {name: good, namespace: shop}
spec: {containers: []}
---
apiVersion: v1
kind: Pod
metadata: {name: bad, namespace: shop}
spec: {hostNetwork: true, containers: []}
"""
EXCEPTION = """apiVersion: kyverno.io/v2
kind: PolicyException
metadata: {name: for-bad, namespace: shop}
spec:
  exceptions: [{policyName: no-host-network, ruleNames: [host-network]}]
  match: {any: [{resources: {kinds: [Pod], names: [bad]}}]}
"""
SECRET_POLICY = """apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: chatty}
spec:
  validationFailureAction: Enforce
  rules:
  - name: tells
    match: {any: [{resources: {kinds: [Secret]}}]}
    validate:
      message: "the value is {{ request.object.stringData.password }} and {{ base64_decode(request.object.data.other) }}"
      pattern: {stringData: {password: "x"}}
"""
SECRET = """apiVersion: v1
kind: Secret
metadata: {name: s, namespace: shop}
stringData: {password: canary-in-clear}
data: {other: Y2FuYXJ5LWluLWJhc2U2NA==}
"""

type Taut = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def taut(tmp_path: Path) -> Taut:
    def call(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(TAUT), *args],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]} | env,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    for name, text in {"policies/p.yaml": POLICY, "objects/pods.yaml": PODS, "exceptions/e.yaml": EXCEPTION}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return ("check", "--policies", "policies", "--resources", "objects")


def test_the_list_of_verdicts(taut: Taut, folders: tuple[str, ...]) -> None:
    done = taut(*folders, "-o", "json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert [(r["resource"]["name"], r["result"]) for r in rows] == [("good", "pass"), ("bad", "fail")]
    assert rows[1] == {
        "policy": "no-host-network",
        "rule": "host-network",
        "engine": "kyverno",
        "resource": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "bad"},
        "result": "fail",
        "message": rows[1]["message"],
    }
    assert "The host's network is not for applications." in rows[1]["message"]
    assert "/spec/hostNetwork/" in rows[1]["message"]


def test_an_exception_is_heard(taut: Taut, folders: tuple[str, ...]) -> None:
    done = taut(*folders, "--exceptions", "exceptions", "-o", "json")
    assert done.returncode == 0
    assert [r["result"] for r in json.loads(done.stdout)] == ["pass", "skip"]


def test_a_denial_explains_itself(taut: Taut, folders: tuple[str, ...]) -> None:
    done = taut(*folders)
    assert done.returncode == 1
    assert "objects/pods.yaml:6" in done.stdout
    for part in (
        "Pod shop/bad",
        "fail (denied) no-host-network/host-network",
        "at spec.hostNetwork, found true, wanted false",
    ):
        assert part in done.stdout
    assert "\x1b" not in done.stdout


def test_reports_for_machines(taut: Taut, folders: tuple[str, ...]) -> None:
    log = json.loads(taut(*folders, "-o", "sarif").stdout)
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("objects/pods.yaml", 6)
    assert (result["level"], result["ruleId"]) == ("error", "kyverno/no-host-network/host-network")
    suite = ET.fromstring(taut(*folders, "-o", "junit").stdout).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_policy_that_cannot_be_used_is_told_and_fails(taut: Taut, folders: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "policies/bad.yaml").write_text(
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: broken}\nspec: {rules: [{name: r}]}\n"
    )
    done = taut(*folders, "-o", "json")
    assert done.returncode == 2
    assert "policies/bad.yaml:1: broken: cannot be used" in done.stderr
    assert len(json.loads(done.stdout)) == 2, "the others are judged all the same"


def test_values_of_secrets_are_not_told(taut: Taut, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(SECRET_POLICY)
    (tmp_path / "s.yaml").write_text(SECRET)
    for output in ("table", "json", "yaml", "sarif", "junit"):
        done = taut("check", "--policies", "p.yaml", "--resources", "s.yaml", "-o", output)
        assert done.returncode == 1
        assert "canary" not in done.stdout + done.stderr
        assert "••••••" in done.stdout or "\\u2022" in done.stdout


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: &a [*a]", "[" * 3000, "\x00", "kind: Pod\n", "- 1\n- 2\n"],
    ids=["open", "cycle", "deep", "nul", "half", "list"],
)
def test_files_that_are_no_objects_give_no_traceback(
    taut: Taut, folders: tuple[str, ...], tmp_path: Path, text: str
) -> None:
    (tmp_path / "objects/z.yaml").write_text(text)
    done = taut(*folders, "-o", "json")
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr


def test_links_out_of_a_folder_are_not_followed(taut: Taut, folders: tuple[str, ...], tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(PODS.replace("bad", "outside"))
    (tmp_path / "objects/link.yaml").symlink_to(outside)
    assert "outside" not in taut(*folders, "-o", "json").stdout


@pytest.mark.parametrize(
    "args",
    [
        ("--policies", "policies"),
        ("--resources", "objects"),
        ("--without", "nothing"),
        ("--kyverno-test", "objects"),
        ("--policies", "nowhere"),
    ],
)
def test_wrong_usage(taut: Taut, folders: tuple[str, ...], args: tuple[str, ...]) -> None:
    done = taut("check", *args)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_the_tests_of_others(taut: Taut) -> None:
    fixtures = Path(__file__).parents[1] / "fixtures"
    kyverno = taut("check", "--kyverno-test", str(fixtures / "kyverno-policies/best-practices"), "-o", "json")
    assert kyverno.returncode == 0
    assert json.loads(kyverno.stdout)["failures"] == []
    gator = taut("check", "--gator-suite", str(fixtures / "gatekeeper-library/general"), "-o", "json")
    assert gator.returncode == 0
    found = json.loads(gator.stdout)
    assert found["passed"] == found["total"] > 50


def test_decrypt(taut: Taut, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "plain.yaml").write_text("password: canary\n")
    made = subprocess.run(
        [str(SOPS), "--disable-version-check", "-e", "--age", str(identity.to_public()), str(tmp_path / "plain.yaml")],
        capture_output=True,
        check=True,
    )
    (tmp_path / "secret.yaml").write_bytes(made.stdout)
    (tmp_path / "key.txt").write_text(str(identity))
    done = taut("decrypt", "secret.yaml", SOPS_AGE_KEY=str(identity))
    assert (done.returncode, done.stdout) == (0, "password: canary\n")
    assert taut("decrypt", "secret.yaml", "--key", "key.txt").stdout == "password: canary\n"
    for args, reason in {
        ("secret.yaml",): "there is no age key",
        ("plain.yaml",): "no sops metadata",
        ("secret.yaml", "--input-type", "json"): "no JSON",
    }.items():
        refused = taut("decrypt", *args)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert reason in refused.stderr
        assert "canary" not in refused.stderr


APPLICATION = """apiVersion: taut.dev/v1
kind: Application
metadata: {name: web}
spec:
  source: {git: "https://git.example.com/fleet", path: apps/web}
  target: {namespace: shop}
"""
WEB = """apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  hostNetwork: true
  containers:
  - name: web
    image: nginx
"""


def test_a_working_copy_is_judged_by_what_it_renders_to(taut: Taut, tmp_path: Path) -> None:
    for name, text in {"app.yaml": APPLICATION, "apps/web/pod.yaml": WEB, "p.yaml": POLICY}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own = taut("check", "-o", "json")
    assert own.returncode == 1, own.stderr
    found = json.loads(own.stdout)
    assert found["problems"] == []
    assert [(v["policy"], v["result"], v["resource"]["namespace"]) for v in found["verdicts"]] == [
        ("image-tag", "fail", "shop"),
        ("image-digest", "warn", "shop"),
    ]
    done = taut("check", "--policies", "p.yaml", "--without", "image-tag", "--without", "image-digest")
    assert done.returncode == 1
    assert "apps/web/pod.yaml:1" in done.stdout
    assert "no-host-network/host-network" in done.stdout
    (tmp_path / "apps/web/pod.yaml").write_text(
        WEB.replace("true", "false").replace("nginx", "nginx:1@sha256:" + "a" * 64)
    )
    assert taut("check", "--policies", "p.yaml").returncode == 0
    assert "image-tag" not in taut("check", "-o", "sarif").stdout
    assert taut("check", "--no-render", "--policies", "p.yaml").returncode == 2


CUSTOM = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: oxen.example.com}
spec: {group: example.com, names: {kind: Ox, plural: oxen}}
---
apiVersion: example.com/v1
kind: Ox
metadata: {name: bad, namespace: shop}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: bad, namespace: shop}
"""
ADMISSION = """apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: none}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: [oxen, network-attachment-definitions]}]
  validations: [{expression: "false"}]
"""


def test_resources_with_names_of_their_own_are_not_passed_over(taut: Taut, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(ADMISSION)
    (tmp_path / "o.yaml").write_text(CUSTOM)
    done = taut("check", "--policies", "p.yaml", "--resources", "o.yaml", "-o", "json")
    assert [(r["resource"]["kind"], r["result"]) for r in json.loads(done.stdout)] == [
        ("Ox", "fail"),
        ("NetworkAttachmentDefinition", "fail"),
    ]


def test_other_documents_beside_policies_are_nobodys_business(
    taut: Taut, folders: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "policies/pods.yaml").write_text(PODS)
    (tmp_path / "policies/pkg.yaml").write_text("name: a package\n")
    (tmp_path / "policies/admission.yaml").write_text(ADMISSION)
    assert taut(*folders).stderr == ""
