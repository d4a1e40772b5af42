"""The commands that talk to a running taut, against the real API."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from support.memory_backend import DB, OPS_WEB, WEB, Running, plan, running
from taut.model.health import HealthStatus
from taut.model.plan import Hold, HoldKind
from taut.model.status import HeldFor, Problem, SyncStatus
from taut.server.views import SyncRequest

AGES = re.compile(r"\b\d+d\b")


def ages_removed(text: str) -> str:
    """The tests' times are fixed, today is not."""
    return "\n".join(re.sub(r" +", " ", line).rstrip() for line in AGES.sub("AGE", text).splitlines())


def test_status_shows_what_is_wrong_first(server: Running, taut) -> None:
    ended = taut("status")
    assert ended.code == 0
    assert (
        ages_removed(ended.out)
        == """\
NAME SYNC HEALTH OPERATION HELD FOR REVISION LAST SYNC MESSAGE
⬣ api unknown Healthy never apps/api/app.yaml:7, spec.replica: unknown field `replica` — did you mean `replicas`?
▲ shop/web in sync Degraded Succeeded main@1a2b3c4d AGE The new Pod crashes on start
■ ops/web behind Healthy Succeeded deletes-data main@1a2b3c4d AGE deletes PersistentVolumeClaim shop/data; waits for: taut approve ops/web
✓ db in sync Healthy Succeeded main@1a2b3c4d AGE"""
    )


def test_status_as_data(server: Running, taut) -> None:
    found = json.loads(taut("status", "-o", "json").out)
    needed = {"name", "sync", "health", "operation", "heldFor", "revision", "message", "lastSync"}
    assert isinstance(found, list)
    assert all(needed <= app.keys() for app in found)
    assert {app["sync"] for app in found} <= {"Synced", "OutOfSync", "Unknown"}
    assert yaml.safe_load(taut("status", "-o", "yaml").out) == found
    assert [a["key"] for a in json.loads(taut("status", "-o", "json", "-l", "team=web", "--root", "prod").out)] == [
        str(WEB)
    ]


def test_an_empty_status_says_why(server: Running, taut) -> None:
    assert "No application matches" in taut("status", "--root", "other").out
    server.backend.apps.clear()
    assert "no root declares one" in taut("status").out
    server.backend.root_problems = (Problem("unknown field `pth`", "app.yaml:3"),)
    assert "no root declares one" not in taut("status").out, "one does, and is not understood"
    assert json.loads(taut("status", "-o", "json").out) == []


def test_trouble_of_a_root_is_shown(server: Running, taut) -> None:
    server.backend.root_problems = (Problem("unknown field `pth`", "app.yaml:3", "did you mean `path`?"),)
    lines = taut("status").out.splitlines()
    assert lines[:3] == ["⬣ root prod: app.yaml:3: unknown field `pth`", "  did you mean `path`?", ""]
    assert lines[3].startswith("NAME")
    assert isinstance(json.loads(taut("status", "-o", "json").out), list)


def test_get_tells_the_trouble_and_the_facts(server: Running, taut) -> None:
    out = taut("get", "api").out
    assert out.splitlines()[0] == "⬣ prod/shop/api  Failed"
    assert "    did you mean `replicas`?" in out
    assert re.search(r"^sync +unknown$", out, re.MULTILINE)
    assert re.search(r"▲ Deployment shop/web +in sync +Degraded +crashes on start", out)
    assert json.loads(taut("get", "api", "-o", "json").out)["status"]["name"] == "api"


def test_tree_goes_down_to_pods(server: Running, taut) -> None:
    assert (
        taut("tree", "db").out
        == """\
▲ Deployment shop/web  Degraded
└─ ✓ ReplicaSet shop/web-1
   └─ ▲ Pod shop/web-1-a  Degraded  CrashLoopBackOff
✓ Service shop/web  behind
"""
    )
    assert len(json.loads(taut("tree", "db", "-o", "json").out)) == 4


def test_diff_ends_with_3_when_there_is_a_difference(server: Running, taut) -> None:
    ended = taut("diff", "db")
    assert ended.code == 3
    assert "spec.replicas: 3 → 5" in ended.out
    assert "hunter" not in ended.out + taut("diff", "db", "-o", "json").out
    server.backend.plans[DB] = plan(DB).__class__(DB, ())
    assert taut("diff", "db").code == 0


