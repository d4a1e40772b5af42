"""Doing something: a page that says first what it will do and shows the plan, and the form that does it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from taut.model.errors import BadInput, TautError
from taut.model.plan import Action as Change
from taut.model.refs import AppKey
from taut.server.access.asking import demand
from taut.server.access.routes import safe_path
from taut.server.names import UnknownName
from taut.server.page.addresses import app_address
from taut.server.page.diff import object_diff, plan_counts
from taut.server.page.facts import Facts
from taut.server.page.forms import check_csrf, form_of
from taut.server.page.rope import MARKS
from taut.server.page.shell import Frame, remember_said
from taut.server.page.verbs import VERBS, Verb
from taut.server.views import PlanView, SyncRequest

_RESTARTABLE = ("Deployment", "StatefulSet", "DaemonSet")
_TYPED = 8
"""So many characters of a plan's hash are typed before something is deleted."""


class Actions:
    """The handlers of all verbs."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def ask(self, request: Request) -> Response:
        """What the verb will do. Raises UnknownName, ForbiddenError, BadInput when it makes no sense now."""
        key, facts, verb, _ = self._asked(request)
        plan, unplanned = await self._plan(key, verb)
        values: dict[str, Any] = {
            "facts": facts,
            "status": facts.status,
            "mark_now": MARKS[facts.shown],
            "verb": verb,
            "plan": plan,
            "unplanned": unplanned,
            "counts": plan_counts(plan.changes) if plan else [],
            "diffs": [object_diff(c) for c in plan.changes] if plan else [],
            "typed": plan.hash[:_TYPED] if plan and verb.name == "approve" and loses(plan) else "",
            "workloads": await self._workloads(key) if verb.name == "restart" else [],
            "back": safe_path(request.query_params.get("back", app_address(str(key)))),
            "sides": False,
        }
        return self._frame.answer(request, "act.html", **values)

    async def do(self, request: Request) -> Response:
        """Do it, and say what came of it on the next page. Raises as `ask` does, and what the backend raises."""
        key, _, verb, who = self._asked(request)
        form = await form_of(request)
        check_csrf(request, form)
        said = await self._done(key, verb, form, who)
        made = RedirectResponse(safe_path(form.get("back") or app_address(str(key))), 303)
        remember_said(made, said)
        return made

    async def _done(self, key: AppKey, verb: Verb, form: Mapping[str, str], who: str) -> str:
        backend, reason = self._frame.backend, form.get("reason", "")[:500]
        match verb.name:
            case "sync":
                return (await backend.sync(key, SyncRequest(by=who))).message
            case "refresh":
                return await backend.refresh(None, key)
            case "approve":
                await self._check_typed(key, form)
                return await backend.approve(key, form.get("plan", ""), who, reason)
            case "suspend":
                return await backend.suspend(key, who, reason)
            case "resume":
                return await backend.resume(key, who)
            case "restart":
                return await backend.restart(key, form.get("object", ""), who)
            case _:
                return await backend.abort(key, who)

    async def _check_typed(self, key: AppKey, form: Mapping[str, str]) -> None:
        plan = await self._frame.backend.plan(key)
        typed = form.get("typed", "").strip().lower()
        if loses(plan) and not hmac.compare_digest(typed.encode(), plan.hash[:_TYPED].encode()):
            raise BadInput(
                f"This plan deletes something, and {typed or 'nothing'} was typed instead of its first {_TYPED} characters",
                advice=f"type {plan.hash[:_TYPED]} if that is the plan that you looked at",
            )

    def _asked(self, request: Request) -> tuple[AppKey, Facts, Verb, str]:
        key = self._frame.sight.key(request, request.path_params["name"])
        status = self._frame.backend.status(key)
        if status is None:
            raise UnknownName(f"{key} was removed just now", advice="the fleet shows what there is")
        verb = VERBS[request.path_params["verb"]]
        who = demand(request, verb.right, self._frame.sight.target(key)).name
        if not verb.when(status):
            raise BadInput(
                f"{verb.title} makes no sense for {key.name} now", advice="look at it again: it changed meanwhile"
            )
        return key, self._frame.fact(status), verb, who

    async def _plan(self, key: AppKey, verb: Verb) -> tuple[PlanView | None, str]:
        if not verb.plans:
            return None, ""
        try:
            return await self._frame.backend.plan(key), ""
        except TautError as error:
            return None, str(error)

    async def _workloads(self, key: AppKey) -> list[str]:
        found = [o for o in await self._frame.backend.objects(key) if o.kind in _RESTARTABLE]
        return [f"{o.kind} {o.namespace}/{o.name}" if o.namespace else f"{o.kind}/{o.name}" for o in found]


def loses(plan: PlanView) -> bool:
    """Whether something is deleted."""
    return any(change.action in (Change.DELETE, Change.RECREATE) for change in plan.changes)
