"""The pictures of the page in docs/: `make screenshots`. The fleet is the tests' shop, so they show what the tests look at."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from support.memory_backend import Running, running
from support.shop_backend import CHECKOUT, shop_backend

FOLDER = Path(__file__).parent.parent.parent / "docs" / "pictures"
PAGES = {
    "fleet": ("/", 1000),
    "tiles": ("/?as=tiles", 900),
    "application": (f"/app/{CHECKOUT}", 1480),
    "sync": (f"/app/{CHECKOUT}:sync", 900),
    "history": (f"/app/{CHECKOUT}:history", 700),
    "drift": ("/drift", 1000),
    "held": ("/held", 1000),
    "environments": ("/environments", 520),
    "environment": ("/environments/payments/checkout", 720),
}
PHONE = ("fleet", "application", "held")


def take(
    browser: Browser, up: Running, scheme: str, width: int, names: dict[str, tuple[str, int]], suffix: str
) -> None:
    """All pages in one look."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    page.goto(up.url + "/")
    page.fill("#token", up.token)
    page.press("#token", "Enter")
    page.wait_for_selector("h1")
    for name, (path, height) in names.items():
        page.set_viewport_size({"width": width, "height": 844 if suffix == "phone" else height})
        page.goto(up.url + path)
        if page.locator("main[data-live], #board[data-live]").count():
            page.wait_for_selector('#live[data-on="yes"]', state="attached")
        page.screenshot(path=FOLDER / f"{name}-{suffix}.png", animations="disabled")
    context.close()


def main() -> None:
    """Write them."""
    if not shutil.which("fc-match") or "Inter" not in os.popen("fc-match Inter").read():
        print("screenshots: the font Inter is not installed (fonts-inter); the system's own is taken", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        with running(Path(folder), shop_backend(time.time())) as up, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for scheme in ("light", "dark"):
                take(browser, up, scheme, 1440, PAGES, scheme)
            take(browser, up, "light", 390, {name: PAGES[name] for name in PHONE}, "phone")
            browser.close()
    print(f"screenshots: written to {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
