"""Hooks: when they run, how often, and when their objects go."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, job, yaml
from integration.loop.written import Writes

pytestmark = pytest.mark.integration

MANUAL_RETRY = {"retry": {"limit": 0}}


def hook(name: str, phases: str, *, fails: bool = False, after: str = "", **words: str) -> dict[str, Any]:
    """A Job that runs at these phases; `words` are further `taut.dev/` annotations."""
    body = annotate(job(name), hook=phases, **words)
    fate = {"localplane.taut.dev/pod": "fail"} if fails else {}
    fate |= {"localplane.taut.dev/complete-after": after} if after else {}
    body["spec"]["template"]["metadata"] = {"annotations": fate}
    return body


def unnamed(body: dict[str, Any]) -> dict[str, Any]:
    """The object with a generated name."""
    body["metadata"]["generateName"] = body["metadata"].pop("name") + "-"
    return body


def refused() -> dict[str, Any]:
    """A Service that the API server refuses."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}, "spec": {"ports": [{"port": 99_999}]}}


def jobs(taut: Taut) -> dict[str, str]:
    """The Jobs of the namespace that are not being deleted: name and uid."""
    status, body = taut.api.request("GET", f"/apis/batch/v1/namespaces/{taut.namespace}/jobs")
    assert status == 200
    metas = [i["metadata"] for i in json.loads(body)["items"]]
    return {m["name"]: m["uid"] for m in metas if "deletionTimestamp" not in m}


@pytest.fixture
def writes(taut: Taut) -> Writes:
    return Writes(taut)


async def failed(taut: Taut, name: str, *words: str) -> str:
    """Wait until the last operation failed with these words; its message."""

    def fact() -> str:
        status = taut.status(name)
        failing = status is not None and status.operation == "Failed" and all(w in status.message for w in words)
        return status.message if failing and status is not None else ""

    return await taut.until(fact, f"{name} fails with {words}")


async def test_every_phase_in_its_place(taut: Taut, writes: Writes) -> None:
    phases = ["PreSync", "Sync", "PostSync", "SyncFail", "PreDelete", "PostDelete"]
    hooks = [hook(p.lower(), p, wave="1" if p == "Sync" else "0") for p in phases]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("settings"), *hooks)})
    async with taut.run():
        await taut.synced("web")
        assert writes.order() == [
            "create jobs.batch/presync",
            "patch configmaps/settings",
            "create jobs.batch/sync",
            "create jobs.batch/postsync",
        ]
        state = taut.state("web")
        assert state is not None
        assert {i.ref.name for i in state.items.values() if i.hook} == {"presync", "sync", "postsync"}
        taut.declare(application("other"), files={"apps/other/a.yaml": yaml(config_map("other"))})
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "the application is gone")
        order = writes.order()
        gone = order.index("delete configmaps/settings")
        assert order.index("create jobs.batch/predelete") < gone < order.index("create jobs.batch/postdelete")
        assert writes.runs() == Counter(["presync", "sync", "postsync", "predelete", "postdelete"])
        await taut.until(lambda: jobs(taut) == {}, "no hook's object is left")


async def test_deletion_hooks_run_although_taut_was_down_when_the_application_left_git(
    taut: Taut, writes: Writes
) -> None:
    taut.declare(
        application("web"),
        files={"apps/web/all.yaml": yaml(config_map("settings"), hook("goodbye", "PreDelete"))},
    )
    async with taut.run():
        await taut.synced("web")
    taut.declare(application("other"), files={"apps/other/a.yaml": yaml(config_map("other")), "apps/web": None})
    async with taut.run():
        await taut.until(lambda: taut.state("other") and taut.state("web") is None, "the application is gone")
        order = writes.order()
        assert order.index("create jobs.batch/goodbye") < order.index("delete configmaps/settings")


