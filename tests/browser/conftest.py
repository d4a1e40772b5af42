"""A real Chromium on the page, and what every visit must be free of: errors, refused policies, jumps, barriers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from support.memory_backend import MemoryBackend, Running, running
from support.shop_backend import shop_backend

SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifts.push(e.value);
}).observe({ type: "layout-shift", buffered: true });
"""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
_HARMLESS = ("Password forms should have",)
"""Chromium's advice about a form that has a token and no user name."""


@dataclass
class Visit:
    """One person in front of the page."""

    page: Page
    url: str
    token: str
    faults: list[str] = field(default_factory=list[str])

    def go(self, path: str) -> Page:
        """Load an address, as somebody who is signed in."""
        self.page.goto(self.url + path)
        if "/sign-in" in self.page.url:
            self.page.fill("#token", self.token)
            self.page.press("#token", "Enter")
            self.page.wait_for_url(lambda url: "/sign-in" not in url)
        return self.page

    def barriers(self) -> list[str]:
        """What axe finds, a line for each."""
        found = Axe().run(self.page, options=RULES).response["violations"]
        return [
            f"{v['id']}: {n['html'][:160]} ({n.get('failureSummary', '')[:200]})" for v in found for n in v["nodes"]
        ]

    def shift(self) -> float:
        """How far things jumped since the page was loaded."""
        return self.page.evaluate("window.shifts.reduce((a, b) => a + b, 0)")

    def wide(self) -> bool:
        """Whether the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium: Playwright's driver downloads none. It keeps an event loop running, so it ends before tests that begin one."""
    program = shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@contextmanager
def visiting(browser: Browser, url: str, token: str, **options: Any) -> Iterator[Visit]:
    """A person with a browser of their own. Leaving fails when anything went wrong on the way."""
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options})
    context.add_init_script(SHIFTS)
    visit = Visit(context.new_page(), url, token)

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_HARMLESS):
            visit.faults.append(f"{message.type}: {message.text}")

    visit.page.on("console", heard)
    visit.page.on("pageerror", lambda error: visit.faults.append(str(error)))
    yield visit
    context.close()
    assert not visit.faults, visit.faults


@pytest.fixture
def site(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """The page of a shop in every state."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running(tmp_path, shop_backend(time.time())) as up:
        yield up


@pytest.fixture
def serve(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[MemoryBackend], Any]:
    """Serves another backend."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return lambda backend: running(tmp_path, backend)


@pytest.fixture
def reader(browser: Browser, site: Running) -> Iterator[Visit]:
    """Somebody at a desk, in the light."""
    with visiting(browser, site.url, site.token) as visit:
        yield visit


@pytest.fixture
def plain(browser: Browser, site: Running) -> Iterator[Visit]:
    """Somebody whose browser runs no script."""
    with visiting(browser, site.url, site.token, java_script_enabled=False) as visit:
        yield visit
