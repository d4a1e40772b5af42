"""What breaks between taut and the Git server: what runs goes on, nothing is pruned, and taut comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from integration.faults.network import PATIENCE, Fleet, Network, Servers
from integration.loop.harness import application, config_map, yaml
from integration.loop.written import Writes
from servers.git import GitRepo
from support.fault_proxy import Asked, Fault, Kind

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def pack(asked: Asked) -> bool:
    """The download itself, not the list of refs."""
    return asked.path.endswith("/git-upload-pack")


FAULTS: dict[str, tuple[Callable[[], Fault], tuple[str, ...]]] = {
    "429": (lambda: Fault(Kind.STATUS, status=429, retry_after="1"), ("429",)),
    "500": (lambda: Fault(Kind.STATUS, status=500), ("5xx",)),
    "503": (lambda: Fault(Kind.STATUS, status=503), ("5xx",)),
    "reset": (lambda: Fault(Kind.RESET), ("broke",)),
    "lost": (lambda: Fault(Kind.LOST), ("broke",)),
    "half refs": (lambda: Fault(Kind.HALF, lambda a: not pack(a)), ("broke",)),
    "half pack": (lambda: Fault(Kind.HALF, pack), ("broke",)),
    "pack 500": (lambda: Fault(Kind.STATUS, pack, status=500), ("5xx",)),
}
"""The fault, and words that the status holds meanwhile."""
SHORT = ("half pack",)


async def broken(network: Network, name: str) -> None:
    """A Git server that is broken while a commit comes, with a fleet of applications and a change by hand."""
    taut, fleet = network.taut, Fleet(6)
    make, words = FAULTS[name]
    writes = Writes(taut)
    commit = taut.declare(*fleet.documents(), files=fleet.files(1))
    async with taut.run():
        await taut.synced(*fleet.names, at=commit)
        network.git.faults = [make()]
        expected = fleet.expected()
        commit = await taut.push(fleet.files(2))
        for app in fleet.names:
            await taut.says(app, *words)
        # What is known goes on: a change by hand is healed while nobody can read the repository.
        taut.patch("configmaps", f"{fleet.names[0]}-one", {"data": {"version": "by hand"}})
        await taut.until(lambda: network.found(fleet, taut.namespace) == expected, "it was healed")
        # One more look while it is broken, and nothing else has happened.
        tries = network.git.hits.total()
        await taut.poke()
        await taut.until(lambda: network.git.hits.total() > tries, "it was tried again")
        assert network.found(fleet, taut.namespace) == expected
        assert not [w for w in writes.all() if w.verb == "delete" and "after" not in w.name]
        network.git.heal()
        await network.check(fleet, writes, at=commit)


@pytest.mark.parametrize("name", SHORT)
async def test_a_git_server_that_fails(servers: Servers, name: str) -> None:
    """Status, healing, and the way back without anybody's help (the poll is an hour)."""
    async with servers.network() as network:
        await broken(network, name)


@pytest.mark.faults
@pytest.mark.parametrize("name", [n for n in FAULTS if n not in SHORT])
async def test_a_git_server_that_fails_otherwise(servers: Servers, name: str) -> None:
    """The other ways to fail."""
    async with servers.network() as network:
        await broken(network, name)


@pytest.mark.faults
async def test_a_git_server_that_stops_and_hangs(servers: Servers) -> None:
    """Nobody listens; then connections are taken and nothing is answered (libgit2's own limit of silence ends that)."""
    async with servers.network() as network:
        taut, fleet = network.taut, Fleet(4)
        writes = Writes(taut)
        commit = taut.declare(*fleet.documents(), files=fleet.files(1))
        async with taut.run():
            await taut.synced(*fleet.names, at=commit)
            await network.git_place.stop()
            commit = await taut.push(fleet.files(2))
            for app in fleet.names:
                await taut.says(app, "refuses the connection")
            network.git.faults = [Fault(Kind.HANG)]
            await network.git_place.start(None)
            await taut.poke()
            for app in fleet.names:
                await taut.says(app, "in time", seconds=PATIENCE)
            network.git.heal()
            await network.check(fleet, writes, at=commit)


@pytest.mark.faults
async def test_a_new_source_that_hangs_holds_up_nobody(servers: Servers) -> None:
    """More applications than may be reconciled at once read from a server that does not answer: the others are synced meanwhile."""
    async with servers.network() as network:
        taut = network.taut
        taut.options["maxOperations"] = 2
        elsewhere = servers.git.repo("elsewhere")
        elsewhere.commit({"apps/slow/a.yaml": yaml(config_map("slow"))})
        slow = GitRepo(elsewhere.path, f"{network.git.url}/elsewhere.git")
        network.git.faults = [Fault(Kind.HANG, lambda a: "elsewhere" in a.path)]
        documents = [
            application(f"slow{n}", path="apps/slow", source={"git": slow.url, "ref": "main", "path": "apps/slow"})
            for n in range(6)
        ]
        fleet = Fleet(4)
        commit = taut.declare(*documents, *fleet.documents(), files=fleet.files(1))
        async with taut.run():
            await taut.until(lambda: network.git.hits.total() >= 1, "it hangs")
            await taut.synced(*fleet.names, at=commit, seconds=PATIENCE)
            await taut.says("slow0", "has not answered yet", seconds=PATIENCE)
            network.git.heal()
            await network.git_place.stop()
            await network.git_place.start(None)

            def one_has_it() -> bool:
                states = [taut.status(f"slow{n}") for n in range(6)]
                return sum(s is not None and s.sync == "Synced" for s in states) == 1

            # All of them want the same object: one has it, the others say whose it is.
            await taut.until(one_has_it, "it was read after all", PATIENCE)


@pytest.mark.faults
async def test_a_root_that_hangs_holds_up_no_other(servers: Servers) -> None:
    """Two roots: the server of one of them takes the connection and says nothing, from the very first request on."""
    async with servers.network() as network:
        taut, fleet = network.taut, Fleet(2)
        elsewhere = servers.git.repo("elsewhere")
        elsewhere.commit({"taut/late.yaml": yaml(application("late", path="apps/late", source={"git": taut.repo.url}))})
        network.git.faults = [Fault(Kind.HANG, lambda a: "elsewhere" in a.path)]
        late = {"name": f"{taut.root}-late", "git": f"{network.git.url}/elsewhere.git", "path": "taut"}
        mine = {"name": taut.root, "git": taut.repo.url, "path": "taut", "poll": "1h"}
        taut.options["roots"] = [late, mine]
        commit = taut.declare(*fleet.documents(), files=fleet.files(1))
        async with taut.run():
            await taut.synced(*fleet.names, at=commit, seconds=PATIENCE)
            problems = taut.controller.roots.states[late["name"]].problems
            assert [p.what for p in problems] == ["the repository has not answered yet"]
            network.git.heal()
            await network.git_place.stop()
            await network.git_place.start(None)
            await taut.until(
                lambda: taut.controller.roots.states[late["name"]].loaded, "it was read after all", PATIENCE
            )
