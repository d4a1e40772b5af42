"""A repository, a control plane, and the `taut` program on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, yaml
from servers.git import Content, GitHttpServer, GitRepo
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api


@dataclass
class Scene:
    """What a person has: a repository, a cluster, and a folder with a running taut."""

    taut: Program
    repo: GitRepo
    namespace: str
    api: Api
    kubeconfig: Path

    def declare(self, *applications: dict[str, Any], files: dict[str, Content] | None = None, message: str = "") -> str:
        """Commit these Application documents, and files; the answer is the commit."""
        for document in applications:
            spec = document["spec"]
            spec["source"] = {"git": self.repo.url, "ref": "main", **spec["source"]}
            spec["target"] = {"cluster": CLUSTER, "namespace": self.namespace}
        documents = {"taut/applications.yaml": yaml(*applications)} if applications else {}
        return self.repo.commit({**documents, **(files or {})}, message or "change")

    def push(self, files: dict[str, Content], message: str = "change") -> str:
        """Commit, and say so to taut as a webhook would."""
        commit = self.repo.commit(files, message)
        self.taut.ok("refresh")
        return commit

    def object(self, plural: str, name: str, group: str = "") -> dict[str, Any] | None:
        """An object of the namespace; None when there is none."""
        base = f"/apis/{group}" if group else "/api/v1"
        return self.api.get(f"{base}/namespaces/{self.namespace}/{plural}/{name}")

    def change(self, plural: str, name: str, patch: dict[str, Any], group: str = "", by: str = "kubectl-edit") -> None:
        """Change an object by hand."""
        base = f"/apis/{group}" if group else "/api/v1"
        path = f"{base}/namespaces/{self.namespace}/{plural}/{name}?fieldManager={by}"
        status, answer = self.api.request("PATCH", path, patch, content="application/merge-patch+json")
        assert status == 200, answer


@pytest.fixture
def scene(plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    """Not running yet: `with scene.taut:` runs it."""
    repo = git_server.repo("fleet")
    config = {
        "store": "state/taut.db",
        "listen": "127.0.0.1:0",
        "clusters": [{"name": CLUSTER, "kubeconfig": str(plane.kubeconfig)}],
        "roots": [{"name": namespace, "git": repo.url, "ref": "main", "path": "taut", "poll": "1h"}],
    }
    with ExitStack() as stack:
        taut = Program(tmp_path / "taut", config)
        stack.callback(taut.stop)
        yield Scene(taut, repo, namespace, plane_api, plane.kubeconfig)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[dict[str, Any] | None], Program]]:
    """Makes a folder for a taut, with a configuration or (None) without one."""
    with ExitStack() as stack:

        def make(config: dict[str, Any] | None) -> Program:
            made = Program(tmp_path / f"taut-{len(list(tmp_path.iterdir()))}", config)
            stack.callback(made.stop)
            return made

        yield make
