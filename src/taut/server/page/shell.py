"""What stands around every page: where one is, how many wait, who one is, and what was just done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from taut.model.status import AppStatus
from taut.server.access.asking import principal_of
from taut.server.backend import Backend
from taut.server.page.addresses import with_query
from taut.server.page.facts import Facts, Remembered
from taut.server.page.forms import csrf_of
from taut.server.page.rendering import page
from taut.server.page.times import moment
from taut.server.sight import Sight
from taut.server.views import RootView

SAID = "taut-said"
THEME = "taut-theme"
_ROOTS = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the navigation."""

    title: str
    address: str
    icon: str
    current: bool
    count: str | None = None
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Shell:
    """See above. `here` is the address that is looked at."""

    nav: Sequence[Item]
    views: Sequence[Item]
    roots: Sequence[RootView]
    who: str
    csrf: str
    here: str
    theme: str
    said: str
    not_ready: str


_VIEWS = (
    ("Urgent", "is:urgent"),
    ("Drifting over an hour", "drift:>1h"),
    ("Deployed today", "deployed:<24h"),
    ("Suspended", "is:suspended"),
)


class Frame:
    """What all pages need of a running taut."""

    def __init__(self, backend: Backend, sight: Sight, now: Callable[[], float] = time.time) -> None:
        self.backend = backend
        self.sight = sight
        self.now = now
        self.facts = Remembered()

    def fleet(self, request: Request) -> list[Facts]:
        """Every application that who asks may see."""
        return list(self.facts.of(self.sight.statuses(request)))

    def fact(self, status: AppStatus) -> Facts:
        """The facts of one application."""
        return self.facts.one(status)

    def shell(self, request: Request, fleet: Sequence[Facts] | None = None) -> Shell:
        """The frame of an answer."""
        fleet = self.fleet(request) if fleet is None else fleet
        path = request.url.path
        held, drifted = held_count(fleet), drift_count(fleet)
        nav = (
            Item("Fleet", "/", "i-fleet", path == "/" or path.startswith("/app/"), f"{len(fleet):,}", "all"),
            Item("Held", "/held", "i-held", path == "/held", f"{held:,}", "held" if held else ""),
            Item("Drift", "/drift", "i-drift", path == "/drift", f"{drifted:,}", "warn" if drifted else ""),
            Item("Environments", "/environments", "i-env", path.startswith("/environments")),
        )
        query = request.url.query
        return Shell(
            nav=nav,
            views=[Item(title, with_query("/", {"q": q}), "i-view", current=False) for title, q in _VIEWS],
            roots=list(self.sight.roots(request))[:_ROOTS],
            who=principal_of(request).name,
            csrf=csrf_of(request),
            here=path + (f"?{query}" if query else "") if request.method == "GET" else "/",
            theme=request.cookies.get(THEME, "") if request.cookies.get(THEME) in ("dark", "light") else "",
            said=unquote(request.cookies.get(SAID, ""))[:400],
            not_ready=self.backend.ready(),
        )

    def answer(self, request: Request, template: str, fleet: Sequence[Facts] | None = None, **values: Any) -> Response:
        """A whole page. What was said of the last action is told once."""
        now = self.now()
        made = page(template, {"shell": self.shell(request, fleet), "at": lambda text: moment(text, now), **values})
        if SAID in request.cookies:
            made.delete_cookie(SAID)
        return made


def held_count(fleet: Sequence[Facts]) -> int:
    """How many wait for a decision."""
    return sum(1 for f in fleet if f.status.held_for)


def drift_count(fleet: Sequence[Facts]) -> int:
    """How many differ from Git because somebody changed them."""
    return sum(1 for f in fleet if f.status.drift)


def remember_said(response: Response, sentence: str) -> None:
    """Let the next page tell what came of an action."""
    response.set_cookie(SAID, quote(sentence[:300]), max_age=30, httponly=True, samesite="strict")
