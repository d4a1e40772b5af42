"""A denial holds whatever happens around it: heals, other places, namespaces that nobody knows, slips, operations that are under way."""

from __future__ import annotations

from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from servers.git import GitRepo
from taut.model.errors import TargetError
from taut.model.refs import ObjectRef
from taut.targets.kubernetes.cluster import Cluster

pytestmark = pytest.mark.integration
TEAM = {"validate": {"message": "a team is wanted", "pattern": {"metadata": {"labels": {"team": "?*"}}}}}


def policy(name: str, rule: dict[str, Any], *kinds: str, **resources: Any) -> dict[str, Any]:
    match = {"any": [{"resources": {"kinds": list(kinds), **resources}}]}
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": name},
        "spec": {"validationFailureAction": "Enforce", "rules": [{"name": "only", "match": match, **rule}]},
    }


WANTS_TEAM = policy("wants-team", TEAM, "ConfigMap")


@pytest.fixture
def policies(taut: Taut) -> GitRepo:
    repo = taut.git.repo("policies")
    repo.commit({"README.md": "policies\n"}, "begin")
    taut.options["policies"] = [{"name": "platform", "git": repo.url, "ref": "main", "poll": "1h"}]
    return repo


async def _known(taut: Taut, number: int = 1) -> None:
    async def known() -> bool:
        policing, state = taut.controller.policing, taut.state("web")
        assert policing is not None
        found = await policing.of(state) if state is not None else None
        return found is not None and len(found.about) == number

    await taut.until(known, "the policies hold")


async def test_what_is_denied_is_not_healed_while_new_content_waits(taut: Taut, policies: GitRepo) -> None:
    good = config_map("good", labels={"team": "red"})
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("bad"), good)})
    async with taut.run():
        await taut.synced("web")
        policies.commit({"team.yaml": yaml(WANTS_TEAM)}, "rules")
        await taut.poke()
        await _known(taut)
        taut.delete("configmaps", "bad")
        await taut.held("web", "policy")
        at = await taut.push({"apps/web/more.yaml": yaml(config_map("more", labels={"team": "red"}))})
        await taut.until(lambda: at[:8] in taut.status("web").desired_revision, "the commit is seen")
        taut.delete("configmaps", "good")
        await taut.until(lambda: taut.get("configmaps", "good"), "what is not denied is healed")
        await taut.held("web", "policy")
        assert taut.get("configmaps", "bad") is None


async def test_a_place_loosens_nothing_that_another_says(taut: Taut, policies: GitRepo) -> None:
    team = taut.git.repo("team")
    spec = {
        "policy": "*",
        "objects": [{"kind": "*", "namespace": "*", "name": "*"}],
        "who": "me",
        "why": "I want to",
        "until": "2999-12-31",
    }
    waiver = {"apiVersion": "taut.dev/v1", "kind": "PolicyWaiver", "metadata": {"name": "all"}, "spec": spec}
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    exception = {
        "apiVersion": "kyverno.io/v2",
        "kind": "PolicyException",
        "metadata": {"name": "mine", "namespace": "x"},
        "spec": {"exceptions": [{"policyName": "wants-*", "ruleNames": ["*"]}], "match": match},
    }
    same = policy("wants-team", {"validate": {"message": "nothing", "pattern": {}}}, "ConfigMap")
    policies.commit({"team.yaml": yaml(WANTS_TEAM)}, "rules")
    team.commit({"all.yaml": yaml(waiver, exception, same)}, "ours")
    place = {"name": "team", "git": team.url, "ref": "main", "poll": "1h", "projects": ["default"]}
    taut.options["policies"].append(place)
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("bad"))})
    async with taut.run():
        status = await taut.held("web", "policy")
        assert any("policy of another place" in w for w in status.warnings)
        assert any("have one of this name" in w for w in status.warnings)
    place["waives"] = ["platform"]
    async with taut.run():
        await taut.synced("web")


async def test_the_namespace_of_the_same_plan_counts(taut: Taut, policies: GitRepo) -> None:
    selector = {"matchLabels": {"env": "prod"}}
    policies.commit({"team.yaml": yaml(policy("prod", TEAM, "ConfigMap", namespaceSelector=selector))}, "rules")
    name = f"{taut.namespace}-prod"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"env": "prod"}}}
    inside = config_map("bad")
    inside["metadata"]["namespace"] = name
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(space, inside)})
    async with taut.run():
        await taut.held("web", "policy")
        assert taut.get("configmaps", "bad", namespace=name) is None


