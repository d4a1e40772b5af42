"""Servers for a network that breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.faults.network import Servers
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
