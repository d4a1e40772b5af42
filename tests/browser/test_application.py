"""One application in a real browser: what is wrong, its objects, its past, and doing something about it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from browser.conftest import Visit, visiting
from support.memory_backend import Running
from support.shop_backend import CHECKOUT, IDENTITY, MEDIA
from taut.server.views import SyncRequest

pytestmark = pytest.mark.integration

APP = f"/app/{CHECKOUT}"
POD = "checkout-api-6d9f8-4kq2m"
PAGES = (
    APP,
    f"{APP}?as=list&sides=1",
    f"{APP}:history",
    f"{APP}:compare?of=38&of=36",
    f"{APP}:drift",
    f"{APP}:events",
    f"{APP}:object?id=/Pod:checkout/{POD}",
    f"{APP}:object?id=apps/Deployment:checkout/checkout-api",
    f"{APP}:logs?pod={POD}&namespace=checkout",
    f"{APP}:sync",
    f"{APP}:restart",
    f"{APP}:suspend",
    "/app/deploy/edge/price-feed",
    "/app/deploy/prod-eu/cart:drift",
    "/app/deploy/dev/loadtest",
)


def test_what_is_wrong_comes_first(reader: Visit) -> None:
    page = reader.go(APP)
    expect(page.locator(".headline h2")).to_contain_text("DATABASE_URL is not set")
    expect(page.locator("#now")).to_contain_text("9f3c2e1")
    expect(page.locator(".wave.now")).to_contain_text("Wave 3")
    expect(page.locator("#objects")).to_contain_text(f"Pod {POD} is the cause")
    expect(page.locator(".tree .edge.hot")).to_have_count(3)
    assert reader.shift() < 0.01


def test_it_reads_without_scripts(plain: Visit) -> None:
    page = plain.go("/")
    page.get_by_role("link", name="payments / checkout").first.click()
    assert page.locator(".headline").count() == 1
    page.get_by_role("link", name=re.compile(f"^Pod {POD}")).first.click()
    assert page.locator("h1").inner_text() == POD
    page.get_by_role("link", name="Logs").click()
    assert "fatal: DATABASE_URL is not set" in page.locator(".logs .err").inner_text()
    for tab in ("History", "Drift", "Events"):
        page.goto(plain.url + APP)
        page.get_by_role("link", name=tab, exact=True).last.click()
        assert page.locator(".tabs [aria-current]").inner_text() == tab


def test_the_tree_is_walked_by_keyboard_and_piles_open(reader: Visit) -> None:
    page = reader.go(APP)
    boxes = page.locator(".tree a").count()
    page.locator(".tree a", has_text="8 older, empty").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tree a")).to_have_count(boxes + 7)
    page.get_by_role("link", name="As a list").click()
    expect(page.locator(".list-tree")).to_contain_text(POD)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("checkout-api")


def test_the_difference_hides_secrets_and_folds_noise(reader: Visit) -> None:
    page = reader.go(APP)
    expect(page.locator("#changes")).to_contain_text("4 of 24 objects")
    assert "hunter" not in page.content()
    expect(page.locator(".diff", has_text="Secret checkout-db")).to_contain_text("•••••• differs")
    fold = page.locator(".fold", has_text="2 fields folded")
    expect(fold.locator(".more")).not_to_be_visible()
    fold.locator("summary").click()
    expect(fold.locator(".more")).to_contain_text("metadata.labels[helm.sh/chart]")
    page.keyboard.press("n")
    expect(page.locator(".hunk li.at")).to_have_count(1)
    page.get_by_role("link", name="Side by side").click()
    expect(page.locator(".sides").first).to_contain_text("checkout-api@sha256:9f3c2e1b77")


def test_history_compares_two(reader: Visit) -> None:
    page = reader.go(f"{APP}:history")
    expect(page.get_by_role("link", name="41d07aa").first).to_have_attribute(
        "href", "https://git.example.com/shop/deploy/commit/41d07aa3"
    )
    page.locator("summary", has_text="heal changed 1 object").click()
    expect(page.locator("details[open]")).to_contain_text("checkout-worker")
    page.get_by_role("button", name="Compare two").click()
    expect(page.locator("h1")).to_have_text("c02de51 to 41d07aa")
    expect(page.locator("table")).to_contain_text("Deployment.apps checkout/checkout-api")
    page.go_back()
    for box in page.get_by_role("checkbox").all():
        box.uncheck()
    page.get_by_role("button", name="Compare two").click()
    expect(page.locator("h1")).to_have_text("Two revisions are compared")
    reader.faults.clear()


def test_what_changes_is_told_in_place(site: Running, reader: Visit) -> None:
    page = reader.go(APP)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#pill")).to_be_hidden()
    site.put(
        msgspec.structs.replace(site.backend.apps[CHECKOUT], health_message="Deployment checkout-api: 2 Pods crash")
    )
    expect(page.locator(".headline h2")).to_have_text("Deployment checkout-api: 2 Pods crash.")
    page.locator("#pill", has_text="It changed, load again").click()
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#pill")).to_be_hidden()


@pytest.mark.parametrize(
    ("app", "button", "confirm", "call"),
    [
        (CHECKOUT, "Sync…", "Sync now", ("sync", CHECKOUT, SyncRequest(by="admin"))),
        (CHECKOUT, "Refresh…", "Look at the source", ("refresh", None, CHECKOUT)),
        (CHECKOUT, "Abort…", "Stop it", ("abort", CHECKOUT, "admin")),
        (CHECKOUT, "Suspend…", "Suspend", ("suspend", CHECKOUT, "admin", "because")),
        (CHECKOUT, "Restart…", "Restart", ("restart", CHECKOUT, "Deployment checkout/checkout-worker", "admin")),
    ],
)
def test_a_button_says_first_what_it_does(
    site: Running, reader: Visit, app: Any, button: str, confirm: str, call: Any
) -> None:
    page = reader.go(f"/app/{app}")
    page.locator(".head").get_by_role("link", name=button).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".lede")).not_to_be_empty()
    expect(page.locator(".cli")).to_contain_text("taut ")
    assert not site.backend.calls
    if button == "Sync…":
        expect(page.locator(".plan-title")).to_contain_text(re.compile("1 creation.*3 changes.*20 unchanged"))
        expect(page.locator(".diff")).to_have_count(4)
    if page.locator("#reason").count():
        page.fill("#reason", "because")
    if page.get_by_label("checkout-worker").count():
        page.get_by_label("Deployment checkout/checkout-worker").check()
    page.get_by_role("button", name=confirm, exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".said")).not_to_be_empty()
    expect(page).to_have_url(f"{site.url}/app/{app}")
    assert site.backend.calls[-1] == call
    page.reload()
    expect(page.locator(".said")).to_have_count(0)


def test_resuming_and_leaving_it(site: Running, reader: Visit) -> None:
    page = reader.go("/app/deploy/dev/loadtest")
    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("link", name="Leave it").click()
    assert not site.backend.calls
    page.get_by_role("link", name="Resume…").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".said")).to_have_text("deploy/dev/loadtest is looked after again")
    assert site.backend.calls[-1][0] == "resume"


def test_a_plan_that_deletes_is_approved_by_typing_its_hash(site: Running, reader: Visit) -> None:
    page = reader.go(f"/app/{MEDIA}")
    page.get_by_role("link", name="Approve…").click()
    hash = site.backend.plans[MEDIA].hash
    expect(page.locator(".plan-title")).to_contain_text("3 deletions")
    page.fill("#typed", "00000000")
    page.get_by_role("button", name="Approve this plan").click()
    expect(page.locator("h1")).to_contain_text("This plan deletes something")
    reader.faults.clear()
    assert not site.backend.calls
    page.go_back()
    page.fill("#typed", hash[:8])
    page.fill("#reason", "moved to buckets")
    page.get_by_role("button", name="Approve this plan").click()
    expect(page.locator(".said")).to_be_visible()
    assert site.backend.calls[-1] == ("approve", MEDIA, hash, "admin", "moved to buckets")


def test_decisions_are_made_where_they_wait(site: Running, reader: Visit) -> None:
    page = reader.go("/held")
    expect(page.locator(".decision")).to_have_count(3)
    expect(page.locator(".decision", has_text="policy require-limits")).to_contain_text("No approval helps here")
    page.get_by_role("link", name="I can decide 2").click()
    card = page.locator(".decision", has_text="identity")
    card.get_by_label("To delete, type").fill(site.backend.plans[IDENTITY].hash[:8])
    card.get_by_role("button", name="Approve with deletions").click()
    expect(page).to_have_url(f"{site.url}/held")
    expect(page.locator(".said")).to_be_visible()
    assert site.backend.calls[-1][:3] == ("approve", IDENTITY, site.backend.plans[IDENTITY].hash)


def test_a_pod_of_another_application_has_no_logs_here(reader: Visit) -> None:
    page = reader.go(f"/app/deploy/prod-eu/chat:logs?pod={POD}&namespace=checkout")
    expect(page.locator("h1")).to_contain_text("chat has no Pod")
    reader.faults.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_no_barrier_and_nothing_sticks_out(browser: Browser, site: Running, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900}
    with visiting(browser, site.url, site.token, color_scheme=scheme, viewport=size) as visit:
        for path in PAGES:
            visit.go(path)
            assert not visit.barriers(), path
            assert not visit.wide(), path
            assert visit.shift() < 0.01, path
