"""The desk: hears what happens, asks the rules, and puts what is to be told into the outbox.

Drift is written into the outbox by whoever notices it, together with the record of it (channel `drift`): nothing is lost between noticing and telling.
From there, in one transaction each, it becomes notices (channel `notice`), and at the end of their window messages (channel `alert`).
What a status tells lasts; after a restart it is told from the status again, and the open alerts say what was told already.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf

import msgspec

from taut.dialects.alerts import AlertBook
from taut.model.alerts import AlertTemplate
from taut.model.durations import seconds
from taut.model.errors import StoreError
from taut.model.status import AppStatus
from taut.notify.addressed import encoded
from taut.notify.courier import CHANNEL
from taut.notify.facts import Fact, about, conditions, well
from taut.notify.messages import Message, Pending, message_of, ready
from taut.notify.rules import Alert, Notice, Phase, Step, drifted, due, gone, heard, next_look
from taut.notify.templates import words
from taut.store.outbox import Post, Waiting
from taut.store.store import Store

log = logging.getLogger("taut.alerts")

DRIFT, NOTICE = "drift", "notice"
_MOST_DRIFT, _MOST_NOTICES = 1000, 5000
_AT_ONCE = 200
"""So many applications are looked at before others have their turn."""
_STORE_PAUSE = 5.0
_LONGEST_WINDOW = 86_400.0
_GRACE = 60.0
"""Seconds after a start in which no condition is taken for over: what is wrong may not have been noticed anew."""


class Desk:
    """Open alerts in memory and in the store alike. `unresolved` tells of an application's Secrets without values, `known` whether it is there."""

    def __init__(
        self,
        store: Store,
        book: Callable[[], AlertBook],
        unresolved: Callable[[str], Sequence[str]],
        known: Callable[[str], bool],
        *,
        link: str = "",
        most: int = 10_000,
        clock: Callable[[], float] = time.time,
        grace: float = _GRACE,
    ) -> None:
        self._store = store
        self._book = book
        self._unresolved = unresolved
        self._known = known
        self._link = link
        self._most = most
        self._clock = clock
        self._grace = grace
        self._began = 0.0
        self._alerts: dict[str, dict[str, Alert]] = {}
        """By application, then by key."""
        self._news: dict[str, AppStatus | None] = {}
        self._last: dict[str, AppStatus] = {}
        self._changed: set[str] = set()
        """The applications whose alerts changed since they were looked at."""
        self._judged: AlertBook | None = None
        self._look = inf
        """When an open alert may have to be told."""
        self._soonest = 0.0
        """When a group's window may end; at a start it is not known."""
        self._wake = asyncio.Event()
        self.dropped = 0
        """Messages that were too many."""
        self.on_messages: Callable[[], None] = lambda: None

    # What is heard

    def hear(self, status: AppStatus) -> None:
        """An application's status is another one."""
        if not self._book().rules and not self._alerts:
            return
        self._news[status.key] = status
        self._wake.set()

    def hear_gone(self, key: str) -> None:
        """An application is no more."""
        self._news[key] = None
        self._wake.set()

    def wake(self) -> None:
        """There is drift to tell of, or rules are other ones."""
        self._wake.set()

    def settle(self) -> None:
        """Believe from now on that what seems to be over is over."""
        self._began = 0.0
        self._wake.set()

    def open_alerts(self) -> list[Alert]:
        """The alerts that were told and are not over."""
        return [a for found in self._alerts.values() for a in found.values() if a.told]

    # The work

    async def load(self) -> None:
        """Take up what an earlier process had told."""
        self._began = self._clock()
        for data in (await self._store.open_alerts()).values():
            try:
                alert = msgspec.json.decode(data, type=Alert)
            except msgspec.DecodeError:
                continue  # an older taut's form: it opens anew
            self._alerts.setdefault(alert.fact.about.key, {})[alert.key] = alert

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            try:
                pause = await self.round()
            except StoreError as error:
                log.warning("alerts wait, for taut's store cannot be written: %s", error.what)
                pause = _STORE_PAUSE
            except Exception:
                log.exception("an error inside taut while it looked what is to be told; it looks again")
                pause = _STORE_PAUSE
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def round(self) -> float | None:
        """Do all that is due; the seconds until more may be, None when only news can bring some."""
        now = self._clock()
        await self._drift(now)
        await self._statuses(now)
        await self._due(now)
        await self._group(now)
        pauses = [max(at - self._clock(), 0.05) for at in (self._look, self._soonest) if at < inf]
        if self._news:
            pauses.append(0.0)
        if self._began + self._grace > now and self._last:
            pauses.append(self._began + self._grace - now + 0.05)
        return min(pauses, default=None)

    async def _drift(self, now: float) -> None:
        while found := await self._store.waiting(DRIFT, _MOST_DRIFT):
            for each in found:
                await self._one_drift(each, now)

    async def _one_drift(self, each: Waiting, now: float) -> None:
        try:
            fact = msgspec.json.decode(each.payload, type=Fact)
        except msgspec.DecodeError:
            await self._store.sent([each.id])
            return
        step = drifted(self._book(), self._alerts.get(fact.about.key, {}), fact, now)
        # Its notice enters the outbox in the transaction that takes the drift out: a kill between both is none.
        told = due(self._book(), {k: a for k, a in step.alerts.items() if a is not None}, now)
        await self._take([(fact.about.key, _together(step, told))], done=[each.id])

    async def _statuses(self, now: float) -> None:
        hasty = now >= self._began + self._grace
        if hasty and self._grace:
            # What seemed to be over in the first moments is looked at once more, and who is no more is told of.
            gone_by_now = (key for key in self._alerts if not self._known(key))
            self._news = {**dict.fromkeys(gone_by_now), **self._last, **self._news}
            self._last, self._grace = {}, 0.0
        for _ in range(0, len(self._news), _AT_ONCE):  # what comes meanwhile has its turn after drift
            some = [(key, self._news.pop(key)) for key in list(islice(self._news, _AT_ONCE))]
            steps = [(key, self._step(key, status, now, hasty)) for key, status in some]
            try:
                await self._take([(key, step) for key, step in steps if step.alerts or step.notices])
            except StoreError:
                self._news = {**dict(some), **self._news}
                raise
            await asyncio.sleep(0)  # a whole fleet that is away must not keep the loop from its other work

    def _step(self, key: str, status: AppStatus | None, now: float, hasty: bool) -> Step:
        alerts = self._alerts.get(key, {})
        if status is None:
            self._last.pop(key, None)
            return gone(self._book(), alerts, now)
        if not hasty:
            self._last[key] = status
        found = conditions(status, now, self._unresolved(key))
        step = heard(self._book(), alerts, about(status), found, well=well(status), now=now, hasty=hasty)
        return Step({k: a for k, a in step.alerts.items() if a != alerts.get(k)}, step.notices)

    async def _due(self, now: float) -> None:
        """Tell what is due of the applications whose alerts changed; of all when time has come for one, or rules are other ones."""
        book = self._book()
        every = now >= self._look or book is not self._judged
        apps = list(self._alerts) if every else [app for app in self._changed if app in self._alerts]
        if not every and not self._changed:
            return
        for at in range(0, len(apps), _AT_ONCE):
            steps = [(app, due(book, self._alerts.get(app, {}), now)) for app in apps[at : at + _AT_ONCE]]
            await self._take([(app, step) for app, step in steps if step.alerts or step.notices])
            await asyncio.sleep(0)
        self._changed, self._judged = set(), book
        look = next_look(book, (a for found in self._alerts.values() for a in found.values()), now)
        self._look = inf if look is None else look

    async def _take(self, steps: Sequence[tuple[str, Step]], *, done: Sequence[int] = ()) -> None:
        """Carry out steps of applications: in the store first, in one transaction, then in memory."""
        if not steps and not done:
            return
        rules = self._book().by_id

        def window(notice: Notice) -> float:
            found = rules.get(notice.rule)
            return seconds(found[0].spec.group) if found is not None else 0.0

        posts = [_post(n, n.at + window(n)) for _, step in steps for n in step.notices]
        changed = {key: alert for _, step in steps for key, alert in step.alerts.items()}
        kept = {key: None if a is None else msgspec.json.encode(a) for key, a in changed.items()}
        await self._store.post(posts, kept, done=done)
        self._soonest = min([self._soonest, *(post.due for post in posts)])
        self._changed |= {app for app, _ in steps}
        for app, step in steps:
            mine = self._alerts.setdefault(app, {})
            for key, alert in step.alerts.items():
                if alert is None:
                    mine.pop(key, None)
                else:
                    mine[key] = alert
            if not mine:
                del self._alerts[app]

    async def _group(self, now: float) -> None:
        """Make messages of the notices that have waited long enough."""
        if now < self._soonest:
            return
        while await self._some_groups(now):
            pass

    async def _some_groups(self, now: float) -> bool:
        """The oldest notices; whether there are more."""
        waiting = await self._store.waiting(NOTICE, _MOST_NOTICES)
        # A clock that was set back must not keep a notice for years.
        pending = [
            Pending(w.id, msgspec.json.decode(w.payload, type=Notice), min(w.due, now + _LONGEST_WINDOW))
            for w in waiting
        ]
        groups = ready(pending, now)
        for group in groups:
            found = self._book().by_id.get(group[0].notice.rule)
            template = found[0].spec.template if found is not None else AlertTemplate()
            message = await asyncio.to_thread(self._message, group, template, now)
            post = Post(CHANNEL, message.receiver, message.name, encoded(message), worth=0 if message.ended else 1)
            await self._store.post([post], done=[each.id for each in group])
        if groups:
            await self._bound()
            self.on_messages()
        taken = {each.id for group in groups for each in group}
        self._soonest = min((p.due for p in pending if p.id not in taken), default=inf)
        return bool(taken) and len(waiting) == _MOST_NOTICES

    def _message(self, group: Sequence[Pending], template: AlertTemplate, now: float) -> Message:
        return message_of(group, lambda notices: words(notices, template, self._link), self._link, now)

    async def _bound(self) -> None:
        dropped = await self._store.trim_outbox(CHANNEL, self._most)
        if dropped:
            self.dropped += dropped
            log.error(
                "%d alerts were let go of: more than %d wait for receivers that do not answer (alerts.mostWaiting); ends first, then the oldest",
                dropped,
                self._most,
            )


def _together(one: Step, other: Step) -> Step:
    return Step({**one.alerts, **other.alerts}, [*one.notices, *other.notices])


def _post(notice: Notice, due_at: float) -> Post:
    worth = 0 if notice.phase is Phase.RESOLVED else 1
    return Post(NOTICE, notice.receiver, notice.name, msgspec.json.encode(notice), due=due_at, worth=worth)


def drift_posts(facts: Mapping[str, Fact]) -> list[Post]:
    """Facts of drift as they are written together with their records, by their names."""
    return [Post(DRIFT, fact.about.key, name, msgspec.json.encode(fact)) for name, fact in facts.items()]
