import json
from pathlib import Path

import pytest

from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.dialects.schemas import SCHEMAS
from taut.documents.yaml import load_one


@pytest.mark.parametrize("kind", ["Application", "application", "Project", "config"])
def test_one_kind(kind: str, capsys: pytest.CaptureFixture[str]):
    assert run_command(cli, ["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out)["title"].lower() == kind.lower()


def test_all_kinds_as_yaml(capsys: pytest.CaptureFixture[str]):
    assert run_command(cli, ["schema", "-o", "yaml"]) == 0
    assert set(load_one(capsys.readouterr().out.encode())) == set(SCHEMAS)


def test_an_unknown_kind_is_bad_input(capsys: pytest.CaptureFixture[str]):
    assert run_command(cli, ["schema", "Aplication"]) == 2
    assert "did you mean Application?" in capsys.readouterr().err


def test_files(tmp_path: Path):
    assert run_command(cli, ["schema", "--output", str(tmp_path / "schemas")]) == 0
    published = Path(__file__).parents[3] / "docs" / "reference" / "schemas"
    written = {path.name: path.read_text() for path in (tmp_path / "schemas").iterdir()}
    assert written == {path.name: path.read_text() for path in published.iterdir()}
