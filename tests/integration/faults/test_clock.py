"""A time of day that is set while taut runs, and between two runs: what is measured in seconds goes on as if nothing had happened."""

from __future__ import annotations

import datetime
import glob
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.faults.watched import jobs_made
from integration.loop.harness import annotate, application, config_map, job, yaml
from servers.git import GitHttpServer
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LIBRARY = "/usr/lib/*/faketime/libfaketime.so.1"


@dataclass
class Watch:
    """The clock on the wall, as one `taut run` sees it. The kernel's own counting is left as it is."""

    file: Path

    def set(self, offset: str) -> None:
        """Let it differ from the true time by this: `+1d`, `-1h`, `+0`."""
        draft = self.file.with_suffix(".new")
        draft.write_text(offset + "\n")
        draft.replace(self.file)

    @property
    def environment(self) -> dict[str, str]:
        """For the program."""
        [library] = glob.glob(LIBRARY)
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def slow_hook() -> dict[str, Any]:
    """A hook that runs for some seconds."""
    body = annotate(job("migrate"), hook="PreSync")
    body["spec"]["template"]["metadata"] = {"annotations": {"localplane.taut.dev/complete-after": "6s"}}
    return body


def tomorrow() -> str:
    """A window's schedule that opens with the next day, UTC."""
    day = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    return f"0 0 {day.day} {day.month} *"


@dataclass
class Scene:
    """A taut with a clock of its own, and its repository."""

    taut: Program
    watch: Watch
    api: Api
    git: Any
    namespace: str

    def declare(self) -> None:
        """One application for everything that has to do with time."""
        retry = {"limit": -1, "backoff": {"duration": "2s", "factor": 1, "maxDuration": "2s"}}
        window = {"kind": "allow", "schedule": tomorrow(), "duration": "24h", "timeZone": "UTC"}
        documents = (
            application("plain"),
            application("slow", sync={"timeout": "60s"}),
            application("window", sync={"windows": [window]}),
            application("failing", sync={"retry": retry}),
        )
        for document in documents:
            document["spec"]["source"] |= {"git": self.git.url, "ref": "main"}
            document["spec"]["target"] = {"cluster": "local", "namespace": self.namespace}
        bad = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "bad"},
            "spec": {"ports": [{"port": 99_999}]},
        }
        self.git.commit(
            {
                "taut/applications.yaml": yaml(*documents),
                "apps/plain/p.yaml": yaml(config_map("plain"), config_map("fought")),
                "apps/slow/s.yaml": yaml(slow_hook(), config_map("slow")),
                "apps/window/w.yaml": yaml(config_map("window")),
                "apps/failing/f.yaml": yaml(bad),
            }
        )

    def value(self, name: str) -> str:
        """What a ConfigMap holds."""
        found = self.api.get(f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")
        return found["data"]["a"] if found else ""

    def change(self, name: str, value: str) -> None:
        """Change it by hand."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/{name}?fieldManager=somebody"
        status, _ = self.api.request("PATCH", path, {"data": {"a": value}}, content="application/merge-patch+json")
        assert status == 200

    def uids(self) -> dict[str, str]:
        """Which objects there are."""
        listed = self.api.get(f"/api/v1/namespaces/{self.namespace}/configmaps")
        assert listed is not None
        return {i["metadata"]["name"]: i["metadata"]["uid"] for i in listed["items"]}

    def history(self, name: str) -> list[dict[str, Any]]:
        """Finished operations, newest first."""
        return self.taut.json("history", name)

    def contested(self) -> bool:
        """Whether taut backs off from the field that is fought over."""
        return self.taut.statuses()["plain"]["contested"]


@pytest.fixture
def scene(plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path):
    if not glob.glob(LIBRARY):
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    watch = Watch(tmp_path / "clock")
    watch.set("+0")
    repo = git_server.repo("fleet")
    config = {
        "store": "state/taut.db",
        "listen": "127.0.0.1:0",
        "clusters": [{"name": "local", "kubeconfig": str(plane.kubeconfig)}],
        "roots": [{"name": namespace, "git": repo.url, "ref": "main", "path": "taut", "poll": "1h"}],
    }
    taut = Program(tmp_path / "taut", config, extra=watch.environment)
    yield Scene(taut, watch, plane_api, repo, namespace)
    taut.stop()


@pytest.mark.parametrize("jump", ["+1d", pytest.param("-1h", marks=pytest.mark.faults)])
def test_the_clock_is_set(
    scene: Scene, plane: Plane, jump: str, record_property: Callable[[str, object], None]
) -> None:
    taut, forward = scene.taut, jump.startswith("+")
    assert plane.audit_log is not None
    offset = plane.audit_log.stat().st_size
    scene.declare()
    taut.start()
    taut.synced("plain")
    for n in range(5):
        scene.change("fought", f"by hand {n}")
        taut.until(lambda: scene.value("fought") == "1", "healed")
        taut.until(lambda n=n: len(taut.json("drift", "plain")) > n, "recorded")
    taut.until(scene.contested, "contested")
    before = scene.uids()
    tries = len(scene.history("failing"))
    # A hook is running, a failure waits for its next try, a field is fought over, a window is closed: now the clock is set.
    scene.watch.set(jump)
    taut.until(lambda: "the time of day was set" in taut.log, "it is noticed")
    taut.synced("slow")
    assert [h["result"] for h in scene.history("slow")] == ["Succeeded"], "it did not time out"
    taut.until(lambda: len(scene.history("failing")) >= tries + 2, "the failure is tried again at its pace")
    scene.change("fought", "by hand again")
    scene.change("plain", "by hand")
    taut.until(lambda: scene.value("plain") == "1", "healed")
    assert scene.contested()
    assert scene.value("fought") == "by hand again", "what is fought over is left alone as long as before"
    if forward:
        taut.synced("window")
    else:
        assert "no window allows" in taut.statuses()["window"]["message"]
    newest = scene.history("plain")
    assert [h["id"] for h in newest] == sorted((h["id"] for h in newest), reverse=True)
    # And between two runs, the other way.
    assert taut.stop() == 0
    scene.watch.set("+0")
    taut.start()
    taut.synced("slow")
    taut.until(lambda: taut.statuses()["plain"]["sync"] != "Unknown", "it was looked at")
    if forward:
        assert scene.contested(), "that is known from the drift that was recorded"
    after = scene.uids()
    assert {n: after[n] for n in before} == before, "nothing was deleted"
    assert jobs_made(plane.audit_log, offset, [scene.namespace]) == Counter(["migrate"])
    assert taut.stop() == 0
    assert "whole" in taut.ok("store", "verify", "state/taut.db")
    record_property("faults", f"the clock was set by {jump} while taut ran, and back between two runs")
