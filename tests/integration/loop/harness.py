"""A running taut in a test: the real controller, on a real control plane and a real Git server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.git import Content, GitHttpServer, GitRepo
from taut.controller.controller import Controller
from taut.controller.run import running
from taut.controller.state import AppState
from taut.dialects.config import load_config
from taut.documents.yaml import dump
from taut.localplane import Plane
from taut.localplane.api import Api
from taut.model.drift import DriftRecord
from taut.model.errors import BadInput
from taut.model.operation import HistoryEntry
from taut.model.refs import AppKey
from taut.model.status import AppStatus
from taut.notify.service import Alerting, notifying

CLUSTER = "local"
DEADLINE = 40.0


def application(name: str, path: str = "", **spec: Any) -> dict[str, Any]:
    """An Application document; `source` and `target` are filled in by `Taut.declare` where they are not given."""
    return {
        "apiVersion": "taut.dev/v1",
        "kind": "Application",
        "metadata": {"name": name},
        "spec": {"source": {"path": path or f"apps/{name}"}, **spec},
    }


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"a": "1"}}


def deployment(name: str, *, replicas: int = 1, image: str = "example/web:1", **template: Any) -> dict[str, Any]:
    """A Deployment with one container; `template` are annotations of its Pods."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, **({"annotations": template} if template else {})},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    }


