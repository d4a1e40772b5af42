"""A whole check in workers: what the policies say in the program itself, and to an end whatever they do."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from taut.documents.yaml import load_documents
from taut.model.errors import BadInput, PolicyError
from taut.model.manifests import Body
from taut.model.verdict import Outcome, Verdict
from taut.policy import checking
from taut.policy.documents import Objects
from taut.policy.engines import build, is_policy
from taut.policy.judge import Judge
from taut.policy.review import Given, Review
from taut.policy.service import LIMITS, PolicyService
from taut.prison.limits import Limits
from taut.prison.pool import descendants

pytestmark = pytest.mark.integration
FIXTURES = Path(__file__).parents[2] / "fixtures"
SHORT = Limits(wall_seconds=1.5, cpu_seconds=10, memory_mb=512)


@pytest.fixture
async def service() -> AsyncIterator[PolicyService]:
    made = PolicyService(limits=SHORT, workers=2)
    before = set(descendants(os.getpid()))
    yield made
    await made.close()
    assert set(descendants(os.getpid())) <= before, "a process is left"


def kyverno(name: str, **rule: Any) -> Given:
    match = {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}
    spec = {"validationFailureAction": "Enforce", "rules": [{"name": "only", "match": match, **rule}]}
    body = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec}
    return Given(body, f"{name}.yaml:1")


def gatekeeper(name: str, rego: str) -> list[Given]:
    kind, target = name.capitalize(), {"target": "admission.k8s.gatekeeper.sh", "rego": f"package {name}\n{rego}\n"}
    template = {
        "apiVersion": "templates.gatekeeper.sh/v1",
        "kind": "ConstraintTemplate",
        "metadata": {"name": name},
        "spec": {"crd": {"spec": {"names": {"kind": kind}}}, "targets": [target]},
    }
    constraint = {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind, "metadata": {"name": name}}
    return [Given(template, f"{name}.yaml:1"), Given(constraint, f"{name}.yaml:9")]


def endless(name: str, condition: str = "true") -> list[Given]:
    numbers = " ".join(f"{v} := numbers.range(1, 3000)[_];" for v in "abc")
    return gatekeeper(name, f'violation[{{"msg": "never"}}] {{ {condition}; {numbers} a + b + c == -1 }}')


def config_maps(count: int) -> list[Body]:
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"map-{n}", "namespace": "shop"}}
        for n in range(count)
    ]


TEAM = kyverno("team", validate={"message": "a team", "pattern": {"metadata": {"labels": {"team": "?*"}}}})


async def judged(
    service: PolicyService, documents: Sequence[Given], bodies: Sequence[Body], objects: Objects | None = None
) -> tuple[list[tuple[Verdict, ...]], list[str]]:
    reviews = [Review(body) for body in bodies]
    rules = await checking.build(service, documents, reviews)
    found = await checking.Check(service, rules, workers=2).judge(reviews, objects or Objects(bodies))
    return found, [f"{t.origin} {t.policy}: {t.what}" for t in rules.troubles]


def words(verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    return [(v.policy, str(v.result)) for v in verdicts]


def documents() -> Iterator[Given]:
    files = sorted(p for s in ("kyverno-policies", "gatekeeper-library") for p in (FIXTURES / s).rglob("*.yaml"))
    for file in random.Random(3).sample(files, 200):
        try:
            yield from (
                Given(d.body, f"{file}:{d.line}") for d in load_documents(file.read_bytes()) if isinstance(d.body, dict)
            )
        except BadInput:
            continue


async def test_workers_say_what_the_program_itself_says(service: PolicyService) -> None:
    every = list(documents())
    policies = [g for g in every if is_policy(str(g.body.get("apiVersion")), str(g.body.get("kind")))]
    bodies = [g.body for g in every if isinstance(g.body.get("metadata"), dict) and g not in policies]
    assert len(policies) > 50
    assert len(bodies) > 50
    built, objects = build(policies), Objects(bodies)
    judge = Judge(built.policies)
    wanted = [judge.judge(Review(body), objects).verdicts for body in bodies]
    service = PolicyService(workers=2)
    reviews = [Review(body) for body in bodies]
    rules = await checking.build(service, policies, reviews)
    found = await checking.Check(service, rules, workers=2).judge(reviews, objects)
    await service.close()
    assert rules.troubles == built.troubles
    assert len(rules.about.policies) == len(built.policies)
    assert [w for w in found if w] == [w for w in wanted if w]
    assert found == wanted


async def test_a_policy_without_end_is_left_out_and_the_others_judge_all(service: PolicyService) -> None:
    found, _ = await judged(service, [*endless("slow"), TEAM], config_maps(100))
    assert all(words(v) == [("Slow/slow", "error"), ("team", "fail")] for v in found)
    stopped = [v[0].message for v in found if "took longer than 1.5 s and was stopped" in v[0].message]
    assert 2 <= len(stopped) <= 4
    rest = [v[0].message for v in found if v[0].message not in stopped]
    assert set(rest) == {
        "the policy took too much on other objects, and was not asked about this one (see what is said of those)"
    }


async def test_one_slow_object_leaves_a_policy_to_the_others(service: PolicyService) -> None:
    bodies = config_maps(40)
    slow = endless("slow", 'input.review.object.metadata.name == "map-7"')
    found, _ = await judged(service, [*slow, TEAM], bodies)
    assert [n for n, v in enumerate(found) if v[0].result is Outcome.ERROR] == [7]
    assert words(found[7]) == [("Slow/slow", "error"), ("team", "fail")]
    assert all(words(v) == [("slow", "pass"), ("team", "fail")] for n, v in enumerate(found) if n != 7)


async def test_what_is_only_large_is_not_cut_off(service: PolicyService) -> None:
    """Together the objects take longer than a job may, each policy on each object does not."""

    class Slow(Objects):
        def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
            time.sleep(0.2)
            return {"data": {"team": "red"}}

    known = kyverno(
        "known",
        context=[{"name": "own", "configMap": {"name": "{{ request.object.metadata.name }}", "namespace": "teams"}}],
        validate={
            "message": "another team",
            "deny": {"conditions": {"all": [{"key": "{{ own.data.team }}", "operator": "Equals", "value": "blue"}]}},
        },
    )
    found, _ = await judged(service, [known, TEAM], config_maps(24), Slow())
    assert all(words(v) == [("known", "pass"), ("team", "fail")] for v in found)


async def test_a_policy_that_is_slow_on_every_object_is_left_out(
    service: PolicyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_MOST_SECONDS", 1.0)
    monkeypatch.setattr(checking, "_SECONDS_EACH", 0.0)

    class Slow(Objects):
        def get(self, api_version: str, kind: str, namespace: str, name: str) -> Body | None:
            time.sleep(0.2)
            return {"data": {"team": "red"}}

    own = {"name": "own", "configMap": {"name": "{{ request.object.metadata.name }}", "namespace": "teams"}}
    slow = kyverno(
        "slow", context=[own], validate={"message": "m", "pattern": {"metadata": {"name": "{{ own.data.team }}"}}}
    )
    found, _ = await judged(service, [slow, TEAM], config_maps(24), Slow())
    assert all(v[-1].policy == "team" for v in found)
    said = [v.message for verdicts in found for v in verdicts if v.result is Outcome.ERROR]
    assert len(said) > 10
    assert all("took too much on other objects" in message for message in said)


async def test_many_policies_without_end_come_to_an_end(service: PolicyService) -> None:
    slow = [given for n in range(9) for given in endless(f"slow{n}")]
    began = time.monotonic()
    found, _ = await judged(service, [*slow, TEAM], config_maps(30))
    assert time.monotonic() - began < 60
    assert all(v[-1].result is Outcome.ERROR and v[-1].policy == "policies" for v in found)
    assert "policies were stopped 12 times, and nothing more was judged" in found[-1][-1].message


async def test_a_policy_that_cannot_even_be_built_is_left_out(service: PolicyService) -> None:
    deep = gatekeeper("deep", 'violation[{"msg": "m"}] { x := ' + "[" * 20_000 + "]" * 20_000 + " }")
    found, troubles = await judged(service, [*deep, TEAM], config_maps(3))
    assert all(words(v) == [("team", "fail")] for v in found)
    assert troubles[0].startswith("deep.yaml:1 deep: it cannot be built: the policy worker crashed")


async def test_no_worker_is_an_error_and_no_policys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    service = PolicyService()
    monkeypatch.setattr("taut.prison.forking.sys.executable", "/bin/false")
    with pytest.raises(PolicyError, match="a policy worker did not start"):
        await judged(service, [TEAM], config_maps(1))
    await service.close()


async def test_a_prison_that_is_not_whole_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    service = PolicyService(namespaces=False, workers=2)
    with caplog.at_level(logging.WARNING):
        found, _ = await judged(service, [TEAM], config_maps(200))
    await service.close()
    assert len(found) == 200
    (told,) = [r.getMessage() for r in caplog.records if "policy workers" in r.getMessage()]
    assert "other processes visible" in told


def test_the_limits_of_a_policy_are_those_of_a_running_taut() -> None:
    assert (LIMITS.wall_seconds, LIMITS.memory_mb) == (10, 512)
