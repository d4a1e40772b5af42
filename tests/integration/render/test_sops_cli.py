"""`taut render`, `taut check` and `taut diff` on a working copy with SOPS files: opened, and no value is printed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest
import yaml as pyyaml

from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.localplane import Plane

pytestmark = pytest.mark.integration

PROGRAM = Path(sys.executable).with_name("sops")
WORD = "plain-Kq7xW2vB9z-word"
SHORT = "hunter2"
VALUES = f"password: {WORD}\nmode: {SHORT}\n"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "templates/all.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: open}\n"
        "data: {url: 'x://{{ .Values.password }}@db', mode: '{{ .Values.mode }}', seen: yes-it-is}\n---\n"
        "apiVersion: v1\nkind: Secret\nmetadata: {name: closed}\nstringData: {a: '{{ .Values.password }}', b: other}\n"
        "{{ if .Values.broken }}{{ fail .Values.password }}{{ end }}\n"
    ),
}
APPLICATION = (
    "apiVersion: taut.dev/v1\nkind: Application\nmetadata: {name: web}\n"
    "spec:\n  source: {git: 'https://git.example.com/a', path: web, helmOptions: {valueFiles: [/prod.yaml]}}\n"
)
PLAIN = "apiVersion: taut.dev/v1\nkind: Application\nmetadata: {name: plain}\nspec:\n  source: {git: 'https://git.example.com/a', path: plain}\n"
SHORTER = base64.b64encode(b"on").decode()


def encrypted(root: Path, text: str, name: str) -> bytes:
    """What the real program makes of a file of this name, for the key in the environment."""
    home = root.parent / "home"
    (home / name).write_text(text)
    public = pyrage.x25519.Identity.from_str(os.environ["SOPS_AGE_KEY"]).to_public()
    command = [str(PROGRAM), "--disable-version-check", "-e", "--age", str(public), name]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, check=True).stdout


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy with a chart and encrypted values; the key is in the environment."""
    identity = pyrage.x25519.Identity.generate()
    for name in ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "VAULT_ADDR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SOPS_AGE_KEY", str(identity))
    root = tmp_path / "copy"
    for path, text in {**{f"web/{p}": t for p, t in CHART.items()}, "taut/web.yaml": APPLICATION}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for name, text in {
        "prod.yaml": VALUES,
        "s.yaml": f"kind: Secret\napiVersion: v1\nmetadata: {{name: s}}\nstringData: {{a: {WORD}, port: '5', mode: {SHORT}}}\ndata: {{x: {SHORTER}}}\n",
    }.items():
        (root / name).write_bytes(encrypted(root, text, name))
    (root / "plain").mkdir()
    (root / "s.yaml").rename(root / "plain/s.yaml")
    monkeypatch.chdir(root)
    return root


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What was printed; no value is in it."""
    out, err = capsys.readouterr()
    for text in (out, err):
        for hidden in (WORD, SHORT, base64.b64encode(WORD.encode()).decode()):
            assert hidden not in text
    return out, err


def test_rendered_objects_are_printed_without_values(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(cli, ["render", "web", "-f", "prod.yaml"]) == 0
    out, err = said(capsys)
    config, secret = pyyaml.safe_load_all(out)
    assert config["data"] == {"url": "••••••", "mode": "••••••", "seen": "yes-it-is"}
    assert secret["stringData"] == {"a": "••••••", "b": "••••••"}
    assert "lands in ConfigMap" in err
    assert run_command(cli, ["render", "plain", "-o", "json"]) == 0
    assert '"••••••"' in said(capsys)[0]
    assert run_command(cli, ["render", "web", "-f", "prod.yaml", "--set", "broken=true"]) == 1
    assert "•••" in said(capsys)[1]


def test_without_the_key_the_reason_is_told_and_it_can_be_left_encrypted(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = os.environ["SOPS_AGE_KEY"]
    monkeypatch.delenv("SOPS_AGE_KEY")
    for arguments in (["render", "plain"], ["render", "web", "-f", "prod.yaml"]):
        assert run_command(cli, arguments) != 0
        err = said(capsys)[1]
        assert "no key is here that fits this file" in err
        assert "--no-decrypt" in err
    assert run_command(cli, ["render", "plain", "--no-decrypt"]) == 0
    out = said(capsys)[0]
    assert "ENC[AES256_GCM" in out
    assert "sops:" in out
    (tmp_path / "key").write_text(key)
    assert run_command(cli, ["render", "plain", "--key", str(tmp_path / "key")]) == 0
    assert "ENC[" not in said(capsys)[0]


def test_check_renders_with_the_keys_and_without_them(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_command(cli, ["check", ".", "-o", "json"])
    out, err = said(capsys)
    assert '"problems": []' in out
    assert "lands in ConfigMap" in err
    monkeypatch.delenv("SOPS_AGE_KEY")
    assert run_command(cli, ["check", "."]) == 2
    assert "no key is here that fits" in said(capsys)[0]
    run_command(cli, ["check", ".", "--no-decrypt", "-o", "json"])
    assert '"problems": []' in said(capsys)[0]


def test_raw_are_the_values_that_no_encrypted_file_holds(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "taut/plain.yaml").write_text(PLAIN)
    kustomization = "secretGenerator:\n- {name: made, envs: [made.env], options: {disableNameSuffixHash: true}}\n"
    (copy / "made").mkdir()
    (copy / "made/kustomization.yaml").write_text(kustomization)
    (copy / "made/made.env").write_bytes(encrypted(copy, f"URL=x://u:{WORD}@db\nMODE={SHORT}\n", "made.env"))
    (copy / "taut/made.yaml").write_text(PLAIN.replace("plain", "made"))
    assert run_command(cli, ["check", ".", "-o", "json"]) == 1
    verdicts = json.loads(said(capsys)[0])["verdicts"]
    assert [(v["policy"], v["resource"]["name"]) for v in verdicts if v["result"] == "fail"] == [
        ("raw-secret", "closed")
    ]
    assert run_command(cli, ["check", "."]) == 1
    assert "stringData.b" in said(capsys)[0]
    assert run_command(cli, ["check", ".", "--no-decrypt", "-o", "json"]) != 2
    verdicts = json.loads(said(capsys)[0])["verdicts"]
    assert {v["resource"]["name"] for v in verdicts if v["result"] == "fail"} == {"closed"}


def test_a_diff_shows_no_value(
    copy: Path, capsys: pytest.CaptureFixture[str], plane: Plane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["diff", "./web", "--kubeconfig", str(plane.kubeconfig), "-n", namespace]
    assert run_command(cli, arguments) == 3
    out, _ = said(capsys)
    assert "ConfigMap" in out
    assert run_command(cli, [*arguments, "-o", "json"]) == 3
    said(capsys)
    assert run_command(cli, ["diff", "./plain", *arguments[2:], "--no-decrypt"]) == 1
    assert "still encrypted" in said(capsys)[1]
