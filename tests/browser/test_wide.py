"""Pages across the fleet in a real browser: drift, decisions, environments; empty ones, and errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from browser.conftest import Visit, visiting
from support.memory_backend import DB, MemoryBackend, Running, status

pytestmark = pytest.mark.integration


def test_drift_has_cords_blame_and_what_became_of_it(reader: Visit) -> None:
    page = reader.go("/drift")
    expect(page.locator(".lede")).to_contain_text("2 applications differ from Git.")
    expect(page.locator(".lane").first).to_contain_text("edge-gateway")
    expect(page.locator(".lane").first).to_contain_text("1 d, still open")
    expect(page.locator(".blame li").first).to_contain_text("metrics-operator")
    expect(page.locator(".event", has_text="Secret catalog-db")).to_contain_text("•••••• differs")
    assert "hunter" not in page.content()
    page.keyboard.press("/")
    page.keyboard.type("priya")
    page.keyboard.press("Enter")
    expect(page.locator(".event")).to_have_count(2)
    page.fill("#q", "nothing-like-it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nothing of that in this time")).to_be_visible()


def test_environments_say_what_differs(reader: Visit) -> None:
    page = reader.go("/environments")
    expect(page.locator(".lede")).to_contain_text("5 of 8 applications are not the same everywhere.")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("checkout")
    expect(page.locator(".env h2")).to_have_text(
        [re.compile(n) for n in ("dev", "staging", "production prod-eu", "production prod-us")]
    )
    expect(page.locator(".between").first).to_contain_text("another revision")
    expect(page.locator(".matrix").first).to_contain_text("checkout-api@e41f772fe41f")
    page.locator("summary", has_text="the same everywhere").click()
    expect(page.get_by_role("table", name="Values that are the same")).to_contain_text("automatic")


def test_all_of_it_reads_without_scripts(plain: Visit) -> None:
    for path, words in (
        ("/drift", "edge-gateway"),
        ("/held", "uploads-data"),
        ("/environments", "storefront-web"),
        ("/environments/payments/billing", "2f4c8b7"),
    ):
        assert words in plain.go(path).locator("main").inner_text()


def test_empty_pages_teach(browser: Browser, serve: Callable[[MemoryBackend], Any]) -> None:
    class Quiet(MemoryBackend):
        async def drift(self, key: Any, *, open_only: bool, limit: int) -> list[Any]:
            return []

        async def history(self, key: Any, limit: int) -> list[Any]:
            return []

        async def events(self, key: Any, limit: int) -> list[Any]:
            return []

        async def tree(self, key: Any) -> list[Any]:
            return []

    with serve(Quiet(apps={DB: status(DB, last_sync="")})) as up, visiting(browser, up.url, up.token) as visit:
        for path, title in (
            ("/held", "Nothing is held"),
            ("/drift", "No drift in this time"),
            ("/environments", "No application runs in several environments"),
            ("/app/prod/db", "Nothing is deployed yet"),
            ("/app/prod/db:history", "Nothing was synced yet"),
            ("/app/prod/db:drift", "Nobody changed anything by hand"),
            ("/app/prod/db:events", "Nothing happened yet"),
        ):
            page = visit.go(path)
            expect(page.get_by_role("heading", name=title)).to_be_visible()
            assert not visit.barriers(), path


def test_errors_say_what_to_do(reader: Visit) -> None:
    page = reader.go("/app/chekout")
    expect(page.locator("h1")).to_have_text("There is no application 'chekout'")
    expect(page.locator("main")).to_contain_text("Did you mean")
    assert not reader.barriers()
    reader.faults.clear()
    page.get_by_role("link", name="To the fleet").click()
    expect(page.locator("h1")).to_have_text("Fleet")


def test_a_fault_inside_is_told_without_its_text(browser: Browser, serve: Callable[[MemoryBackend], Any]) -> None:
    class Broken(MemoryBackend):
        async def history(self, key: Any, limit: int) -> list[Any]:
            raise RuntimeError("hunter2")

    with serve(Broken()) as up, visiting(browser, up.url, up.token) as visit:
        page = visit.go("/app/prod/db:history")
        expect(page.locator("h1")).to_have_text("taut failed inside (RuntimeError)")
        assert "hunter2" not in page.content()
        visit.faults.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 900, 390])
def test_no_barrier_and_nothing_sticks_out(browser: Browser, site: Running, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    with visiting(browser, site.url, site.token, color_scheme=scheme, viewport=size) as visit:
        for path in ("/drift", "/drift?span=30d", "/held", "/environments", "/environments/payments/checkout"):
            visit.go(path)
            assert not visit.barriers(), path
            assert not visit.wide(), path
            assert visit.shift() < 0.01, path
