"""A server that a stranger names cannot fill the memory: what is too large is refused while it comes."""

from __future__ import annotations

import pytest
from aiohttp import web

from taut.clients.kubernetes.client import KubernetesClient
from taut.clients.kubernetes.config import ClusterConfig
from taut.clients.kubernetes.credentials import Credential, Fixed
from taut.clients.kubernetes.tls import Tls
from taut.model.errors import TargetError


async def test_an_answer_has_a_bound() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(400):
            await response.write(b" " * 2**20)
            sent += 1
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", endless)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        config = ClusterConfig(f"http://127.0.0.1:{runner.addresses[0][1]}", Tls(), Fixed(Credential("", None)))
        async with KubernetesClient(config, most_bytes=8 * 2**20) as client:
            with pytest.raises(TargetError, match="larger than 8 MiB"):
                await client.request("GET", "/x", subject="a Secret")
    finally:
        await runner.cleanup()
    assert sent < 100
