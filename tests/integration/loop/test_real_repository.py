"""A repository like real ones: green from empty, and what it costs, then and after restarts."""

from __future__ import annotations

from collections import Counter

import pytest

from integration.loop.harness import Taut
from support import real_repository as real
from support.audit import Asked, AuditLog, by_verb

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PATIENCE = 90.0
IN_FLIGHT = 32
"""How many requests are on their way at once (`maxRequests`)."""
DISCOVERY = 1 + 2 * 4
"""Questions of a start about the cluster itself: its version, and its kinds (`/api`, `/apis`): at first, when the watch of CRDs and that of
APIServices stand, and when somebody needs them in between. All but the first are answered with 304."""
CRD_LOOKS = 12
"""How often taut looks at most whether the kind of a new CRD is served."""


def group(taut: Taut) -> str:
    """The API group of the test's own CRDs."""
    return f"{taut.namespace}.example.test"


def kinds(taut: Taut) -> int:
    """How many kinds are watched: those of all objects, and the CRDs, APIServices and Namespaces."""
    found = {r.kind_ref for s in taut.controller.fleet.states.values() for r in s.items}
    return len(found) + 3


def objects(taut: Taut) -> int:
    """How many objects all applications have."""
    return sum(len(s.items) for s in taut.controller.fleet.states.values())


async def settled(taut: Taut) -> None:
    """Wait until nothing is left to do."""
    await taut.until(lambda: taut.controller.queue.idle, "the queue is empty")


def is_one_object(asked: Asked) -> bool:
    """A GET of one object."""
    return asked.verb == "get" and bool(asked.name)


async def test_a_repository_like_real_ones(taut: Taut) -> None:
    taut.declare(*real.applications(), files={**real.files(group(taut))})
    log = AuditLog(taut.plane.audit_log)

    async with taut.run():
        await taut.synced(*real.NAMES, seconds=PATIENCE)
        await settled(taut)
        count, kinds_watched = objects(taut), kinds(taut)
        assert count > 400
        _one_write_an_object(log, count, kinds_watched)
        order = {n: (await taut.history(n))[0] for n in real.NAMES}
        for document in real.applications():
            name = document["metadata"]["name"]
            for needed in document["spec"]["dependsOn"]:
                assert order[needed].started_at + order[needed].duration <= order[name].started_at

    log.mark()
    async with taut.run():
        await taut.synced(*real.NAMES, seconds=PATIENCE)
        await settled(taut)
        assert taut.controller.wanting.renders == 0
        assert log.writes() == []
        _one_look_a_kind(log, kinds_watched)

    name = real.APIS[3]
    path = f"environments/production/{name}/kustomization.yaml"
    text = taut.repo.read(path).decode()
    commit = taut.repo.commit({path: text.replace("count: 1", "count: 2")}, "more of one")
    log.mark()
    async with taut.run():
        await taut.synced(name, at=commit, seconds=PATIENCE)
        await taut.synced(*real.NAMES, seconds=PATIENCE)
        await settled(taut)
        assert taut.controller.wanting.renders == 1
        assert [(a.verb, a.plural, a.name) for a in log.writes()] == [("patch", "deployments.apps", f"{name}-service")]
        assert len(log.requests(is_one_object)) <= 1, "only what differs is read"
        assert [e.kind for e in await taut.history(name)] == ["sync", "sync"]


def _one_write_an_object(log: AuditLog, count: int, kinds_watched: int) -> None:
    """From empty: a write for each object, a look at each kind, and a handful of questions besides."""
    writes = Counter((a.plural, a.name) for a in log.writes())
    assert sum(writes.values()) == count, [w for w, n in writes.items() if n > 1]
    assert {a.verb for a in log.writes()} == {"patch"}
    assert log.requests(is_one_object) == [], "no object is read before it is made"
    first_pages = log.requests(lambda a: a.verb == "list" and "continue" not in a.query)
    lists = Counter(a.path for a in first_pages)
    twice = {path: count for path, count in lists.items() if count > 1}
    assert twice == {}, "a new store looks for marks once in every kind, wherever its objects are"
    rest = log.requests(lambda a: not a.writes and a.verb != "list")
    assert len([a for a in rest if a.watches]) <= kinds_watched, by_verb(rest)
    assert len(rest) <= kinds_watched + DISCOVERY + 2 * CRD_LOOKS, Counter(
        (a.path, a.status) for a in rest if not a.watches
    )


def _one_look_a_kind(log: AuditLog, kinds_watched: int) -> None:
    """After a restart in sync: each kind is looked at once, no object by itself."""
    asked = log.requests()
    assert log.requests(is_one_object) == []
    assert len([a for a in asked if a.initial]) <= kinds_watched
    assert len(asked) <= kinds_watched + DISCOVERY, Counter((a.path, a.status) for a in asked if not a.initial)


async def test_a_restart_in_the_midst_of_it_goes_on_where_it_was(taut: Taut) -> None:
    taut.declare(*real.applications(), files={**real.files(group(taut))})
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        await taut.until(lambda: _busy(taut, at_least=8), "some are done, and others are under way", PATIENCE)
    async with taut.run():
        await taut.synced(*real.NAMES, seconds=PATIENCE)
        await settled(taut)
        writes = Counter((a.plural, a.name) for a in log.writes())
        assert len(writes) == objects(taut)
        # What was sent when the first one ended is sent once more, for nobody heard the answer; it is an apply, and makes nothing twice.
        assert max(writes.values()) <= 2
        assert len([w for w, n in writes.items() if n == 2]) <= IN_FLIGHT
        assert {a.verb for a in log.writes()} == {"patch"}
        for name in real.NAMES:
            assert [e.result for e in await taut.history(name)] == ["Succeeded"]


def _busy(taut: Taut, *, at_least: int) -> list[str]:
    """The applications that are being synced, once so many others are done."""
    states = taut.controller.fleet.states.values()
    done = [s for s in states if s.record.revision and s.run is None]
    return [s.key.name for s in states if s.run is not None] if len(done) >= at_least else []
