"""kill -9 at random moments under load: nothing is lost, duplicated or pruned that should live, and every hook runs once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.faults.storm import Storm, marked_anywhere
from integration.faults.world import World
from servers.git import GitHttpServer
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = pytest.mark.integration

KILLS = 100
INSIDE = 60
SEED = int(os.environ.get("TAUT_FAULTS_SEED", "4"))


@pytest.fixture
def storm(
    plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path
) -> Iterator[Callable[[int, int], Storm]]:
    """Makes a storm from a seed and a number of applications."""
    with ExitStack() as stack:

        def make(seed: int, applications: int) -> Storm:
            repo = git_server.repo("fleet")
            world = World(seed, repo, namespace, applications)
            config = {
                "store": "state/taut.db",
                "listen": "127.0.0.1:0",
                "clusters": [{"name": "local", "kubeconfig": str(plane.kubeconfig)}],
                "roots": [{"name": namespace, "git": repo.url, "ref": "main", "path": "taut", "poll": "1h"}],
            }
            program = Program(tmp_path / "taut", config)
            stack.callback(_clean, plane_api, world)
            stack.callback(program.stop)
            return Storm(world, program, plane, plane_api, namespace)

        yield make


def _clean(api: Api, world: World) -> None:
    """Remove what other tests would meet."""
    api.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{world.group}")
    for name in (world.namespace, world.other):
        api.request("DELETE", f"/api/v1/namespaces/{name}")


def weather(storm: Storm, kills: int, inside: int) -> None:
    """Rounds until there were so many kills, and so many of them inside an operation."""
    storm.program.spawn()
    storm.settle()
    while storm.rounds < kills or storm.inside < inside:
        assert storm.rounds < 3 * kills, f"too few kills meet an operation: {storm.said}"
        storm.round()
    marked = marked_anywhere(storm.api, storm.root)
    assert {k for k in marked if k[0] != "Job"} == storm.world.expected().keys()


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_killed_at_random_moments(
    storm: Callable[[int, int], Storm], record_property: Callable[[str, object], None]
) -> None:
    """Forty applications with waves, hooks, custom resources and pruning; commits and changes by hand go on all the time."""
    made = storm(SEED, 40)
    weather(made, KILLS, INSIDE)
    record_property("faults", f"{made.said}; seed {SEED}")


def test_killed_at_a_few_random_moments(
    storm: Callable[[int, int], Storm], record_property: Callable[[str, object], None]
) -> None:
    """The same in short."""
    made = storm(SEED + 1, 24)
    weather(made, 6, 2)
    record_property("faults", f"{made.said}; seed {SEED + 1}")
