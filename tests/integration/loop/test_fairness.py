"""One application's size, failures, haste and slowness are its own affair. All by facts: who was served between which requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from support.audit import AuditLog
from taut.controller.state import AppState

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

OBJECTS = 1_000
IN_FLIGHT = 32
"""The requests to a cluster that are under way at once, by default."""


def huge(value: str) -> str:
    """One file of many objects."""
    return yaml(*(config_map(f"huge-{n:04}", {"a": value}) for n in range(OBJECTS)))


async def test_a_huge_application_does_not_delay_a_small_one(taut: Taut) -> None:
    taut.declare(
        application("small"),
        application("huge"),
        files={"apps/small/cm.yaml": yaml(config_map("small")), "apps/huge/README.md": "nothing yet\n"},
    )
    async with taut.run():
        await taut.synced("small", "huge")
        log = AuditLog(taut.plane.audit_log)
        await taut.push({"apps/huge/cm.yaml": huge("1")})
        await taut.until(lambda: len(log.writes()) >= 20, "the huge one is being written")
        commit = await taut.push({"apps/small/cm.yaml": yaml(config_map("small", {"a": "2"}))})
        await taut.synced("small", at=commit)
        await taut.synced("huge", seconds=100)
        answers = [a.name for a in log.requests(lambda a: not a.watches)]
        first, last = answers.index("small"), len(answers) - 1 - answers[::-1].index("small")
        # Its read, and then its write, each wait for what is in flight, and not for what waits behind it. Between the two it is planned and
        # written ahead, and meanwhile the huge one goes on: how far depends on the machine, but most of it is still to come.
        between = [name for name in answers[first:last] if name.startswith("huge")]
        after = [name for name in answers[last:] if name.startswith("huge")]
        assert len(after) > IN_FLIGHT, "the small one did not wait for the end of the huge one"
        assert len(between) <= max(2 * IN_FLIGHT, len(after)), "nor for most of it"


async def test_one_that_fails_for_ever_does_not_delay_others(taut: Taut) -> None:
    endless = {"retry": {"limit": -1, "backoff": {"duration": "50ms", "factor": 1}}}
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": {"ports": [{"port": 99_999}]}}
    failing = [f"failing{n}" for n in range(20)]
    taut.declare(
        *(application(n, "apps/failing", sync=endless) for n in failing[:1]),
        *(application(n, sync=endless) for n in failing[1:]),
        application("small"),
        files={
            "apps/failing/a.yaml": yaml(bad),
            **{f"apps/{n}/a.yaml": yaml({**bad, "metadata": {"name": n}}) for n in failing[1:]},
            "apps/small/cm.yaml": yaml(config_map("small")),
        },
    )
    async with taut.run():
        await taut.synced("small")
        for value in "23456":
            before = _tries(taut, failing)
            commit = await taut.push({"apps/small/cm.yaml": yaml(config_map("small", {"a": value}))})
            await taut.synced("small", at=commit)
            await taut.until(lambda b=before: _tries(taut, failing) > b, "the others are tried again and again")


def _tries(taut: Taut, names: list[str]) -> int:
    return sum(s.record.failures for n in names if (s := taut.state(n)) is not None)


async def test_one_that_git_changes_all_the_time_is_carried_through_meanwhile(taut: Taut) -> None:
    """Its second wave comes a while after the first, and a commit every tenth of a second: each would cut off the one before."""

    def content(number: int) -> dict[str, str]:
        slow = deployment("web", **{"localplane.taut.dev/ready-after": "500ms", "number": str(number)})
        later = annotate(config_map("later", {"number": str(number)}), wave="1")
        return {"apps/web/a.yaml": yaml(slow), "apps/web/b.yaml": yaml(later)}

    taut.declare(application("web"), files=content(0))
    async with taut.run(), _one_at_a_time(taut) as most:
        await taut.synced("web")
        pushes = 0

        async def push() -> None:
            nonlocal pushes
            while True:
                pushes += 1
                await taut.push(content(pushes))
                await asyncio.sleep(0.1)

        pushing = asyncio.create_task(push())

        async def carried() -> bool:
            return [e.result for e in await taut.history("web")].count("Succeeded") >= 3

        try:
            await taut.until(carried, "operations are carried through while Git changes")
            live = taut.get("configmaps", "later")
            assert live is not None
            assert 0 < int(live["data"]["number"]) <= pushes
        finally:
            pushing.cancel()
        commit = await taut.push(content(pushes + 1))
        await taut.synced("web", at=commit)
        live = taut.get("configmaps", "later")
        assert live is not None
        assert live["data"]["number"] == str(pushes + 1)
        assert set(most.values()) == {1}, "one run an application at a time"


@asynccontextmanager
async def _one_at_a_time(taut: Taut) -> AsyncGenerator[Counter[str]]:
    """The most runs of each application at once."""
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()
    run = taut.controller.reconciler.run

    async def counted(state: AppState) -> None:
        name = state.key.name
        now[name] += 1
        most[name] = max(most[name], now[name])
        try:
            await run(state)
        finally:
            now[name] -= 1

    taut.controller.reconciler.run = counted  # pyright: ignore[reportAttributeAccessIssue] (the same, and counted)
    yield most


async def test_a_storm_of_webhooks_is_one_refresh(taut: Taut) -> None:
    taut.declare(application("web"), files={"apps/web/cm.yaml": yaml(config_map("web"))})
    async with taut.run():
        await taut.synced("web")
        watch = taut.controller.watch
        await taut.until(lambda: taut.controller.queue.idle and not watch.owed, "quiet")
        fetches, asked = watch.fetches, _advertisements(taut)
        commit = taut.repo.commit({"apps/web/cm.yaml": yaml(config_map("web", {"a": "2"}))})
        for _ in range(200):
            watch.poke([taut.repo.url])
            await asyncio.sleep(0)
        await taut.synced("web", at=commit)
        await taut.until(lambda: taut.controller.queue.idle and not watch.owed, "quiet")
        assert 1 <= watch.fetches - fetches <= 2
        assert 1 <= _advertisements(taut) - asked <= 2


def _advertisements(taut: Taut) -> int:
    return sum("info/refs" in path for _, path in taut.git.requests)


SLOW = """apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-map"}
data:
  v: {{ .Values.v | quote }}
  n: {{ range $i := until 100 }}{{ $_ := derivePassword 1 "long" "p" (toString $i) "example.org" }}{{ end }}"x"
"""


@pytest.mark.faults
async def test_slow_renders_do_not_hold_up_the_others(taut: Taut) -> None:
    """More charts that compute for long than there are workers: a plain application, and then a quick chart, pass them."""
    count = 6
    names = [f"slow{n:02}" for n in range(count)]
    charts: dict[str, Any] = {}
    for name in names:
        charts |= {f"apps/{name}/Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n"}
        charts |= {f"apps/{name}/values.yaml": "v: '1'\n", f"apps/{name}/templates/cm.yaml": SLOW}
    taut.options = {"maxOperations": 2}
    taut.declare(application("small"), files={"apps/small/cm.yaml": yaml(config_map("small"))})
    async with taut.run():
        await taut.synced("small")
        taut.declare(application("small"), *(application(n) for n in names), files=charts)
        await taut.poke()
        await taut.until(lambda: len(taut.controller.fleet.states) == count + 1, "they are declared")
        commit = await taut.push({"apps/small/cm.yaml": yaml(config_map("small", {"a": "2"}))})
        await taut.synced("small", at=commit, seconds=60)
        rendered = [n for n in names if (s := taut.state(n)) is not None and s.desired is not None]
        assert len(rendered) <= count // 2, "it did not wait for them"
