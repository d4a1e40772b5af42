"""Several applications that want one object: one has it, the others are held and say who, whatever comes between plan and write."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from integration.loop.harness import CLUSTER, Taut, annotate, application, config_map, deployment, job, yaml
from servers.git import Content
from taut.controller.queue import Reason
from taut.controller.state import AppState
from taut.model.errors import StoreError
from taut.model.plan import InventoryItem
from taut.model.refs import ObjectRef

pytestmark = pytest.mark.integration

OWNER = "taut.dev/owner"
OF = {"ConfigMap": ("configmaps", ""), "Job": ("jobs", "batch/v1")}


def cm_ref(taut: Taut, name: str, kind: str = "ConfigMap") -> ObjectRef:
    return ObjectRef(CLUSTER, "batch" if kind == "Job" else "", kind, taut.namespace, name)


def live(taut: Taut, name: str, kind: str = "ConfigMap") -> dict[str, Any]:
    plural, group = OF[kind]
    found = taut.get(plural, name, group)
    assert found is not None, f"{name} is not there"
    return found


def owner(body: dict[str, Any]) -> str:
    """The application whose mark an object carries."""
    return body["metadata"]["annotations"][OWNER].partition("|")[0].rpartition("/")[2]


def holders(taut: Taut, ref: ObjectRef) -> set[str]:
    """The applications whose inventory holds an object."""
    return {s.key.name for s in taut.controller.fleet.states.values() if ref in s.items}


async def stored(taut: Taut, ref: ObjectRef) -> set[str]:
    """The same, as the store has it."""
    inventories = await taut.controller.store.inventories()
    return {key.name for key, items in inventories.items() if ref in items}


def files(shared: dict[str, Any], *apps: str) -> dict[str, Content]:
    """Applications that all want `shared`, each with its own name in it, and have an object of their own."""
    found: dict[str, Content] = {}
    for app in apps:
        body = {**shared, "data": {"by": app}} if shared["kind"] == "ConfigMap" else shared
        found |= {f"apps/{app}/shared.yaml": yaml(body), f"apps/{app}/own.yaml": yaml(config_map(f"own-{app}"))}
    return found


def together(taut: Taut, *apps: str) -> None:
    """The first plans of these applications: none goes on before all have theirs."""
    plan, missing, all_planned = taut.controller.planner.plan, set(apps), asyncio.Event()

    async def slow(state: AppState, **more: Any) -> Any:
        planned = await plan(state, **more)
        if state.key.name in apps:
            missing.discard(state.key.name)
            if not missing:
                all_planned.set()
            await all_planned.wait()
        return planned

    taut.controller.planner.plan = slow  # pyright: ignore[reportAttributeAccessIssue] (the same, only slower)


def settled(taut: Taut, *apps: str) -> tuple[str, ...]:
    """The one that is Synced, then those that are held because of it; nothing while that is not so."""
    synced: list[str] = []
    held: list[str] = []
    for app in apps:
        status, state = taut.status(app), taut.state(app)
        if status is None or state is None or state.stale or state.run is not None:
            return ()
        if any(h.kind == "owned-by-another" for h in status.held_for):
            held.append(app)
        elif (status.sync, status.health) == ("Synced", "Healthy"):
            synced.append(app)
    if len(synced) != 1 or len(synced) + len(held) != len(apps):
        return ()
    names = f"belongs to the application {taut.key(synced[0])}"
    told = all(names in status.message for app in held if (status := taut.status(app)) is not None)
    return (*synced, *held) if told else ()


async def one_has_it(taut: Taut, apps: tuple[str, ...], name: str, kind: str = "ConfigMap") -> tuple[str, ...]:
    """Wait until one application is Synced and has the object, and the others are held; the one, and the others."""
    winner, *losers = await taut.until(lambda: settled(taut, *apps), f"one of {apps} has {name}")
    ref, body = cm_ref(taut, name, kind), live(taut, name, kind)
    assert owner(body) == winner
    assert kind != "ConfigMap" or body["data"] == {"by": winner}
    assert holders(taut, ref) == await stored(taut, ref) == {winner}
    return (winner, *losers)


async def test_of_two_that_planned_to_make_an_object_one_makes_it(taut: Taut) -> None:
    """Both plan before either has begun. It stays with the one, and goes to the other when Git says so: never away in between."""
    taut.declare(application("a"), application("b"), files=files(config_map("shared"), "a", "b"))
    async with taut.run():
        together(taut, "a", "b")
        winner, loser = await one_has_it(taut, ("a", "b"), "shared")
        assert live(taut, f"own-{loser}"), "what is not another's is made"
        uid = live(taut, "shared")["metadata"]["uid"]

        # It stays so: with what both have of their own, and with the object itself.
        await taut.push({f"apps/{n}/own.yaml": yaml(config_map(f"own-{n}", {"a": "2"})) for n in "ab"})
        await taut.until(lambda: all(live(taut, f"own-{n}")["data"] == {"a": "2"} for n in "ab"), "both go on")
        taut.patch("configmaps", "shared", {"data": {"by": "hand"}})
        await taut.until(lambda: live(taut, "shared")["data"] == {"by": winner}, "its owner heals it")
        assert await one_has_it(taut, ("a", "b"), "shared") == (winner, loser)

        taut.repo.delete(f"apps/{winner}/shared.yaml")
        await taut.poke()
        await taut.synced("a", "b")
        after = live(taut, "shared")
        assert (owner(after), after["data"], after["metadata"]["uid"]) == (loser, {"by": loser}, uid)
        ref = cm_ref(taut, "shared")
        assert holders(taut, ref) == await stored(taut, ref) == {loser}


async def test_of_two_that_planned_to_adopt_an_object_one_adopts_it(taut: Taut) -> None:
    path = f"/api/v1/namespaces/{taut.namespace}/configmaps?fieldManager=somebody"
    status, answer = taut.api.request("POST", path, config_map("shared", {"by": "somebody"}))
    assert status == 201, answer
    taut.declare(application("a"), application("b"), files=files(config_map("shared"), "a", "b"))
    async with taut.run():
        together(taut, "a", "b")
        await one_has_it(taut, ("a", "b"), "shared")


async def test_of_two_hooks_of_one_name_one_runs(taut: Taut) -> None:
    hook = annotate(job("shared"), hook="PreSync")
    taut.declare(application("a"), application("b"), files=files(hook, "a", "b"))
    async with taut.run():
        together(taut, "a", "b")
        ref = cm_ref(taut, "shared", "Job")
        await taut.until(lambda: settled(taut, "a", "b"), "one ran its hook")
        winner, loser = settled(taut, "a", "b")
        assert owner(live(taut, "shared", "Job")) == winner
        assert holders(taut, ref) == await stored(taut, ref) == {winner}
        # Nothing is done without it; when the name is free it runs.
        assert taut.get("configmaps", f"own-{loser}") is None
        taut.repo.delete(f"apps/{winner}/shared.yaml")
        await taut.poke()
        await taut.synced("a", "b")
        assert owner(live(taut, "shared", "Job")) == loser
        assert live(taut, f"own-{loser}")


async def test_a_renamed_application_waits_for_its_hook_and_takes_all_over(taut: Taut) -> None:
    planted = files(annotate(job("shared"), hook="PreSync"), "old")
    stay: dict[str, Content] = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    taut.declare(application("old", "apps/old"), application("stay"), files=planted | stay)
    async with taut.run():
        await taut.synced("old", "stay")
        uid = live(taut, "own-old")["metadata"]["uid"]
        taut.declare(application("new", "apps/old"), application("stay"))
        await taut.poke()
        await taut.until(lambda: taut.state("old") is None and taut.state("new") is not None, "renamed")
        await taut.synced("new")
        after = live(taut, "own-old")
        assert (owner(after), after["metadata"]["uid"]) == ("new", uid)
        assert owner(live(taut, "shared", "Job")) == "new"


async def test_a_take_over_that_cannot_be_stored_leaves_everything_where_it_was(taut: Taut) -> None:
    planted = files(config_map("shared"), "a") | {"apps/b/own.yaml": yaml(config_map("own-b"))}
    taut.declare(application("a"), application("b"), files=planted)
    async with taut.run():
        await taut.synced("a", "b")
        store, ref = taut.controller.store, cm_ref(taut, "shared")
        begin, uid, refused = store.begin, live(taut, "shared")["metadata"]["uid"], asyncio.Event()

        async def full(operation: Any, *rest: Any, **more: Any) -> int:
            if operation.app == taut.key("b") and not refused.is_set():
                refused.set()
                raise StoreError("the disk is full")
            return await begin(operation, *rest, **more)

        store.begin = full  # pyright: ignore[reportAttributeAccessIssue] (a store that fails once)
        taut.repo.delete("apps/a/shared.yaml")
        await taut.push({"apps/b/shared.yaml": yaml(config_map("shared", {"by": "b"}))})
        async with asyncio.timeout(30):
            await refused.wait()
        assert await stored(taut, ref) <= {"a"}
        assert (owner(live(taut, "shared")), "b" in holders(taut, ref)) == ("a", False)
        await taut.synced("a", "b")
        after = live(taut, "shared")
        assert (owner(after), after["metadata"]["uid"]) == ("b", uid)
        assert holders(taut, ref) == await stored(taut, ref) == {"b"}


async def crowd(taut: Taut, rounds: int, pairs: int) -> None:
    """Rounds of new applications, all at once, each pair of which wants one object."""
    apps: list[dict[str, Any]] = []
    couples: dict[str, tuple[str, ...]] = {}
    owners: dict[str, tuple[str, ...]] = {}
    async with taut.run():
        for number in range(rounds):
            planted: dict[str, Content] = {}
            new: list[dict[str, Any]] = []
            for pair in range(pairs):
                name, both = f"shared-{number}-{pair}", (f"r{number}-{pair}-x", f"r{number}-{pair}-y")
                couples[name] = both
                planted |= files(config_map(name), *both)
                new += [application(n) for n in both]
            random.Random(number).shuffle(new)
            apps += new
            taut.declare(*apps, files=planted)
            await taut.poke()
            owners = {name: await one_has_it(taut, both, name) for name, both in couples.items()}
        uids = {name: live(taut, name)["metadata"]["uid"] for name in couples}
        # Every second one lets go of its object, all in one commit.
        gone = [name for n, name in enumerate(couples) if n % 2]
        taut.repo.delete(*(f"apps/{owners[name][0]}/shared.yaml" for name in gone))
        await taut.poke()
        await taut.synced(*(app for name in gone for app in couples[name]))
        for name, (winner, loser) in owners.items():
            has, body = (loser if name in gone else winner), live(taut, name)
            assert (owner(body), body["data"], body["metadata"]["uid"]) == (has, {"by": has}, uids[name])
            if name not in gone:
                assert await one_has_it(taut, couples[name], name) == (winner, loser)


async def test_of_every_pair_of_a_crowd_one_has_its_object(taut: Taut) -> None:
    taut.repo.commit({"taut/applications.yaml": "# nothing\n"})
    await crowd(taut, rounds=1, pairs=6)


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_of_every_pair_of_forty_one_has_its_object_round_after_round(taut: Taut) -> None:
    taut.repo.commit({"taut/applications.yaml": "# nothing\n"})
    await crowd(taut, rounds=4, pairs=20)


async def test_a_write_under_way_is_waited_for_before_its_object_changes_hands(taut: Taut) -> None:
    """An application is renamed while its first apply is on its way: it must not arrive after that of the new name."""
    stay: dict[str, Content] = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    both = [application("old", "apps/old"), application("stay")]
    taut.declare(*both, files=files(config_map("shared"), "old") | stay)
    async with taut.run():
        cluster = taut.controller.fleet.clusters[CLUSTER]
        apply, under_way, arrives = cluster.apply, asyncio.Event(), asyncio.Event()

        async def slow(body: dict[str, Any], **more: Any) -> Any:
            if body["metadata"]["name"] == "shared" and owner(body) == "old":
                under_way.set()
                await arrives.wait()
            return await apply(body, **more)

        cluster.apply = slow  # pyright: ignore[reportAttributeAccessIssue] (the same, only slower)
        async with asyncio.timeout(30):
            await under_way.wait()
        taut.declare(application("new", "apps/old"), application("stay"))
        await taut.poke()
        await taut.says("new", f"shared belongs to the application {taut.key('old')}")
        assert taut.get("configmaps", "shared") is None
        arrives.set()
        await taut.until(lambda: taut.state("old") is None, "renamed")
        await taut.synced("new")
        assert owner(live(taut, "shared")) == "new"
        assert not await taut.drift("new"), "nothing had to be healed"


async def test_a_deletion_that_was_planned_spares_what_another_took_over_meanwhile(taut: Taut) -> None:
    """A finalizer holds up what is deleted first; the object behind it is claimed by another application until then."""
    first = annotate(config_map("first"), wave="1")
    planted: dict[str, Content] = {
        "apps/a/own.yaml": yaml(config_map("own-a")),
        "apps/a/first.yaml": yaml(first),
        "apps/a/shared.yaml": yaml(config_map("shared", {"by": "a"})),
        "apps/b/own.yaml": yaml(config_map("own-b")),
    }
    taut.declare(application("a", guards={"maxDeleteShare": 1.0}), application("b"), files=planted)
    async with taut.run():
        await taut.synced("a", "b")
        uid = live(taut, "shared")["metadata"]["uid"]
        taut.patch("configmaps", "first", {"metadata": {"finalizers": ["example.com/wait"]}}, manager="holder")
        taut.repo.delete("apps/a/first.yaml", "apps/a/shared.yaml")
        await taut.poke()
        await taut.until(lambda: "deletionTimestamp" in live(taut, "first")["metadata"], "it is held up")
        await taut.push({"apps/b/shared.yaml": yaml(config_map("shared", {"by": "b"}))})
        await taut.until(lambda: live(taut, "shared")["data"] == {"by": "b"}, "taken over")
        taut.patch("configmaps", "first", {"metadata": {"finalizers": None}}, manager="holder")
        await taut.synced("a", "b")
        after = live(taut, "shared")
        assert (owner(after), after["metadata"]["uid"]) == ("b", uid)
        ref = cm_ref(taut, "shared")
        assert holders(taut, ref) == await stored(taut, ref) == {"b"}


def add_item(taut: Taut, app: str, item: InventoryItem) -> None:
    """Write an item into the store of a taut that does not run, as an earlier one would have left it."""
    connection = sqlite3.connect(taut.folder / "state" / "taut.db")
    with connection:
        connection.execute(
            "INSERT OR REPLACE INTO inventory (app, cluster, grp, kind, namespace, name, item) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (str(taut.key(app)), *item.ref, msgspec.json.encode(item)),
        )
    connection.close()


@pytest.mark.parametrize(
    "left", [lambda item: item, lambda item: replace(item, pending=True, uid="", owned_hash="")], ids=["both", "ahead"]
)
async def test_two_inventories_that_hold_an_object_are_settled_by_its_mark(
    taut: Taut, left: Callable[[InventoryItem], InventoryItem]
) -> None:
    """What an earlier taut let happen. The marked one keeps it, in whichever order they are looked at; nothing is written."""
    taut.declare(application("a"), application("b"), files=files(config_map("shared"), "a", "b"))
    async with taut.run():
        winner, loser = await one_has_it(taut, ("a", "b"), "shared")
        state = taut.state(winner)
        assert state is not None
        item = state.items[cm_ref(taut, "shared")]
    before = live(taut, "shared")
    add_item(taut, loser, left(item))
    async with taut.run():
        assert await one_has_it(taut, ("a", "b"), "shared") == (winner, loser)
        assert live(taut, "shared") == before
        taut.repo.delete(f"apps/{loser}/shared.yaml")
        await taut.poke()
        await taut.synced("a", "b")
        assert live(taut, "shared") == before, "who had lost it removes nothing"


async def test_two_that_both_intended_an_object_that_was_never_made(taut: Taut) -> None:
    taut.declare(
        application("a", suspended=True), application("b", suspended=True), files=files(config_map("shared"), "a", "b")
    )
    async with taut.run():
        await taut.says("a", "suspended")
        await taut.says("b", "suspended")
    for app in "ab":
        add_item(taut, app, InventoryItem(cm_ref(taut, "shared"), "v1", pending=True))
    taut.declare(application("a"), application("b"))
    async with taut.run():
        assert await one_has_it(taut, ("a", "b"), "shared") == ("a", "b")


async def test_what_was_taken_over_and_never_written_goes_with_who_took_it(taut: Taut) -> None:
    """`old` leaves Git and hands over to `new`, which waits in an earlier wave: nobody writes the object, and it carries `old`'s mark.

    When `new` goes as well, nobody is left who would remove it later.
    """
    shared = annotate(config_map("shared"), wave="1")
    stay: dict[str, Content] = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    taut.declare(application("old"), application("stay"), files={"apps/old/x.yaml": yaml(shared)} | stay)
    async with taut.run():
        await taut.synced("old", "stay")
        ref = cm_ref(taut, "shared")
        never = deployment("slow")
        never["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
        taut.declare(
            application("new"),
            application("stay"),
            files={"apps/new/x.yaml": yaml(shared, annotate(never, wave="0"))},
        )
        await taut.poke()
        await taut.until(lambda: taut.state("old") is None and holders(taut, ref) == {"new"}, "it was handed over")
        assert owner(live(taut, "shared")) == "old"
        taut.declare(application("stay"))
        await taut.poke()
        await taut.until(lambda: taut.state("new") is None, "who took it over is gone")
        assert taut.get("configmaps", "shared") is None
        assert live(taut, "stay")


GIVER: dict[str, Any] = {"guards": {"maxDeleteShare": 1.0}}


def give_up(taut: Taut, *, leaves: bool) -> str:
    """The commit that moves `shared` from `a` to `b`, which waits for somebody's word before it writes; `a` may leave Git with it."""
    taut.repo.delete("apps/a/shared.yaml")
    taut.repo.commit({"apps/b/shared.yaml": yaml(config_map("shared", {"by": "b"}))})
    kept = [] if leaves else [application("a", **GIVER)]
    return taut.declare(*kept, application("b", sync={"mode": "manual"}), application("stay"), application("stay-too"))


