"""The HTTP API of a running taut. Verbs stand behind a colon (`/v1/applications/prod/web:sync`): a name may hold slashes, never a colon."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from taut.model.errors import TargetError, TautError
from taut.model.status import AppStatus
from taut.server import metrics
from taut.server.access.api import AccessApi
from taut.server.access.asking import demand
from taut.server.access.door import Door
from taut.server.access.gate import Gate
from taut.server.access.principal import Action, Resource, Target
from taut.server.access.routes import SignIn
from taut.server.access.throttle import Throttle
from taut.server.alert_views import AlertsView, AlertTest, AlertTestAnswer
from taut.server.answers import json_answer, read_body
from taut.server.backend import Backend
from taut.server.caching import ETags, Idempotency
from taut.server.counting import CountRequests
from taut.server.endpoints import Endpoint, Parameter, limit, limit_of
from taut.server.hooks import Verify, receive_hook
from taut.server.openapi import describe
from taut.server.page import mounting
from taut.server.paging import PAGING, paged
from taut.server.problems import CatchBugs, on_http_error, on_taut_error
from taut.server.selector import parse_selector
from taut.server.sight import Sight
from taut.server.views import (
    AuditView,
    Details,
    DriftView,
    EventView,
    HistoryView,
    Orphan,
    PlanView,
    RootView,
    Said,
    SyncAnswer,
    SyncRequest,
    TreeNode,
    View,
)
from taut.server.watch import stream

_ORPHANS = (Parameter("cluster", "Only in this cluster."), Parameter("namespace", "Only in this namespace."))


class ApproveRequest(View, frozen=True, forbid_unknown_fields=True):
    """Which plan is approved, and why."""

    plan: str
    reason: str = ""


class SuspendRequest(View, frozen=True, forbid_unknown_fields=True):
    """Why an application is suspended."""

    reason: str = ""


class RestartRequest(View, frozen=True, forbid_unknown_fields=True):
    """Which workload is restarted (`KIND/NAME`); empty: all of them."""

    object: str = ""


class RefreshRequest(View, frozen=True, forbid_unknown_fields=True):
    """Whose sources are looked at; both empty: all."""

    name: str = ""
    root: str = ""


def make_app(
    backend: Backend, gate: Gate, verify_hook: Verify | None = None, *, url: str = "", longest: float = 43200.0
) -> Starlette:
    """The ASGI application. `gate` tells who asks; `verify_hook(headers, body)` whether a webhook is genuine (None: there is no webhook).

    `url` is the address at which browsers reach taut (empty: the one that each names), `longest` (seconds) how long they stay signed in.
    """
    sight = Sight(backend)
    api = Api(backend, sight, verify_hook)
    throttle = Throttle()
    sign_in = SignIn(gate, throttle, backend.note_audit, url=url, longest=longest)
    endpoints = [*AccessApi(gate, backend.note_audit).endpoints(), *api.endpoints()]
    hook = Route("/hooks/git", api.hook, methods=["POST"])
    return Starlette(
        routes=[
            *sign_in.routes(),
            *(e.route() for e in endpoints),
            hook,
            description_route(endpoints),
            *mounting.routes(backend, sight, tuple(gate.providers)),
        ],
        middleware=[
            Middleware(CountRequests, counts=api.requests),
            Middleware(CatchBugs, show=mounting.show),
            *mounting.before(),
            Middleware(Door, gate=gate, throttle=throttle),
            Middleware(Idempotency),
            Middleware(ETags),
        ],
        exception_handlers={TautError: on_taut_error, HTTPException: on_http_error},
    )


def description_route(endpoints: Sequence[Endpoint]) -> Route:
    """The API's description, for everybody who may ask at all."""

    async def described(_: Request) -> Response:
        return json_answer(describe(endpoints))

    return Route("/v1/openapi.json", described)


