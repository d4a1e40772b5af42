"""The page of a real taut: a real control plane, a real repository, a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser.conftest import visiting
from e2e.conftest import Scene, scene  # noqa: F401 (a fixture)
from integration.loop.harness import application, config_map, deployment, yaml

pytestmark = pytest.mark.integration


def test_from_a_commit_to_a_drift_and_back(browser: Browser, scene: Scene) -> None:  # noqa: F811
    files = yaml(config_map("settings", {"greeting": "hello"}), deployment("web", replicas=2))
    scene.declare(application("web", sync={"heal": False}), files={"apps/web/web.yaml": files}, message="The first web")
    with scene.taut:
        scene.taut.synced("web")
        token = (Path(scene.taut.folder) / "state" / "taut.db.token").read_text().strip()
        with visiting(browser, scene.taut.server, token) as visit:
            page = visit.go("/")
            row = page.locator(".row", has_text="web")
            expect(row.get_by_role("img", name="Healthy")).to_be_visible()
            expect(row).to_contain_text("The first web")
            expect(page.locator("#live")).to_have_text("Live")

            scene.change("deployments", "web", {"spec": {"replicas": 5}}, group="apps/v1", by="kubectl-scale")
            expect(row.get_by_role("img", name="Drifted")).to_be_visible(timeout=30_000)
            expect(page.locator('[data-count="Drifted"]')).to_have_text("1")

            row.get_by_role("link").click()
            expect(page.locator(".headline h2")).to_have_text("1 field differs from Git, changed by hand.")
            expect(page.locator(".tree")).to_contain_text("Pod")
            expect(page.locator("#changes .add")).to_contain_text("replicas: 2")
            page.locator(".tabs a", has_text="Drift").click()
            expect(page.locator(".event")).to_contain_text("kubectl-scale")
            expect(page.locator(".change")).to_contain_text("2became5")

            page.get_by_role("link", name="Sync…").click()
            expect(page.locator(".plan-title")).to_contain_text("1 change")
            page.get_by_role("button", name="Sync now").click()
            expect(page.locator(".said")).to_have_text("taut syncs web.")
            scene.taut.synced("web")
            found = scene.object("deployments", "web", "apps/v1")
            assert found is not None
            assert found["spec"]["replicas"] == 2

            page.goto(f"{scene.taut.server}/app/web:history")
            expect(page.locator(".history tbody tr")).to_have_count(2)
            expect(page.locator(".history")).to_contain_text("The first web")
            pod = next(n for n in scene.taut.json("tree", "web") if n["kind"] == "Pod")
            page.goto(f"{scene.taut.server}/app/web:logs?pod={pod['name']}&namespace={pod['namespace']}")
            # The local plane runs no containers: its API server is asked, and what it says is shown.
            expect(page.locator("main")).to_contain_text(f"log of Pod {pod['namespace']}/{pod['name']}")
            assert not visit.barriers()
            visit.faults.clear()
