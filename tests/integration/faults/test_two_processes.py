"""Two tauts where there should be one: on the same store the second ends; with stores of their own they agree."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from integration.faults.network import PATIENCE, Fleet
from integration.loop.harness import Taut, application, config_map, yaml
from integration.loop.written import Writes
from servers.git import GitHttpServer
from support.program import TAUT, Program
from taut.documents.yaml import dump
from taut.localplane import Plane
from taut.localplane.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def second(program: Program) -> subprocess.CompletedProcess[str]:
    """`taut run` with the same configuration, while the first one runs (or not): it ends by itself when it is refused."""
    return subprocess.run(
        [TAUT, "run", "--config", str(program.config_file)],
        cwd=program.folder,
        env=program.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_on_the_same_store_the_second_one_ends(
    plane: Plane, git_server: GitHttpServer, namespace: str, tmp_path: Path
) -> None:
    """It says which process holds the store and ends with 1, having written nothing; a kill -9 of that one frees it."""
    repo = git_server.repo("config")
    document = application("web", target={"cluster": "local", "namespace": namespace})
    document["spec"]["source"] |= {"git": repo.url, "ref": "main"}
    commit = repo.commit({"taut/web.yaml": dump(document), "apps/web/a.yaml": yaml(config_map("a"))})
    config = {
        "store": "state/taut.db",
        "listen": "127.0.0.1:0",
        "clusters": [{"name": "local", "kubeconfig": str(plane.kubeconfig)}],
        "roots": [{"name": namespace, "git": repo.url, "ref": "main", "path": "taut", "poll": "1h"}],
    }
    with Program(tmp_path / "taut", config) as program:
        program.synced("web", at=commit)
        assert program.process is not None
        holder = program.process.pid
        before = sorted(p.name for p in (program.folder / "state").iterdir())
        refused = second(program)
        assert refused.returncode == 1
        assert refused.stdout == ""
        said = refused.stderr.splitlines()
        assert said[0] == f"Error: {program.folder}/state/taut.db: Another taut (process {holder}) uses this store"
        assert said[1].strip() == "stop it first, or give this one its own store"
        assert len(said) == 2
        assert sorted(p.name for p in (program.folder / "state").iterdir()) == before
        # The first one does not notice, and goes on.
        commit = repo.commit({"apps/web/a.yaml": yaml(config_map("a", {"a": "2"}))})
        program.ok("refresh")
        program.synced("web", at=commit)
        os.kill(holder, signal.SIGKILL)
        program.process.wait()
        program.start()
        program.synced("web", at=commit)


@pytest.mark.faults
async def test_with_a_store_each_they_agree(
    plane: Plane, plane_api: Api, git_server: GitHttpServer, namespace: str, tmp_path: Path
) -> None:
    """The same root by two tauts (a move to another machine, say, where the old one was forgotten): nothing flaps, nothing is lost.

    An object's owner is the application, whoever speaks for it; both write the same, as the same field manager.
    """
    repo = git_server.repo("config")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    one, two = (Taut(plane, plane_api, git_server, repo, namespace, folder) for folder in folders)
    fleet, writes = Fleet(7), Writes(one)
    commit = one.declare(*fleet.documents(), files=fleet.files(1))
    async with one.run():
        await one.synced(*fleet.names, at=commit)
        writes.mark()
        async with two.run():
            await two.synced(*fleet.names, at=commit)
            await quiet(one, two)
            assert writes.all() == [], "the second one found everything as it should be"
            commit = one.repo.commit(fleet.files(2))
            await both(one, two, fleet, commit)
            await check(one, fleet, writes)
            # One of them looks later than the other, and takes for drift what the other pruned: it makes it anew until it looks.
            commit = one.repo.commit(fleet.files(3, fleet.names[:4]))
            await one.poke()
            await one.synced(*fleet.names, at=commit)
            await both(one, two, fleet, commit)
            await check(one, fleet, writes)
            for name in fleet.names[:3]:
                one.patch("configmaps", f"{name}-one", {"data": {"version": "by hand"}})
            one.delete("configmaps", f"{fleet.names[4]}-two")
            await one.until(lambda: found(one) == fleet_data(fleet), "healed")
            await both(one, two, fleet, commit)
            writes.mark()
            await both(one, two, fleet, commit)
            assert writes.all() == [], "nothing flaps"


async def both(one: Taut, two: Taut, fleet: Fleet, commit: str) -> None:
    """Both look, and are done."""
    for taut in (one, two):
        await taut.poke()
    await one.synced(*fleet.names, at=commit, seconds=PATIENCE)
    for name in fleet.names:
        await settled(two, name, commit)
    await one.synced(*fleet.names, at=commit, seconds=PATIENCE)
    await quiet(one, two)


async def settled(taut: Taut, name: str, commit: str) -> None:
    """The taut with the rebuilt inventory is done; its first deletion asks, and may."""

    async def done() -> bool:
        status, state = taut.status(name), taut.state(name)
        assert status is not None
        assert state is not None
        if status.held_for:
            assert {h.kind for h in status.held_for} == {"rebuilt-inventory"}
            await taut.approve(name)
            return False
        here = commit[:8] in status.desired_revision and not state.stale and state.run is None
        return here and status.sync == "Synced" and taut.controller.queue.idle

    await taut.until(done, f"{name} is done", PATIENCE)


async def quiet(*tauts: Taut) -> None:
    """Nothing is to be done in any of them."""
    await tauts[0].until(lambda: all(t.controller.queue.idle for t in tauts), "both are quiet")


async def check(taut: Taut, fleet: Fleet, writes: Writes) -> None:
    """Everything is there once; hooks ran once, those whose object is removed at once no more than once for each taut."""
    assert found(taut) == fleet_data(fleet)
    runs = writes.runs()
    for name, due in fleet.hook_runs().items():
        made = due - 1  # the first version was before the counting
        assert runs[name] == made if name.endswith("before") else made <= runs[name] <= 2 * made, runs
    gone = {w.name for w in writes.all() if w.verb == "delete" and w.plural == "configmaps"}
    assert gone == set(fleet.prunings()), "nothing that should live was deleted, not even for a moment"


def fleet_data(fleet: Fleet) -> dict[str, object]:
    return {k: v for k, (_, v) in fleet.expected().items() if k.startswith("ConfigMap/")}


def found(taut: Taut) -> dict[str, object]:
    answer = taut.api.get(f"/api/v1/namespaces/{taut.namespace}/configmaps") or {"items": []}
    items = [i for i in answer["items"] if i["metadata"]["name"] != "kube-root-ca.crt"]
    return {f"ConfigMap/{i['metadata']['name']}": i["data"] for i in items if "deletionTimestamp" not in i["metadata"]}
