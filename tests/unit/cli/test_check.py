import json
import subprocess
import sys
from pathlib import Path

import pytest

from taut.cli import policies
from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.dialects.working_copy import check_folder

APPLICATION = (
    "apiVersion: taut.dev/v1\nkind: Application\nmetadata: {{name: {name}}}\nspec: {{source: {{git: 'https://x/y'}}}}\n"
)


def put(base: Path, **files: str) -> Path:
    for name, text in files.items():
        path = base / name.replace("__", "/").replace("_yaml", ".yaml").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return base


def test_a_good_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(
        tmp_path,
        taut__a_yaml=APPLICATION.format(name="a"),
        apps__x_yaml="kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n",
    )
    assert run_command(cli, ["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "Nothing is wrong in 2 files with 1 application.\n"


def test_every_problem_has_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(
        tmp_path,
        taut__a_yaml=APPLICATION.format(name="a").replace("git:", "gti:"),
        apps__broken_yaml="a: 1\nb: [\n",
        apps__bad_json='{"a": 1',
        taut_yaml="stor: x\n",
    )
    assert run_command(cli, ["check", str(tmp_path), "-o", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["applications"]) == (4, 0)
    places = [(Path(p["file"]).relative_to(tmp_path).as_posix(), p["line"], p["field"]) for p in found["problems"]]
    assert places == [
        ("apps/bad.json", 1, ""),
        ("apps/broken.yaml", 2, ""),
        ("taut.yaml", 1, "stor"),
        ("taut/a.yaml", 4, "spec.source.gti"),
    ]
    assert any(p["advice"] == "did you mean git?" for p in found["problems"])


def test_people_read_file_line_field_and_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(tmp_path, a_yaml=APPLICATION.format(name="a").replace("git:", "gti:"))
    assert run_command(cli, ["check", str(tmp_path / "a.yaml")]) == 2
    out = capsys.readouterr().out
    assert f"{tmp_path}/a.yaml:4  Application a, spec.source.gti\n" in out
    assert "  did you mean git?\n" in out
    assert out.endswith("problem in 1 file with 0 applications.\n")


def test_what_is_no_yaml_by_intent_is_left_alone(tmp_path: Path):
    put(
        tmp_path,
        chart__Chart_yaml="name: x\n",
        chart__templates__a_yaml="{{ if .Values.x }}\na: {{ .x }}\n{{ end }}\n",
        chart__values_yaml="x: 1\n",
        **{".github__ci_yaml": "x: ["},
        node_modules__x_yaml="x: [",
    )
    (tmp_path / "link.yaml").symlink_to("/etc/passwd")
    report = check_folder(tmp_path)
    assert report.good
    assert report.files == 2


def test_templates_are_a_fault_where_they_are_not_meant(tmp_path: Path):
    report = check_folder(put(tmp_path, a_yaml="{{ x }}: 1\n"))
    assert "template" in report.problems[0].advice


EACH = """apiVersion: taut.dev/v1
kind: Application
metadata: {name: "{{ folder.name }}"}
spec:
  forEach: {folders: "apps/*"}
  source: {git: "https://x/y", path: "{{ folder.path }}"}
"""


def test_for_each_is_expanded_over_the_working_copy(tmp_path: Path):
    put(tmp_path, taut__a_yaml=EACH, apps__one__x_yaml="a: 1\n", apps__Two_Two__x_yaml="a: 1\n")
    report = check_folder(tmp_path)
    assert [a.key.name for a in report.applications] == ["one"]
    assert "Two_Two" in report.problems[0].what
    assert check_folder(put(tmp_path / "elsewhere", taut__a_yaml=EACH)).good


def test_the_same_name_is_a_fault_in_one_root_only(tmp_path: Path):
    one, other = APPLICATION.format(name="a"), APPLICATION.format(name="a")
    put(tmp_path, t__one__a_yaml=one, t__two__a_yaml=other)
    assert check_folder(tmp_path).good
    put(tmp_path, taut_yaml="roots: [{name: all, git: 'https://x/y', path: t}]\n")
    report = check_folder(tmp_path)
    assert {p.where.file for p in report.problems} == {"t/one/a.yaml", "t/two/a.yaml"}


def test_a_path_that_is_not_there_is_wrong_usage(tmp_path: Path):
    assert run_command(cli, ["check", str(tmp_path / "nothing")]) == 2


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[" * 100_000, b"a: &a [*a]"])
def test_hostile_files_are_problems(tmp_path: Path, content: bytes):
    (tmp_path / "a.yaml").write_bytes(content)
    assert not check_folder(tmp_path).good


def test_what_does_not_render_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    document = APPLICATION.format(name="a").replace("git: 'https://x/y'", "git: 'https://x/y', path: apps")
    put(tmp_path, taut__a_yaml=document, apps__kustomization_yaml="resources: [gone.yaml]\n")
    assert run_command(cli, ["check", str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert "kustomization.yaml:1" in said
    assert "gone.yaml does not exist" in said
    assert run_command(cli, ["check", "--no-render", str(tmp_path)]) == 0


@pytest.mark.parametrize("args", [["--builtin", "--resources"], ["--no-render"]])
def test_without_policies_there_is_no_worker(tmp_path: Path, args: list[str]):
    """Neither is what starts one loaded."""
    put(tmp_path, apps__x_yaml="kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n")
    program = (
        "import sys; from taut.cli.ending import run_command; from taut.cli.main import cli\n"
        f"assert run_command(cli, {['check', *args, str(tmp_path)]!r}) == 0\n"
        "assert not {'taut.policy.service', 'taut.policy.checking', 'taut.policy.judge'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_long_check_says_how_far_it_is_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(policies, "_PATIENT_SECONDS", -1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = policies._Progress()
    progress.tell(64, 500)
    progress.tell(128, 500)
    progress.end()
    assert capsys.readouterr().err == "\r64 of 500 objects are judged\r128 of 500 objects are judged\r\x1b[K"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    progress = policies._Progress()
    progress.tell(64, 500)
    progress.end()
    assert capsys.readouterr().err == ""


def test_a_waiver_is_known_and_has_to_be_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waiver = (
        "apiVersion: taut.dev/v1\nkind: PolicyWaiver\nmetadata: {name: a}\n"
        "spec: {policy: team, objects: [{kind: Deployment, name: web}], who: ann, why: a mirror, until: '2099-01-01'}\n"
    )
    (tmp_path / "waiver.yaml").write_text(waiver)
    assert run_command(cli, ["check", str(tmp_path)]) == 0
    (tmp_path / "waiver.yaml").write_text(waiver.replace("2099-01-01", "soon"))
    assert run_command(cli, ["check", str(tmp_path)]) == 2
    assert "spec.until is 'soon'" in capsys.readouterr().out


def test_a_check_by_nothing_or_of_nothing_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("policies", "objects", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "policies/p.yaml").write_text(
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: p}\nspec: {rules: [{name: a, match: {any: [{resources: {kinds: [Pod]}}]},"
        " validate: {pattern: {metadata: {name: '?*'}}}}]}\n"
    )
    (tmp_path / "objects/o.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")

    def check(policies: str, objects: str) -> int:
        return run_command(
            cli, ["check", "--policies", str(tmp_path / policies), "--resources", str(tmp_path / objects)]
        )

    assert check("policies", "objects") == 0
    assert check("empty", "objects") == 2
    assert "there is no policy in" in capsys.readouterr().err
    assert check("policies", "empty") == 2
    assert "there is no object in" in capsys.readouterr().err
