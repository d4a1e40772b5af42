"""A taut for each test, with a namespace and a repository of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.loop.harness import Taut
from servers.git import GitHttpServer
from taut.localplane import Plane
from taut.localplane.api import Api


@pytest.fixture
def taut(plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path) -> Taut:
    """Not running yet: `async with taut.run():` starts the controller."""
    return Taut(plane, plane_api, git_server, git_server.repo("config"), namespace, tmp_path)
