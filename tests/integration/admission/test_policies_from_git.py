"""At admission the policies are those that Git holds: the same ones that judge plans."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from integration.admission.scene import Scene, policy
from integration.loop.harness import application, config_map, yaml
from servers.git import GitRepo
from support.kubernetes import eventually
from taut.server.controlled import serve_controller

pytestmark = pytest.mark.integration


@pytest.fixture
def policies(scene: Scene) -> GitRepo:
    repo = scene.taut.git.repo("policies")
    repo.commit({"README.md": "policies\n"}, "begin")
    scene.taut.options["policies"] = [{"name": "platform", "git": repo.url, "ref": "main", "poll": "1h"}]
    return repo


def in_this_namespace(scene: Scene, document: dict[str, Any]) -> dict[str, Any]:
    """The tests share a cluster: a policy is about one namespace."""
    for rule in document["spec"]["rules"]:
        for entry in rule["match"]["any"]:
            entry["resources"]["namespaces"] = [scene.taut.namespace]
    return document


@asynccontextmanager
async def served(scene: Scene) -> AsyncGenerator[None]:
    taut = scene.taut
    async with (
        taut.run(),
        serve_controller(taut.controller, listen="127.0.0.1:0", store=taut.folder / "taut.db", webhook_secret=None),
    ):
        yield


async def test_the_same_policies_judge_the_plan_and_what_comes_by_hand(scene: Scene, policies: GitRepo) -> None:
    taut = scene.taut
    wants = in_this_namespace(scene, policy("wants-team", "ConfigMap"))
    warns = in_this_namespace(scene, policy("warns-team", "Secret", action="Audit"))
    policies.commit({"team.yaml": yaml(wants), "warn.yaml": yaml(warns)}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    async with served(scene):
        await taut.held("web", "policy")
        words = await scene.refused("ConfigMap", "every ConfigMap has a team")
        for expected in ("wants-team/team", "metadata.labels", "PolicyWaiver"):
            assert expected in words
        assert not (await scene.write("ConfigMap", "good", team=True)).startswith("refused")
        assert not (await scene.write("Secret", "plain", team=False)).startswith("refused")
        entry = scene.entries()["open"]
        assert entry["failurePolicy"] == "Ignore", "it is the configuration that says so, for the policy does not"
        (rule,) = [r for r in entry["rules"] if "configmaps" in r["resources"]]
        assert rule["operations"] == ["CREATE", "UPDATE"]
        waiver = {
            "apiVersion": "taut.dev/v1",
            "kind": "PolicyWaiver",
            "metadata": {"name": "probe"},
            "spec": {
                "policy": "wants-team",
                "objects": [{"kind": "ConfigMap", "namespace": taut.namespace, "name": "probe"}],
                "who": "ada",
                "why": "a probe",
                "until": "2999-01-01",
            },
        }
        policies.commit({"waiver.yaml": yaml(waiver)}, "waived")
        await taut.poke()

        async def passes() -> bool:
            return not (await scene.write("ConfigMap", "probe", team=False)).startswith("refused")

        await eventually(passes, "what is waived passes", 40)
        policies.commit({"waiver.yaml": None, "team.yaml": None}, "no rules")
        await taut.poke()
        await taut.synced("web")

        async def no_longer_asked() -> bool:
            rules = [r for e in scene.entries().values() if e["name"].startswith("open") for r in e["rules"]]
            return not any("configmaps" in r["resources"] for r in rules)

        await eventually(no_longer_asked, "nobody is asked about ConfigMaps", 40)


async def test_a_policy_that_fails_closed_has_its_own_door(scene: Scene, policies: GitRepo) -> None:
    strict = in_this_namespace(scene, policy("strict", "ConfigMap"))
    strict["spec"]["webhookConfiguration"] = {"failurePolicy": "Fail"}
    policies.commit({"team.yaml": yaml(strict)}, "rules")
    async with served(scene):
        await scene.refused("ConfigMap", "every ConfigMap has a team")
        assert scene.entries()["closed"]["failurePolicy"] == "Fail"
        assert "open" not in scene.entries()
    words = await scene.write("ConfigMap", "good", team=True)
    assert words.startswith("refused"), "taut is down, and this policy lets nothing pass then"
