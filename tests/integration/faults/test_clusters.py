"""Several clusters in one taut: each with its own connections, limits and failures. What one does costs the others nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from integration.faults.network import PATIENCE, Fleet, Network, Servers
from integration.loop.harness import Taut, application, config_map, deployment, yaml
from integration.loop.written import Writes
from servers.authority import make_authority
from support.fault_proxy import Fault, Kind

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

BOTH = ("local", "other")


def fleets(network: Network, count: int, others: int) -> tuple[Fleet, Fleet]:
    """Applications of the cluster `local`, and of the cluster `other`, which is about to have trouble."""
    return Fleet(count), Fleet(others, cluster="other", namespace=network.other_namespace, prefix="o")


async def refuse(network: Network, _: Path) -> None:
    """Nobody listens."""
    await network.other_place.stop()


async def hang(network: Network, _: Path) -> None:
    """Connections are taken, and no request is answered."""
    network.other.faults = [Fault(Kind.HANG)]


async def distrust(network: Network, folder: Path) -> None:
    """Somebody else's certificate."""
    await network.other_place.stop()
    await network.other_place.start(make_authority(folder / "stranger"))


TROUBLE = {"refused": refuse, "hangs": hang, "another certificate": distrust}


async def mend(network: Network) -> None:
    """The cluster is as it should be again."""
    network.other.heal()
    await network.other_place.stop()
    await network.other_place.start(network.authority)


@pytest.mark.faults
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_one_that_is_down_from_the_start_holds_up_nobody(servers: Servers, tmp_path: Path, trouble: str) -> None:
    """More applications wait for it than may be reconciled at once: those of the other cluster are synced all the same."""
    async with servers.network(clusters=BOTH) as network:
        taut = network.taut
        taut.options["maxOperations"] = 4
        well, ill = fleets(network, 5, 12)
        writes = Writes(taut)
        commit = taut.declare(*well.documents(), *ill.documents(), files={**well.files(1), **ill.files(1)})
        await TROUBLE[trouble](network, tmp_path)
        async with taut.run():
            await taut.synced(*well.names, at=commit)
            before = len(network.api.seen)
            commit = await taut.push(well.files(2))
            await taut.synced(*well.names, at=commit)
            assert all(taut.status(n).sync != "Synced" for n in ill.names)  # pyright: ignore[reportOptionalMemberAccess]
            asked = network.api.seen[before:]
            assert not [a for a in asked if a.method == "GET" and not a.watch and a.path in ("/api", "/apis")]

            def said() -> bool:
                statuses = [taut.status(n) for n in ill.names]
                return all(s is not None and s.sync == "Unknown" and "127.0.0.1" in s.message for s in statuses)

            await taut.until(said, "those of the cluster that is down say so", PATIENCE)
            print(taut.status(ill.names[0]).message)  # pyright: ignore[reportOptionalMemberAccess]
            await mend(network)
            await network.check(ill, writes, at=commit)
            await network.check(well, writes, at=commit)


async def test_one_that_begins_to_hang_in_the_midst_of_work(servers: Servers) -> None:
    """Every worker that may work for it waits for an answer that does not come: the other cluster's are not among them."""
    async with servers.network(clusters=BOTH) as network:
        taut = network.taut
        taut.options["maxOperations"] = 4
        well, ill = fleets(network, 4, 12)
        writes = Writes(taut)
        commit = taut.declare(*well.documents(), *ill.documents(), files={**well.files(1), **ill.files(1)})
        async with taut.run():
            await taut.synced(*well.names, *ill.names, at=commit)
            network.other.faults = [Fault(Kind.HANG)]
            network.other.silence = True
            commit = await taut.push({**well.files(2), **ill.files(2)})
            await taut.until(lambda: network.other.hits.total() >= 4, "requests hang")
            await taut.synced(*well.names, at=commit)
            hanging = [key for key in map(taut.key, ill.names) if taut.controller.queue.working(key)]
            assert len(hanging) >= 4, "as many as may be reconciled at once wait for it"
            commit = await taut.push(well.files(3))
            await taut.synced(*well.names, at=commit)
            await mend(network)
            await network.check(ill, writes, at=commit)
            await network.check(well, writes, at=commit)