def test_names_that_do_not_resolve(server: Running, taut) -> None:
    ended = taut("get", "web")
    assert (ended.code, ended.out) == (2, "")
    assert "say which: prod/ops/web, prod/shop/web" in ended.err
    ended = taut("tree", "wep")
    assert ended.code == 2
    assert "did you mean" in ended.err


def test_sync_asks_and_returns(server: Running, taut) -> None:
    ended = taut("sync", "db", "--object", "Deployment/web", "--object", "Service/web", "--no-prune")
    assert (ended.code, ended.out) == (0, "prod/db is synced to main@1a2b3c4d\n")
    [(_, key, request)] = server.backend.calls
    assert key == DB
    assert msgspec.structs.replace(request, by="") == SyncRequest(
        objects=("Deployment/web", "Service/web"), prune=False
    )
    assert "@" in request.by


def test_sync_can_only_look(server: Running, taut) -> None:
    ended = taut("sync", "db", "--dry-run")
    assert ended.code == 0
    assert "2 to update, 1 to delete" in ended.out
    assert taut("sync", "ops/web", "--dry-run").code == 4


@pytest.mark.parametrize(
    ("outcome", "code", "words"),
    [
        ({"operation": "Succeeded"}, 0, "in sync at main@1a2b3c4d"),
        ({"operation": "Failed", "message": "the image does not exist"}, 1, "the image does not exist"),
        ({"operation": "Aborted", "operation_message": "stopped by ben"}, 1, "stopped by ben"),
        ({"problems": (Problem("no chart"),), "message": "no chart"}, 1, "no chart"),
        (
            {"operation": "Succeeded", "held_for": (HeldFor("x", "y"),), "message": "deletes data"},
            4,
            "held. deletes data",
        ),
    ],
)
def test_sync_waits_for_the_end(server: Running, taut, outcome, code: int, words: str) -> None:
    server.backend.after_sync = lambda running: msgspec.structs.replace(
        running, **{"operation": "", "problems": (), **outcome}
    )
    ended = taut("sync", "db", "--wait")
    assert ended.code == code
    assert ended.out.splitlines()[-1] == f"prod/db: {words}"
    assert json.loads(taut("sync", "db", "--wait", "-o", "json").out)["key"] == "prod/db"


def test_sync_does_not_wait_for_ever(server: Running, taut) -> None:
    server.backend.after_sync = lambda running: running
    ended = taut("sync", "db", "--wait", "--timeout", "1ms")
    assert ended.code == 1
    assert "not synced within" in ended.err
    assert taut("sync", "db", "--wait", "--timeout", "soon").code == 2


@pytest.mark.parametrize(
    ("args", "call"),
    [
        (("refresh",), ("refresh", None, None)),
        (("refresh", "db"), ("refresh", None, DB)),
        (("refresh", "--root", "prod"), ("refresh", "prod", None)),
        (("abort", "db"), ("abort", DB)),
        (("suspend", "db", "--reason", "night"), ("suspend", DB)),
        (("resume", "db"), ("resume", DB)),
        (("restart", "db", "Deployment/web"), ("restart", DB, "Deployment/web")),
        (("restart", "db"), ("restart", DB, "")),
    ],
)
def test_small_verbs(server: Running, taut, args: tuple[str, ...], call: tuple[object, ...]) -> None:
    ended = taut(*args)
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 1
    assert server.backend.calls[-1][: len(call)] == call


def test_approve_by_hash(server: Running, taut) -> None:
    digits = plan(OPS_WEB).hash[:8]
    assert taut("approve", "ops/web", "--plan", digits[:5]).code == 2
    other = taut("approve", "ops/web", "--plan", "00000000")
    assert other.code == 1
    assert "is not 00000000 any more" in other.err
    assert server.backend.calls == []
    ended = taut("approve", "ops/web", "--plan", digits, "--reason", "looked at it")
    assert (ended.code, ended.out) == (0, "The plan of prod/ops/web may pass, once\n")
    [(word, key, plan_hash, _, reason)] = server.backend.calls
    assert (word, key, plan_hash, reason) == ("approve", OPS_WEB, plan(OPS_WEB).hash, "looked at it")


