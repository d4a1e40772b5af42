"""Health as the loop shows it: the worst of an application's objects, named."""

from __future__ import annotations

from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, job, yaml
from taut.model.status import AppStatus

pytestmark = pytest.mark.integration

FATE = "localplane.taut.dev/pod"


def pods(fate: str) -> dict[str, str]:
    return {FATE: fate}


def workload(name: str, fate: str) -> dict[str, Any]:
    body = deployment(name)
    body["spec"]["template"]["metadata"]["annotations"] = pods(fate)
    return body


def claim(name: str, storage_class: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def failing_job(name: str) -> dict[str, Any]:
    body = job(name)
    body["spec"]["template"]["metadata"] = {"annotations": pods("fail")}
    return body


async def health(taut: Taut, name: str, status: str, *words: str) -> AppStatus:
    """Wait until an application's health is this, and its message holds these words."""

    def fact() -> AppStatus | None:
        found = taut.status(name)
        said = found is not None and found.health == status and all(w in found.health_message for w in words)
        return found if said else None

    return await taut.until(fact, f"{name} is {status} {words}")


async def test_each_object_that_is_not_well_is_named(taut: Taut) -> None:
    apps = {
        "crash": workload("crash", "crash"),
        "slow": workload("slow", "never-ready"),
        "pull": workload("pull", "image-pull"),
        "fails": failing_job("fails"),
        "unbound": claim("unbound", "no-such-class"),
        "bound": claim("bound", "standard"),
    }
    no_wait = {"wait": False}
    taut.declare(
        *(application(n, sync=no_wait) for n in apps),
        files={f"apps/{n}/x.yaml": yaml(body, config_map(f"{n}-settings")) for n, body in apps.items()},
    )
    async with taut.run():
        await health(taut, "crash", "Progressing", "Deployment crash")
        await health(taut, "slow", "Progressing", "Deployment slow")
        await health(taut, "pull", "Progressing", "Deployment pull")
        await health(taut, "fails", "Degraded", "Job fails")
        await health(taut, "unbound", "Progressing", "PersistentVolumeClaim unbound")
        found = await health(taut, "bound", "Healthy")
        assert found.health_message == ""
        # It is applied all the same, and says so.
        await taut.until(lambda: taut.status("crash").sync == "Synced", "synced")  # pyright: ignore[reportOptionalMemberAccess]
        assert "Deployment crash" in taut.status("crash").message  # pyright: ignore[reportOptionalMemberAccess]


async def test_a_rollout_that_makes_no_progress_is_degraded_and_recovers(taut: Taut) -> None:
    stuck = workload("web", "crash")
    stuck["spec"]["progressDeadlineSeconds"] = 1
    taut.declare(application("web"), files={"apps/web/x.yaml": yaml(stuck)})
    async with taut.run():
        status = await health(taut, "web", "Degraded", "Deployment web", "progress")
        assert status.operation == "Running"
        fixed = deployment("web")
        fixed["spec"]["progressDeadlineSeconds"] = 60
        commit = await taut.push({"apps/web/x.yaml": yaml(fixed)})
        await taut.synced("web", at=commit)


async def test_the_worst_object_counts_and_ignored_ones_do_not(taut: Taut) -> None:
    """Degraded is worse than Missing, Missing worse than Progressing; an object may be left out."""
    policy = {"wait": False, "heal": False}
    files = {
        "apps/web/slow.yaml": yaml(workload("slow", "never-ready")),
        "apps/web/cm.yaml": yaml(config_map("settings")),
    }
    taut.declare(application("web", sync=policy), files=files)
    async with taut.run():
        await health(taut, "web", "Progressing", "Deployment slow")
        await taut.until(lambda: taut.status("web").sync == "Synced", "synced")  # pyright: ignore[reportOptionalMemberAccess]
        taut.delete("configmaps", "settings")
        await health(taut, "web", "Missing", "ConfigMap settings: does not exist")
        await taut.push({"apps/web/job.yaml": yaml(failing_job("fails")), "apps/web/cm.yaml": "# gone\n"})
        await health(taut, "web", "Degraded", "Job fails")
        ignored = annotate(failing_job("fails"), ignore_health="true")
        await taut.push({"apps/web/job.yaml": yaml(ignored)})
        await health(taut, "web", "Progressing", "Deployment slow")


async def test_health_is_heard_of_without_a_sync(taut: Taut) -> None:
    """A workload that becomes unhealthy later, by nobody's change of what Git declares."""
    taut.declare(application("web"), files={"apps/web/x.yaml": yaml(deployment("web"))})
    async with taut.run():
        await taut.synced("web")
        before = len(await taut.history("web"))
        change = {"spec": {"template": {"metadata": {"annotations": pods("never-ready")}}}}
        taut.patch("deployments", "web", change, "apps/v1", manager="somebody")
        status = await health(taut, "web", "Progressing", "Deployment web")
        assert status.sync == "Synced"
        taut.patch(
            "deployments",
            "web",
            {"spec": {"template": {"metadata": {"annotations": {FATE: None}}}}},
            "apps/v1",
            manager="somebody",
        )
        await health(taut, "web", "Healthy")
        assert len(await taut.history("web")) == before
        assert await taut.drift("web") == []


async def test_healing_one_object_does_not_wait_for_another(taut: Taut) -> None:
    """Beside a workload that is never ready: the heal writes its object alone, and ends."""
    files = {
        "apps/web/slow.yaml": yaml(workload("slow", "never-ready")),
        "apps/web/cm.yaml": yaml(config_map("settings", {"a": "1"})),
    }
    taut.declare(application("web", sync={"wait": False}), files=files)
    async with taut.run():
        await taut.until(lambda: (s := taut.status("web")) is not None and s.sync == "Synced", "synced")
        before = taut.get("deployments", "slow", "apps/v1")
        taut.patch("configmaps", "settings", {"data": {"a": "9"}}, manager="somebody")

        async def healed() -> bool:
            return [r.outcome for r in await taut.drift("web")] == ["healed"]

        await taut.until(healed, "healed")
        entry = (await taut.history("web"))[0]
        assert (entry.kind, entry.result) == ("heal", "Succeeded")
        assert ("update", f"ConfigMap {taut.namespace}/settings") in entry.changes
        after = taut.get("deployments", "slow", "apps/v1")
        assert before is not None
        assert after is not None
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
