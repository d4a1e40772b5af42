"""The page's routes, and what stands before them: strict headers, compression."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from taut.model.errors import TautError
from taut.server.access.routes import safe_path
from taut.server.backend import Backend
from taut.server.page.actions import Actions
from taut.server.page.addresses import ours
from taut.server.page.application import ApplicationPages
from taut.server.page.compressing import Compressed
from taut.server.page.fleet_page import FleetPage
from taut.server.page.forms import check_csrf, form_of
from taut.server.page.headers import StrictHeaders
from taut.server.page.live import Hub, Live
from taut.server.page.rendering import error_page, show_error
from taut.server.page.rows import Rows
from taut.server.page.shell import THEME, Frame
from taut.server.page.sign_in_page import SignInPage
from taut.server.page.static_files import static, static_address
from taut.server.page.verbs import VERBS
from taut.server.page.wide_pages import WidePages
from taut.server.sight import Sight
from taut.server.views import ErrorView

_APP = "/app/{name:path}"

type Handler = Callable[[Request], Awaitable[Response]]


def routes(backend: Backend, sight: Sight, providers: Sequence[str]) -> list[Route]:
    """Every address of the page. `providers` are those at which people sign in."""
    frame = Frame(backend, sight)
    rows = Rows()
    hub = Hub(backend)
    fleet, live = FleetPage(frame, rows, lambda: hub.place), Live(frame, rows, hub)
    app, acting, wide = ApplicationPages(frame), Actions(frame), WidePages(frame)
    parts: Mapping[str, Handler] = {
        "now": app.now,
        "history": app.history,
        "compare": app.compare,
        "drift": app.drift,
        "events": app.events,
        "object": app.object,
        "logs": app.logs,
    }
    return [
        Route("/", _shown(fleet.show)),
        Route("/live", _shown(live.stream)),
        Route("/held", _shown(wide.held)),
        Route("/drift", _shown(wide.drift)),
        Route("/environments", _shown(wide.environments)),
        Route("/environments/{name:path}", _shown(wide.environment)),
        *(Route(f"{_APP}:{part}", _shown(handler)) for part, handler in parts.items()),
        *(Route(f"{_APP}:{verb}", _shown(_of(verb, acting.ask))) for verb in VERBS),
        *(Route(f"{_APP}:{verb}", _shown(_of(verb, acting.do)), methods=["POST"]) for verb in VERBS),
        Route(_APP, _shown(app.overview)),
        Route("/theme", _shown(_theme), methods=["POST"]),
        Route("/sign-in", _shown(SignInPage(providers).ask)),
        Route("/static/{name}", static),
        Route("/favicon.ico", _icon),
    ]


def before() -> Sequence[Middleware]:
    """What a request passes on its way to them, the first outermost."""
    return [Middleware(StrictHeaders, ours=ours), Middleware(Compressed, ours=ours)]


def show(path: str, error: ErrorView, status: int = 500) -> Response | None:
    """An error at one of the page's addresses, for people; None for the API's."""
    return show_error(error, status) if ours(path) else None


def _of(verb: str, handler: Handler) -> Handler:
    """A handler that is told which verb its address has."""

    @wraps(handler)
    async def told(request: Request) -> Response:
        request.path_params["verb"] = verb
        return await handler(request)

    return told


async def _theme(request: Request) -> Response:
    """As the system, dark, light, and as the system again."""
    form = await form_of(request)
    check_csrf(request, form)
    made = RedirectResponse(safe_path(form.get("back", "/")), 303)
    following = {"": "dark", "dark": "light"}.get(request.cookies.get(THEME, ""), "")
    if following:
        made.set_cookie(THEME, following, max_age=365 * 86400, httponly=True, samesite="strict")
    else:
        made.delete_cookie(THEME)
    return made


async def _icon(_: Request) -> Response:
    return RedirectResponse(static_address("icon.svg"), 301)


def _shown(handler: Handler) -> Handler:
    """Tell errors as a page."""

    @wraps(handler)
    async def shown(request: Request) -> Response:
        try:
            return await handler(request)
        except TautError as error:
            return error_page(error)

    return shown