async def moving(taut: Taut, *, leaves: bool) -> str:
    """Wait until `a` has looked at that commit, and is done but for the object; its uid."""
    await taut.synced("a", "b", "stay", "stay-too")
    uid: str = live(taut, "shared")["metadata"]["uid"]
    commit = give_up(taut, leaves=leaves)
    await taut.poke()
    if leaves:
        await taut.says("a", f"waits until {taut.key('b')} takes it over", "shared")
        assert taut.get("configmaps", "own-a") is None, "what nobody else wants is gone"
    else:
        await taut.synced("a", at=commit)
    await taut.says("b", "taut sync")
    ref = cm_ref(taut, "shared")
    assert holders(taut, ref) == await stored(taut, ref) == {"a"}
    return uid


def four(taut: Taut) -> None:
    planted = files(config_map("shared"), "a") | {
        f"apps/{n}/own.yaml": yaml(config_map(f"own-{n}")) for n in ("b", "stay", "stay-too")
    }
    b = application("b", sync={"mode": "manual"})
    taut.declare(application("a", **GIVER), b, application("stay"), application("stay-too"), files=planted)


async def first_sync(taut: Taut) -> None:
    await taut.says("b", "taut sync")
    await taut.controller.ask_sync(taut.key("b"), by="ada")


@pytest.mark.parametrize("leaves", [False, True], ids=["moved", "removed"])
@pytest.mark.parametrize("end", ["taken", "dropped", "claimant removed", "taut ends"])
async def test_who_gives_an_object_up_keeps_it_until_it_is_taken(taut: Taut, leaves: bool, end: str) -> None:
    """Between the two it is never nobody's: whoever has it last in Git deletes it when Git drops it."""
    four(taut)
    async with taut.run():
        await first_sync(taut)
        uid = await moving(taut, leaves=leaves)
        rest = [application("stay"), application("stay-too")]
        kept = [] if leaves else [application("a", **GIVER)]
        if end == "taken":
            await taut.controller.ask_sync(taut.key("b"), by="ada")
            await taut.synced("b")
            after, ref = live(taut, "shared"), cm_ref(taut, "shared")
            assert (owner(after), after["data"], after["metadata"]["uid"]) == ("b", {"by": "b"}, uid)
            assert holders(taut, ref) == await stored(taut, ref) == {"b"}
        elif end == "dropped":
            taut.repo.delete("apps/b/shared.yaml")
            await taut.poke()
        elif end == "claimant removed":
            taut.declare(*kept, *rest)
            await taut.poke()
        if end != "taut ends":
            if end != "taken":
                await taut.until(lambda: taut.get("configmaps", "shared") is None, "its last owner deleted it")
            if leaves:
                await taut.until(lambda: taut.state("a") is None, "nothing keeps it")
            return
    taut.repo.delete("apps/b/shared.yaml")
    async with taut.run():
        await taut.until(lambda: taut.get("configmaps", "shared") is None, "its last owner deleted it")
        assert live(taut, "own-b")
        if leaves:
            await taut.until(lambda: taut.state("a") is None, "nothing keeps it")


