"""Killing a real `taut run` while everything changes, and comparing all there is once it is quiet again."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.faults.watched import PATHS, Asking, Live, StoreCopy, found, jobs_made
from integration.faults.world import Key, World
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api

QUIET = 60.0
"""Seconds within which everything must be as it should after a start."""
_APP = re.compile(r"\bapp-\d+")
PLURALS = {"ConfigMap": "configmaps", "Widget": "widgets"}


@dataclass
class Storm:
    """A world, the taut that follows it, and the one that kills it."""

    world: World
    program: Program
    plane: Plane
    api: Api
    root: str
    rounds: int = 0
    inside: int = 0
    commits: int = 0
    hooks: int = 0
    drifts: int = 0
    compared: int = 0
    made: Counter[str] = field(default_factory=Counter[str])
    _seen: dict[Key, Live] = field(default_factory=dict[Key, Live])

    def __post_init__(self) -> None:
        assert self.plane.audit_log is not None
        self._log: Path = self.plane.audit_log
        self._offset = self._log.stat().st_size
        self.asking = Asking(self.program)
        self.store = StoreCopy(self.program.folder / "state" / "taut.db")

    @property
    def said(self) -> str:
        """The counts, for people."""
        return (
            f"{self.rounds} kills, {self.inside} of them inside an operation; {self.commits} commits, {self.drifts} changes by hand, "
            f"{self.hooks} hooks that ran once each; {self.compared} objects compared"
        )

    # A round

    def round(self) -> None:
        """Change things, kill in the midst of it, change more, start, perhaps kill again, and wait until all is as it should be."""
        chance = self.world.random
        self._under_load(chance.uniform(0.02, 1.2))
        self._kill()
        for _ in range(chance.choice((0, 1, 1, 2))):
            self._commit()
        if chance.random() < 0.4:
            self._drift()
        self.program.spawn()
        if chance.random() < 0.3:
            self._commit()
            self._until(time.monotonic() + chance.uniform(0.5, 2.0), load=True)
            self._kill()
            self.program.spawn()
        self.settle()

    def _under_load(self, seconds: float) -> None:
        self._commit()
        self._until(time.monotonic() + seconds, load=True)

    def _until(self, end: float, *, load: bool) -> None:
        """Go on committing until then."""
        chance = self.world.random
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, chance.uniform(0.05, 0.4)))  # the moments are the test's own, nothing is waited for
            if load and time.monotonic() < end:
                self._commit()
                if chance.random() < 0.1:
                    self._drift()

    def _commit(self) -> None:
        self.world.change()
        self.commits += 1
        self.asking.refresh()

    def _kill(self) -> None:
        self.program.kill()
        self.rounds += 1
        with contextlib.suppress(IndexError):
            self.inside += bool(self.store.running())

    def _drift(self) -> None:
        chosen = self.world.drift()
        if chosen is None:
            return
        (kind, namespace, name), gone = chosen
        base = "/api/v1" if kind == "ConfigMap" else f"/apis/{self.world.group}/v1"
        path = f"{base}/namespaces/{namespace}/{PLURALS[kind]}/{name}"
        if gone:
            self.api.request("DELETE", path)
        else:
            content = "application/merge-patch+json"
            patch = {"data" if kind == "ConfigMap" else "spec": {"value": "by hand"}}
            self.api.request("PATCH", f"{path}?fieldManager=somebody", patch, content=content)
        self.drifts += 1

    # What must be true

    def settle(self) -> None:
        """Wait until taut says that everything is as the last commit says, and compare everything."""
        deadline = time.monotonic() + QUIET
        asked = False
        while True:
            wrong = self._unfinished()
            if not asked:
                asked = self.asking.refresh()
            process = self.program.process
            assert process is not None
            assert process.poll() is None, f"taut ended by itself\n{self.program.log[-4000:]}"
            # A status is true when it says so: from then on the cluster is compared, and only what a watch needs to tell is waited for.
            if not wrong:
                wrong = self._differences()
            if not wrong:
                break
            if time.monotonic() > deadline:
                what = f"{self.said}\nafter {QUIET:.0f} s: {wrong}\n{self.program.log[-2000:]}"
                raise AssertionError(f"{what}\n{self._about(set(_APP.findall(wrong)))}")
            time.sleep(0.05)
        assert "an error inside taut" not in self.program.log, self.program.log[-6000:]
        self._check_history()

    def _unfinished(self) -> str:
        """What taut itself says is not finished."""
        statuses = self.asking.statuses()
        wanted = {*self.world.apps, "ground"}
        if statuses.keys() != wanted:
            return f"applications: {sorted(statuses.keys() ^ wanted)}"
        return "\n".join(
            f"{name}: {s['sync']} {s['health']} {s['operation']} {s['desiredRevision']} {s['message']}"
            for name, s in statuses.items()
            if (s["sync"], s["health"], s["operation"] == "Running") != ("Synced", "Healthy", False)
            or self.world.head[:8] not in s["desiredRevision"]
        )

    def _differences(self) -> str:
        """What is in the cluster and should not, or should and is not."""
        expected = self.world.expected()
        live = found(self.api, self.root, (self.world.namespace, self.world.other), self.world.group)
        there = {k: (v.owner.rpartition("/")[2], v.content) for k, v in live.items() if k != self._own_namespace}
        jobs = {k for k in there if k[0] == "Job"}
        others = {k: v for k, v in there.items() if k not in jobs}
        if others != expected:
            lost = {k: v for k, v in expected.items() if others.get(k) != v}
            more = {k: v for k, v in others.items() if expected.get(k) != v}
            return f"missing or different: {lost}; found: {more}"
        must, may = self.world.hooks_there()
        if not must <= jobs <= may:
            return f"hooks' objects that are missing: {must - jobs}; and too many: {jobs - may}"
        if wrong := self._held_wrongly(expected, {job: there[job][0] for job in jobs}):
            return wrong
        for key, before in self._seen.items():
            now = live.get(key)
            if now is not None and now.uid != before.uid and key[2] not in self.world.touched:
                raise AssertionError(f"{key} was deleted and made anew: nobody asked for that")
        self._seen = live
        self.compared += len(live)
        return ""

    def _held_wrongly(self, expected: Mapping[Key, tuple[str, str]], jobs: Mapping[Key, str]) -> str:
        """Who holds each object, and how many do: what two hold, or the wrong one, is lost later. `jobs` are hooks' objects and their marks."""
        owners = {key: key[2].rpartition("-v")[0] for key in jobs}  # a hook's name begins with its application's
        if jobs != owners:
            return f"hooks' objects with another application's mark: {dict(jobs.items() - owners.items())}"
        rows = self.store.inventory()
        held = sorted((app.rpartition("/")[2], (kind, space, name), hook) for app, kind, space, name, hook in rows)
        due = sorted(
            [(who, k, False) for k, (who, _) in expected.items()] + [(who, k, True) for k, who in owners.items()]
        )
        too_many, missing = Counter(held) - Counter(due), Counter(due) - Counter(held)
        return f"inventories: too many {sorted(too_many)}, missing {sorted(missing)}" if held != due else ""

    @property
    def _own_namespace(self) -> Key:
        return ("Namespace", "", self.world.namespace)

    def _check_history(self) -> None:
        """Hooks ran as often as they should, no operation is open, and the audit is whole."""
        made = jobs_made(self._log, self._offset, (self.world.namespace, self.world.other))
        twice = {name: count for name, count in made.items() if count > 1}
        assert not twice, f"hooks that ran more than once: {twice}"
        missing = self.world.hooks_due() - made.keys()
        assert not missing, f"hooks that never ran: {missing}\n" + self._about({n.rpartition("-v")[0] for n in missing})
        self.hooks = made.total()
        assert self.store.running() == 0
        assert self.store.audit_broken_at() is None

    def _about(self, names: set[str]) -> str:
        """What is known of applications, for people who look for the fault."""
        keys = [f"{self.root}/{name}" for name in sorted(names)]
        lines: list[str] = []
        for key in keys[:4]:
            lines += ["", key, str(self.world.apps.get(key.rpartition("/")[2]))]
            for table, columns in (
                ("apps", "record"),
                ("inventory", "kind, namespace, name, item"),
                ("operations", "state, operation"),
                ("history", "entry"),
                ("events", "at, kind, message, object"),
                ("audit", "at, actor, action, detail"),
            ):
                who = {"apps": "key", "audit": "subject"}.get(table, "app")
                rows = self.store.ask(f"SELECT {columns} FROM {table} WHERE {who} = ?", key)
                lines += [f"{table}: {row}" for row in rows]
        log = self.world.repo.run("log", "--format=%h %s", "-25")
        return "\n".join([*lines, "", log])


