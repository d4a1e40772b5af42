"""What taut applied is taut's: pruning by inventory, objects that change hands, copies, and the ends of applications."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, deployment, yaml
from taut.model.errors import BadInput
from taut.model.plan import Action
from taut.model.refs import ObjectRef

pytestmark = pytest.mark.integration

OWNER = "taut.dev/owner"


def one(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {f"apps/web/{name}.yaml": yaml(config_map(name, data, **metadata))}


def make(taut: Taut, body: dict[str, Any], manager: str = "kubectl-create") -> None:
    """Create an object by hand."""
    path = f"/api/v1/namespaces/{taut.namespace}/configmaps?fieldManager={manager}"
    status, answer = taut.api.request("POST", path, body)
    assert status == 201, answer


def cm(taut: Taut, name: str) -> dict[str, Any]:
    found = taut.get("configmaps", name)
    assert found is not None
    return found


def let_go(taut: Taut, app: str, name: str) -> bool:
    """Whether the application's inventory does not hold this ConfigMap (any more)."""
    state = taut.state(app)
    return state is None or ObjectRef(CLUSTER, "", "ConfigMap", taut.namespace, name) not in state.items


async def test_only_what_taut_applied_is_pruned(taut: Taut) -> None:
    """A copy of an object with taut's annotation, an object of somebody else and children are not taut's."""
    files = one("original") | {"apps/web/dep.yaml": yaml(deployment("dep")), **one("keep")}
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        copied = cm(taut, "original")
        copied["metadata"] = {"name": "copy", "annotations": copied["metadata"]["annotations"], "labels": {"a": "b"}}
        make(taut, copied)
        make(taut, config_map("stranger"))
        taut.repo.delete("apps/web/original.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "original") is None, "pruned")
        await taut.synced("web")
        assert OWNER in cm(taut, "copy")["metadata"]["annotations"]
        assert cm(taut, "stranger")
        state = taut.state("web")
        assert state is not None
        assert {r.kind for r in state.items} == {"ConfigMap", "Deployment"}
        assert let_go(taut, "web", "copy")
        assert taut.status("web").objects == 2  # pyright: ignore[reportOptionalMemberAccess]


async def test_a_declared_copy_is_adopted_and_its_plan_says_so(taut: Taut) -> None:
    taut.declare(application("web", sync={"mode": "manual"}), files=one("original", {"a": "1"}))
    async with taut.run():
        await taut.until(lambda: taut.status("web") is not None)
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        copied = cm(taut, "original")
        copied["metadata"] = {"name": "copy", "annotations": copied["metadata"]["annotations"]}
        copied["data"] = {"a": "9"}
        make(taut, copied)
        uid = cm(taut, "copy")["metadata"]["uid"]
        await taut.push(one("copy", {"a": "1"}))
        await taut.says("web", "taut sync")
        plan = (await taut.controller.planned(taut.key("web"))).plan
        [change] = [c for c in plan.changes if c.ref.name == "copy"]
        assert change.action is Action.ADOPT
        assert "no application owns it" in change.reason
        assert ("data.a", "9", "1") in [(f.path, f.before, f.after) for f in change.fields]
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        after = cm(taut, "copy")
        assert (after["data"], after["metadata"]["uid"]) == ({"a": "1"}, uid)
        assert after["metadata"]["annotations"][OWNER].endswith(f"{taut.namespace}/copy")
        assert ("adopt", f"ConfigMap {taut.namespace}/copy") in (await taut.history("web"))[0].changes


@pytest.mark.parametrize(
    "words",
    [
        {"taut.dev/prune": "false"},
        {"argocd.argoproj.io/sync-options": "Prune=false"},
        {"kustomize.toolkit.fluxcd.io/prune": "disabled"},
        {"helm.sh/resource-policy": "keep"},
    ],
    ids=["taut", "argo", "flux", "helm"],
)
async def test_a_protected_object_is_let_go_of_and_loses_nothing(taut: Taut, words: dict[str, str]) -> None:
    taut.declare(application("web"), files=one("keep") | one("mine", {"a": "1", "b": "2"}, annotations=words))
    async with taut.run():
        await taut.synced("web")
        before = cm(taut, "mine")
        taut.repo.delete("apps/web/mine.yaml")
        await taut.poke()
        await taut.until(lambda: let_go(taut, "web", "mine"), "released")
        await taut.synced("web")
        assert cm(taut, "mine") == before
        assert ("release", f"ConfigMap {taut.namespace}/mine") in (await taut.history("web"))[0].changes
        # Declared again as it is, it comes back without a write; without its protection it is pruned.
        commit = await taut.push(one("mine", {"a": "1", "b": "2"}, annotations=words))
        await taut.synced("web", at=commit)
        assert cm(taut, "mine") == before
        assert not let_go(taut, "web", "mine")
        commit = await taut.push(one("mine", {"a": "1"}))
        await taut.synced("web", at=commit)
        taut.repo.delete("apps/web/mine.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "mine") is None, "pruned")


async def test_without_pruning_objects_stay_and_taut_says_so(taut: Taut) -> None:
    taut.declare(application("web", sync={"prune": False}), files=one("keep") | one("old"))
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete("apps/web/old.yaml")
        await taut.poke()
        warning = f"ConfigMap {taut.namespace}/old stays: Git no longer has it, and pruning is off"
        await taut.until(lambda: warning in taut.status("web").warnings, "said")  # pyright: ignore[reportOptionalMemberAccess]
        assert cm(taut, "old")
        # A person may prune all the same, once.
        await taut.controller.ask_sync(taut.key("web"), by="ada", prune=True)
        await taut.until(lambda: taut.get("configmaps", "old") is None, "pruned")
        await taut.until(lambda: not taut.status("web").warnings, "nothing to say any more")  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(("policy", "stays"), [("orphan", True), ("foreground", False)])
async def test_how_dependants_go(taut: Taut, policy: str, stays: bool) -> None:
    taut.declare(
        application("web", sync={"propagation": policy}),
        files=one("keep") | {"apps/web/dep.yaml": yaml(deployment("dep"))},
    )

    def replica_sets() -> list[Any]:
        found = taut.api.get(f"/apis/apps/v1/namespaces/{taut.namespace}/replicasets")
        return found["items"] if found else []

    async with taut.run():
        await taut.synced("web")
        assert len(replica_sets()) == 1
        taut.repo.delete("apps/web/dep.yaml")
        await taut.poke()
        await taut.until(lambda: taut.get("deployments", "dep", "apps/v1") is None, "pruned")
        await taut.synced("web")
        assert bool(replica_sets()) is stays


@pytest.mark.parametrize("first", ["giver", "taker"])
async def test_an_object_that_moves_is_handed_over_whoever_is_looked_at_first(taut: Taut, first: str) -> None:
    """In the queue's order, and in the other one: the applications' names decide which is read first."""
    giver, taker = ("a", "b") if first == "giver" else ("b", "a")

    def files(owner: str, other: str) -> dict[str, Any]:
        return {
            f"apps/{owner}/moving.yaml": yaml(config_map("moving", {"in": owner})),
            f"apps/{owner}/own.yaml": yaml(config_map(f"own-{owner}")),
            f"apps/{other}/own.yaml": yaml(config_map(f"own-{other}")),
        }

    taut.declare(application("a"), application("b"), files=files(giver, taker))
    async with taut.run():
        await taut.synced("a", "b")
        uid = cm(taut, "moving")["metadata"]["uid"]
        taut.repo.delete(f"apps/{giver}/moving.yaml")
        commit = taut.repo.commit(files(taker, giver), "move")
        await taut.poke()
        await taut.synced("a", "b", at=commit)
        after = cm(taut, "moving")
        assert (after["data"], after["metadata"]["uid"]) == ({"in": taker}, uid)
        assert after["metadata"]["annotations"][OWNER].startswith(f"{taut.root}/{taker}|")
        assert let_go(taut, giver, "moving")
        assert not let_go(taut, taker, "moving")


async def test_a_renamed_application_keeps_its_objects(taut: Taut) -> None:
    taut.declare(application("old", "apps/web"), files=one("cm"))
    async with taut.run():
        await taut.synced("old")
        uid = cm(taut, "cm")["metadata"]["uid"]
        commit = taut.declare(application("new", "apps/web"))
        await taut.poke()
        await taut.until(lambda: taut.state("old") is None and taut.state("new") is not None, "renamed")
        await taut.synced("new", at=commit)
        after = cm(taut, "cm")
        assert after["metadata"]["uid"] == uid
        assert after["metadata"]["annotations"][OWNER].startswith(f"{taut.root}/new|")


async def test_what_an_orphaned_application_left_can_be_taken_by_another(taut: Taut) -> None:
    other = {"apps/other/x.yaml": yaml(config_map("other"))}
    taut.declare(application("old", "apps/web", deletion="orphan"), application("other"), files=one("cm") | other)
    async with taut.run():
        await taut.synced("old", "other")
        before = cm(taut, "cm")
        taut.declare(application("other"))
        await taut.poke()
        await taut.until(lambda: taut.state("old") is None, "gone")
        assert cm(taut, "cm") == before
        commit = taut.declare(application("new", "apps/web"), application("other"))
        await taut.poke()
        await taut.until(lambda: taut.state("new") is not None, "declared")
        await taut.synced("new", at=commit)
        after = cm(taut, "cm")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["metadata"]["annotations"][OWNER].startswith(f"{taut.root}/new|")


async def test_an_object_of_another_taut_is_left_alone(taut: Taut) -> None:
    """Its root is not known here: it is not ours to say that its application is gone."""
    marked = config_map("shared", {"by": "them"})
    owner = f"elsewhere/theirs|/ConfigMap:{taut.namespace}/shared"
    marked["metadata"]["annotations"] = {OWNER: owner}
    make(taut, marked, manager="taut")
    taut.declare(application("web"), files=one("shared", {"by": "us"}))
    async with taut.run():
        status = await taut.held("web", "owned-by-another")
        assert "elsewhere/theirs" in status.message
        assert cm(taut, "shared")["data"] == {"by": "them"}


async def test_deletion_follows_the_dependencies_backwards(taut: Taut) -> None:
    """What others depend on goes last; a finalizer on the first shows the order."""
    files = {f"apps/{n}/x.yaml": yaml(config_map(n)) for n in ("base", "middle", "top")}
    apps = [application("base"), application("middle", dependsOn=["base"]), application("top", dependsOn=["middle"])]
    stay = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    taut.declare(*apps, application("stay"), files=files | stay)
    async with taut.run():
        await taut.synced("base", "middle", "top", "stay")
        taut.patch("configmaps", "top", {"metadata": {"finalizers": ["example.com/wait"]}}, manager="holder")
        taut.declare(application("stay"))
        await taut.poke()
        await taut.until(lambda: "deletionTimestamp" in cm(taut, "top")["metadata"], "the top goes first")
        await taut.says("middle", f"waits until {taut.root}/top is gone")
        await taut.says("base", f"waits until {taut.root}/middle is gone")
        assert "deletionTimestamp" not in cm(taut, "middle")["metadata"]
        assert "deletionTimestamp" not in cm(taut, "base")["metadata"]
        taut.patch("configmaps", "top", {"metadata": {"finalizers": None}}, manager="holder")
        await taut.until(lambda: all(taut.state(n) is None for n in ("base", "middle", "top")), "all are gone")
        assert taut.get("configmaps", "base") is None


async def test_a_suspended_application_is_left_alone_also_when_git_drops_it(taut: Taut) -> None:
    stay = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    files = one("cm", {"a": "1"}) | one("old") | stay
    taut.declare(application("web"), application("stay"), files=files)
    async with taut.run():
        await taut.synced("web", "stay")
        taut.declare(application("web", suspended=True), application("stay"))
        await taut.poke()
        await taut.until(lambda: taut.status("web").suspended, "suspended")  # pyright: ignore[reportOptionalMemberAccess]
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await taut.says("web", "suspended")
        taut.repo.delete("apps/web/old.yaml")
        await taut.push(one("new") | {"apps/stay/x.yaml": yaml(config_map("stay", {"later": "yes"}))})
        await taut.until(lambda: cm(taut, "stay")["data"] == {"later": "yes"}, "the others go on")
        await taut.until(lambda: len(taut.state("web").out_of_sync) == 3, "planned")  # pyright: ignore[reportOptionalMemberAccess]
        with pytest.raises(BadInput):
            await taut.controller.ask_sync(taut.key("web"), by="ada")
        with pytest.raises(BadInput):
            await taut.controller.resume(taut.key("web"), by="ada")
        taut.declare(application("stay"))
        await taut.poke()
        await taut.until(lambda: taut.state("web").removed, "no longer declared")  # pyright: ignore[reportOptionalMemberAccess]
        await taut.says("web", "suspended")
    async with taut.run():
        await taut.says("web", "suspended")
        assert cm(taut, "cm")["data"] == {"a": "9"}
        assert cm(taut, "old")
        assert taut.get("configmaps", "new") is None
        # Its document cannot say that it is resumed any more: a person can.
        await taut.controller.resume(taut.key("web"), by="ada")
        await taut.until(lambda: taut.state("web") is None, "gone")
        assert taut.get("configmaps", "cm") is None


async def test_a_suspension_by_a_person_outlives_a_restart(taut: Taut) -> None:
    taut.declare(application("web"), files=one("cm", {"a": "1"}))
    async with taut.run():
        await taut.synced("web")
        await taut.controller.suspend(taut.key("web"), by="ada", reason="maintenance")
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await taut.says("web", "suspended")
    async with taut.run():
        await taut.says("web", "suspended")
        assert cm(taut, "cm")["data"] == {"a": "9"}
        await taut.controller.resume(taut.key("web"), by="ada")
        await taut.until(lambda: cm(taut, "cm")["data"] == {"a": "1"}, "healed after that")


async def test_an_application_that_comes_back(taut: Taut) -> None:
    """After its removal, and in the midst of it: what is gone is made again, and that is no drift."""
    stay = {"apps/stay/x.yaml": yaml(config_map("stay"))}
    both = (application("web", sync={"heal": False}), application("stay"))
    taut.declare(*both, files=one("one") | one("two") | stay)
    async with taut.run():
        await taut.synced("web", "stay")
        taut.declare(application("stay"))
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "gone")
        taut.declare(*both)
        await taut.poke()
        await taut.until(lambda: taut.state("web") is not None, "back")
        await taut.synced("web")
        assert cm(taut, "one")
        taut.patch("configmaps", "one", {"metadata": {"finalizers": ["example.com/wait"]}}, manager="holder")
        taut.declare(application("stay"))
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "two") is None, "half gone")
        taut.declare(*both)
        await taut.poke()
        await taut.until(lambda: not taut.state("web").removed, "back")  # pyright: ignore[reportOptionalMemberAccess]
        taut.patch("configmaps", "one", {"metadata": {"finalizers": None}}, manager="holder")
        await taut.until(lambda: taut.get("configmaps", "one") and taut.get("configmaps", "two"), "made again")
        await taut.synced("web")
        assert json.dumps([r.path for r in await taut.drift("web")]) == "[]"
