"""What breaks between taut and the API server: nothing is lost, made twice or pruned, and the status is true again afterwards."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from integration.faults.network import PATIENCE, Fleet, Network, Servers
from integration.loop.written import Writes
from support.fault_proxy import Asked, Fault, Kind

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SEED = int(os.environ.get("TAUT_FAULTS_SEED", "4"))
APPLICATIONS = 30


def no_watch(asked: Asked) -> bool:
    return not asked.watch


def watch(asked: Asked) -> bool:
    return asked.watch


def write(asked: Asked) -> bool:
    return asked.write


def apply(asked: Asked) -> bool:
    return asked.method == "PATCH" and asked.write


FAULTS: dict[str, Callable[[], Fault]] = {
    "429": lambda: Fault(Kind.STATUS, no_watch, 0.3, 20, status=429),
    "429-retry-after": lambda: Fault(Kind.STATUS, share=0.2, times=5, status=429, retry_after="1"),
    "500": lambda: Fault(Kind.STATUS, share=0.4, times=60, status=500),
    "503": lambda: Fault(Kind.STATUS, share=0.4, times=60, status=503),
    "503-retry-after": lambda: Fault(Kind.STATUS, no_watch, 0.3, 40, status=503, retry_after="1"),
    "409": lambda: Fault(Kind.STATUS, apply, 0.5, 60, status=409),
    "lost-500": lambda: Fault(Kind.LOST_STATUS, write, 0.5, 60, status=500),
    "lost-503": lambda: Fault(Kind.LOST_STATUS, share=0.4, times=60, status=503),
    "reset": lambda: Fault(Kind.RESET, share=0.4, times=60),
    "lost": lambda: Fault(Kind.LOST, no_watch, 0.4, 60),
    "lost-writes": lambda: Fault(Kind.LOST, write, 1.0, 60),
    "slow": lambda: Fault(Kind.SLOW, no_watch, 0.7),
    "half": lambda: Fault(Kind.HALF, no_watch, 0.4, 60),
    "watch-ends": lambda: Fault(Kind.ENDS, watch, 0.7, 40),
    "watch-silent": lambda: Fault(Kind.SILENT, watch, 0.7, 6),
    "watch-gone": lambda: Fault(Kind.GONE, watch, 0.7, 30),
}


def storm() -> list[Fault]:
    """A little of everything, without end."""
    kinds = [f() for name, f in FAULTS.items() if name != "watch-silent"]
    for fault in kinds:
        fault.share, fault.times = 0.03, -1
    return [*kinds, Fault(Kind.SILENT, watch, 0.1, 4)]


async def three_works(network: Network, fleet: Fleet, faults: Callable[[], list[Fault]]) -> None:
    """A first sync, a commit that changes half of the applications, a change by hand of many: each with these faults on the way."""
    taut = network.taut
    writes = Writes(taut)
    half = fleet.names[::2]
    commit = taut.declare(*fleet.documents(), files=fleet.files(1))
    network.api.faults = faults()
    async with taut.run():
        await broken_sync(network, fleet, commit)
        await network.check(fleet, writes, at=commit)

        network.api.faults = faults()
        network.api.cut()
        commit = await taut.push(fleet.files(2, half))
        await broken_sync(network, fleet, commit)
        await network.check(fleet, writes, at=commit)

        network.api.faults = faults()
        network.api.cut()
        changed, deleted = fleet.names[1::4], fleet.names[2::4]
        for name in changed:
            taut.patch("configmaps", f"{name}-one", {"data": {"version": "by hand"}})
        for name in deleted:
            taut.delete("configmaps", f"{name}-two")
        await broken_heal(network, fleet, [*(f"{n}-one" for n in changed), *(f"{n}-two" for n in deleted)])
        network.api.heal()
        await network.check(fleet, writes, at=commit)
        for name in (*changed, *deleted):
            drift = await taut.drift(name)
            assert drift, f"{name}: nobody saw that it drifted"
            assert {str(d.outcome) for d in drift} == {"healed"}, drift


def over(network: Network) -> bool:
    """Whether the faults that have an end have come to it."""
    return all(f.over for f in network.api.faults if f.times >= 0)


async def broken_sync(network: Network, fleet: Fleet, commit: str) -> None:
    """Wait until everything is done in spite of the faults, or they are over; then let everything through."""
    taut = network.taut

    def done(name: str) -> bool:
        status, state = taut.status(name), taut.state(name)
        if status is None or state is None or state.desired is None:
            return False
        return status.sync == "Synced" and commit[:8] in status.desired_revision and not state.stale

    def fact() -> bool:
        return over(network) or all(done(n) for n in fleet.names)

    if any(f.times >= 0 for f in network.api.faults):
        await taut.until(fact, "the faults are over", PATIENCE)
    else:
        await taut.synced(*fleet.names, at=commit, seconds=2 * PATIENCE)
    print(dict(network.api.hits))
    network.api.heal()


async def broken_heal(network: Network, fleet: Fleet, names: list[str]) -> None:
    """Wait until what was changed by hand is as Git says, whatever is in the way."""
    taut = network.taut

    def healed() -> bool:
        found = {n: taut.get("configmaps", n) for n in names}
        return all(o is not None and o["data"] == {"version": str(fleet.versions[n[:3]])} for n, o in found.items())

    await taut.until(healed, "healed", 2 * PATIENCE)
    print(dict(network.api.hits))


@pytest.mark.faults
@pytest.mark.parametrize("name", FAULTS)
async def test_one_fault(servers: Servers, name: str) -> None:
    """Each fault on the way of a first sync, of a commit and of a heal."""
    async with servers.network(seed=SEED) as network:
        await three_works(network, Fleet(APPLICATIONS), lambda: [FAULTS[name]()])
        assert network.api.hits.total() >= 3, "it happened"


@pytest.mark.faults
@pytest.mark.parametrize("number", range(3))
async def test_all_faults_at_once(servers: Servers, number: int) -> None:
    """A storm of all of them that does not end before the work is done."""
    seed = SEED + number if number else random.randrange(10**6)
    print(f"TAUT_FAULTS_SEED={seed - number}")
    async with servers.network(seed=seed) as network:
        await three_works(network, Fleet(APPLICATIONS), storm)
        assert len(network.api.hits) >= 8, network.api.hits


def shower() -> list[Fault]:
    """Each of them, and soon over."""
    faults = [f() for f in FAULTS.values()]
    for fault in faults:
        fault.share, fault.times = 0.15, 1 if fault.kind is Kind.SILENT or fault.status == 429 else 2
    return faults


async def test_a_shower(servers: Servers) -> None:
    """The same, shortened."""
    async with servers.network(seed=SEED) as network:
        await three_works(network, Fleet(7), shower)
        assert len(network.api.hits) >= 8, network.api.hits
