"""Policies in the loop: they complete what is rendered, hold what they deny, and let pass what is waived."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from servers.git import GitRepo

pytestmark = pytest.mark.integration


def _policy(name: str, rule: dict[str, Any], *, action: str = "Enforce") -> dict[str, Any]:
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": name},
        "spec": {"validationFailureAction": action, "rules": [{"name": "only", "match": match, **rule}]},
    }


def _wants_team(action: str = "Enforce") -> dict[str, Any]:
    pattern = {"metadata": {"labels": {"team": "?*"}}}
    return _policy("wants-team", {"validate": {"message": "a team is wanted", "pattern": pattern}}, action=action)


NO_DANGER: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "no-danger"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["configmaps"],
                    "operations": ["CREATE", "UPDATE"],
                }
            ]
        },
        "validations": [
            {"expression": "!has(object.data) || !('danger' in object.data)", "message": "danger is not allowed"}
        ],
    },
}
NO_DANGER_BINDING: dict[str, Any] = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "no-danger"},
    "spec": {"policyName": "no-danger", "validationActions": ["Deny"]},
}
LABELS = _policy("labels", {"mutate": {"patchStrategicMerge": {"metadata": {"labels": {"+(team)": "none"}}}}})


NOON_2020 = 1_600_000_000.0


@pytest.fixture
def policies(taut: Taut) -> GitRepo:
    """A repository of policies that hold for the test's cluster."""
    repo = taut.git.repo("policies")
    repo.commit({"README.md": "policies\n"}, "begin")
    taut.options["policies"] = [{"name": "platform", "git": repo.url, "ref": "main", "poll": "1h"}]
    return repo


async def test_a_denial_holds_and_explains_itself_until_git_or_the_policy_changes(
    taut: Taut, policies: GitRepo
) -> None:
    policies.commit({"team.yaml": yaml(_wants_team()), "danger.yaml": yaml(NO_DANGER, NO_DANGER_BINDING)}, "rules")
    files = {"apps/web/map.yaml": yaml(config_map("one"), config_map("two", labels={"team": "red"}))}
    taut.declare(application("web"), files=files)
    async with taut.run():
        status = await taut.held("web", "policy")
        (held,) = status.held_for
        assert not held.approvable
        for words in ("wants-team/only", "ConfigMap", "one", "a team is wanted", "apps/web/map.yaml:1", "PolicyWaiver"):
            assert words in held.message
        assert taut.get("configmaps", "one") is None
        assert taut.get("configmaps", "two") is None, "what is denied stops the whole plan"
        at = await taut.push({"apps/web/map.yaml": yaml(config_map("one", labels={"team": "blue"}))})
        await taut.synced("web", at=at)
        await taut.push({"apps/web/map.yaml": yaml(config_map("one", {"danger": "1"}, labels={"team": "blue"}))})
        status = await taut.held("web", "policy")
        assert "danger is not allowed" in status.held_for[0].message
        assert "no-danger" in status.held_for[0].message
        live = taut.get("configmaps", "one")
        assert live is not None
        assert live["data"] == {"a": "1"}
        policies.commit({"danger.yaml": None}, "danger is fine")
        await taut.poke()
        await taut.synced("web")
        live = taut.get("configmaps", "one")
        assert live is not None
        assert live["data"] == {"danger": "1"}
        told = [e for e in await taut.controller.store.events() if e.kind in ("held", "released")]
        assert [e.kind for e in reversed(told)] == ["held", "released", "held", "released"]
        assert "a team is wanted" in told[-1].message
        assert "danger is not allowed" in told[0].message


async def test_a_hold_is_told_once_also_through_a_restart(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"team.yaml": yaml(_wants_team())}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    for _ in range(2):
        async with taut.run():
            await taut.held("web", "policy")
            told = [e.kind for e in await taut.controller.store.events() if e.kind in ("held", "released")]
            assert told == ["held"]


