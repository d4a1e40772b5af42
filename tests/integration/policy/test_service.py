"""Policies judged in workers: as in the program itself, within limits, and with lookups that the parent answers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from support.kubernetes import eventually
from taut.model.manifests import Body
from taut.model.verdict import Outcome
from taut.policy.messages import Description
from taut.policy.review import Given, NotKnown, Review
from taut.policy.service import LIMITS, PolicyService, PolicySet
from taut.prison.limits import Limits
from taut.prison.pool import descendants

pytestmark = pytest.mark.integration


def _kyverno(name: str, rule: Body, **spec: Any) -> Given:
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    rules = [{"name": "only", "match": match, **rule}]
    body = {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": name},
        "spec": {"validationFailureAction": "Enforce", "rules": rules, **spec},
    }
    return Given(body, f"{name}.yaml:1")


TEAM = _kyverno(
    "team", {"validate": {"message": "a team is wanted", "pattern": {"metadata": {"labels": {"team": "?*"}}}}}
)
LABELLED = _kyverno("labelled", {"mutate": {"patchStrategicMerge": {"metadata": {"labels": {"+(team)": "none"}}}}})
KNOWN = _kyverno(
    "known",
    {
        "context": [{"name": "teams", "configMap": {"name": "teams", "namespace": "policies"}}],
        "validate": {
            "message": "the team is not known",
            "deny": {
                "conditions": {
                    "all": [
                        {
                            "key": "{{ request.object.metadata.labels.team }}",
                            "operator": "AnyNotIn",
                            "value": "{{ teams.data.known }}",
                        }
                    ]
                }
            },
        },
    },
)
ENDLESS_TEMPLATE: Body = {
    "apiVersion": "templates.gatekeeper.sh/v1",
    "kind": "ConstraintTemplate",
    "metadata": {"name": "endless"},
    "spec": {
        "crd": {"spec": {"names": {"kind": "Endless"}}},
        "targets": [
            {
                "target": "admission.k8s.gatekeeper.sh",
                "rego": (
                    "package endless\n"
                    'violation[{"msg": "never"}] {\n'
                    '  input.review.object.data.endless == "yes"\n'
                    "  some i, j, k\n"
                    "  a := numbers.range(1, 3000)[i]\n  b := numbers.range(1, 3000)[j]\n  c := numbers.range(1, 3000)[k]\n"
                    "  a + b + c == -1\n}\n"
                ),
            }
        ],
    },
}
ENDLESS_CONSTRAINT: Body = {
    "apiVersion": "constraints.gatekeeper.sh/v1beta1",
    "kind": "Endless",
    "metadata": {"name": "endless"},
    "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": ["ConfigMap"]}]}},
}


def _config_map(name: str = "one", labels: dict[str, str] | None = None, **data: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "labels": labels or {}},
        "data": data,
    }


class Target:
    """A cluster with one ConfigMap."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
        self.asked.append(f"{kind} {namespace}/{name}")
        if name != "teams":
            return None
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"known": '["red", "blue"]'},
        }

    async def list(self, api_version: str, kind: str, namespace: str) -> Sequence[Body]:
        raise NotKnown("nothing is listed here")

    async def raw(self, method: str, path: str, body: Any) -> Any:
        raise NotKnown("nothing is answered here")

    async def inventory(self) -> dict[str, Any]:
        raise NotKnown("nothing is known here")


@pytest.fixture
async def service() -> AsyncIterator[PolicyService]:
    made = PolicyService()
    yield made
    await made.close()


async def test_a_worker_judges_and_results_are_kept_by_content(service: PolicyService) -> None:
    policies = PolicySet.of([TEAM])
    reviews = [
        Review(_config_map("bad")),
        Review(_config_map("good", {"team": "red"})),
        Review({**_config_map(), "kind": "Pod"}),
    ]
    bad, good, other = await service.validate(policies, reviews, None)
    (verdict,) = bad.verdicts
    assert (verdict.policy, verdict.result, verdict.denies) == ("team", Outcome.FAIL, True)
    assert "a team is wanted" in verdict.message
    assert good.verdicts == other.verdicts == ()
    assert service.evaluations == 3
    assert await service.validate(policies, reviews, None) == [bad, good, other]
    await service.validate(policies, [Review({**_config_map("another"), "kind": "Pod"})], None)
    assert service.evaluations == 3, "what was judged, and kinds that no policy is about, need no worker"
    await service.validate(PolicySet.of([TEAM, LABELLED]), reviews, None)
    assert service.evaluations == 6, "another set judges anew"