def job(name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    """A Job that runs once."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example/job:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def annotate(body: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """The object with `taut.dev/<name>` annotations; `_` in a name stands for `-`."""
    metadata = body.setdefault("metadata", {})
    metadata.setdefault("annotations", {}).update(
        {f"taut.dev/{k.replace('_', '-')}": v for k, v in annotations.items()}
    )
    return body


def yaml(*documents: dict[str, Any]) -> str:
    """Documents as one file."""
    return "---\n".join(dump(d) for d in documents)


@dataclass
class Taut:
    """A running taut and what a test needs around it."""

    plane: Plane
    api: Api
    git: GitHttpServer
    repo: GitRepo
    namespace: str
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    alerting: Alerting | None = None
    """Who tells people, while it runs."""
    _controller: Controller | None = None

    @property
    def controller(self) -> Controller:
        """The controller that runs now."""
        assert self._controller is not None, "taut does not run"
        return self._controller

    @property
    def root(self) -> str:
        """The root's name: the test's own, for the tests share a cluster, and objects carry the name of their root."""
        return self.namespace

    # Git

    def declare(
        self, *applications: dict[str, Any], files: Mapping[str, Content] | None = None, message: str = "change"
    ) -> str:
        """Commit these Application documents (all of them: others go) and other files; the answer is the commit."""
        filled = [self.filled(a) for a in applications]
        return self.repo.commit({"taut/applications.yaml": yaml(*filled) or "# nothing\n", **(files or {})}, message)

    def filled(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with its source and target filled in."""
        if document.get("kind") != "Application":
            return document
        spec = document["spec"]
        for source in [spec.get("source"), *spec.get("sources", [])]:
            if source is not None and not {"git", "helm", "oci"} & source.keys():
                source["git"] = self.repo.url
                source.setdefault("ref", "main")
        spec.setdefault("target", {}).setdefault("cluster", CLUSTER)
        spec["target"].setdefault("namespace", self.namespace)
        return document

    async def push(self, files: Mapping[str, Content], message: str = "change") -> str:
        """Commit files and tell taut, as a webhook would."""
        commit = self.repo.commit(files, message)
        self.controller.watch.poke()
        return commit

    async def poke(self) -> None:
        """Tell taut that something was pushed."""
        self.controller.watch.poke()

    # What taut says

    def key(self, name: str) -> AppKey:
        """The application's key."""
        return AppKey(self.root, "", name)

    def state(self, name: str) -> AppState | None:
        """What the controller knows of an application."""
        return self.controller.fleet.states.get(self.key(name))

    def status(self, name: str) -> AppStatus | None:
        """An application's status."""
        return self.controller.fleet.status(self.key(name))

    async def until(self, fact: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
        """Wait for a fact. Fails with every status after the deadline."""
        deadline = time.monotonic() + seconds
        while True:
            value = fact()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            if time.monotonic() > deadline:
                shown = [
                    f"{s.name}: {s.sync} {s.health} {s.operation} held={s.held_for} {s.message}"
                    for s in self.controller.fleet.statuses()
                ]
                raise AssertionError(f"it never happened: {what or fact}\n" + "\n".join(shown))
            await asyncio.sleep(0.02)

    async def synced(self, *names: str, at: str = "", seconds: float = DEADLINE) -> None:
        """Wait until the applications are what Git says, healthy, and nothing runs (at the commit `at`, if told)."""

        def fact() -> bool:
            for name in names:
                status, state = self.status(name), self.state(name)
                if status is None or state is None or state.stale or state.run is not None:
                    return False
                if (status.sync, status.health) != ("Synced", "Healthy"):
                    return False
                if at and at[:8] not in status.desired_revision:
                    return False
            return True

        await self.until(fact, f"{names} in sync" + (f" at {at[:8]}" if at else ""), seconds)

    async def held(self, name: str, kind: str = "", seconds: float = DEADLINE) -> AppStatus:
        """Wait until an application is held (by a guard of this kind); its status."""

        def fact() -> AppStatus | None:
            status = self.status(name)
            held = status is not None and any(h.kind == kind or not kind for h in status.held_for)
            return status if held else None

        return await self.until(fact, f"{name} held {kind}", seconds)

    async def says(self, name: str, *words: str, seconds: float = DEADLINE) -> AppStatus:
        """Wait until an application's message holds all these words; its status."""

        def fact() -> AppStatus | None:
            status = self.status(name)
            return status if status is not None and all(w in status.message for w in words) else None

        return await self.until(fact, f"{name} says {words}", seconds)

    async def approve(self, name: str, plan_hash: str = "", by: str = "ada") -> None:
        """Approve the plan that is held; without a hash the one that the status shows, also when it changes while it is read."""

        async def approved() -> bool:
            status = self.status(name)
            assert status is not None
            try:
                await self.controller.approve(self.key(name), plan_hash or status.plan_hash, by=by, reason="test")
            except BadInput:
                if plan_hash or not status.held_for:
                    raise
                return False
            return True

        await self.until(approved, f"the plan of {name} approved")

    async def history(self, name: str) -> list[HistoryEntry]:
        """Finished operations, newest first."""
        return await self.controller.store.history(self.key(name))

    async def drift(self, name: str) -> list[DriftRecord]:
        """Drift records, newest first."""
        return await self.controller.store.drift(self.key(name), open_only=False, limit=100)

    # The cluster

    def get(self, plural: str, name: str, group: str = "", namespace: str | None = None) -> dict[str, Any] | None:
        """An object (`plural` like `configmaps`, `group` like `apps/v1`); None when there is none."""
        base = f"/apis/{group}" if group else "/api/v1"
        space = self.namespace if namespace is None else namespace
        place = f"/namespaces/{space}" if space else ""
        return self._ask("GET", f"{base}{place}/{plural}/{name}")

    def patch(
        self, plural: str, name: str, patch: dict[str, Any], group: str = "", manager: str = "kubectl-edit"
    ) -> None:
        """Change an object by hand (a merge patch)."""
        base = f"/apis/{group}" if group else "/api/v1"
        path = f"{base}/namespaces/{self.namespace}/{plural}/{name}?fieldManager={manager}"
        status, answer = self.api.request("PATCH", path, patch, content="application/merge-patch+json")
        assert status == 200, answer

    def delete(self, plural: str, name: str, group: str = "") -> None:
        """Delete an object by hand."""
        base = f"/apis/{group}" if group else "/api/v1"
        status, answer = self.api.request("DELETE", f"{base}/namespaces/{self.namespace}/{plural}/{name}")
        assert status in (200, 202), answer

    def _ask(self, method: str, path: str) -> dict[str, Any] | None:
        status, body = self.api.request(method, path)
        return json.loads(body) if status == 200 else None

    # Running

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[Taut]:
        """Run the controller; again after it ended, with the same store, unless the test removes it."""
        file = self.folder / "taut.yaml"
        file.write_text(dump(self._config()))
        async with running(load_config(file)) as controller, notifying(controller) as alerting:
            self._controller, self.alerting = controller, alerting
            await controller.start()
            try:
                yield self
            finally:
                await controller.close()
                self._controller = self.alerting = None  # what is held on to holds Git's files open

    def _config(self) -> dict[str, Any]:
        return {
            "store": "state/taut.db",
            "listen": "127.0.0.1:0",
            "clusters": [
                {
                    "name": CLUSTER,
                    "kubeconfig": str(self.plane.kubeconfig),
                    "externalSecrets": {"hosts": ["*", "127.0.0.1"]},
                }
            ],
            "roots": [{"name": self.root, "git": self.repo.url, "ref": "main", "path": "taut", "poll": "1h"}],
            **self.options,
        }