async def test_deletion_hooks_survive_a_restart_between_removal_and_deletion(taut: Taut, writes: Writes) -> None:
    """`db` waits until `web` is gone, and taut ends meanwhile: Git does not have the hook any more."""
    taut.declare(
        application("db"),
        application("web", dependsOn=["db"]),
        application("other"),
        files={
            "apps/db/all.yaml": yaml(config_map("db"), hook("backup", "PreDelete"), hook("bye", "PostDelete")),
            "apps/web/all.yaml": yaml(config_map("web", finalizers=["example.com/slow"])),
            "apps/other/all.yaml": yaml(config_map("other")),
        },
    )
    async with taut.run():
        await taut.synced("db", "web", "other")
        taut.declare(application("other"), files={"apps/db": None, "apps/web": None})
        await taut.poke()
        await taut.says("db", "waits until", "/web is gone")
    async with taut.run():
        await taut.says("db", "waits until", "/web is gone")
        assert writes.runs() == Counter()
        taut.patch("configmaps", "web", {"metadata": {"finalizers": None}})
        await taut.until(lambda: taut.state("db") is None, "it is gone")
        order = [w for w in writes.order() if "/db" in w or "jobs" in w]
        assert order[-5:] == [
            "create jobs.batch/backup",
            "delete jobs.batch/backup",
            "delete configmaps/db",
            "create jobs.batch/bye",
            "delete jobs.batch/bye",
        ]


async def test_delete_policies_after_success(taut: Taut, writes: Writes) -> None:
    hooks = [
        hook("default", "PreSync"),
        hook("before", "PreSync", hook_delete_policy="BeforeHookCreation"),
        hook("succeeded", "PreSync", hook_delete_policy="HookSucceeded"),
        hook("failed", "PostSync", hook_delete_policy="HookFailed"),
    ]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("settings"), *hooks)})
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: set(jobs(taut)) == {"default", "before", "failed"}, "what succeeded is gone")
        first = jobs(taut)
        assert set(first) == {"default", "before", "failed"}
        commit = await taut.push(
            {"apps/web/all.yaml": yaml(config_map("settings", {"a": "2"}), *hooks)}, message="again"
        )
        await taut.synced("web", at=commit)
        assert all(first[name] != uid for name, uid in jobs(taut).items())
        assert writes.runs() == Counter({"default": 2, "before": 2, "succeeded": 2, "failed": 2})


async def test_delete_policies_after_failure(taut: Taut) -> None:
    hooks = [
        hook("failed", "PreSync", fails=True, hook_delete_policy="HookFailed"),
        hook("succeeded", "PreSync", fails=True, hook_delete_policy="HookSucceeded"),
    ]
    taut.declare(
        application("web", sync=MANUAL_RETRY),
        files={"apps/web/all.yaml": yaml(config_map("settings"), *hooks)},
    )
    async with taut.run():
        await failed(taut, "web", "Job.batch", "/failed")
        await taut.until(lambda: set(jobs(taut)) == {"succeeded"}, "what failed is gone, and nothing else")


async def test_what_a_hook_leaves_stays_until_its_phase_is_over(taut: Taut, writes: Writes) -> None:
    account = annotate(config_map("for-the-job"), hook="PreSync", wave="-1", hook_delete_policy="HookSucceeded")
    taut.declare(
        application("web"),
        files={"apps/web/all.yaml": yaml(config_map("settings"), account, hook("migrate", "PreSync"))},
    )
    async with taut.run():
        await taut.synced("web")
        assert writes.order() == [
            "create configmaps/for-the-job",
            "create jobs.batch/migrate",
            "delete configmaps/for-the-job",
            "patch configmaps/settings",
        ]


async def test_helm_hooks_by_weight(taut: Taut, writes: Writes) -> None:
    def helm(name: str, when: str, weight: str, policy: str = "") -> str:
        body = job(name, {"helm.sh/hook": when, "helm.sh/hook-weight": weight})
        if policy:
            body["metadata"]["annotations"]["helm.sh/hook-delete-policy"] = policy
        return yaml(body)

    chart = {
        "Chart.yaml": yaml({"apiVersion": "v2", "name": "web", "version": "1.0.0"}),
        "templates/cm.yaml": yaml(config_map("settings")),
        "templates/a.yaml": helm("second", "pre-install,pre-upgrade", "5"),
        "templates/b.yaml": helm("first", "pre-install", "-5", "hook-succeeded,before-hook-creation"),
        "templates/c.yaml": helm("last", "post-install,post-upgrade", "0"),
        "templates/d.yaml": helm("test", "test", "0"),
        "templates/e.yaml": helm("undo", "pre-rollback", "0"),
    }
    taut.declare(application("web"), files={f"apps/web/{k}": v for k, v in chart.items()})
    async with taut.run():
        await taut.synced("web")
        assert writes.order() == [
            "create jobs.batch/first",
            "create jobs.batch/second",
            "delete jobs.batch/first",
            "patch configmaps/settings",
            "create jobs.batch/last",
        ]


