"""Every attack by a policy on `taut check`: the policy is named, the others judge everything, and nothing is asked, told or left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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


def _write(folder: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    for name, listed in (("policies", documents), ("objects", OBJECTS)):
        (folder / name).mkdir()
        for number, each in enumerate(listed):
            (folder / name / f"{number:02d}.json").write_text(json.dumps(each))


def check(attack: PolicyAttack, folder: Path) -> None:
    canary = Canary()
    with canary.listening():
        _write(folder, Ground(canary.url, str(folder)).fill([*attack.documents, *GOOD]))
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


def test_an_interrupted_check_leaves_nothing(tmp_path: Path) -> None:
    (attack,) = (a for a in ATTACKS if a.name == "foreach")
    _write(tmp_path, attack.documents)
    command = [TAUT, "check", "--policies", "policies", "--resources", "objects"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 20
        while len(left_behind(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left_behind(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert not left_behind(process.pid)


@pytest.mark.parametrize("attack", _cases(short=True))
def test_some_attacks(attack: PolicyAttack, tmp_path: Path) -> None:
    check(attack, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("attack", _cases(short=False))
def test_slow_attacks(attack: PolicyAttack, tmp_path: Path) -> None:
    check(attack, tmp_path)
