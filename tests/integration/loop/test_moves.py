"""An application that moves to another cluster: nothing is lost there, and nothing is left behind here."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, yaml
from servers.git import Content

pytestmark = pytest.mark.integration


def clusters(taut: Taut, *names: str) -> list[dict[str, Any]]:
    """Clusters of these names; all of them are the one control plane of the test."""
    return [{"name": n, "kubeconfig": str(taut.plane.kubeconfig)} for n in names]


def web(taut: Taut, cluster: str, namespace: str = "") -> dict[str, Any]:
    return application("web", target={"cluster": cluster, "namespace": namespace or taut.namespace})


def places(taut: Taut) -> set[tuple[str, str]]:
    """Where the application's objects are, as taut remembers."""
    state = taut.state("web")
    return {(r.cluster, r.namespace) for r in state.items} if state else set()


FILES: dict[str, Content] = {"apps/web/cm.yaml": yaml(*(config_map(f"settings-{n}") for n in "ab"))}


async def test_objects_are_removed_from_the_cluster_that_the_application_left(taut: Taut) -> None:
    taut.options["clusters"] = clusters(taut, CLUSTER, "other")
    elsewhere = f"{taut.namespace}-b"
    status, answer = taut.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": elsewhere}})
    assert status == 201, answer
    taut.declare(web(taut, CLUSTER), files=FILES)
    async with taut.run():
        await taut.synced("web")
        commit = taut.declare(web(taut, "other", elsewhere))
        await taut.poke()
        await taut.synced("web", at=commit)
        await taut.until(lambda: taut.get("configmaps", "settings-a") is None, "removed where it was")
        assert taut.get("configmaps", "settings-a", namespace=elsewhere) is not None
        await taut.until(lambda: places(taut) == {("other", elsewhere)}, "remembered where it is")


async def test_another_name_of_the_same_cluster_removes_nothing(taut: Taut) -> None:
    """The objects under the new name are those under the old one: by name alone taut would delete what it just applied."""
    taut.options["clusters"] = clusters(taut, CLUSTER, "other")
    taut.declare(web(taut, CLUSTER), files=FILES)
    async with taut.run():
        await taut.synced("web")
        before = taut.get("configmaps", "settings-a")
        commit = taut.declare(web(taut, "other"))
        await taut.poke()
        await taut.until(lambda: places(taut) == {("other", taut.namespace)}, "under the new name")
        await taut.synced("web", at=commit)
        after = taut.get("configmaps", "settings-a")
        assert before is not None
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]


async def test_a_cluster_that_is_away_does_not_keep_its_applications(taut: Taut) -> None:
    """An application may move because its cluster is away; what it left there stays remembered."""
    taut.declare(web(taut, CLUSTER), files=FILES)
    async with taut.run():
        await taut.synced("web")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        config = taut.folder / "dead.kubeconfig"
        away = f"https://127.0.0.1:{taken.getsockname()[1]}"
        config.write_text(re.sub(r"https://127\.0\.0\.1:\d+", away, taut.plane.kubeconfig.read_text()))
        taut.options["clusters"] = [{"name": CLUSTER, "kubeconfig": str(config)}, *clusters(taut, "other")]
        commit = taut.declare(web(taut, "other"))
        async with taut.run():
            both = {(name, taut.namespace) for name in (CLUSTER, "other")}
            await taut.until(lambda: places(taut) == both, "in the new cluster, and remembered in the old one")
            await taut.synced("web", at=commit)
            status = taut.status("web")
            assert status is not None
            assert any(f"in the cluster {CLUSTER} wait until it answers" in w for w in status.warnings)