async def test_a_waiver_lets_pass_what_it_names_and_nothing_else(taut: Taut, policies: GitRepo) -> None:
    waiver = {
        "apiVersion": "taut.dev/v1",
        "kind": "PolicyWaiver",
        "metadata": {"name": "old-map"},
        "spec": {
            "policy": "wants-team",
            "objects": [{"kind": "ConfigMap", "namespace": taut.namespace, "name": "old"}],
            "who": "ada",
            "why": "it goes with the next release",
            "until": "2999-12-31",
        },
    }
    policies.commit({"team.yaml": yaml(_wants_team()), "waivers/old.yaml": yaml(waiver)}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("old"))})
    async with taut.run():
        await taut.synced("web")
        await taut.push({"apps/web/new.yaml": yaml(config_map("new"))})
        status = await taut.held("web", "policy")
        assert [h.objects for h in status.held_for] == [(f"ConfigMap {taut.namespace}/new",)]
        waiver["spec"] = {**waiver["spec"], "until": "2020-01-01"}
        policies.commit({"waivers/old.yaml": yaml(waiver)}, "the time is over")
        await taut.poke()

        async def over() -> bool:
            policing, state = taut.controller.policing, taut.state("web")
            assert policing is not None
            assert state is not None
            found = await policing.of(state)
            return found is not None and all(w.until < NOON_2020 for w in found.waivers)

        await taut.until(over, "the policies of that commit are read")
        await taut.push({"apps/web/map.yaml": yaml(config_map("old", {"b": "2"})), "apps/web/new.yaml": None})
        status = await taut.held("web", "policy")
        await taut.says("web", "wants-team", "old")


async def test_a_warning_is_told_and_stops_nothing(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"team.yaml": yaml(_wants_team("Audit"))}, "rules")
    taut.declare(application("web", sync={"mode": "manual"}), files={"apps/web/map.yaml": yaml(config_map("one"))})
    async with taut.run():

        def warned() -> bool:
            state = taut.state("web")
            return state is not None and any("wants-team/only warns of" in w for w in state.warnings)

        await taut.until(warned, "the warning")
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")


async def test_objects_are_completed_before_the_plan_and_a_restart_asks_no_policy(
    taut: Taut, policies: GitRepo
) -> None:
    policies.commit({"rules.yaml": yaml(LABELS, _wants_team())}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    async with taut.run():
        await taut.synced("web")
        live = taut.get("configmaps", "one")
        assert live is not None
        assert live["metadata"]["labels"]["team"] == "none"
        version = live["metadata"]["resourceVersion"]
    async with taut.run() as again:
        await taut.synced("web")
        await asyncio.sleep(0.3)
        live = taut.get("configmaps", "one")
        assert live is not None
        assert live["metadata"]["resourceVersion"] == version
        service = again.controller.policies
        assert service is not None
        assert service.evaluations == 0
        policies.commit({"rules.yaml": yaml(_wants_team())}, "labels are no longer given")
        await taut.poke()
        status = await taut.held("web", "policy")
        assert "a team is wanted" in status.held_for[0].message


async def test_nothing_is_written_while_policies_were_never_read(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"team.yaml": "a: [1\n"}, "broken")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    async with taut.run():
        await taut.says("web", "the policies 'platform' cannot be read")
        assert taut.get("configmaps", "one") is None
        policies.commit({"team.yaml": yaml(_wants_team("Audit"))}, "mended")
        await taut.poke()
        await taut.synced("web")
        policies.commit({"team.yaml": "a: [1\n"}, "broken again")
        at = await taut.push({"apps/web/map.yaml": yaml(config_map("one", {"b": "2"}))})
        await taut.synced("web", at=at)


async def test_policies_hold_where_they_are_said_to(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"team.yaml": yaml(_wants_team())}, "rules")
    taut.options["policies"][0]["projects"] = ["strict"]
    taut.options["projects"] = [{"name": "strict", "spec": {}}]
    files = {"apps/a/map.yaml": yaml(config_map("a")), "apps/b/map.yaml": yaml(config_map("b"))}
    taut.declare(application("a"), application("b", project="strict"), files=files)
    async with taut.run():
        await taut.synced("a")
        await taut.held("b", "policy")