async def test_who_only_hands_over_keeps_nobody_else(taut: Taut) -> None:
    """`a` depends on `base`, and both leave Git: `base` goes although `a` waits for ever, and so does what leaves later."""
    four(taut)
    base: dict[str, Content] = {"apps/base/own.yaml": yaml(config_map("own-base"))}
    rest = [application("b", sync={"mode": "manual"}), application("stay"), application("stay-too")]
    taut.declare(application("a", dependsOn=["base"], **GIVER), application("base"), *rest, files=base)
    async with taut.run():
        await first_sync(taut)
        await taut.synced("base")
        await moving(taut, leaves=True)
        await taut.until(lambda: taut.state("base") is None, "what it depended on is gone")
        taut.declare(*rest[:2])
        await taut.poke()
        await taut.until(lambda: taut.state("stay-too") is None, "its share is not too large")
        await taut.says("a", f"waits until {taut.key('b')} takes it over")
        assert live(taut, "shared")


async def test_what_was_taken_over_waits_for_its_first_owners_word(taut: Taut) -> None:
    """`b` took it from `a` and wrote nothing yet. When `b` gives it up it is not known what `a` wants, for `a` is broken: nobody lets go."""
    shared = annotate(config_map("shared"), wave="1")
    never = deployment("slow")
    never["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
    planted = files(shared, "a") | {"apps/b/own.yaml": yaml(config_map("own-b"))}
    taut.declare(application("a", **GIVER), application("b", **GIVER), files=planted)
    async with taut.run():
        await taut.synced("a", "b")
        ref = cm_ref(taut, "shared")
        taut.repo.delete("apps/a/shared.yaml")
        await taut.push({"apps/b/shared.yaml": yaml(shared, annotate(never, wave="0"))})
        await taut.until(lambda: holders(taut, ref) == {"b"}, "it was handed over")
        assert owner(live(taut, "shared")) == "a"
    taut.repo.delete("apps/b/shared.yaml")
    commit = taut.repo.commit({"apps/a/broken.yaml": "kind: [\n"})
    async with taut.run():
        await taut.synced("b", at=commit)
        assert holders(taut, ref) == await stored(taut, ref) == {"b"}
        assert live(taut, "shared")
        taut.repo.delete("apps/a/broken.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "shared") is None, "it is known: nobody wants it")
        await taut.synced("a", "b")


async def test_an_object_moves_to_an_application_that_the_same_commit_repairs(taut: Taut) -> None:
    """What was wrong with `b` is no reason not to wait for its look at the commit that mends it."""
    planted = files(config_map("shared"), "a") | {"apps/b/own.yaml": yaml(config_map("own-b"))}
    taut.declare(application("a", **GIVER), application("b"), files=planted)
    async with taut.run():
        await taut.synced("a", "b")
        uid = live(taut, "shared")["metadata"]["uid"]
        await taut.push({"apps/b/broken.yaml": "kind: [\n"})
        await taut.until(lambda: (s := taut.state("b")) is not None and s.problems, "it is broken")
        find, go_on = taut.controller.wanting.find, asyncio.Event()

        async def slow(state: AppState) -> Any:
            if state.key == taut.key("b"):
                await go_on.wait()
            return await find(state)

        taut.controller.wanting.find = slow  # pyright: ignore[reportAttributeAccessIssue] (the same, only slower)
        taut.repo.delete("apps/a/shared.yaml", "apps/b/broken.yaml")
        await taut.push({"apps/b/shared.yaml": yaml(config_map("shared", {"by": "b"}))})
        await taut.says("a", f"waits with deletions until {taut.key('b')} has been looked at")
        go_on.set()
        await taut.synced("a", "b")
        after = live(taut, "shared")
        assert (owner(after), after["metadata"]["uid"]) == ("b", uid)


async def test_an_application_stays_while_what_it_lent_may_come_back(taut: Taut) -> None:
    """`a` is removed, and all it has is claimed by `b`, whose start then fails: `a` is there to have it again."""
    stay: dict[str, Content] = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    only: dict[str, Content] = {"apps/a/shared.yaml": yaml(config_map("shared"))}
    taut.declare(application("a"), application("stay"), files=only | stay)
    async with taut.run():
        await taut.synced("a", "stay")
        store, ref, uid = taut.controller.store, cm_ref(taut, "shared"), live(taut, "shared")["metadata"]["uid"]
        begin, run, looked, refused = store.begin, taut.controller.reconciler.run, asyncio.Event(), asyncio.Event()

        async def watched(state: AppState) -> None:
            await run(state)
            if state.key == taut.key("a") and not state.items:
                looked.set()

        async def full(operation: Any, *rest: Any, **more: Any) -> int:
            if operation.app == taut.key("b") and not refused.is_set():
                taut.controller.queue.add(taut.key("a"), Reason.TIMER)
                await looked.wait()
                refused.set()
                raise StoreError("the disk is full")
            return await begin(operation, *rest, **more)

        store.begin = full  # pyright: ignore[reportAttributeAccessIssue] (a store that fails once)
        taut.controller.reconciler.run = watched  # pyright: ignore[reportAttributeAccessIssue] (the same, and tells)
        taut.declare(application("b", "apps/a"), application("stay"))
        await taut.poke()
        async with asyncio.timeout(30):
            await refused.wait()
        assert taut.state("a") is not None
        await taut.until(lambda: holders(taut, ref) == {"a"}, "it came back")
        await taut.synced("b")
        await taut.until(lambda: taut.state("a") is None, "everything is taken over")
        after = live(taut, "shared")
        assert (owner(after), after["metadata"]["uid"]) == ("b", uid)
        assert holders(taut, ref) == await stored(taut, ref) == {"b"}


async def test_a_store_that_cannot_forget_an_application_is_told_again(
    taut: Taut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taut.controller.fleet.STORE_PAUSE", 0.1)
    planted = files(config_map("shared"), "a") | {"apps/stay/x.yaml": yaml(config_map("stay"))}
    taut.declare(application("a"), application("stay"), files=planted)
    async with taut.run():
        await taut.synced("a", "stay")
        store, told, dropped = taut.controller.store, list[AppState](), taut.controller.fleet.on_removed
        drop_app, tries = store.drop_app, list[str]()

        async def full(key: Any) -> None:
            tries.append(str(key))
            if len(tries) < 3:
                raise StoreError("the disk is full")
            await drop_app(key)

        async def tell(state: AppState) -> None:
            told.append(state)
            await dropped(state)

        store.drop_app = full  # pyright: ignore[reportAttributeAccessIssue] (a store that fails twice)
        taut.controller.fleet.on_removed = tell
        taut.declare(application("stay"))
        await taut.poke()

        async def forgotten() -> bool:
            return {r.key for r in await store.apps()} == {str(taut.key("stay"))}

        await taut.until(forgotten, "the store has forgotten it")
        assert tries == [str(taut.key("a"))] * 3
        assert [s.key for s in told] == [taut.key("a")], "who keeps something for it was told at once"


@pytest.mark.parametrize("leaves", [False, True], ids=["moved back", "removed"])
async def test_what_was_taken_over_and_never_written_goes_back_to_its_first_owner(taut: Taut, leaves: bool) -> None:
    """It carries that one's mark still, and is as Git says: nothing is written, and it changes hands all the same."""
    shared = annotate(config_map("shared"), wave="1")
    never = deployment("slow")
    never["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
    planted = files(shared, "b") | {f"apps/{n}/own.yaml": yaml(config_map(f"own-{n}")) for n in ("a", "b", "stay")}
    first = [application("a", **GIVER), application("b", **GIVER), application("stay")]
    taut.declare(*first, files=planted)
    body = planted["apps/b/shared.yaml"]
    async with taut.run():
        await taut.synced("a", "b", "stay")
        ref, before = cm_ref(taut, "shared"), live(taut, "shared")
        taut.repo.delete("apps/b/shared.yaml")
        await taut.push({"apps/a/shared.yaml": yaml(shared, annotate(never, wave="0"))})
        await taut.until(lambda: holders(taut, ref) == {"a"}, "it was handed over")
        taut.repo.delete("apps/a/shared.yaml")
        taut.declare(*(first[1:] if leaves else first), files={"apps/b/shared.yaml": body})
        await taut.poke()
        await taut.until(lambda: holders(taut, ref) == {"b"}, "it went back")
        await taut.synced("b")
        assert await stored(taut, ref) == {"b"}
        if leaves:
            await taut.until(lambda: taut.state("a") is None, "nothing keeps it")
        else:
            await taut.synced("a")
        after = live(taut, "shared")
        assert (owner(after), after["metadata"]["uid"]) == ("b", before["metadata"]["uid"])
        taut.repo.delete("apps/b/shared.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "shared") is None, "its last owner deleted it")


async def test_what_was_taken_over_and_never_written_goes_on_to_a_third_application(taut: Taut) -> None:
    """It is in the second one's inventory and carries the first one's mark; neither wants it any more."""
    shared = annotate(config_map("shared"), wave="1")
    never = deployment("slow")
    never["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
    names = ("a", "b", "c")
    planted = files(shared, "b") | {f"apps/{n}/own.yaml": yaml(config_map(f"own-{n}")) for n in names}
    taut.declare(*(application(n, **GIVER) for n in names), files=planted)
    async with taut.run():
        await taut.synced(*names)
        ref, before = cm_ref(taut, "shared"), live(taut, "shared")
        taut.repo.delete("apps/b/shared.yaml")
        await taut.push({"apps/a/shared.yaml": yaml(shared, annotate(never, wave="0"))})
        await taut.until(lambda: holders(taut, ref) == {"a"}, "it was handed over")
        assert owner(live(taut, "shared")) == "b", "and not written"
        taut.repo.delete("apps/a/shared.yaml")
        await taut.push({"apps/c/shared.yaml": yaml(shared)})
        await taut.until(lambda: holders(taut, ref) == {"c"}, "it went on")
        await taut.synced(*names)
        after = live(taut, "shared")
        assert (owner(after), after["metadata"]["uid"]) == ("c", before["metadata"]["uid"])
        assert await stored(taut, ref) == {"c"}
