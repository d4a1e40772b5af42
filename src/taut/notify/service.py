"""Alerts of a running taut: wired to the controller, and closed with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec

from taut.controller.controller import Controller
from taut.controller.state import AppState
from taut.dialects.alerts import AlertBook
from taut.dialects.taut import Parsed
from taut.model.alerts import AlertReceiver, AlertRule
from taut.model.drift import DriftOutcome, DriftRecord
from taut.model.durations import seconds
from taut.model.errors import StoreError, TautError
from taut.model.refs import AppKey, parse_app_key
from taut.notify.addressed import Sender
from taut.notify.courier import CHANNEL, Courier
from taut.notify.delivery import UndeliveredError
from taut.notify.desk import DRIFT, NOTICE, Desk, drift_posts
from taut.notify.facts import About, about, drift_ended, drift_fact
from taut.notify.preview import LASTING, Preview, ended, facts_of, previewed
from taut.store.outbox import Post, Queued


class Said(msgspec.Struct, frozen=True):
    """What a root says of alerts, as it is remembered: after a start it counts until the root is read."""

    rules: tuple[AlertRule, ...] = ()
    receivers: tuple[AlertReceiver, ...] = ()


class Alerting:
    """Who is told of what. Hears drift as `DriftHeard`, statuses by the fleet's stream, rules by the roots."""

    def __init__(self, controller: Controller, sender: Sender) -> None:
        config = controller.config.alerts
        self._c = controller
        self._sender = sender
        self._remembered: dict[str, Said] = {}
        self._book: AlertBook = controller.roots.alert_book()[0]
        self.desk = Desk(
            controller.store, self.book, self._unresolved, self._known, link=config.page, most=config.most_waiting
        )
        self.courier = Courier(controller.store, lambda: self._book.receivers, sender.send, seconds(config.give_up))
        self.desk.on_messages = self.courier.wake

    def book(self) -> AlertBook:
        """The rules and receivers that count now."""
        return self._book

    # Drift, together with its record

    def found(self, state: AppState, records: Sequence[DriftRecord]) -> Sequence[Post]:
        """Drift was found: what is to be told of it is stored with it."""
        if not self._book.rules:
            return ()
        who = about_state(state)
        return drift_posts({f"found {r.id}": drift_fact(who, r) for r in records})

    def settled(
        self, state: AppState, records: Sequence[DriftRecord], outcome: DriftOutcome, at: float, reason: str
    ) -> Sequence[Post]:
        """What became of drift."""
        if not self._book.rules:
            return ()
        who = about_state(state)
        return drift_posts({f"{outcome} {r.id}": drift_ended(who, r, outcome, at, reason) for r in records})

    # Rules

    async def load(self) -> None:
        """Take up what roots said when they were read last, and what was told."""
        for name in self._c.roots.states:
            data = await self._c.store.kept_secret(_note(name))
            if data is not None:
                with suppress(msgspec.DecodeError):
                    self._remembered[name] = msgspec.json.decode(data, type=Said)
        self._read()
        await self.desk.load()

    def _read(self) -> None:
        remembered = {name: (said.rules, said.receivers) for name, said in self._remembered.items()}
        self._book = self._c.roots.alert_book(remembered)[0]

    async def remember(self) -> None:
        """Roots say something else: it counts from now on, and is remembered."""
        for name, state in self._c.roots.states.items():
            if state.parsed is None:
                continue
            before = self._remembered.get(name, Said())
            said = _said(state.parsed, before)
            if said != before:
                self._remembered[name] = said
                await self._c.store.keep_secret(_note(name), msgspec.json.encode(said) if said != Said() else None)
        self._read()
        for status in self._c.fleet.statuses():
            self.desk.hear(status)
        self.desk.wake()
        self.courier.wake()

    # For people

    async def test(self, name: str, app: AppKey | None, *, send: bool) -> Preview:
        """What a rule, or a receiver, would be told of an example (of an application as it is, if one is named); with `send` it is told.

        Raises BadInput for a name that nobody has, TautError when it cannot be delivered.
        """
        status = self._c.fleet.status(app) if app is not None else None
        facts = facts_of(status, self._unresolved(status.key)) if status is not None else ()
        who = about(status) if status is not None else None
        preview = previewed(self._book, name, facts, time.time(), self._c.config.alerts.page, who)
        for message, receiver in preview.messages if send else ():
            try:
                await self._sender.send(message, receiver)
                if receiver.spec.way in LASTING:
                    await self._sender.send(ended(message), receiver)
            except UndeliveredError as error:
                raise TautError(f"{receiver.id} was not told: {error.why}", advice="mend it, and test again") from None
        return preview

    async def waiting(self, limit: int) -> list[Queued]:
        """What waits to be told, the oldest first."""
        return await self._c.store.queued((DRIFT, NOTICE, CHANNEL), limit)

    # Statuses

    def _unresolved(self, key: str) -> Sequence[str]:
        found = parse_app_key(key)
        state = self._c.fleet.states.get(found) if found is not None else None
        return state.desired.unresolved if state is not None and state.desired is not None else ()

    def _known(self, key: str) -> bool:
        return parse_app_key(key) in self._c.fleet.states

    async def listen(self) -> None:
        """Hear of statuses until cancelled."""
        async for news in self._c.fleet.subscribe():
            if isinstance(news, AppKey):
                self.desk.hear_gone(str(news))
            else:
                self.desk.hear(news)


def about_state(state: AppState) -> About:
    """The application of a state."""
    spec = state.app.spec
    desired = state.desired
    return About(
        key=str(state.key),
        root=state.key.root,
        namespace=state.key.namespace,
        name=state.key.name,
        project=spec.project,
        cluster=spec.target.cluster,
        target_namespace=spec.target.namespace,
        labels=state.app.labels,
        revision=desired.revision.label if desired is not None else state.record.revision,
    )


def _said(parsed: Parsed, before: Said) -> Said:
    """What a root says now. While a file of it has faults, what is missing may be in there: it stays as it was."""
    rules, receivers = parsed.alert_rules, parsed.alert_receivers
    if parsed.doubtful:
        names, others = {r.name for r in rules}, {r.name for r in receivers}
        rules = (*rules, *(r for r in before.rules if r.name not in names))
        receivers = (*receivers, *(r for r in before.receivers if r.name not in others))
    return Said(rules, receivers)


def _note(root: str) -> str:
    return f"alerts of root {root}"


@asynccontextmanager
async def notifying(controller: Controller) -> AsyncGenerator[Alerting]:
    """Tell people what rules say, for as long as the context is open. It is opened before the controller starts."""
    config = controller.config
    sender = Sender(config.alerts, frozenset(r.name for r in config.roots if r.alerts))
    alerting = Alerting(controller, sender)
    await alerting.load()
    changed = asyncio.Event()
    controller.roots.listeners.append(changed.set)
    controller.drift.heard.append(alerting)
    controller.drift.on_stored = alerting.desk.wake
    tasks = [
        asyncio.create_task(alerting.listen(), name="alerts: statuses"),
        asyncio.create_task(_rules(alerting, changed), name="alerts: rules"),
        asyncio.create_task(alerting.desk.run(), name="alerts: desk"),
        asyncio.create_task(alerting.courier.run(), name="alerts: courier"),
    ]
    try:
        yield alerting
    finally:
        controller.drift.heard.remove(alerting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await sender.close()


async def _rules(alerting: Alerting, changed: asyncio.Event) -> None:
    """Take up what roots say, whenever they say something else."""
    while True:
        await changed.wait()
        changed.clear()
        try:
            await alerting.remember()
        except StoreError:
            await asyncio.sleep(5.0)
            changed.set()
