"""Pages across the fleet: what drifted, what waits for a decision, and what runs in which environment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from taut.model.errors import TautError
from taut.model.refs import AppKey, parse_app_key
from taut.model.shown import Shown
from taut.server.access.asking import may
from taut.server.access.principal import Action
from taut.server.names import UnknownName
from taut.server.page.actions import loses
from taut.server.page.cords import SPANS, Told, author, blame, ended, is_open, lanes, tell
from taut.server.page.diff import VERBS, ObjectDiff, change_sentence, object_diff, plan_counts
from taut.server.page.environments import Family, families, gap, matrix, short_image
from taut.server.page.facts import Facts
from taut.server.page.rope import MARKS
from taut.server.page.shell import Frame
from taut.server.page.times import clock
from taut.server.views import DriftView, PlanView

_RECORDS = 2000
_TOLD = 100
_PLANS = 20
"""So many plans are looked at for one page; the others are named."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan that waits. `mine`: who looks may decide; `typed` is what has to be typed because something is deleted."""

    facts: Facts
    plan: PlanView | None
    unplanned: str
    diffs: Sequence[ObjectDiff]
    mine: bool
    typed: str

    @property
    def approvable(self) -> bool:
        """Whether an approval helps at all."""
        return any(h.approvable for h in self.facts.status.held_for)


class WidePages:
    """The handlers."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def drift(self, request: Request) -> Response:
        """Who changed what, in the whole fleet."""
        now = self._frame.now()
        fleet = self._frame.fleet(request)
        names = {f.status.key: f for f in fleet}
        found = await self._frame.backend.drift(None, open_only=False, limit=_RECORDS)
        records = [DriftView.of(r) for r in found if self._frame.sight.sees_key(request, str(r.app))]
        chosen = request.query_params.get("span", "24h")
        chosen = chosen if chosen in SPANS else "24h"
        words = request.query_params.get("q", "").strip()[:200]
        start = now - SPANS[chosen][1]
        records = [r for r in records if ended(r, now) >= start and _about(r, words)]
        told = tell(records, now)
        return self._frame.answer(
            request,
            "drift.html",
            fleet,
            lanes=lanes(records, start, now)[:30],
            axis=[clock(start + (now - start) * n / 4) for n in range(4)] if chosen == "24h" else [],
            told=told[:_TOLD],
            more=max(0, len(told) - _TOLD),
            blame=blame(records),
            lede=drift_lede(records, told, SPANS[chosen][0]),
            spans=[(word, title) for word, (title, _) in SPANS.items()],
            chosen=chosen,
            words=words,
            names=names,
            marks=MARKS,
        )

    async def held(self, request: Request) -> Response:
        """Everything that waits for a decision, with its reason and its plan."""
        fleet = self._frame.fleet(request)
        waiting = [f for f in fleet if f.status.held_for]
        decisions = await asyncio.gather(*(self._decision(request, f) for f in waiting[:_PLANS]))
        only = request.query_params.get("only", "")
        counts = {
            "": len(decisions),
            "mine": sum(d.mine and d.approvable for d in decisions),
            "deletes": sum(bool(d.typed) for d in decisions),
        }
        shown = [d for d in decisions if _chosen(d, only)]
        return self._frame.answer(
            request,
            "held.html",
            fleet,
            decisions=shown,
            waiting=len(waiting),
            more=waiting[_PLANS:],
            counts=counts,
            only=only if only in counts else "",
            deleting=counts["deletes"],
            plan_counts=plan_counts,
            verbs=VERBS,
            change_sentence=change_sentence,
            held_mark=MARKS[Shown.HELD],
            sides=False,
        )

    async def environments(self, request: Request) -> Response:
        """All applications, and which revision runs where."""
        fleet = self._frame.fleet(request)
        words = request.query_params.get("q", "").strip()[:200]
        found = [f for f in families(fleet) if words.lower() in f"{f.project}/{f.name}".lower()]
        several = [f for f in found if len(f.members) > 1]
        return self._frame.answer(
            request,
            "environments.html",
            fleet,
            families=several[:200],
            more=max(0, len(several) - 200),
            alone=len(found) - len(several),
            differing=sum(f.revisions > 1 for f in several),
            words=words,
            gap=gap,
            marks=MARKS,
        )

    async def environment(self, request: Request) -> Response:
        """One application across its environments. Raises UnknownName when nothing of that name is seen."""
        fleet = self._frame.fleet(request)
        project, _, name = request.path_params["name"].rpartition("/")
        family = next((f for f in families(fleet) if (f.project, f.name) == (project, name)), None)
        if family is None:
            raise UnknownName(
                f"There is no application {name!r} in project {project!r}", advice="the list has them all"
            )
        images = {f.status.key: self._frame.backend.images(_key(f)) for f in family.members}
        rows = matrix(family, images)
        return self._frame.answer(
            request,
            "environment.html",
            fleet,
            family=family,
            rows=[r for r in rows if r.differs],
            same=[r for r in rows if not r.differs],
            gaps=[gap(a, b) for a, b in zip(family.members, family.members[1:], strict=False)],
            lede=environment_lede(family),
            marks=MARKS,
            short_image=short_image,
        )

    async def _decision(self, request: Request, facts: Facts) -> Decision:
        key = _key(facts)
        mine = may(request, Action.APPROVE, self._frame.sight.target(key))
        try:
            plan, why = await self._frame.backend.plan(key), ""
        except TautError as error:
            plan, why = None, str(error)
        typed = plan.hash[:8] if plan is not None and loses(plan) else ""
        diffs = [object_diff(c) for c in plan.changes] if plan is not None else []
        return Decision(facts, plan, why, diffs, mine, typed)


def _key(facts: Facts) -> AppKey:
    found = parse_app_key(facts.status.key)
    return found or AppKey(facts.status.root, facts.status.namespace, facts.status.name)


def _chosen(decision: Decision, only: str) -> bool:
    match only:
        case "mine":
            return decision.mine and decision.approvable
        case "deletes":
            return bool(decision.typed)
        case _:
            return True


def _about(record: DriftView, words: str) -> bool:
    text = f"{record.app} {record.object.text} {record.path} {author(record)} {record.who} {record.outcome}".lower()
    return all(word in text for word in words.lower().split())


def drift_lede(records: Sequence[DriftView], told: Sequence[Told], span: str) -> tuple[str, str]:
    """The drift in a sentence."""
    apps = {r.app for r in records if is_open(r)}
    closed = sum(t.times for t in told if not is_open(t.record))
    bold = (
        "Live is what Git says."
        if not apps
        else f"{len(apps)} {'application differs' if len(apps) == 1 else 'applications differ'} from Git."
    )
    rest = (
        f"{closed} {'change' if closed == 1 else 'changes'} of the last {span} {'is' if closed == 1 else 'are'} over."
        if closed
        else ""
    )
    return bold, rest


def environment_lede(family: Family) -> tuple[str, str]:
    """How far the environments are from each other."""
    count = len(family.members)
    if family.revisions == 1:
        return f"All {count} run the same revision.", ""
    names = [f.environment for f in family.members if f.status.revision != family.members[0].status.revision]
    first = family.members[0].environment
    return (
        f"{family.revisions} revisions run in {count} places.",
        f"Not what {first} runs: {', '.join(dict.fromkeys(names))}.",
    )