def marked_anywhere(api: Api, root: str) -> set[Key]:
    """Objects of any kind that is served, wherever they are, that carry a mark of this root (copies of it that controllers make left out)."""
    result: set[Key] = set()
    for base, resource in _kinds(api):
        status, body = api.request("GET", f"{base}/{resource['name']}")
        if status != 200:
            continue
        import json

        for item in json.loads(body)["items"]:
            meta = item["metadata"]
            owner = (meta.get("annotations") or {}).get("taut.dev/owner", "")
            mine = owner.endswith(f"/{resource['kind']}:{meta.get('namespace', '')}/{meta['name']}")
            if owner.startswith(f"{root}/") and mine:
                result.add((resource["kind"], meta.get("namespace", ""), meta["name"]))
    return result


def _kinds(api: Api) -> list[tuple[str, dict[str, Any]]]:
    groups = api.get("/apis")
    assert groups is not None
    bases = ["/api/v1", *(f"/apis/{g['preferredVersion']['groupVersion']}" for g in groups["groups"])]
    found_kinds: list[tuple[str, dict[str, Any]]] = []
    for base in bases:
        listed = api.get(base)
        for resource in (listed or {}).get("resources", []):
            if "/" not in resource["name"] and "list" in resource["verbs"]:
                found_kinds.append((base, resource))
    return found_kinds


__all__ = ["PATHS", "Storm", "marked_anywhere"]