async def test_hooks_with_generated_names(taut: Taut, writes: Writes) -> None:
    twins = [unnamed(hook("migrate", "PreSync")), unnamed(hook("migrate", "PreSync"))]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("settings"), *twins)})
    async with taut.run():
        await taut.synced("web")
        first = jobs(taut)
        assert len(first) == 2
        assert all(name.startswith("migrate-") for name in first)
        taut.patch("configmaps", "settings", {"data": {"a": "9"}})
        await taut.until(lambda: (taut.get("configmaps", "settings") or {})["data"] == {"a": "1"}, "healed")
        await taut.synced("web")
        assert jobs(taut) == first
        commit = await taut.push({"README.md": "nothing that matters"})
        await taut.synced("web")
        assert jobs(taut) == first, f"{commit} changes nothing"
        commit = await taut.push({"apps/web/all.yaml": yaml(config_map("settings", {"a": "2"}), *twins)})
        await taut.synced("web", at=commit)
        await taut.until(lambda: len(jobs(taut)) == 2 and not first.keys() & jobs(taut).keys(), "new ones instead")
        assert sum(writes.runs().values()) == 4


async def test_a_failing_hook_stops_the_sync_and_runs_the_failure_hooks(taut: Taut, writes: Writes) -> None:
    files = [
        config_map("settings"),
        hook("good", "PreSync", wave="-1"),
        hook("bad", "PreSync", fails=True),
        hook("never", "PostSync"),
        hook("cleanup", "SyncFail"),
    ]
    taut.declare(application("web", sync=MANUAL_RETRY), files={"apps/web/all.yaml": yaml(*files)})
    async with taut.run():
        message = await failed(taut, "web", "Job.batch", "/bad")
        assert "waits for a new commit or: taut sync" in message
        assert taut.get("configmaps", "settings") is None
        assert writes.runs() == Counter(["good", "bad", "cleanup"])
        entry = (await taut.history("web"))[0]
        assert entry.result == "Failed"
        assert "/bad" in entry.message
        # A person tries again: what succeeded is not repeated, what failed is.
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: writes.runs()["bad"] == 2, "the failed hook runs again")
        await failed(taut, "web", "/bad")
        assert writes.runs() == Counter({"good": 1, "bad": 2, "cleanup": 1})
        files[2] = hook("bad", "PreSync")
        commit = await taut.push({"apps/web/all.yaml": yaml(*files)}, message="mend it")
        await taut.synced("web", at=commit)
        assert writes.runs() == Counter({"good": 2, "bad": 3, "never": 1, "cleanup": 1})


async def test_a_failed_hook_is_never_passed_by(taut: Taut, writes: Writes) -> None:
    policy = {"retry": {"limit": 1, "backoff": {"duration": "100ms"}}}
    taut.declare(
        application("web", sync=policy),
        files={"apps/web/all.yaml": yaml(config_map("settings"), hook("bad", "PreSync", fails=True))},
    )
    async with taut.run():
        await failed(taut, "web", "/bad", "tried 2 times")
        assert taut.get("configmaps", "settings") is None
        assert writes.runs() == Counter({"bad": 2})
    async with taut.run():
        await failed(taut, "web", "/bad", "tried 2 times")
        assert writes.runs() == Counter({"bad": 2})


