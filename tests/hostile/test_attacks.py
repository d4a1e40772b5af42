"""Every attack as an application of one root, beside healthy ones: each tells what is wrong, and none has any effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hostile.attack import Attack, Ground
from hostile.corpus import ATTACKS
from hostile.scene import HEALTHY, SECRET, VARIABLE, Canary, Machine, overlay, plant, plant_later
from integration.loop.harness import CLUSTER, config_map, yaml
from servers.git import GitHttpServer
from support.program import Program
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = pytest.mark.integration
OF_THE_MACHINE = (SECRET, VARIABLE, "root:x:0:0", "/bin/bash")


class Siege:
    """One root with attacks in it."""

    def __init__(self, plane: Plane, api: Api, git: GitHttpServer, namespace: str, folder: Path) -> None:
        self.api, self.git, self.namespace = api, git, namespace
        self.fleet = git.repo("fleet")
        self.machine = Machine(folder / "outside")
        project = {
            "repositories": [git.url + "/*"],
            "destinations": [{"cluster": CLUSTER, "namespace": namespace}],
            "clusterKinds": [],
        }
        config = {
            "store": "state/taut.db",
            "listen": "127.0.0.1:0",
            "clusters": [
                {
                    "name": CLUSTER,
                    "kubeconfig": str(plane.kubeconfig),
                    "externalSecrets": {"mode": "taut", "hosts": ["vault.example.com"]},
                }
            ],
            "roots": [{"name": namespace, "git": self.fleet.url, "ref": "main", "path": "taut", "poll": "1h"}],
            "projects": [{"name": "hostile", "spec": project}],
            "render": {"timeout": "6s", "memoryMib": 400},
        }
        self.left: list[Any] = []
        self.taut = Program(folder / "taut", config, extra={"TAUT_CANARY": VARIABLE})

    def object(self, name: str) -> dict[str, Any] | None:
        return self.api.get(f"/api/v1/namespaces/{self.namespace}/configmaps/{name}")

    def words(self) -> dict[str, str]:
        return {"@ROOT@": self.namespace, "@NAMESPACE@": self.namespace}

    def run(self, attacks: Sequence[Attack]) -> None:
        canary = Canary()
        with canary.listening():
            ground = Ground(canary.url, str(self.machine.folder))
            plant(self.git, self.fleet, [a for a in attacks if not a.later], ground, self.words())
            with self.taut:
                self.taut.synced(*HEALTHY)
                plant_later(self.fleet, [a for a in attacks if a.later], ground, self.words())
                self.taut.ok("refresh")
                self.all_stopped(list(attacks), ground)
                self.nothing_is_left(attacks)
                self.alive()
        assert canary.connections == 0
        assert self.machine.untouched, "something was written on the machine"

    def all_stopped(self, open_ones: list[Attack], ground: Ground) -> None:
        """Wait until taut says what is wrong with each attack, or it came out without its effect."""

        def told() -> bool:
            statuses, roots = self.taut.statuses(), self.taut.ok("status")
            open_ones[:] = [
                a
                for a in open_ones
                if not (
                    self.one_of_two(a, statuses)
                    if a.rival
                    else self.stopped(a, ground, statuses.get(a.name, {}), roots)
                )
            ]
            self.left = [
                (a.name, ground.fill(a.says or str(a.gives)), statuses.get(a.name, {}).get("problems"))
                for a in open_ones
            ]
            return not open_ones

        try:
            self.taut.until(told, "every attack is stopped", seconds=100)
        except AssertionError:
            shown = "\n".join(f"{name}: wanted {says!r}, is {said}" for name, says, said in self.left)
            raise AssertionError(f"not stopped as they should be:\n{shown}\n{self.taut.ok('status')}") from None

    def stopped(self, attack: Attack, ground: Ground, status: dict[str, Any], roots: str) -> bool:
        if attack.gives is not None:
            return (self.object(attack.name) or {}).get("data") == attack.gives
        problems = status.get("problems", [])
        told = (
            f"{status.get('message')} {problems} {status.get('warnings')}"
            if attack.stage != "document"
            else " ".join(roots.split())
        )
        advised = attack.stage == "document" or attack.stage == "plan" or any(p.get("advice") for p in problems)
        return ground.fill(attack.says) in told and ground.fill(attack.place) in told and advised

    def one_of_two(self, attack: Attack, statuses: dict[str, dict[str, Any]]) -> bool:
        """Whether one of two rivals is Synced and has the object, and the other is told whose it is."""
        for has, other in ((attack.name, attack.rival), (attack.rival, attack.name)):
            told = f"belongs to the application {self.namespace}/{has}" in statuses.get(other, {}).get("message", "")
            if told and statuses.get(has, {}).get("sync") == "Synced":
                return (self.object("rival") or {}).get("data") == {"by": has}
        return False

    def nothing_is_left(self, attacks: Sequence[Attack]) -> None:
        """Nothing of the machine is in what taut says, keeps and writes; nothing plays with a terminal."""
        spoken = self.taut.ok("status") + self.taut.ok("status", "-o", "json") + self.taut.ok("status", "-o", "yaml")
        spoken += self.taut.log + "".join(self.taut.ok("get", a.name) for a in attacks if a.name.startswith("n-"))
        for text in OF_THE_MACHINE:
            assert text not in spoken
        assert not [
            c for c in spoken if (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066"
        ]
        made = self.api.get(f"/api/v1/namespaces/{self.namespace}/configmaps")
        written = str(made)
        assert not [text for text in OF_THE_MACHINE if text in written]

    def alive(self) -> None:
        """The process that was started still runs, and looks after the healthy ones."""
        assert self.taut.process is not None
        assert self.taut.process.poll() is None
        assert "an error inside taut" not in self.taut.log
        files = {f"apps/{n}/cm.yaml": yaml(config_map(n, {"state": "better"})) for n in HEALTHY}
        overlay(self.fleet, files)
        self.taut.ok("refresh")
        self.taut.until(
            lambda: all((self.object(n) or {}).get("data") == {"state": "better"} for n in HEALTHY),
            "the healthy ones go on",
        )


@pytest.fixture
def siege(plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path):
    made = Siege(plane, plane_api, git_server, namespace, tmp_path)
    yield made
    made.taut.stop()


def test_some_attacks(siege: Siege) -> None:
    siege.run([a for a in ATTACKS if a.short])


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_all_attacks(siege: Siege) -> None:
    siege.run(ATTACKS)


def test_names_are_used_once() -> None:
    names = [a.name for a in ATTACKS]
    assert len(names) == len(set(names))
    assert all(bool(a.says) != (a.gives is not None) for a in ATTACKS)
