"""One application: what is wrong first, then its facts, the operation that runs, its objects, what differs, and its past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from taut.model.errors import BadInput, TautError
from taut.model.refs import AppKey
from taut.model.times import unix_seconds
from taut.server.access.asking import demand, may
from taut.server.access.principal import Action, Resource
from taut.server.names import UnknownName
from taut.server.page.addresses import app_address, compare_address
from taut.server.page.cords import SPANS, blame, is_open, lanes, tell
from taut.server.page.diff import object_diff
from taut.server.page.facts import Facts
from taut.server.page.rendering import page
from taut.server.page.rope import MARKS, health_mark, rope_of
from taut.server.page.sentences import headline
from taut.server.page.shell import Frame
from taut.server.page.times import day, moment, span
from taut.server.page.tree import causes, draw, grow
from taut.server.page.verbs import offered
from taut.server.page.waves import operation_title, remaining, waves_of
from taut.server.views import DriftView, EventView, HistoryView, ObjectView, PlanView, TreeNode

_HISTORY, _EVENTS, _DRIFT = 100, 200, 500
_LOG_LINES = 500


class ApplicationPages:
    """The handlers. Each raises UnknownName for an application that is not seen."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def overview(self, request: Request) -> Response:
        """What is the matter, what runs, what differs."""
        key, facts = self._facts(request)
        nodes, away = await self._tree(key)
        opened = frozenset(request.query_params.getlist("open"))
        root = grow(facts.status.name, MARKS[facts.shown], nodes, opened, lambda at: moment(at, self._frame.now()).ago)
        plan, unplanned = await self._plan(key, facts)
        values: dict[str, Any] = {
            **self._head(request, key, facts, "overview"),
            **self._now(request, key, facts),
            "root": root,
            "picture": draw(root),
            "as_list": request.query_params.get("as") == "list",
            "away": away,
            "plan": plan,
            "unplanned": unplanned,
            "diffs": [object_diff(change) for change in plan.changes] if plan else [],
            "sides": request.query_params.get("sides") == "1",
            "causes": causes(root),
        }
        return self._frame.answer(request, "application.html", **values)

    async def now(self, request: Request) -> Response:
        """Only what may change from one moment to the next: headline, facts, operation."""
        key, facts = self._facts(request)
        return page("_now.html", self._now(request, key, facts))

    async def history(self, request: Request) -> Response:
        """Every revision that was deployed, by whom, and what it did."""
        key, facts = self._facts(request)
        entries = [HistoryView.of(e) for e in await self._frame.backend.history(key, _HISTORY)]
        values = self._head(request, key, facts, "history")
        return self._frame.answer(
            request, "history.html", entries=entries, picked=_neighbours(entries), span=span, **values
        )

    async def compare(self, request: Request) -> Response:
        """What lies between two operations. Raises BadInput when they are not two of the application's."""
        key, facts = self._facts(request)
        entries = [HistoryView.of(e) for e in await self._frame.backend.history(key, _HISTORY)]
        old, new = _two(entries, request.query_params.getlist("of"))
        between = [e for e in entries if old.id < e.id <= new.id]
        touched: dict[str, list[str]] = {}
        for entry in reversed(between):
            for action, text in entry.changes:
                touched.setdefault(text, []).append(action)
        values = self._head(request, key, facts, "history")
        return self._frame.answer(
            request,
            "compare.html",
            old=old,
            new=new,
            between=between,
            touched=touched,
            forge=compare_address(facts.status.source_url, old.revision, new.revision),
            **values,
        )

    async def drift(self, request: Request) -> Response:
        """Who changed what, and what became of it."""
        key, facts = self._facts(request)
        now = self._frame.now()
        records = [DriftView.of(r) for r in await self._frame.backend.drift(key, open_only=False, limit=_DRIFT)]
        start = now - SPANS["30d"][1]
        return self._frame.answer(
            request,
            "app_drift.html",
            lanes=lanes(records, start, now),
            told=tell(records, now),
            blame=blame(records),
            open_count=sum(map(is_open, records)),
            names={facts.status.key: facts},
            **self._head(request, key, facts, "drift"),
        )

    async def events(self, request: Request) -> Response:
        """The timeline."""
        key, facts = self._facts(request)
        now = self._frame.now()
        events = [EventView.of(e) for e in await self._frame.backend.events(key, _EVENTS)]
        values = self._head(request, key, facts, "events")
        days = [(day(unix_seconds(e.at), now), e) for e in events]
        return self._frame.answer(request, "events.html", days=days, **values)

    async def object(self, request: Request) -> Response:
        """One object: how it is, why, and what differs. Raises UnknownName when the application has none of that id."""
        key, facts = self._facts(request)
        wanted = request.query_params.get("id", "")
        nodes = await self._frame.backend.tree(key)
        node = next((n for n in nodes if n.id == wanted), None)
        if node is None:
            raise UnknownName(
                f"{key.name} has no object {wanted}", advice="it may have been replaced; look at the tree again"
            )
        plan, unplanned = await self._plan(key, facts)
        changes = [c for c in plan.changes if _same(c.object, node)] if plan else []
        values: dict[str, Any] = {
            **self._head(request, key, facts, "overview"),
            "node": node,
            "object_mark": health_mark(node.health),
            "children": [(health_mark(n.health), n) for n in nodes if n.parent == node.id],
            "parent": next((n for n in nodes if n.id == node.parent), None),
            "diffs": [object_diff(c) for c in changes],
            "unplanned": unplanned,
            "sides": request.query_params.get("sides") == "1",
            "logs": node.kind == "Pod" and self._may(request, key, Action.GET, Resource.LOGS),
        }
        return self._frame.answer(request, "object.html", **values)

    async def logs(self, request: Request) -> Response:
        """The last lines of a Pod's container. Raises ForbiddenError, BadInput, TargetError."""
        key, facts = self._facts(request)
        demand(request, Action.GET, self._frame.sight.target(key, Resource.LOGS))
        pod, namespace = request.query_params.get("pod", ""), request.query_params.get("namespace", "")
        container = request.query_params.get("container", "")
        log = await self._frame.backend.logs(key, namespace, pod, container, _LOG_LINES)
        lines = [line.partition(" ") for line in log.lines]
        values = self._head(request, key, facts, "overview")
        return self._frame.answer(request, "logs.html", pod=pod, namespace=namespace, log=log, lines=lines, **values)

    # Parts

    def _facts(self, request: Request) -> tuple[AppKey, Facts]:
        key = self._frame.sight.key(request, request.path_params["name"])
        status = self._frame.backend.status(key)
        if status is None:
            raise UnknownName(f"{key} was removed just now", advice="the fleet shows what there is")
        return key, self._frame.fact(status)

    def _may(self, request: Request, key: AppKey, action: Action, resource: Resource = Resource.APPLICATIONS) -> bool:
        return may(request, action, self._frame.sight.target(key, resource))

    def _head(self, request: Request, key: AppKey, facts: Facts, tab: str) -> dict[str, Any]:
        allowed = {action for action in Action if self._may(request, key, action)}
        return {
            "facts": facts,
            "status": facts.status,
            "mark_now": MARKS[facts.shown],
            "tab": tab,
            "buttons": offered(facts.status, allowed),
            "live": f"/live?app={key}",
        }

    def _now(self, request: Request, key: AppKey, facts: Facts) -> dict[str, Any]:
        operation = self._frame.backend.operation(key)
        return {
            "facts": facts,
            "status": facts.status,
            "mark_now": MARKS[facts.shown],
            "rope_now": rope_of(facts.status),
            "headline": headline(facts),
            "synced": moment(facts.status.last_sync, self._frame.now()),
            "drifted": moment(facts.status.drift_since, self._frame.now()),
            "operation": operation,
            "waves": waves_of(operation) if operation else [],
            "operation_title": operation_title(operation) if operation else "",
            "operation_left": remaining(operation) if operation else "",
            "operation_started": moment(operation.started, self._frame.now()) if operation else None,
            "may_abort": operation is not None and self._may(request, key, Action.SYNC),
            "address": app_address(str(key), "now"),
        }

    async def _tree(self, key: AppKey) -> tuple[Sequence[TreeNode], str]:
        """The objects; none and why while the cluster cannot be asked."""
        try:
            return await self._frame.backend.tree(key), ""
        except TautError as error:
            return (), str(error)

    async def _plan(self, key: AppKey, facts: Facts) -> tuple[PlanView | None, str]:
        """The plan, where there may be something in it; or why there is none."""
        status = facts.status
        if not (status.plan_hash or status.out_of_sync or status.drift or status.held_for):
            return None, ""
        try:
            return await self._frame.backend.plan(key), ""
        except TautError as error:
            return None, str(error)


def _neighbours(entries: Sequence[HistoryView]) -> set[int]:
    """The newest operation and the one before it with another revision: what one most likely wants to compare."""
    other = next((e for e in entries if e.revision != entries[0].revision), None)
    return {entries[0].id, other.id} if other else {e.id for e in entries[:2]}


def _two(entries: Sequence[HistoryView], wanted: Sequence[str]) -> tuple[HistoryView, HistoryView]:
    found = sorted((e for e in entries if str(e.id) in set(wanted)), key=lambda e: e.id)
    if len(found) != 2:
        raise BadInput("Two revisions are compared", advice="pick exactly two in the history")
    return found[0], found[1]


def _same(ref: ObjectView, node: TreeNode) -> bool:
    return (ref.group, ref.kind, ref.namespace, ref.name) == (node.group, node.kind, node.namespace, node.name)