def test_approve_without_a_person_or_a_hash_approves_nothing(server: Running, taut) -> None:
    ended = taut("approve", "ops/web")
    assert ended.code == 2
    assert "■ Held: deletes PersistentVolumeClaim" in ended.out
    assert f"--plan {plan(OPS_WEB).hash[:8]}" in ended.err
    assert taut("approve", "db").out.endswith("Nothing of prod/db waits for approval.\n")
    assert server.backend.calls == []


def test_what_no_approval_lets_pass(server: Running, taut) -> None:
    owned = plan(DB).with_holds(Hold(HoldKind.OWNED, "Deployment shop/web belongs to prod/other", approvable=False))
    server.backend.plans[DB] = owned
    ended = taut("approve", "db", "--plan", owned.hash)
    assert ended.code == 1
    assert "belongs to prod/other" in ended.err
    assert server.backend.calls == []


def test_lists(server: Running, taut) -> None:
    assert (
        ages_removed(taut("history", "db").out)
        == """\
NUMBER WHEN KIND RESULT REVISION BY TOOK CHANGES WHAT
7 AGE sync Succeeded main@1a2b3c4d anna 2.5s 1 Raise the replicas"""
    )
    assert (
        ages_removed(taut("drift").out)
        == """\
WHEN APPLICATION OBJECT FIELD GIT → FOUND WHO OUTCOME WHY
AGE prod/shop/web Deployment.apps shop/web spec.replicas 3 → 5 kubectl-scale (Update) open
AGE prod/shop/web Secret shop/web data.password •••••• differs kubectl (Update) healed"""
    )
    assert (
        ages_removed(taut("events", "db").out)
        == """\
WHEN APPLICATION KIND OBJECT WHAT
AGE prod/db sync Deployment shop/web started"""
    )
    assert (
        ages_removed(taut("audit").out)
        == """\
NUMBER WHEN WHO DID TO DETAIL FROM
1 AGE anna approve prod/shop/web p"""
    )
    assert (
        ages_removed(taut("orphans", "-n", "shop").out)
        == """\
CLUSTER NAMESPACE KIND NAME AGE
local shop ConfigMap left AGE"""
    )
    assert len(json.loads(taut("drift", "--open", "-o", "json").out)) == 1
    for args in (("drift", "db"), ("orphans", "-n", "none")):
        ended = taut(*args)
        assert ended.code == 0
        assert len(ended.out.splitlines()) == 1


def test_server_and_token_can_be_named(tmp_path: Path, taut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "one"))
    with running(tmp_path) as up:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "elsewhere"))
        assert taut("status").code == 1
        assert taut("status", "--server", up.url).code == 2
        assert taut("status", "--server", up.url, "--token-file", str(up.token_file)).code == 0
        monkeypatch.setenv("TAUT_SERVER", up.url)
        monkeypatch.setenv("TAUT_TOKEN_FILE", str(up.token_file))
        assert taut("status").code == 0
        wrong = tmp_path / "wrong"
        wrong.write_text("not the token")
        ended = taut("status", "--token-file", str(wrong))
        assert (ended.code, ended.err.splitlines()[0]) == (1, "Error: The token is missing or wrong")
        assert taut("status", "--server", "ftp://x").code == 2
    ended = taut("status")
    assert ended.code == 1
    assert "does not answer" in ended.err
    assert "Traceback" not in ended.err


def test_two_running_tauts_are_told_apart(tmp_path: Path, taut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with running(tmp_path / "a") as one, running(tmp_path / "b") as two:
        ended = taut("status")
        assert ended.code == 2
        assert one.url in ended.err
        assert two.url in ended.err
        monkeypatch.chdir(tmp_path / "b")
        assert taut("status").code == 0, "the one whose store is here"


def test_hostile_texts_do_not_reach_the_terminal(server: Running, taut) -> None:
    evil = "\x1b[2J\x1b]0;x\x07 \u202e [bold red]not markup[/]"
    server.backend.apps[DB] = msgspec.structs.replace(
        server.backend.apps[DB],
        message=evil,
        revision=evil,
        health=HealthStatus.DEGRADED,
        sync=SyncStatus.OUT_OF_SYNC,
        problems=(Problem(evil, evil, evil),),
        held_for=(HeldFor(evil, evil, (evil,)),),
        warnings=(evil,),
    )
    for command in (("status",), ("get", "db")):
        out = taut(*command).out
        assert "[bold red]not markup[/]" in out
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