class Api:
    """The handlers."""

    def __init__(self, backend: Backend, sight: Sight, verify_hook: Verify | None) -> None:
        self._backend = backend
        self._sight = sight
        self._verify_hook = verify_hook
        self.requests: dict[tuple[str, int], int] = {}

    def endpoints(self) -> list[Endpoint]:
        """All addresses. The longest come first: `{name:path}` takes everything."""
        of, get = "/v1/applications/{name:path}", "get applications"
        name = Parameter("selector", "A label selector, as kubectl writes it: team=web,tier!=db.")
        root = Parameter("root", "Only applications of this root.")
        opened = Parameter("open", "Only what is not healed.", "boolean", default=False)
        return [
            Endpoint("GET", "/v1/applications", self.list, list[AppStatus], get, query=(root, name, *PAGING)),
            Endpoint("GET", f"{of}:tree", self.tree, list[TreeNode], get),
            Endpoint("GET", f"{of}:plan", self.plan, PlanView, get),
            Endpoint("GET", f"{of}:history", self.history, list[HistoryView], get, query=(limit(50),)),
            Endpoint("GET", f"{of}:drift", self.drift, list[DriftView], get, query=(opened, limit(200))),
            Endpoint("GET", f"{of}:events", self.events, list[EventView], get, query=(limit(200),)),
            Endpoint("POST", f"{of}:sync", self.sync, SyncAnswer, "sync applications", SyncRequest, status=202),
            Endpoint("POST", f"{of}:abort", self.abort, Said, "sync applications"),
            Endpoint("POST", f"{of}:approve", self.approve, Said, "approve applications", ApproveRequest),
            Endpoint("POST", f"{of}:suspend", self.suspend, Said, "suspend applications", SuspendRequest),
            Endpoint("POST", f"{of}:resume", self.resume, Said, "suspend applications"),
            Endpoint("POST", f"{of}:restart", self.restart, Said, "restart applications", RestartRequest),
            Endpoint("GET", of, self.get, Details, get),
            Endpoint("GET", "/v1/roots", self.roots, list[RootView], "get repositories", tag="fleet"),
            Endpoint("GET", "/v1/watch", self.watch, "text/event-stream", get, query=(root, name), tag="fleet"),
            Endpoint(
                "POST", "/v1/refresh", self.refresh, Said, "sync applications", RefreshRequest, status=202, tag="fleet"
            ),
            Endpoint("GET", "/v1/drift", self.drift, list[DriftView], get, query=(opened, limit(200)), tag="fleet"),
            Endpoint("GET", "/v1/orphans", self.orphans, list[Orphan], "get clusters", query=_ORPHANS, tag="fleet"),
            Endpoint("GET", "/v1/events", self.events, list[EventView], get, query=(limit(200),), tag="fleet"),
            Endpoint("GET", "/v1/audit", self.audit, list[AuditView], "get audit", query=(limit(200),), tag="access"),
            Endpoint("GET", "/v1/alerts", self.alerts, AlertsView, "get alerts", query=(limit(200),), tag="alerts"),
            Endpoint(
                "POST", "/v1/alerts:test", self.test_alert, AlertTestAnswer, "get alerts", AlertTest, tag="alerts"
            ),
            Endpoint("GET", "/healthz", self.healthz, "text/plain", tag="machine room"),
            Endpoint("GET", "/readyz", self.readyz, "text/plain", tag="machine room"),
            Endpoint("GET", "/metrics", self.metrics, metrics.MEDIA_TYPE, "get metrics", tag="machine room"),
        ]

    # Reading

    async def list(self, request: Request) -> Response:
        """Every application that who asks may see: filtered, sorted, a page of them, only some fields."""
        wanted = self._wanted(request)
        return paged(request, [s for s in self._backend.statuses() if wanted(s)])

    async def get(self, request: Request) -> Response:
        """One application with its objects."""
        key, _ = self._sight.app(request)
        status = self._backend.status(key)
        if status is None:
            raise TautError(f"{key} was removed just now")
        try:
            objects = tuple(await self._backend.objects(key))
        except TargetError:
            # A cluster that is away, or not configured: the status says so, and it is what was asked for.
            objects = ()
        return json_answer(Details(status=status, objects=objects))

    async def roots(self, request: Request) -> Response:
        """Where applications are declared."""
        return json_answer(self._sight.roots(request))

    async def tree(self, request: Request) -> Response:
        """The objects down to Pods."""
        return json_answer(await self._backend.tree(self._sight.app(request)[0]))

    async def plan(self, request: Request) -> Response:
        """What a sync would do."""
        return json_answer(await self._backend.plan(self._sight.app(request)[0]))

    async def history(self, request: Request) -> Response:
        """Finished operations."""
        entries = await self._backend.history(self._sight.app(request)[0], limit_of(request, 50))
        return json_answer([HistoryView.of(entry) for entry in entries])

    async def drift(self, request: Request) -> Response:
        """Drift records of one application, or of all."""
        key = self._sight.app(request)[0] if "name" in request.path_params else None
        open_only = request.query_params.get("open", "") in ("1", "true")
        records = await self._backend.drift(key, open_only=open_only, limit=limit_of(request, 200))
        return json_answer(
            [DriftView.of(r) for r in records if key is not None or self._sight.sees_key(request, str(r.app))]
        )

    async def events(self, request: Request) -> Response:
        """The timeline of one application, or of all."""
        key = self._sight.app(request)[0] if "name" in request.path_params else None
        events = await self._backend.events(key, limit_of(request, 200))
        return json_answer([EventView.of(e) for e in events if key is not None or self._sight.sees_key(request, e.app)])

    async def orphans(self, request: Request) -> Response:
        """Objects that nobody declares."""
        query = request.query_params
        demand(request, Action.GET, Target.named(Resource.CLUSTERS, query.get("cluster") or "*"))
        return json_answer(await self._backend.orphans(query.get("cluster"), query.get("namespace")))

    async def audit(self, request: Request) -> Response:
        """Who did what."""
        demand(request, Action.GET, Target(Resource.AUDIT))
        return json_answer([AuditView.of(entry) for entry in await self._backend.audit(limit_of(request, 200))])

    async def alerts(self, request: Request) -> Response:
        """Rules, receivers, open alerts of applications that who asks may see, and what waits."""
        demand(request, Action.GET, Target(Resource.ALERTS))
        found = await self._backend.alerts(limit_of(request, 200))
        seen = tuple(a for a in found.open if self._sight.sees_key(request, a.application))
        return json_answer(msgspec.structs.replace(found, open=seen))

    async def watch(self, request: Request) -> Response:
        """Statuses as they change, as server-sent events."""
        body = stream(self._backend, self._wanted(request), lambda: self._sight.roots(request))
        return StreamingResponse(
            body, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    # Writing

    async def sync(self, request: Request) -> Response:
        """Ask for a sync."""
        wish = await read_body(request, SyncRequest)
        key, by = self._sight.app(request, Action.GET if wish.dry_run else Action.SYNC)
        return json_answer(await self._backend.sync(key, msgspec.structs.replace(wish, by=by)), 202)

    async def refresh(self, request: Request) -> Response:
        """Look at sources again."""
        wish = await read_body(request, RefreshRequest)
        key = self._sight.key(request, wish.name) if wish.name else None
        demand(request, Action.SYNC, self._sight.target(key) if key else Target(Resource.APPLICATIONS, ("*/*",)))
        return _said(await self._backend.refresh(wish.root or None, key), 202)

    async def abort(self, request: Request) -> Response:
        """Stop the running operation."""
        key, by = self._sight.app(request, Action.SYNC)
        return _said(await self._backend.abort(key, by))

    async def approve(self, request: Request) -> Response:
        """Let a plan pass."""
        wish = await read_body(request, ApproveRequest)
        key, by = self._sight.app(request, Action.APPROVE)
        return _said(await self._backend.approve(key, wish.plan, by, wish.reason))

    async def suspend(self, request: Request) -> Response:
        """Leave an application alone."""
        wish = await read_body(request, SuspendRequest)
        key, by = self._sight.app(request, Action.SUSPEND)
        return _said(await self._backend.suspend(key, by, wish.reason))

    async def resume(self, request: Request) -> Response:
        """Look after it again."""
        key, by = self._sight.app(request, Action.SUSPEND)
        return _said(await self._backend.resume(key, by))

    async def restart(self, request: Request) -> Response:
        """Restart workloads."""
        wish = await read_body(request, RestartRequest)
        key, by = self._sight.app(request, Action.RESTART)
        return _said(await self._backend.restart(key, wish.object, by))

    async def test_alert(self, request: Request) -> Response:
        """Show what a rule or receiver would be told, or tell it."""
        wish = await read_body(request, AlertTest)
        action = Action.CREATE if wish.send else Action.GET
        who = demand(request, action, Target.named(Resource.ALERTS, wish.name))
        key = self._sight.key(request, wish.application) if wish.application else None
        return json_answer(await self._backend.test_alert(wish.name, key, who.name, send=wish.send))

    # The machine room

    async def healthz(self, _: Request) -> Response:
        """Alive."""
        return Response("ok\n", media_type="text/plain")

    async def readyz(self, _: Request) -> Response:
        """Ready, or why not."""
        why = self._backend.ready()
        return Response(f"{why or 'ok'}\n", 503 if why else 200, media_type="text/plain")

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        demand(request, Action.GET, Target(Resource.METRICS))
        found = [
            *metrics.fleet_metrics(self._backend.statuses()),
            metrics.request_metric(self.requests),
            *self._backend.metrics(),
        ]
        return Response(metrics.exposition(found), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def hook(self, request: Request) -> Response:
        """Somebody pushed."""
        return await receive_hook(request, self._backend, self._verify_hook)

    def _wanted(self, request: Request) -> Callable[[AppStatus], bool]:
        """What `root` and `selector` ask for, as far as who asks may see it."""
        root, match = request.query_params.get("root"), parse_selector(request.query_params.get("selector", ""))
        return lambda s: (root is None or s.root == root) and match(s.labels) and self._sight.sees(request, s)


def _said(sentence: str, status: int = 200) -> Response:
    return json_answer(Said(message=sentence), status)
