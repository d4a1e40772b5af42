"""An object whose making was never confirmed is not forgotten: neither the answer nor the watch told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from integration.loop.harness import CLUSTER, Taut, application, config_map, yaml
from support.kubernetes import ApiProxy, api_proxy
from taut.documents.yaml import dump

pytestmark = pytest.mark.integration


def through(proxy: ApiProxy, folder: Path) -> dict[str, object]:
    """taut's configuration for the cluster behind the proxy."""
    file = folder / "kubeconfig"
    clusters = [{"name": "c", "cluster": {"server": proxy.url}}]
    contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
    users = [{"name": "u", "user": {}}]
    config = {"apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts, "users": users}
    file.write_text(dump({**config, "current-context": "c"}))
    return {"clusters": [{"name": CLUSTER, "kubeconfig": str(file)}]}


@pytest.mark.faults
async def test_what_was_made_unseen_goes_with_its_application(taut: Taut) -> None:
    """The API server makes the object, its answer is lost, the watch is silent, and Git drops the application."""
    taut.declare(application("other"), files={"apps/other/cm.yaml": yaml(config_map("other"))})
    async with api_proxy(taut.plane.server, taut.plane.ca, taut.plane.token) as proxy:
        taut.options = through(proxy, taut.folder)
        async with taut.run():
            await taut.synced("other")
            proxy.silent = True

            async def loses(request: web.Request) -> web.Response | None:
                if request.method != "PATCH" or not request.path.endswith("/unseen"):
                    return None
                status, _ = taut.api.request(
                    "PATCH", request.path_qs, await request.json(), content="application/apply-patch+yaml"
                )
                assert status in (200, 201)
                assert request.transport is not None
                request.transport.abort()
                return web.Response()

            proxy.rule = loses
            taut.declare(
                application("other"), application("web"), files={"apps/web/cm.yaml": yaml(config_map("unseen"))}
            )
            await taut.poke()
            await taut.says("web", "is tried again")
            assert taut.get("configmaps", "unseen") is not None
            taut.declare(application("other"))
            await taut.poke()
            await taut.until(lambda: taut.state("web") is None, "it is taken down")
            assert taut.get("configmaps", "unseen") is None