@pytest.mark.faults
async def test_each_backs_off_for_itself(servers: Servers) -> None:
    """One says 429: everything that is asked of it waits, on all its connections, and nothing that is asked of the other."""
    async with servers.network(clusters=BOTH) as network:
        taut = network.taut
        well, ill = fleets(network, 4, 8)
        commit = taut.declare(*well.documents(), *ill.documents(), files={**well.files(1), **ill.files(1)})
        loop = asyncio.get_running_loop()
        async with taut.run():
            await taut.synced(*well.names, *ill.names, at=commit)
            network.other.faults = [Fault(Kind.STATUS, lambda a: a.write, 1.0, 1, status=429, retry_after="4")]
            seen, here = len(network.other.seen), len(network.api.seen)
            commit = await taut.push({**well.files(2), **ill.files(2)})
            await taut.until(lambda: network.other.hits.total() == 1, "it refused")
            refused = loop.time()
            await taut.synced(*well.names, at=commit)
            await taut.synced(*ill.names, at=commit)
            asked = list(zip(network.other.when, network.other.seen, strict=True))[seen:]
            early = [a for when, a in asked if refused + 0.2 < when < refused + 3.9]
            assert early == [], "what was not under way already waited until the server wanted it"
            later = sorted(when for when, _ in asked if when >= refused + 3.9)
            assert later, "then all went on"
            assert any(refused + 0.2 < w < refused + 3.9 for w in network.api.when[here:]), (
                "the other one worked meanwhile"
            )


async def test_requests_at_once_are_bounded_and_connections_used_again(servers: Servers) -> None:
    """A first sync makes no more connections than requests may be under way, and one for each watch."""
    async with servers.network() as network:
        taut = network.taut
        entry = taut.options["clusters"][0]
        entry |= {"maxRequests": 6, "watchSilence": "150s"}
        fleet = Fleet(20)
        commit = taut.declare(*fleet.documents(), files=fleet.files(1))
        async with taut.run():
            await taut.synced(*fleet.names, at=commit)
            watches = [a for a in network.api.seen if a.watch]
            requests = len(network.api.seen) - len(watches)
            assert requests > 100
            assert network.api.most_at_once <= 6
            assert len(network.api.clients) <= 6 + len(watches)


@pytest.mark.faults
async def test_an_application_leaves_a_cluster_that_hangs(servers: Servers) -> None:
    """Those that move away from it do not wait for it: what they left there is removed when it answers."""
    async with servers.network(clusters=BOTH) as network:
        taut = network.taut
        taut.options["maxOperations"] = 2
        names = [f"m{n}" for n in range(5)]
        files = {f"apps/{n}/all.yaml": yaml(config_map(n)) for n in names}

        def documents(cluster: str) -> list[dict[str, object]]:
            target = {
                "cluster": cluster,
                "namespace": network.other_namespace if cluster == "other" else taut.namespace,
            }
            return [application(n, target=dict(target)) for n in names]

        commit = taut.declare(*documents("other"), files=files)
        async with taut.run():
            await taut.synced(*names, at=commit)
            network.other.faults = [Fault(Kind.HANG)]
            network.other.cut()
            commit = taut.declare(*documents("local"))
            await taut.poke()
            await there(taut, names, taut.namespace)
            await mend(network)
            await taut.until(lambda: not _left(taut, names, network.other_namespace), "nothing is left", PATIENCE)
            await taut.synced(*names, at=commit, seconds=PATIENCE)


async def there(taut: Taut, names: list[str], namespace: str) -> None:
    await taut.until(lambda: _left(taut, names, namespace) == names, "they are in the other cluster", PATIENCE)


def _left(taut: Taut, names: list[str], namespace: str) -> list[str]:
    return [n for n in names if taut.get("configmaps", n, namespace=namespace) is not None]


async def test_a_silent_watch_is_noticed_by_what_taut_writes_itself(servers: Servers) -> None:
    """All watches stand and bring nothing. The one that owes an event of taut's own write is opened anew, long before the others."""
    async with servers.network() as network:
        taut = network.taut
        taut.options["clusters"][0]["watchSilence"] = "30s"

        def opened(plural: str) -> int:
            return len([a for a in network.api.seen if a.watch and a.path.endswith(f"/{plural}")])

        commit = taut.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a"), deployment("web"))})
        async with taut.run():
            await taut.synced("web", at=commit)
            before = opened("configmaps"), opened("deployments")
            network.api.silence = True
            commit = await taut.push({"apps/web/a.yaml": yaml(config_map("a", {"a": "2"}), deployment("web"))})
            await taut.synced("web", at=commit)
            await taut.until(lambda: network.api.swallowed, "the event was swallowed")
            network.api.silence = False
            await taut.until(lambda: opened("configmaps") > before[0], "the watch is opened anew")
            assert opened("deployments") == before[1]
            taut.patch("configmaps", "a", {"data": {"a": "by hand"}})
            await taut.until(lambda: _data(taut) == {"a": "2"}, "the new one tells of drift")


def _data(taut: Taut) -> object:
    found = taut.get("configmaps", "a")
    return found and found["data"]
