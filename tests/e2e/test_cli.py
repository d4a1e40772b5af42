"""The command line as a person drives it: a real `taut run`, a real control plane, a real repository."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml

from e2e.conftest import Scene
from integration.loop.harness import annotate, application, config_map, deployment, job, yaml
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = pytest.mark.integration


def web(greeting: str = "hello") -> str:
    """The files of the application `web`."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    return yaml(config_map("settings", {"greeting": greeting}), deployment("web", replicas=2), service)


def claim(name: str) -> dict[str, Any]:
    """A volume claim: what holds data."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def test_what_is_there_is_shown(scene: Scene) -> None:
    taut = scene.taut
    commit = scene.declare(application("web"), files={"apps/web/web.yaml": web()}, message="The first one")
    with taut:
        status = taut.synced("web")["web"]
        needed = {"name", "sync", "health", "operation", "heldFor", "revision", "message", "lastSync"}
        assert needed <= status.keys()
        assert (status["heldFor"], status["message"], status["operation"]) == ([], "", "Succeeded")
        assert status["revision"] == f"main@{commit[:8]}"
        header, row = taut.ok("status").splitlines()
        assert header.split() == [
            "NAME",
            "SYNC",
            "HEALTH",
            "OPERATION",
            "HELD",
            "FOR",
            "REVISION",
            "LAST",
            "SYNC",
            "MESSAGE",
        ]
        assert row.split()[:5] == ["✓", "web", "in", "sync", "Healthy"]
        assert pyyaml.safe_load(taut.ok("status", "-o", "yaml")) == taut.json("status")
        assert json.loads(taut.ok("status", "--root", "other", "-o", "json")) == []

        shown = taut.ok("get", "web")
        assert shown.startswith(f"✓ {scene.namespace}/web  Healthy\n")
        for kind, name in (("ConfigMap", "settings"), ("Deployment", "web"), ("Service", "web")):
            assert re.search(rf"✓ {kind} {scene.namespace}/{name} +in sync +Healthy", shown), shown
        assert {o["kind"] for o in taut.json("get", "web")["objects"]} == {"ConfigMap", "Deployment", "Service"}

        tree = taut.ok("tree", "web")
        assert re.search(r"Deployment \S+/web\n.*└─ ✓ ReplicaSet \S+\n.*├─ ✓ Pod \S+\n.*└─ ✓ Pod", tree), tree

        [entry] = taut.json("history", "web")
        assert (entry["kind"], entry["result"], entry["commitMessage"]) == ("sync", "Succeeded", "The first one")
        assert len(entry["changes"]) == 3
        assert "The first one" in taut.ok("history", "web")
        assert "sync" in taut.ok("events", "web")
        assert taut.ok("drift", "web") == "Nobody changed anything by hand, as far as taut looked.\n"
        assert "declared in Git" in taut.ok("orphans", "-n", scene.namespace)
        assert taut.taut("diff", "web").code == 0
        [note] = taut.json("audit")
        assert (note["actor"], note["action"], note["subject"]) == ("taut", "sync", f"{scene.namespace}/web")


def test_a_change_by_hand_and_what_nobody_declares(scene: Scene) -> None:
    taut = scene.taut
    scene.declare(application("web"), files={"apps/web/web.yaml": web()})
    with taut:
        taut.synced("web")
        scene.change("configmaps", "settings", {"data": {"greeting": "moin"}}, by="somebody")
        [record] = taut.until(lambda: [d for d in taut.json("drift", "web") if d["outcome"] == "healed"], "healed")
        assert (record["path"], record["desired"], record["found"]) == ("data.greeting", "hello", "moin")
        assert "somebody (Update)" in taut.ok("drift", "web")
        assert json.loads(taut.ok("drift", "web", "--open", "-o", "json")) == []
        scene.api.apply(
            f"/api/v1/namespaces/{scene.namespace}/configmaps/stray",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray"}},
        )
        assert [(o["kind"], o["name"]) for o in taut.json("orphans", "-n", scene.namespace)] == [("ConfigMap", "stray")]


def test_a_manual_application_is_synced_by_hand(scene: Scene) -> None:
    taut = scene.taut
    commit = scene.declare(application("web", sync={"mode": "manual"}), files={"apps/web/web.yaml": web()})
    with taut:
        taut.until(lambda: taut.statuses().get("web", {}).get("sync") == "OutOfSync", "it differs")
        assert "taut sync" in taut.statuses()["web"]["message"]
        ended = taut.taut("diff", "web")
        assert ended.code == 3
        assert "3 to create" in ended.out
        ended = taut.taut("sync", "web", "--dry-run")
        assert (ended.code, "3 to create" in ended.out) == (0, True)
        assert scene.object("configmaps", "settings") is None, "nothing was written so far"

        ended = taut.taut("sync", "web", "--object", "ConfigMap/settings", "--wait")
        assert ended.code == 0, ended.out + ended.err
        assert scene.object("configmaps", "settings") is not None
        assert scene.object("services", "web") is None
        assert taut.taut("sync", "web", "--object", "ConfigMap/nothing").code == 2

        ended = taut.taut("sync", "web", "--wait")
        assert ended.code == 0, ended.out + ended.err
        assert f"in sync at main@{commit[:8]}" in ended.out
        taut.synced("web", at=commit)
        assert taut.taut("diff", "web").code == 0
        assert {a["action"] for a in taut.json("audit")} == {"sync"}

        scene.push({"apps/web/web.yaml": web("good morning")})
        taut.until(lambda: taut.taut("diff", "web").code == 3, "the commit is seen")
        assert re.search(r"data.greeting: hello → good morning", taut.ok("sync", "web", "--dry-run"))
        [change] = json.loads(taut.taut("diff", "web", "-o", "json").out)["changes"]
        assert change["action"] == "update"


def test_a_plan_that_deletes_data_waits_for_approval(scene: Scene) -> None:
    taut = scene.taut
    scene.declare(
        application("data"), files={"apps/data/cm.yaml": yaml(config_map("a")), "apps/data/pvc.yaml": yaml(claim("d"))}
    )
    with taut:
        taut.synced("data")
        assert taut.taut("approve", "data").code == 0, "nothing is held: nothing to approve"
        scene.repo.delete("apps/data/pvc.yaml")
        assert "looks at" in taut.ok("refresh", "--root", scene.namespace)
        held = taut.until(lambda: taut.statuses()["data"]["heldFor"], "held")
        assert "PersistentVolumeClaim" in held[0]["message"]
        assert "taut approve data --plan" in taut.statuses()["data"]["message"]
        ended = taut.taut("sync", "data", "--wait")
        assert (ended.code, "held" in ended.out) == (4, True)
        assert taut.taut("sync", "data", "--dry-run").code == 4
        assert taut.taut("diff", "data").code == 3
        ended = taut.taut("approve", "data")
        assert (ended.code, "Nobody is there" in ended.err) == (2, True)
        plan = re.search(r"--plan (\w{8})", ended.err)
        assert plan is not None
        assert taut.taut("approve", "data", "--plan", "0" * 8).code == 1
        assert scene.object("persistentvolumeclaims", "d") is not None
        assert "may pass" in taut.ok("approve", "data", "--plan", plan[1], "--reason", "it is empty")
        taut.until(lambda: scene.object("persistentvolumeclaims", "d") is None, "deleted")
        taut.synced("data")
        assert ("approve", True) in [(a["action"], "it is empty" in a["detail"]) for a in taut.json("audit")]


def test_suspend_resume_abort_restart(scene: Scene) -> None:
    taut = scene.taut
    waits = annotate(job("migrate"), hook="pre-sync")
    waits["spec"]["template"]["metadata"] = {"annotations": {"localplane.taut.dev/complete-after": "1h"}}
    scene.declare(application("web"), application("slow"), files={"apps/web/web.yaml": web()})
    scene.repo.commit({"apps/slow/a.yaml": yaml(config_map("slow")), "apps/slow/hook.yaml": yaml(waits)})
    with taut:
        taut.synced("web")
        assert "is suspended" in taut.ok("suspend", "web", "--reason", "I look at something")
        scene.change("configmaps", "settings", {"data": {"greeting": "moin"}})
        taut.until(lambda: taut.statuses()["web"]["drift"] == 1, "the drift is seen")
        assert taut.statuses()["web"]["suspended"] is True
        ended = taut.taut("sync", "web")
        assert (ended.code, "taut resume web" in ended.err) == (2, True)
        assert (scene.object("configmaps", "settings") or {})["data"] == {"greeting": "moin"}
        assert "is resumed" in taut.ok("resume", "web")
        taut.until(lambda: (scene.object("configmaps", "settings") or {})["data"]["greeting"] == "hello", "healed")

        taut.until(lambda: taut.statuses()["slow"]["operation"] == "Running", "the hook runs")
        assert "stops before its next step" in taut.ok("abort", "slow")
        taut.until(lambda: taut.statuses()["slow"]["operation"] == "Aborted", "aborted")
        assert "Nothing runs" in taut.ok("abort", "web")
        assert scene.object("configmaps", "slow") is None

        before = (scene.object("deployments", "web", "apps/v1") or {})["metadata"]["generation"]
        assert "restarted" in taut.ok("restart", "web", "Deployment/web")
        after = (scene.object("deployments", "web", "apps/v1") or {})["metadata"]["generation"]
        assert after == before + 1
        taut.synced("web")
        assert taut.taut("diff", "web").code == 0, "a restart is no drift"
        assert taut.taut("restart", "slow").code == 2, "there is nothing to restart"


def test_a_working_copy_is_compared_before_any_push(scene: Scene, tmp_path: Path) -> None:
    taut = scene.taut
    scene.declare(application("web"), files={"apps/web/web.yaml": web()})
    with taut:
        taut.synced("web")
        copy = tmp_path / "copy"
        subprocess.run(["git", "clone", "-q", scene.repo.url, str(copy)], check=True, env=taut.environment)
        same = taut.taut("diff", "./apps/web", "--kubeconfig", str(scene.kubeconfig), cwd=copy)
        assert (same.code, "Nothing would change" in same.out) == (0, True), same.out + same.err
        file = copy / "apps/web/web.yaml"
        file.write_text(file.read_text().replace("hello", "good morning"))
        ended = taut.taut("diff", "./apps/web", "--kubeconfig", str(scene.kubeconfig), cwd=copy)
        assert ended.code == 3
        assert "data.greeting: hello → good morning" in ended.out
        assert "1 to update, 2 unchanged" in ended.out
        assert taut.ok("check", cwd=copy)
        rendered = json.loads(taut.ok("render", "apps/web", "-o", "json", cwd=copy))
        assert [o["kind"] for o in rendered] == ["ConfigMap", "Service", "Deployment"] or len(rendered) == 3


def test_init_makes_a_repository_that_runs(plane: Plane, plane_api: Api, tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    taut = Program(fleet.parent / "home", {})
    identity = {f"GIT_{who}_{what}": "a@example.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    taut.extra |= identity
    said = taut.ok("init", str(fleet), "--kubeconfig", str(plane.kubeconfig), "--git")
    assert said.splitlines()[-1] == f"Look at README.md; then: cd {fleet} && taut run"
    assert taut.ok("check", cwd=fleet)
    config = fleet / "taut.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:7411", "127.0.0.1:0"))
    running = Program(fleet, None)
    with running:
        found = running.until(
            lambda: (
                (s := running.json("status"))
                and len(s) == 2
                and all((a["sync"], a["health"]) == ("Synced", "Healthy") for a in s)
                and s
            ),
            "both environments are healthy",
        )
        assert {(a["root"], a["name"]) for a in found} == {("staging", "hello"), ("production", "hello")}
        for environment, replicas in (("staging", 1), ("production", 3)):
            live = plane_api.get(f"/apis/apps/v1/namespaces/hello-{environment}/deployments/hello")
            assert (live or {})["status"]["readyReplicas"] == replicas
        assert running.taut("get", "hello").code == 2, "two are called hello"
        assert running.taut("get", "staging/hello").code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_names(scene: Scene, shell: str) -> None:
    if shell == "bash":
        scene.declare(application("web"), application("worker"), files={"apps/web/w.yaml": web()})
        scene.repo.commit({"apps/worker/w.yaml": yaml(config_map("w"))})
        with scene.taut as taut:
            taut.until(lambda: len(taut.statuses()) == 2, "both are there")
            script = 'eval "$(taut completion bash)"; COMP_WORDS=(taut get w); COMP_CWORD=2; _taut_completion taut; echo "${COMPREPLY[@]}"'
            done = subprocess.run(
                ["bash", "-c", script], env=taut.environment, capture_output=True, text=True, check=True
            )
            assert done.stdout.split() == ["web", "worker"], done.stderr
    else:
        assert "_TAUT_COMPLETE" in scene.taut.ok("completion", shell)


def test_without_a_cluster(scene: Scene) -> None:
    taut = scene.taut
    taut.config_file.unlink()
    assert re.match(r"taut \d+\.\d+\.\d+ ", taut.ok("version"))
    folder = taut.folder / "app"
    folder.mkdir()
    (folder / "objects.yaml").write_text(web())
    assert [o["kind"] for o in json.loads(taut.ok("render", "app", "-o", "json"))] != []
    assert len(list(pyyaml.safe_load_all(taut.ok("render", "app")))) == 3
    verdicts = json.loads(taut.ok("health", "-f", "app/objects.yaml", "-o", "json"))
    assert {v["kind"]: v["status"] for v in verdicts} == {
        "ConfigMap": "Healthy",
        "Deployment": "Progressing",
        "Service": "Healthy",
    }
    assert set(verdicts[0]) == {"apiVersion", "kind", "name", "status", "message"}
    assert json.loads(taut.ok("schema", "Application"))["title"]
    (folder / "application.yaml").write_text(
        "apiVersion: taut.dev/v1\nkind: Application\nmetadata: {nam: x}\nspec: {}\n"
    )
    ended = taut.taut("check", "app")
    assert (ended.code, "application.yaml:3" in ended.out + ended.err) == (2, True)
