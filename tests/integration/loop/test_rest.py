"""What taut costs: at rest nothing, cold one write an object, after a restart a look at each kind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, config_map, deployment, yaml
from servers.git import Content, GitHttpServer
from support.audit import AuditLog
from support.program import Program, usage
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

APPLICATIONS = 100
REST = 60.0
LEAST_WATCH = 600
"""Seconds: a watch that the server ends sooner makes a request of its own while nothing happens."""
MOST_CPU = 3.0
"""CPU seconds in a minute of rest. Fetches of the root's repository are in it."""


def for_each(url: str, namespace: str) -> dict[str, Any]:
    """One document, an application for each folder."""
    return {
        "apiVersion": "taut.dev/v1",
        "kind": "Application",
        "metadata": {"name": "{{ folder.name }}"},
        "spec": {
            "forEach": {"folders": "apps/*"},
            "source": {"git": url, "ref": "main", "path": "{{ folder.path }}"},
            "target": {"cluster": CLUSTER, "namespace": namespace},
            "sync": {"mode": "automatic", "prune": True, "heal": True},
        },
    }


def folders(count: int) -> dict[str, Content]:
    """`count` folders: most are plain, every tenth is a kustomization and every tenth a chart."""
    found: dict[str, Content] = {}
    for number in range(count):
        name = f"app-{number:03}"
        objects = yaml(config_map(f"{name}-settings"), deployment(name, replicas=0))
        match number % 10:
            case 1:
                found[f"apps/{name}/kustomization.yaml"] = "resources: [objects.yaml]\n"
                found[f"apps/{name}/objects.yaml"] = objects
            case 2:
                found[f"apps/{name}/Chart.yaml"] = f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n"
                found[f"apps/{name}/templates/objects.yaml"] = objects
            case _:
                found[f"apps/{name}/objects.yaml"] = objects
    return found


def program(plane: Plane, git: GitHttpServer, namespace: str, folder: Path, *, poll: str = "30s") -> Program:
    """A taut on the repository `config`."""
    return Program(
        folder,
        {
            "store": "taut.db",
            "listen": "127.0.0.1:0",
            "clusters": [{"name": CLUSTER, "kubeconfig": str(plane.kubeconfig)}],
            "roots": [{"name": namespace, "git": git.repo("config").url, "ref": "main", "path": "taut", "poll": poll}],
        },
    )


def test_at_rest_taut_asks_nothing_and_still_sees_everything(
    plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path
) -> None:
    repo = git_server.repo("config")
    repo.commit({"taut/apps.yaml": yaml(for_each(repo.url, namespace)), **folders(APPLICATIONS)})
    log = AuditLog(plane.audit_log)
    with program(plane, git_server, namespace, tmp_path / "taut") as taut:
        found = taut.synced(seconds=150)
        assert len(found) == APPLICATIONS
        assert taut.process is not None
        watches = log.requests(lambda a: a.watches)
        assert min(int(a.query["timeoutSeconds"][0]) for a in watches) >= LEAST_WATCH
        quiet = taut.until(lambda: _quiet(taut), "nothing is left to do")
        renders, fetches = taut.metric("renders_total"), taut.metric("fetches_total")
        log.mark()
        cpu, _ = usage(taut.process.pid)
        asked = len(git_server.requests)

        time.sleep(REST)  # the subject: what happens in a minute in which nothing happens

        after, memory = usage(taut.process.pid)
        assert log.requests() == []
        assert taut.metric("runs_total") == quiet, "no application was looked at"
        assert taut.metric("renders_total") == renders
        assert taut.metric("fetches_total") > fetches, "the root was polled meanwhile"
        assert len(git_server.requests) - asked <= 2 * 3, "one fetch serves all applications"
        print(f"at rest: {after - cpu:.2f} s of CPU in {REST:.0f} s, {memory} MiB")
        assert after - cpu < MOST_CPU

        _patch(plane_api, namespace, "app-042-settings", {"data": {"a": "by hand"}})
        taut.until(lambda: _settings(plane_api, namespace, "app-042-settings") == {"a": "1"}, "healed")
        [record] = taut.until(lambda: [d for d in taut.json("drift") if d["outcome"] == "healed"], "the record")
        assert (record["path"], record["found"], record["who"]) == ("data.a", "by hand", "somebody")
        assert [a.name for a in log.writes()] == ["app-042-settings"]


def _quiet(taut: Program) -> float:
    """How many runs there were, when there were none in the last second; else 0."""
    before = taut.metric("runs_total")
    time.sleep(1.0)
    return before if taut.metric("runs_total") == before else 0.0


def _patch(api: Api, namespace: str, name: str, patch: dict[str, Any]) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}?fieldManager=somebody"
    status, answer = api.request("PATCH", path, patch, content="application/merge-patch+json")
    assert status == 200, answer


def _settings(api: Api, namespace: str, name: str) -> dict[str, str]:
    return api.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")["data"]
