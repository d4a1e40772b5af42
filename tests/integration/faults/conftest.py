"""Servers for a network that breaks, and a taut for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.faults.network import Servers
from integration.loop.harness import Taut
from servers.authority import Authority
from servers.git import GitHttpServer
from taut.localplane import Plane
from taut.localplane.api import Api


@pytest.fixture
def servers(
    plane: Plane, plane_api: Api, git_server: GitHttpServer, authority: Authority, namespace: str, tmp_path: Path
) -> Servers:
    """`async with servers.network() as network:` puts proxies between them and a taut that does not run yet."""
    other = f"{namespace}-o"
    plane_api.apply(
        f"/api/v1/namespaces/{other}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    )
    return Servers(plane, plane_api, git_server, authority, namespace, other, tmp_path)


@pytest.fixture
def taut(plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path) -> Taut:
    """Not running yet: `async with taut.run():` starts the controller."""
    return Taut(plane, plane_api, git_server, git_server.repo("config"), namespace, tmp_path)
