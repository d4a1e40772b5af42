"""taut's own checks in the loop: told in the status, or held where the configuration enforces them."""

from __future__ import annotations

import pytest

from integration.loop.harness import Taut, application, config_map, deployment, yaml

pytestmark = pytest.mark.integration
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": "canary-value"}}


async def test_what_is_found_is_told_and_stops_nothing(taut: Taut) -> None:
    files = {"apps/web/all.yaml": yaml(deployment("web", image="r.io/web", replicas=0), SECRET)}
    at = taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web", at=at)
        warnings = [w for w in taut.status("web").warnings if w.startswith("check ")]
        assert [w.partition(":")[0] for w in warnings] == ["check image-tag", "check image-digest", "check raw-secret"]
        assert f"Deployment {taut.namespace}/web" in warnings[0]
        assert "canary-value" not in str(warnings)
        at = await taut.push({"apps/web/all.yaml": yaml(config_map("a"))})
        await taut.synced("web", at=at)
        assert not taut.status("web").warnings


async def test_what_is_enforced_is_held_until_it_is_mended_or_given_a_reason(taut: Taut) -> None:
    taut.options["checks"] = {"enforce": ["image-tag", "raw-secret"], "without": ["image-digest"]}
    web = deployment("web", image="r.io/web:latest", replicas=0)
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(web, SECRET)})
    async with taut.run():
        status = await taut.held("web", "policy")
        messages = {h.message.partition(" denies")[0]: h for h in status.held_for}
        assert set(messages) == {"check image-tag", "check raw-secret"}
        tag = messages["check image-tag"]
        assert not tag.approvable
        for words in ("found r.io/web:latest", "apps/web/all.yaml:1", "checks.taut.dev/image-tag"):
            assert words in tag.message
        assert "canary-value" not in str(status.held_for)
        assert taut.get("deployments", "web", "apps/v1") is None
        reason = {"checks.taut.dev/image-tag": "a mirror of our own"}
        web["metadata"]["annotations"] = reason
        at = await taut.push({"apps/web/all.yaml": yaml(web)})
        await taut.synced("web", at=at)
        assert taut.get("deployments", "web", "apps/v1") is not None