async def test_a_namespace_that_cannot_be_read_is_no_pass(
    taut: Taut, policies: GitRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    selector = {"matchLabels": {"env": "prod"}}
    policies.commit({"team.yaml": yaml(policy("prod", TEAM, "ConfigMap", namespaceSelector=selector))}, "rules")
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("bad"))})
    real = Cluster.read

    async def away(self: Cluster, ref: ObjectRef, *more: Any, **options: Any) -> Any:
        if ref.kind == "Namespace":
            raise TargetError("etcdserver: request timed out", status=500)
        return await real(self, ref, *more, **options)

    monkeypatch.setattr(Cluster, "read", away)
    async with taut.run():
        status = await taut.held("web", "policy")
        assert "are not known" in status.held_for[0].message
        assert taut.get("configmaps", "bad") is None


async def test_a_slip_in_a_policy_opens_nothing(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"team.yaml": yaml(WANTS_TEAM)}, "rules")
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("bad"))})
    async with taut.run():
        await taut.held("web", "policy")
        slip = {
            **WANTS_TEAM,
            "spec": {"validationFailureAction": "Enforce", "rules": [{"name": "only", "match": "oops"}]},
        }
        policies.commit({"team.yaml": yaml(slip)}, "a slip")
        await taut.poke()

        def told() -> bool:
            return any("what it said before holds" in w for w in taut.status("web").warnings)

        await taut.until(told, "the slip is told")
        await taut.held("web", "policy")
        policies.commit({"team.yaml": None}, "everything is gone")
        await taut.poke()
        at = await taut.push({"apps/web/more.yaml": yaml(config_map("more"))})
        await taut.until(lambda: at[:8] in taut.status("web").desired_revision, "the commit is seen")
        await taut.held("web", "policy")
        assert taut.get("configmaps", "bad") is None


async def test_a_slip_in_one_document_of_a_chart_touches_no_other(taut: Taut, policies: GitRepo) -> None:
    owner = {"validate": {"message": "an owner is wanted", "pattern": {"metadata": {"labels": {"owner": "?*"}}}}}
    chart = {"Chart.yaml": "apiVersion: v2\nname: rules\nversion: 1.0.0\n"}
    wants_owner = policy("wants-owner", owner, "ConfigMap")
    policies.commit({**chart, "templates/all.yaml": yaml(wants_owner, WANTS_TEAM)}, "rules")
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(config_map("bad"))})
    async with taut.run():
        await taut.held("web", "policy")
        slip = {**WANTS_TEAM, "spec": {**WANTS_TEAM["spec"], "rules": [{"name": "only", "match": "oops"}]}}
        policies.commit({"templates/all.yaml": yaml(wants_owner, slip)}, "a slip")
        await taut.poke()

        def told() -> list[str]:
            return [w for w in taut.status("web").warnings if "what it said before holds" in w]

        await taut.until(lambda: bool(told()), "the slip is told")
        [word] = told()
        assert "policies platform: templates/all.yaml" in word
        [hold] = (await taut.held("web", "policy")).held_for
        assert "and 1 more" in hold.message
        body = config_map("bad")
        body["metadata"]["labels"] = {"team": "a"}
        await taut.push({"apps/web/all.yaml": yaml(body)})
        await taut.until(lambda: "wants-owner" in str(taut.status("web").held_for), "the other one holds")


async def test_an_operation_under_way_is_judged_by_policies_that_come(taut: Taut, policies: GitRepo) -> None:
    slow = annotate(deployment("slow", **{"localplane.taut.dev/ready-after": "4s"}), wave="0")
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(slow, annotate(config_map("bad"), wave="1"))})
    async with taut.run():
        await taut.until(lambda: taut.get("deployments", "slow", "apps/v1"), "the first wave")
        policies.commit({"team.yaml": yaml(WANTS_TEAM)}, "rules")
        await taut.poke()
        await _known(taut)
        await taut.held("web", "policy")
        assert taut.get("configmaps", "bad") is None