async def test_a_hook_runs_once_whatever_happens(taut: Taut, writes: Writes) -> None:
    hooks = [hook("migrate", "PreSync"), hook("gone", "PreSync", hook_delete_policy="HookSucceeded")]
    policy = {"retry": {"limit": 20, "backoff": {"duration": "100ms", "maxDuration": "200ms"}}}
    taut.declare(
        application("web", sync=policy),
        files={"apps/web/all.yaml": yaml(config_map("settings"), refused(), *hooks)},
    )
    async with taut.run():
        # Retries, and a commit that changes nothing of it between them.
        await taut.until(lambda: (s := taut.state("web")) and s.record.failures >= 2, "tried twice")
        await taut.push({"README.md": "nothing that matters"})
        failures = taut.controller.state(taut.key("web")).record.failures
        await taut.until(lambda: taut.controller.state(taut.key("web")).record.failures >= failures + 2, "tried more")
        assert writes.runs() == Counter(["migrate", "gone"])
    async with taut.run():
        # A restart, with its own tries.
        failures = taut.controller.state(taut.key("web")).record.failures
        await taut.until(lambda: taut.controller.state(taut.key("web")).record.failures > failures, "tried again")
        assert writes.runs() == Counter(["migrate", "gone"])
        commit = await taut.push({"apps/web/all.yaml": yaml(config_map("settings", {"a": "2"}), *hooks)})
        await taut.synced("web", at=commit)
        assert writes.runs() == Counter({"migrate": 2, "gone": 2})
        # A heal.
        taut.patch("configmaps", "settings", {"data": {"a": "9"}})
        await taut.until(lambda: (taut.get("configmaps", "settings") or {})["data"] == {"a": "2"}, "healed")
        await taut.synced("web")
    for file in (taut.folder / "state").glob("taut.db*"):
        if file.is_file():
            file.unlink()
    async with taut.run():
        # A lost store, and a drift that is found with it.
        await taut.synced("web")
        taut.patch("configmaps", "settings", {"data": {"a": "7"}})
        await taut.until(lambda: (taut.get("configmaps", "settings") or {})["data"] == {"a": "2"}, "healed")
        await taut.synced("web")
        assert writes.runs() == Counter({"migrate": 2, "gone": 2})


async def test_a_lost_store_finds_the_hooks_that_ran(taut: Taut, writes: Writes) -> None:
    files = [config_map("settings"), hook("migrate", "PreSync"), hook("both", "PreSync,PostSync")]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(*files)})
    async with taut.run():
        await taut.synced("web")
        assert writes.runs() == Counter({"migrate": 1, "both": 2})
    for file in (taut.folder / "state").glob("taut.db*"):
        if file.is_file():
            file.unlink()
    taut.patch("configmaps", "settings", {"data": {"a": "9"}})
    async with taut.run():
        await taut.until(lambda: (taut.get("configmaps", "settings") or {})["data"] == {"a": "1"}, "put back")
        await taut.synced("web")
        assert writes.runs() == Counter({"migrate": 1, "both": 2})
        # Their objects are known again: they go with the application.
        taut.declare(application("other"), files={"apps/other/a.yaml": yaml(config_map("other"))})
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "the application is gone")
        await taut.until(lambda: jobs(taut) == {}, "with its hooks' objects")


async def test_a_hooks_object_leaves_with_its_manifest(taut: Taut, writes: Writes) -> None:
    files = {
        "apps/web/a.yaml": yaml(config_map("settings")),
        "apps/web/h.yaml": yaml(hook("old", "PreSync"), hook("stays", "PreSync")),
    }
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        assert set(jobs(taut)) == {"old", "stays"}
        commit = await taut.push({"apps/web/h.yaml": yaml(hook("stays", "PreSync"))})
        await taut.until(lambda: set(jobs(taut)) == {"stays"}, "it left with its manifest")
        await taut.synced("web", at=commit)
        assert writes.runs() == Counter(["old", "stays"]), "tidying up is no reason to run a hook"


async def test_several_phases_in_one_hook(taut: Taut, writes: Writes) -> None:
    files = [config_map("settings"), hook("notify", "PreSync,PostSync")]
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(*files)})
    async with taut.run():
        await taut.synced("web")
        made = [line for line in writes.order() if not line.startswith("delete")]
        assert made == ["create jobs.batch/notify", "patch configmaps/settings", "create jobs.batch/notify"]


async def test_hooks_take_part_only_when_something_is_written(taut: Taut, writes: Writes) -> None:
    taut.declare(
        application("web"),
        files={"apps/web/a.yaml": yaml(config_map("settings")), "apps/web/h.yaml": yaml(hook("migrate", "PreSync"))},
    )
    async with taut.run():
        await taut.synced("web")
        commit = await taut.push({"apps/web/h.yaml": yaml(hook("migrate", "PreSync", note="new"))})
        await taut.synced("web", at=commit)
        assert writes.runs() == Counter({"migrate": 1})
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: (s := taut.status("web")) and s.handled, "the wish was handled")
        assert writes.runs() == Counter({"migrate": 1})
        commit = await taut.push({"apps/web/a.yaml": yaml(config_map("settings", {"a": "2"}))})
        await taut.synced("web", at=commit)
        assert writes.runs() == Counter({"migrate": 2})
