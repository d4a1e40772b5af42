"""The HTTP API of a running taut. Verbs stand behind a colon (`/v1/applications/prod/web:sync`): a name may hold slashes, never a colon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from taut.model.errors import BadInput, TargetError, TautError, Where
from taut.model.status import AppStatus
from taut.server import metrics
from taut.server.access.asking import demand
from taut.server.access.principal import Action, Resource, Rights, Target
from taut.server.access.rules import read_rules
from taut.server.auth import TokenRequired
from taut.server.backend import Backend
from taut.server.counting import CountRequests
from taut.server.hooks import Verify, receive_hook
from taut.server.page import mounting
from taut.server.problems import CatchBugs, on_http_error, on_taut_error
from taut.server.selector import parse_selector
from taut.server.sight import Sight
from taut.server.views import AuditView, Details, DriftView, EventView, HistoryView, Said, SyncRequest, View
from taut.server.watch import stream

_BODY_LIMIT = 256 * 1024
_LIMIT = 10_000

type Handler = Callable[[Request], Awaitable[Response]]


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
    backend: Backend, token: str, verify_hook: Verify | None = None, rights: Rights | None = None
) -> Starlette:
    """The ASGI application. `rights` tells who may do what (None: the administrator everything). `verify_hook(headers, body)` tells whether a webhook is genuine; None: there is no webhook."""
    sight = Sight(backend)
    api = Api(backend, sight, verify_hook)
    return Starlette(
        routes=[*api.routes(), *mounting.routes(backend, sight)],
        middleware=[
            Middleware(CountRequests, counts=api.requests),
            Middleware(CatchBugs, show=mounting.show),
            *mounting.before(token),
            Middleware(TokenRequired, token=token, rights=rights or read_rules("")),
        ],
        exception_handlers={TautError: on_taut_error, HTTPException: on_http_error},
    )


class Api:
    """The handlers."""

    def __init__(self, backend: Backend, sight: Sight, verify_hook: Verify | None) -> None:
        self._backend = backend
        self._sight = sight
        self._verify_hook = verify_hook
        self.requests: dict[tuple[str, int], int] = {}

    def routes(self) -> list[Route]:
        """All addresses. The longest come first: `{name:path}` takes everything."""
        of = "/v1/applications/{name:path}"
        reads: Mapping[str, Handler] = {"tree": self.tree, "plan": self.plan, "history": self.history}
        reads = {**reads, "drift": self.drift, "events": self.events}
        writes: Mapping[str, Handler] = {
            "sync": self.sync,
            "abort": self.abort,
            "approve": self.approve,
            "suspend": self.suspend,
            "resume": self.resume,
            "restart": self.restart,
        }
        return [
            Route("/v1/applications", self.list),
            *(Route(f"{of}:{verb}", handler) for verb, handler in reads.items()),
            *(Route(f"{of}:{verb}", handler, methods=["POST"]) for verb, handler in writes.items()),
            Route(of, self.get),
            Route("/v1/roots", self.roots),
            Route("/v1/watch", self.watch),
            Route("/v1/refresh", self.refresh, methods=["POST"]),
            Route("/v1/drift", self.drift),
            Route("/v1/orphans", self.orphans),
            Route("/v1/events", self.events),
            Route("/v1/audit", self.audit),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
            Route("/hooks/git", self.hook, methods=["POST"]),
        ]

    # Reading

    async def list(self, request: Request) -> Response:
        """Every application that who asks may see, filtered by `root` and `selector`."""
        wanted = self._wanted(request)
        return _json([s for s in self._backend.statuses() if wanted(s)])

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
        return _json(Details(status=status, objects=objects))

    async def roots(self, request: Request) -> Response:
        """Where applications are declared."""
        return _json(self._sight.roots(request))

    async def tree(self, request: Request) -> Response:
        """The objects down to Pods."""
        return _json(await self._backend.tree(self._sight.app(request)[0]))

    async def plan(self, request: Request) -> Response:
        """What a sync would do."""
        return _json(await self._backend.plan(self._sight.app(request)[0]))

    async def history(self, request: Request) -> Response:
        """Finished operations."""
        entries = await self._backend.history(self._sight.app(request)[0], _limit(request, 50))
        return _json([HistoryView.of(entry) for entry in entries])

    async def drift(self, request: Request) -> Response:
        """Drift records of one application, or of all."""
        key = self._sight.app(request)[0] if "name" in request.path_params else None
        open_only = request.query_params.get("open", "") in ("1", "true")
        records = await self._backend.drift(key, open_only=open_only, limit=_limit(request, 200))
        return _json([DriftView.of(r) for r in records if key is not None or self._sight.sees_key(request, str(r.app))])

    async def events(self, request: Request) -> Response:
        """The timeline of one application, or of all."""
        key = self._sight.app(request)[0] if "name" in request.path_params else None
        events = await self._backend.events(key, _limit(request, 200))
        return _json([EventView.of(e) for e in events if key is not None or self._sight.sees_key(request, e.app)])

    async def orphans(self, request: Request) -> Response:
        """Objects that nobody declares."""
        query = request.query_params
        demand(request, Action.GET, Target.named(Resource.CLUSTERS, query.get("cluster") or "*"))
        return _json(await self._backend.orphans(query.get("cluster"), query.get("namespace")))

    async def audit(self, request: Request) -> Response:
        """Who did what."""
        demand(request, Action.GET, Target(Resource.AUDIT))
        return _json([AuditView.of(entry) for entry in await self._backend.audit(_limit(request, 200))])

    async def watch(self, request: Request) -> Response:
        """Statuses as they change, as server-sent events."""
        body = stream(self._backend, self._wanted(request), lambda: self._sight.roots(request))
        return StreamingResponse(
            body, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )

    # Writing

    async def sync(self, request: Request) -> Response:
        """Ask for a sync."""
        wish = await _body(request, SyncRequest)
        key, by = self._sight.app(request, Action.GET if wish.dry_run else Action.SYNC)
        return _json(await self._backend.sync(key, msgspec.structs.replace(wish, by=by)), 202)

    async def refresh(self, request: Request) -> Response:
        """Look at sources again."""
        wish = await _body(request, RefreshRequest)
        key = self._sight.key(request, wish.name) if wish.name else None
        demand(request, Action.SYNC, self._sight.target(key) if key else Target(Resource.APPLICATIONS, ("*/*",)))
        return _said(await self._backend.refresh(wish.root or None, key), 202)

    async def abort(self, request: Request) -> Response:
        """Stop the running operation."""
        key, by = self._sight.app(request, Action.SYNC)
        return _said(await self._backend.abort(key, by))

    async def approve(self, request: Request) -> Response:
        """Let a plan pass."""
        wish = await _body(request, ApproveRequest)
        key, by = self._sight.app(request, Action.APPROVE)
        return _said(await self._backend.approve(key, wish.plan, by, wish.reason))

    async def suspend(self, request: Request) -> Response:
        """Leave an application alone."""
        wish = await _body(request, SuspendRequest)
        key, by = self._sight.app(request, Action.SUSPEND)
        return _said(await self._backend.suspend(key, by, wish.reason))

    async def resume(self, request: Request) -> Response:
        """Look after it again."""
        key, by = self._sight.app(request, Action.SUSPEND)
        return _said(await self._backend.resume(key, by))

    async def restart(self, request: Request) -> Response:
        """Restart workloads."""
        wish = await _body(request, RestartRequest)
        key, by = self._sight.app(request, Action.RESTART)
        return _said(await self._backend.restart(key, wish.object, by))

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


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _said(sentence: str, status: int = 200) -> Response:
    return _json(Said(message=sentence), status)


def _limit(request: Request, default: int) -> int:
    text = request.query_params.get("limit", str(default))
    if not text.isdigit() or not 1 <= int(text) <= _LIMIT:
        raise BadInput(f"limit={text} is no number between 1 and {_LIMIT}")
    return int(text)


async def _body[T](request: Request, kind: type[T]) -> T:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BODY_LIMIT:
            raise BadInput(f"The request is larger than {_BODY_LIMIT} bytes")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"The request cannot be read: {error}", where=Where(field=request.url.path)) from error
