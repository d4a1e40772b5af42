"""Every policy that attacks, judged by `taut check` beside an honest one: it is stopped or without effect, and the honest one is judged."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hostile.attack import Ground
from hostile.policies import ATTACKS, OBJECT, PolicyAttack, kyverno
from hostile.scene import VARIABLE, Canary
from support.kubernetes import eventually
from taut.cli.ending import run_command
from taut.cli.main import cli
from taut.prison.pool import descendants

pytestmark = pytest.mark.integration
HONEST = kyverno("honest", {"pattern": {"metadata": {"labels": {"team": "?*"}}}})


def _verdicts(
    attack: PolicyAttack, folder: Path, ground: Ground, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, Any]], str]:
    for name, documents in (("attack", attack.documents), ("honest", [HONEST])):
        text = "\n---\n".join(json.dumps(ground.fill(d)) for d in documents)
        (folder / "policies").mkdir(exist_ok=True)
        (folder / f"policies/{name}.yaml").write_text(text)
    (folder / "object.yaml").write_text(json.dumps(OBJECT))
    arguments = ["check", "--policies", str(folder / "policies"), "--resources", str(folder / "object.yaml")]
    code = run_command(cli, [*arguments, "-o", "json"])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, json.loads(printed.out), printed.err


@pytest.mark.parametrize(
    "attack",
    [pytest.param(a, marks=() if a.short or not a.slow else pytest.mark.faults) for a in ATTACKS],
    ids=[a.name for a in ATTACKS],
)
async def test_it_is_stopped_and_the_honest_one_is_judged(
    attack: PolicyAttack, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAUT_CANARY", VARIABLE)
    canary = Canary()
    before = set(descendants(os.getpid()))
    with canary.listening():
        ground = Ground(canary.url, str(tmp_path))
        code, verdicts, said = await asyncio.to_thread(_verdicts, attack, tmp_path, ground, capsys)
    assert canary.connections == 0
    assert [v["result"] for v in verdicts if v["policy"] == "honest"] == ["fail"]
    assert VARIABLE not in str(verdicts) + said
    own = [v for v in verdicts if v["policy"] != "honest"]
    if attack.refused:
        assert ground.fill(attack.says) in said
        assert code == 2
        assert all(v["result"] == "error" for v in own)
    elif attack.gives:
        assert [v["result"] for v in own] == [attack.gives]
        assert code == 1
    else:
        assert [v["result"] for v in own] in (["error"], ["fail"])
        assert ground.fill(attack.says) in own[0]["message"]
        assert code == 1
    await eventually(lambda: not set(descendants(os.getpid())) - before, "no process is left")
