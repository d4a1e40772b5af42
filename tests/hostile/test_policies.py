"""Every attack by a policy on `taut check`: the policy is named, the others judge everything, and nothing is asked, told or left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from hostile.attack import Ground
from hostile.policies import ATTACKS, PolicyAttack, kyverno
from hostile.scene import VARIABLE, Canary
from support.program import TAUT

pytestmark = pytest.mark.integration
GOOD = kyverno("good", validate={"message": "a team is wanted", "pattern": {"metadata": {"labels": {"team": "?*"}}}})
OBJECTS = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"map-{n}", "namespace": "shop"}} for n in range(20)
]


def _cases(*, short: bool) -> list[object]:
    return [pytest.param(a, id=a.name) for a in ATTACKS if a.short is short]


def check(attack: PolicyAttack, folder: Path) -> None:
    canary = Canary()
    with canary.listening():
        documents = Ground(canary.url, str(folder)).fill([*attack.documents, *GOOD])
        for name, listed in (("policies", documents), ("objects", OBJECTS)):
            (folder / name).mkdir()
            for number, each in enumerate(listed):
                (folder / name / f"{number:02d}.json").write_text(json.dumps(each))
        command = [TAUT, "check", "--policies", "policies", "--resources", "objects", "-o", "json"]
        environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "TAUT_CANARY": VARIABLE}
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            out, err = process.communicate()
    rows = json.loads(out)
    assert [r["result"] for r in rows if r["policy"] == "good"] == ["fail"] * len(OBJECTS)
    others = [r for r in rows if r["policy"] != "good"]
    if attack.result:
        assert {r["result"] for r in others} == {attack.result}
        assert len(others) == len(OBJECTS)
        assert any(attack.says in r["message"] for r in others)
        assert all(attack.name in r["policy"] for r in others)
    else:
        assert attack.says in err
    assert process.returncode == attack.code
    assert "Traceback" not in err
    assert VARIABLE not in out + err
    assert canary.connections == 0
    assert not left_behind(process.pid)


def left_behind(parent: int) -> list[str]:
    """The workers that a process had started and that still run: all of them have its number in their command line."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"taut.prison.nursery" in words and str(parent).encode() in words:
            found.append(path.parent.name)
    return found


@pytest.mark.parametrize("attack", _cases(short=True))
def test_some_attacks(attack: PolicyAttack, tmp_path: Path) -> None:
    check(attack, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("attack", _cases(short=False))
def test_slow_attacks(attack: PolicyAttack, tmp_path: Path) -> None:
    check(attack, tmp_path)
