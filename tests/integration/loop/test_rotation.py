"""The store's key is exchanged between two runs: the next start renders nothing anew that it need not, and writes nothing to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, job, yaml
from support.audit import AuditLog
from taut.model.errors import StoreError
from taut.store.rotation import rotate_key

pytestmark = pytest.mark.integration


def _objects() -> tuple[dict[str, Any], ...]:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": "word-one"}}
    web = annotate(deployment("web", replicas=0), roll_on_secrets="true")
    source = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    web["spec"]["template"]["spec"]["containers"][0]["env"] = [source]
    return secret, web, config_map("settings"), job("migrate", {"taut.dev/hook": "pre-sync"})


def _note(taut: Taut) -> str:
    web = taut.get("deployments", "web", "apps/v1")
    assert web is not None
    return web["spec"]["template"]["metadata"]["annotations"]["taut.dev/secrets"]


async def test_after_a_rotation_nothing_is_written(taut: Taut) -> None:
    at = taut.declare(application("web"), files={"apps/web/all.yaml": yaml(*_objects())})
    store = taut.folder / "state" / "taut.db"
    async with taut.run():
        await taut.synced("web", at=at)
        note, operations = _note(taut), len(await taut.history("web"))
        with pytest.raises(StoreError, match="uses this store"):
            rotate_key(store, by="ada")
    before = _key(store)
    assert rotate_key(store, by="ada") is True
    assert _key(store) != before
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        await taut.synced("web", at=at)
        await taut.until(lambda: taut.controller.queue.idle, "nothing is left to do")
        assert log.writes() == []
        assert log.requests(), "it looked at the cluster"
        assert taut.controller.wanting.renders == 0
        assert len(await taut.history("web")) == operations
        assert _note(taut) == note

        secret, *rest = _objects()
        secret["stringData"]["password"] = "word-two"
        await taut.push({"apps/web/all.yaml": yaml(secret, *rest)})
        await taut.until(lambda: _note(taut) != note, "a value that does change is written, and rolls")
        assert log.writes()


def _key(store: Path) -> bytes:
    return store.with_name("taut.db.key").read_bytes()