async def test_objects_are_completed_and_then_judged(service: PolicyService) -> None:
    policies = PolicySet.of([LABELLED, TEAM])
    given = _config_map("plain")
    (said,) = await service.judge(policies, [Review(given)], None)
    assert said.body is not None
    assert said.body["metadata"]["labels"] == {"team": "none"}
    assert said.verdicts == ()
    assert given["metadata"]["labels"] == {}
    (kept,) = await service.complete(policies, [Review(_config_map("own", {"team": "red"}))], None)
    assert kept.body is None


async def test_what_policies_look_up_is_asked_of_the_target_each_time(service: PolicyService) -> None:
    target, policies = Target(), PolicySet.of([KNOWN])
    reviews = [Review(_config_map("a", {"team": "red"})), Review(_config_map("b", {"team": "green"}))]
    good, bad = await service.validate(policies, reviews, target)
    assert good.verdicts == ()
    assert [v.message for v in bad.verdicts] == ["the team is not known"]
    await service.validate(policies, reviews, target)
    assert target.asked == ["ConfigMap policies/teams"] * 4
    alone, _ = await service.validate(policies, reviews, None)
    assert [v.result for v in alone.verdicts] == [Outcome.ERROR], "what cannot be looked up is never a pass"


async def test_values_of_secrets_that_are_looked_up_are_never_told(service: PolicyService) -> None:
    loud = _kyverno(
        "loud",
        {
            "context": [{"name": "found", "apiCall": {"urlPath": "/api/v1/namespaces/vault/secrets"}}],
            "validate": {
                "message": "the passwords are {{ found.items[].data.password | join(', ', @) }} and {{ found.items[0].data.password | base64_decode(@) }}",
                "deny": {},
            },
        },
    )

    class Vault(Target):
        async def raw(self, method: str, path: str, body: Any) -> Any:
            items = [{"metadata": {"name": "db"}, "data": {"password": "aHVudGVyMi1odW50ZXIy"}}]
            return {"kind": "SecretList", "apiVersion": "v1", "items": items}

    (said,) = await service.validate(PolicySet.of([loud]), [Review(_config_map())], Vault())
    (verdict,) = said.verdicts
    assert verdict.message == "the passwords are •••••• and ••••••"


async def test_a_set_is_described_with_what_of_it_cannot_be_used(service: PolicyService) -> None:
    broken = Given({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "broken"}, "spec": 7})
    found = await service.describe(
        PolicySet.of([LABELLED, TEAM, broken]), [("v1", "ConfigMap", ""), ("v1", "Pod", "pods")]
    )
    assert isinstance(found, Description)
    assert [(p.name, p.mutates, p.kinds) for p in found.policies] == [("labelled", True, [0]), ("team", False, [0])]
    assert [t.policy for t in found.troubles] == ["broken"]


async def test_a_policy_without_end_is_stopped_and_the_others_are_judged() -> None:
    service = PolicyService(limits=Limits(wall_seconds=1.5, cpu_seconds=10, memory_mb=512))
    policies = PolicySet.of([Given(ENDLESS_TEMPLATE), Given(ENDLESS_CONSTRAINT), TEAM])
    reviews = [Review(_config_map("quick")), Review(_config_map("slow", endless="yes"))]
    quick, slow = await service.validate(policies, reviews, None)
    assert [v.policy for v in quick.verdicts] == ["team"]
    assert [(v.policy, v.result) for v in slow.verdicts] == [
        ("Endless/endless", Outcome.ERROR),
        ("team", Outcome.FAIL),
    ]
    assert "took longer than 1.5 s" in slow.verdicts[0].message
    await service.close()


async def test_nothing_is_left_when_nothing_is_to_do() -> None:
    service = PolicyService(idle_seconds=0.2)
    policies = PolicySet.of([TEAM])
    before = set(descendants(os.getpid()))
    for number in range(2):
        await service.validate(policies, [Review(_config_map(f"bad-{number}"))], None)
        assert set(descendants(os.getpid())) - before
        await eventually(lambda: not set(descendants(os.getpid())) - before, "the worker and its nursery have ended")
    await service.close()


def test_the_limits_are_those_that_are_documented() -> None:
    assert (LIMITS.wall_seconds, LIMITS.memory_mb) == (10, 512)
