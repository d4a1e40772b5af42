"""Options of the configuration and of documents that have one small effect each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from taut.controller.run import limits_of, run
from taut.dialects.config import Config, RenderConfig
from taut.documents.yaml import dump
from taut.server.controlled import serve_controller

pytestmark = pytest.mark.integration


async def test_the_token_file_is_where_the_configuration_says(tmp_path: Path) -> None:
    config = tmp_path / "taut.yaml"
    config.write_text(dump({"store": "state/taut.db", "listen": "127.0.0.1:0", "tokenFile": "secrets.token"}))
    said: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(run(config, serve=serve_controller, say=said.put_nowait))
    try:
        async with asyncio.timeout(30):
            while not (line := await said.get()).startswith("taut listens on "):
                pass
        token = tmp_path / "secrets.token"
        assert token.stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / "state/taut.db.token").exists()
        url = f"{line.removeprefix('taut listens on ').partition(';')[0]}/v1/applications"
        async with aiohttp.ClientSession() as http:
            for value, status in ((token.read_text().strip(), 200), ("wrong", 401)):
                async with http.get(url, headers={"Authorization": f"Bearer {value}"}) as answer:
                    assert answer.status == status
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_render_that_may_take_long_may_compute_long() -> None:
    config = Config(render=RenderConfig(timeout="10m"))
    limits = limits_of(config)
    assert (limits.wall_seconds, limits.cpu_seconds) == (600, 1200)
    assert limits_of(Config()).cpu_seconds == 120


async def test_what_a_document_says_to_show_is_shown(taut: Taut) -> None:
    info = {"runbook": "https://wiki.example.com/web"}
    taut.declare(application("web", info=info), files={"apps/web/cm.yaml": yaml(config_map("one"))})
    async with taut.run():
        await taut.synced("web")
        status = taut.status("web")
        assert status is not None
        assert status.info == info
