"""A start costs one look at each kind. What changed while taut was down is found, and nothing else is touched."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from integration.loop.harness import Taut, application, config_map, deployment, yaml
from integration.loop.ledger import Ledger
from servers.git import Content
from support.audit import AuditLog

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def files(count: int) -> dict[str, Content]:
    """Most are kustomizations, every fourth is a chart, every fifth is plain."""
    found: dict[str, Content] = {}
    for number in range(count):
        name = f"a{number:02}"
        objects = yaml(config_map(f"{name}-map"), deployment(f"{name}-web", replicas=0))
        if number % 5 == 0:
            found[f"apps/{name}/objects.yaml"] = objects
        elif number % 4 == 0:
            found[f"apps/{name}/Chart.yaml"] = f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n"
            found[f"apps/{name}/templates/objects.yaml"] = objects
        else:
            found[f"apps/{name}/kustomization.yaml"] = "resources: [objects.yaml]\n"
            found[f"apps/{name}/objects.yaml"] = objects
    return found


class Kept:
    """What is on taut's disk, as another process sees it: `changed` names the tables that are other than at the last look."""

    def __init__(self, folder: Path) -> None:
        self._files = (folder / "state/taut.db", folder / "state/taut.db.renders")
        self._before = self._look()

    def changed(self) -> list[str]:
        before, self._before = self._before, self._look()
        return [name for name, rows in self._before.items() if rows != before.get(name)]

    def _look(self) -> dict[str, list[tuple[object, ...]]]:
        found: dict[str, list[tuple[object, ...]]] = {}
        for file in self._files:
            with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
                names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (name,) in names:
                    found[name] = connection.execute(f"SELECT * FROM {name}").fetchall()
            connection.close()
        return found


@pytest.mark.parametrize("count", [16, pytest.param(100, marks=pytest.mark.faults)])
async def test_a_start_in_sync_a_push_while_it_was_down_and_drift_while_it_was_down(taut: Taut, count: int) -> None:
    names = tuple(f"a{n:02}" for n in range(count))
    commit = taut.declare(*(application(n) for n in names), files=files(count))
    async with taut.run():
        await taut.synced(*names, seconds=100)
        await taut.until(lambda: taut.controller.queue.idle, "quiet")
    kept, log = Kept(taut.folder), AuditLog(taut.plane.audit_log)

    async with taut.run():
        await _started(taut, names, commit)
        looks = Counter(a.path for a in log.requests(lambda a: a.initial))
        assert set(looks.values()) == {1}, looks
        kinds = {path.rpartition("/")[2] for path in looks}
        assert {"configmaps", "deployments"} <= kinds
        assert kinds <= {"configmaps", "deployments", "namespaces", "customresourcedefinitions", "apiservices"}
        assert [str(a) for a in log.requests(lambda a: not a.watches and "/namespaces/" in a.path)] == []
        assert log.writes() == []
        assert taut.controller.wanting.renders == 0
        # Each is looked at once for its start, and the kinds that were not watched yet were waited for.
        assert taut.controller.runs <= 2 * count
    assert kept.changed() == []

    commit = taut.repo.commit(
        {"apps/a01/objects.yaml": yaml(config_map("a01-map", {"a": "2"}), deployment("a01-web", replicas=0))}
    )
    log.mark()
    async with taut.run():
        await _started(taut, names, commit)
        assert [str(a) for a in log.writes()] == [f"patch /api/v1/namespaces/{taut.namespace}/configmaps/a01-map"]
        assert taut.controller.wanting.renders == 1
        assert [len(await taut.history(n)) for n in ("a00", "a01", "a02", "a08")] == [1, 2, 1, 1]
    changed = kept.changed()
    assert "history" in changed

    taut.patch("configmaps", "a02-map", {"data": {"a": "by hand"}}, manager="somebody")
    taut.delete("configmaps", "a08-map")
    log.mark()
    async with taut.run():
        async with Ledger(taut) as ledger:
            await _started(taut, names, commit)
        assert {(a.verb, a.name) for a in log.writes()} == {("patch", "a02-map"), ("patch", "a08-map")}
        assert taut.controller.wanting.renders == 0
        [edited], [gone] = await taut.drift("a02"), await taut.drift("a08")
        assert (edited.path, edited.found, edited.who, edited.outcome) == ("data.a", "by hand", "somebody", "healed")
        assert (gone.path, gone.missing, gone.outcome) == ("", True, "healed")
        assert await taut.drift("a03") == []
        assert ledger.written() == {"a02", "a08"}


async def _started(taut: Taut, names: tuple[str, ...], commit: str) -> None:
    await taut.until(lambda: taut.controller.watch.fetches, "the repository was looked at")
    await taut.synced(*names, at=commit, seconds=60)
    await taut.until(lambda: not taut.controller.starting and not taut.controller.watch.owed, "taut has started")
    await taut.until(lambda: taut.controller.queue.idle, "quiet")
