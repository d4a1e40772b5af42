"""`taut localplane`, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taut import localplane

pytestmark = pytest.mark.integration


class Cli:
    """Runs `taut localplane` with control planes of its own."""

    def __init__(self, state: Path) -> None:
        self._environment = os.environ | {"XDG_STATE_HOME": str(state)}

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "taut.cli.main", "localplane", *args]
        return subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False)

    def listed(self) -> list[dict[str, str]]:
        return json.loads(self("list", "-o", "json").stdout)


@pytest.fixture
def taut(tmp_path: Path) -> Iterator[Cli]:
    yield Cli(tmp_path)
    for plane in localplane.planes(home=tmp_path / "taut" / "localplane"):
        localplane.delete(plane.name, home=plane.home)


def test_a_control_plane_from_start_to_delete(taut: Cli) -> None:
    assert taut.listed() == []
    started = taut("start", "demo", "--audit")
    assert started.returncode == 0, started.stderr
    [plane] = taut.listed()
    assert (plane["name"], plane["state"], plane["kept"]) == ("demo", "running", True)
    assert plane["server"] in started.stdout
    assert Path(plane["auditLog"]).stat().st_size > 0
    kubeconfig = taut("kubeconfig", "demo").stdout.strip()
    assert kubeconfig == plane["kubeconfig"]
    assert plane["server"] in Path(kubeconfig).read_text()
    table = taut("list").stdout.splitlines()
    assert table[0].split() == ["NAME", "STATE", "SERVER", "DATA", "KUBECONFIG"]
    assert table[1].split() == ["demo", "running", plane["server"], "kept", kubeconfig]
    again = taut("start", "demo")
    assert (again.returncode, again.stdout) == (1, "")
    assert "runs already" in again.stderr
    assert taut("stop", "demo").returncode == 0
    assert [(p["name"], p["state"]) for p in taut.listed()] == [("demo", "stopped")]
    assert taut("delete", "demo").returncode == 0
    assert taut.listed() == []


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("start", "Bad Name"), 2, "is no name for a control plane"),
        (("stop", "nobody"), 1, "no control plane nobody"),
        (("delete", "nobody"), 1, "no control plane nobody"),
        (("kubeconfig", "nobody"), 1, "no control plane nobody"),
        (("list", "-o", "nonsense"), 2, "nonsense"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_errors_are_a_sentence_and_a_code(taut: Cli, args: tuple[str, ...], code: int, said: str) -> None:
    done = taut(*args)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
