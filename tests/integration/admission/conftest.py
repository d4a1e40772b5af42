"""A taut with a webhook for each test, with a namespace and a repository of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.admission.scene import CONFIGURATIONS, Scene
from integration.loop.harness import Taut
from servers.git import GitHttpServer
from taut.localplane import Plane
from taut.localplane.api import Api


@pytest.fixture
def scene(plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    """Not running yet: `scene.set_up()`, then `async with scene.run():`. What it registered is removed in the end."""
    taut = Taut(plane, plane_api, git_server, git_server.repo("config"), namespace, tmp_path)
    made = Scene(taut)
    made.set_up()
    taut.declare()
    yield made
    plane_api.request("DELETE", f"{CONFIGURATIONS}/{made.name}")
