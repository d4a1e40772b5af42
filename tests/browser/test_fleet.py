"""The fleet in a real browser: reading, searching, keys, and what changes while one looks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from browser.conftest import Visit, visiting
from support import shop
from support.memory_backend import MemoryBackend, Running
from taut.model.health import HealthStatus
from taut.model.refs import AppKey
from taut.server.views import Gone

pytestmark = pytest.mark.integration

BILLING = AppKey("deploy", "prod-eu", "billing")


def row(key: AppKey) -> str:
    return f'[id="r:{key}"]'


def test_it_says_first_what_is_wrong(reader: Visit) -> None:
    page = reader.go("/")
    expect(page.locator("#lede")).to_contain_text("10 of 42 applications need someone")
    first = page.locator(".row").first
    expect(first).to_contain_text("ledger")
    expect(first.get_by_role("img", name="Failed")).to_be_visible()
    expect(page.locator(".group").first).to_contain_text("Needs someone10")
    expect(page.locator("#live")).to_have_text("Live")
    assert reader.shift() < 0.01


def test_it_reads_without_scripts(plain: Visit) -> None:
    page = plain.go("/")
    assert page.locator(".row").count() == 42
    page.fill("#q", "project:payments")
    page.get_by_role("button", name="Search").click()
    assert page.url.endswith("project%3Apayments&group=attention&sort=worst")
    assert page.locator(".row").count() == sum(t.project == "payments" for t in shop.TOLD)
    page.get_by_role("link", name="Degraded 1").click()
    assert page.locator(".row").count() == 1
    page.get_by_role("link", name="Tiles").click()
    assert page.locator(".tile").count() == 1


def test_a_search_answers_while_one_types_and_is_in_the_address(reader: Visit) -> None:
    page = reader.go("/")
    page.keyboard.press("/")
    page.keyboard.type("health:deg cluster:prod", delay=20)
    expect(page.locator(".row")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"/\?q=health%3Adeg\+cluster%3Aprod$"))
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".row")).to_have_count(42)
    page.keyboard.press("Escape")
    expect(page.locator("#q")).not_to_be_focused()


def test_a_word_that_is_none_is_named_with_the_nearest(reader: Visit) -> None:
    page = reader.go("/?q=helth:degraded")
    expect(page.get_by_role("status")).to_contain_text("helth: is no word of the query")
    page.get_by_role("link", name="Did you mean health:degraded?").click()
    expect(page.locator(".row")).to_have_count(3)
    page.fill("#q", "no-such-thing")
    expect(page.get_by_role("heading", name="No application matches")).to_be_visible()


def test_groups_and_orders_are_chosen(reader: Visit) -> None:
    page = reader.go("/")
    page.select_option("#group", "label:team")
    expect(page.locator(".group").first).to_contain_text("data")
    page.select_option("#sort", "name")
    expect(page).to_have_url(re.compile("group=label%3Ateam&sort=name"))
    page.select_option("#group", "cluster")
    page.locator(".group a", has_text="edge").click()
    expect(page.locator(".row")).to_have_count(2)


def test_keys_move_open_and_pick(reader: Visit) -> None:
    page = reader.go("/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator(".row.at")).to_contain_text("checkout")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#pill")).to_have_text("2 picked, show only these")
    page.locator("#pill").click()
    expect(page.locator(".row")).to_have_count(2)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert not reader.barriers()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).not_to_be_visible()


def test_what_changes_is_shown_in_place_and_rows_do_not_move(site: Running, reader: Visit) -> None:
    page = reader.go("/")
    expect(page.locator("#live")).to_have_text("Live")
    before = page.locator(".row").evaluate_all("rows => rows.map(r => r.id)")
    sick = msgspec.structs.replace(
        site.backend.apps[BILLING],
        health=HealthStatus.DEGRADED,
        health_message="2 of 4 Pods crash",
        message="2 of 4 Pods crash",
    )
    page.locator(row(BILLING)).locator("a").focus()
    site.put(sick)
    expect(page.locator(row(BILLING))).to_contain_text("2 of 4 Pods crash")
    expect(page.locator(row(BILLING)).get_by_role("img", name="Degraded")).to_be_visible()
    expect(page.locator('[data-count="Degraded"]')).to_have_text("4")
    expect(page.locator("#lede")).to_contain_text("11 of 42")
    expect(page.locator(row(BILLING)).locator("a")).to_be_focused()
    assert page.locator(".row").evaluate_all("rows => rows.map(r => r.id)") == before
    assert reader.shift() < 0.01
    page.locator("#pill", has_text="1 changed, sort again").click()
    expect(page.locator(".row").nth(1)).to_have_id(f"r:{BILLING}")
    expect(page.locator("#pill")).to_be_hidden()
    site.put(Gone(key=str(BILLING)))
    expect(page.locator('[data-count="all"]')).to_have_text("41")
    expect(page.locator("#pill")).to_have_text("1 changed, sort again")


def test_tiles_show_the_same_applications(reader: Visit) -> None:
    page = reader.go("/?as=tiles")
    assert page.locator(".tile").count() == 42
    expect(page.locator(".tile.is-bad").first).to_contain_text("ledger")
    page.get_by_role("link", name="Rows").click()
    expect(page.locator(".row")).to_have_count(42)


def test_a_large_fleet_comes_in_pages(browser: Browser, serve: Callable[[MemoryBackend], Any]) -> None:
    with (
        serve(MemoryBackend(apps=shop.many(1000, time.time()))) as up,
        visiting(browser, up.url, up.token) as visit,
    ):
        page = visit.go("/?sort=name&group=none")
        expect(page.locator(".paging")).to_contain_text("1 to 200 of 1,000")
        last = page.locator(".row").last.get_attribute("id")
        page.get_by_role("link", name="Next 200").click()
        expect(page.locator(".paging")).to_contain_text("201 to 400 of 1,000")
        assert page.locator(".row").first.get_attribute("id") != last
        page.get_by_role("link", name="First").click()
        expect(page.locator(".paging")).to_contain_text("1 to 200 of 1,000")


def test_an_empty_fleet_teaches(browser: Browser, serve: Callable[[MemoryBackend], Any]) -> None:
    with serve(MemoryBackend(apps={})) as up, visiting(browser, up.url, up.token) as visit:
        page = visit.go("/")
        expect(page.get_by_role("heading", name="No application is declared yet")).to_be_visible()
        expect(page.locator("pre")).to_contain_text("kind: Application")
        assert not visit.barriers()
        up.backend.not_ready = "the first look at prod is not done"
        visit.go("/")
        expect(page.get_by_role("heading", name="taut is starting")).to_be_visible()


def test_signing_in_and_out(browser: Browser, site: Running) -> None:
    with visiting(browser, site.url, site.token) as visit:
        page = visit.page
        page.goto(site.url + "/?q=web")
        assert not visit.barriers()
        page.fill("#token", "wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("this is not the administrator's token")
        visit.faults.clear()
        page.fill("#token", site.token)
        page.press("#token", "Enter")
        expect(page).to_have_url(f"{site.url}/?q=web")
        page.get_by_role("button", name="Leave").click()
        expect(page).to_have_url(f"{site.url}/sign-in")


def test_the_theme_is_chosen(reader: Visit) -> None:
    page = reader.go("/?q=web")
    for theme in ("dark", "light", None):
        page.get_by_role("button", name="Theme").click()
        expect(page).to_have_url(re.compile(r"/\?q=web$"))
        assert page.locator("html").get_attribute("data-theme") == theme


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 900, 390])
def test_no_barrier_and_nothing_sticks_out(browser: Browser, site: Running, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    with visiting(browser, site.url, site.token, color_scheme=scheme, viewport=size) as visit:
        for path in ("/", "/?as=tiles", "/?q=helth:x", "/?q=nothing-like-it"):
            visit.go(path)
            assert not visit.barriers(), path
            assert not visit.wide(), path
            assert visit.shift() < 0.01, path
