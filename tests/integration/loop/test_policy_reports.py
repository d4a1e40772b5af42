"""What runs is judged in the background, and told as PolicyReports: once, and again when something changed."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, yaml
from servers.git import GitRepo
from support.audit import AuditLog
from taut.controller.scanning import Scanning
from taut.localplane.api import Api
from taut.server.controlled import ControllerBackend

PATIENCE = 120.0
"""Seconds: the scan has time, and a kind that came anew is watched again after half a minute."""
pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


def _scanning(taut: Taut) -> Scanning:
    found = taut.controller.scanning
    assert found is not None
    return found


GROUP = "wgpolicyk8s.io/v1alpha2"


def _crd(group: str, version: str, kind: str, plural: str, *, scope: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


REPORTS = (
    _crd("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports", scope="Namespaced"),
    _crd("wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport", "clusterpolicyreports", scope="Cluster"),
)
OPEN_REPORTS = (
    _crd("openreports.io", "v1alpha1", "Report", "reports", scope="Namespaced"),
    _crd("openreports.io", "v1alpha1", "ClusterReport", "clusterreports", scope="Cluster"),
)
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _install(api: Api, crds: tuple[dict[str, Any], ...]) -> None:
    for crd in crds:
        name = crd["metadata"]["name"]
        api.apply(f"{_CRDS}/{name}", crd)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            found = api.get(f"{_CRDS}/{name}")
            conditions = {c["type"]: c["status"] for c in (found.get("status") or {}).get("conditions") or ()}
            if conditions.get("Established") == "True":
                break
            time.sleep(0.05)


def _uninstall(api: Api, crds: tuple[dict[str, Any], ...]) -> None:
    for crd in crds:
        api.request("DELETE", f"{_CRDS}/{crd['metadata']['name']}")
        while api.request("GET", f"{_CRDS}/{crd['metadata']['name']}")[0] != 404:
            time.sleep(0.05)


@pytest.fixture
def served(plane_api: Api) -> Iterator[None]:
    """PolicyReports are served."""
    _install(plane_api, REPORTS)
    yield
    _uninstall(plane_api, REPORTS)


@pytest.fixture
def policies(taut: Taut) -> GitRepo:
    """A repository of policies; what runs is reported."""
    repo = taut.git.repo("policies")
    repo.commit({"README.md": "policies\n"}, "begin")
    taut.options["policies"] = [{"name": "platform", "git": repo.url, "ref": "main", "poll": "1h"}]
    taut.options["clusters"] = [{"name": CLUSTER, "kubeconfig": str(taut.plane.kubeconfig), "policyReports": True}]
    return repo


def _rule(name: str, pattern: dict[str, Any], kind: str = "ConfigMap", **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {
            "name": name,
            "annotations": {
                "policies.kyverno.io/severity": "high",
                "policies.kyverno.io/category": "Labels",
                **annotations,
            },
        },
        "spec": {
            "validationFailureAction": "Audit",
            "rules": [
                {
                    "name": "only",
                    "match": {"any": [{"resources": {"kinds": [kind]}}]},
                    "validate": {"message": f"{name} is wanted", "pattern": pattern},
                }
            ],
        },
    }


TEAM = _rule("team", {"metadata": {"labels": {"team": "?*"}}})
NO_DANGER = _rule("no-danger", {"=(data)": {"X(danger)": "null"}})


def _report(taut: Taut, name: str = "", group: str = GROUP, plural: str = "policyreports") -> dict[str, Any] | None:
    return taut.get(plural, name or f"taut.{taut.root}", group)


def _results(report: dict[str, Any] | None) -> dict[tuple[str, str], str]:
    return {(r["resources"][0]["name"], r["policy"]): r["result"] for r in (report or {}).get("results", ())}


def _says(taut: Taut, expected: dict[tuple[str, str], str]) -> bool:
    return _results(_report(taut)) == expected


@pytest.mark.usefixtures("served")
async def test_what_runs_is_reported_and_follows_every_change(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"rules.yaml": yaml(TEAM, NO_DANGER)}, "rules")
    maps = yaml(config_map("one"), config_map("two", labels={"team": "red"}))
    taut.declare(application("web", sync={"mode": "automatic", "heal": False}), files={"apps/web/map.yaml": maps})
    async with taut.run():
        await taut.synced("web")
        good = {
            ("one", "team"): "fail",
            ("one", "no-danger"): "pass",
            ("two", "team"): "pass",
            ("two", "no-danger"): "pass",
        }
        await taut.until(lambda: _says(taut, good), "what is there already is reported", seconds=PATIENCE)
        report = _report(taut)
        assert report is not None
        assert report["summary"] == {"pass": 3, "fail": 1, "warn": 0, "error": 0, "skip": 0}
        assert report["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "taut"
        (failure,) = [r for r in report["results"] if r["result"] == "fail"]
        assert (failure["severity"], failure["category"], failure["source"]) == ("high", "Labels", "taut")
        assert "team is wanted" in failure["message"]
        assert failure["rule"] == "only"
        status = taut.status("web")
        assert status is not None
        assert status.policy_failures == 1
        state = taut.state("web")
        assert state is not None
        assert state.policy_results[CLUSTER].results == {"pass": 3, "fail": 1}

        service = _scanning(taut).service
        assert service is not None
        before = service.evaluations
        taut.patch("configmaps", "two", {"data": {"danger": "1"}})
        await taut.until(
            lambda: _says(taut, {**good, ("two", "no-danger"): "fail"}),
            "what came by hand is reported",
            seconds=PATIENCE,
        )
        assert service.evaluations == before + 1, "the other object is not judged again"
        taut.patch("configmaps", "two", {"data": {"danger": None}})
        await taut.until(lambda: _says(taut, good), "what was mended is gone", seconds=PATIENCE)

        before = service.evaluations
        policies.commit({"rules.yaml": yaml(TEAM)}, "danger is fine")
        await taut.poke()
        less = {key: value for key, value in good.items() if key[1] == "team"}
        await taut.until(lambda: _says(taut, less), "judged by what holds now", seconds=PATIENCE)
        assert service.evaluations == before + 2

        taut.api.request("DELETE", f"/apis/{GROUP}/namespaces/{taut.namespace}/policyreports/taut.{taut.root}")
        await taut.until(lambda: _says(taut, less), "a report that somebody removed is back", seconds=PATIENCE)
        await taut.push({"apps/web/map.yaml": yaml(config_map("two", labels={"team": "red"}))})
        await taut.until(lambda: _says(taut, {("two", "team"): "pass"}), "what was pruned is gone", seconds=PATIENCE)
        assert taut.state("web") is not None
        status = taut.status("web")
        assert status is not None
        assert status.policy_failures == 0


@pytest.mark.usefixtures("served")
async def test_a_restart_with_nothing_changed_reads_judges_and_writes_nothing(taut: Taut, policies: GitRepo) -> None:
    quiet = {**_rule("other", {"metadata": {"name": "?*"}})}
    quiet["spec"]["rules"][0]["match"] = {"any": [{"resources": {"kinds": ["ConfigMap"], "names": ["nobody"]}}]}
    policies.commit({"rules.yaml": yaml(TEAM, quiet)}, "rules")
    maps = [config_map(f"map-{n}") for n in range(12)]
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(*maps)})
    expected = {(f"map-{n}", "team"): "fail" for n in range(12)}
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _says(taut, expected), "reported", seconds=PATIENCE)
        assert len(_bodies(log, "configmaps", "list")) == 1, "many objects of a kind are read by a list"
        await taut.until(lambda: _idle(taut), "at rest", seconds=PATIENCE)
        log.mark()
        await asyncio.sleep(3)  # the subject: what happens when nothing happens
        assert [a for a in log.requests() if not a.watches] == []
    log.mark()
    async with taut.run():
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        await taut.until(lambda: state.policy_results and _idle(taut), "known again", seconds=PATIENCE)
        await asyncio.sleep(2)
        service = _scanning(taut).service
        assert service is not None
        assert service.evaluations == 0
        assert state.policy_results[CLUSTER].failing == 12
        assert log.writes() == []
        assert _bodies(log, "configmaps", "list") + _bodies(log, "configmaps", "get") == []
        assert _scanning(taut).doors[CLUSTER].scan.reads == 0


@pytest.mark.usefixtures("served")
async def test_without_its_cache_everything_is_judged_and_nothing_written(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"rules.yaml": yaml(TEAM)}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"), config_map("two"))})
    expected = {("one", "team"): "fail", ("two", "team"): "fail"}
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _says(taut, expected), "reported", seconds=PATIENCE)
    for file in (taut.folder / "state").glob("taut.db.renders*"):
        file.unlink()
    log.mark()
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _evaluations(taut) == 2 and _idle(taut), "judged", seconds=PATIENCE)
        await asyncio.sleep(1.5)
        assert _reports_written(log) == []


@pytest.mark.usefixtures("served")
async def test_a_report_that_somebody_changed_is_put_right(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"rules.yaml": yaml(TEAM)}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    expected = {("one", "team"): "fail"}
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _says(taut, expected), "reported", seconds=PATIENCE)
        taut.patch("policyreports", f"taut.{taut.root}", {"results": []}, GROUP)
        await taut.until(lambda: _says(taut, expected), "put right", seconds=PATIENCE)
        assert _evaluations(taut) == 1
        status = taut.status("web")
        assert status is not None
        assert (status.drift, status.objects) == (0, 1), "a report is no object of an application"


@pytest.mark.usefixtures("served")
async def test_a_waiver_of_a_content_holds_through_a_restart_and_ends_with_the_content(
    taut: Taut, policies: GitRepo
) -> None:
    enforced = json.loads(json.dumps(TEAM))
    enforced["spec"]["validationFailureAction"] = "Enforce"
    policies.commit({"rules.yaml": yaml(enforced)}, "rules")
    taut.declare(
        application("web", sync={"mode": "automatic", "heal": False}),
        files={"apps/web/map.yaml": yaml(config_map("one"))},
    )
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        status = await taut.held("web", "policy")
        waiver = _waiver(taut.namespace)
        waiver["spec"]["hash"] = status.held_for[0].message.rpartition("hash ")[2]
        policies.commit({"waiver.yaml": yaml(waiver)}, "waived")
        await taut.poke()
        await taut.synced("web")
        await taut.until(lambda: _says(taut, {("one", "team"): "skip"}), "waived", seconds=PATIENCE)
    log.mark()
    async with taut.run():
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        await taut.until(lambda: state.policy_results and _idle(taut), "known again", seconds=PATIENCE)
        await asyncio.sleep(1.5)
        assert _evaluations(taut) == 0
        assert _reports_written(log) == []
        taut.patch("configmaps", "one", {"data": {"a": "by hand"}})
        await taut.until(
            lambda: _says(taut, {("one", "team"): "fail"}), "another content is not waived", seconds=PATIENCE
        )


@pytest.mark.usefixtures("served")
async def test_switched_off_the_reports_are_removed(taut: Taut, policies: GitRepo) -> None:
    policies.commit(
        {"rules.yaml": yaml(TEAM, _rule("labelled", {"metadata": {"labels": {"team": "?*"}}}, "ClusterRole"))}, "rules"
    )
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"role-{taut.namespace}"},
        "rules": [],
    }
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"), role)})
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _says(taut, {("one", "team"): "fail"}), "reported", seconds=PATIENCE)
        found = await taut.until(
            lambda: _cluster_report(taut), "what is outside of namespaces has its own report", seconds=PATIENCE
        )
        assert _results(found) == {(role["metadata"]["name"], "labelled"): "fail"}
    taut.options["clusters"][0]["policyReports"] = False
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _report(taut) is None and _cluster_report(taut) is None, "removed", seconds=PATIENCE)
        status = taut.status("web")
        assert status is not None
        assert status.policy_failures == 0
        await taut.until(lambda: _unnoted(taut), "there is nothing to remove any more", seconds=PATIENCE)


@pytest.mark.usefixtures("served")
async def test_a_place_with_nothing_left_has_no_report(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"rules.yaml": yaml(TEAM)}, "rules")
    files = {"apps/web/map.yaml": yaml(config_map("one")), "apps/web/role.yaml": yaml(_account())}
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _says(taut, {("one", "team"): "fail"}), "reported", seconds=PATIENCE)
        await taut.push({"apps/web/map.yaml": None})
        await taut.until(lambda: _report(taut) is None, "nothing is said of a ServiceAccount", seconds=PATIENCE)


@pytest.mark.usefixtures("served")
async def test_waivers_and_namespaces_count_as_changes(taut: Taut, policies: GitRepo) -> None:
    in_prod = _rule("in-prod", {"metadata": {"labels": {"team": "?*"}}})
    resources = {"kinds": ["ConfigMap"], "namespaceSelector": {"matchLabels": {"stage": "prod"}}}
    in_prod["spec"]["rules"][0]["match"] = {"any": [{"resources": resources}]}
    enforced = json.loads(json.dumps(TEAM))
    policies.commit({"rules.yaml": yaml(in_prod)}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    async with taut.run():
        await taut.synced("web")
        path = f"/api/v1/namespaces/{taut.namespace}"
        await taut.until(lambda: _evaluations(taut) == 1, "judged", seconds=PATIENCE)
        content = "application/merge-patch+json"
        taut.api.request("PATCH", path, {"metadata": {"labels": {"stage": "prod"}}}, content=content)
        await taut.until(
            lambda: _says(taut, {("one", "in-prod"): "fail"}), "the namespace's labels changed", seconds=PATIENCE
        )
        assert _evaluations(taut) == 2
        enforced["spec"]["validationFailureAction"] = "Enforce"
        policies.commit({"rules.yaml": yaml(enforced)}, "another rule")
        await taut.poke()
        await taut.until(lambda: _says(taut, {("one", "team"): "fail"}), "the other rule", seconds=PATIENCE)
        before = _evaluations(taut)
        policies.commit({"waiver.yaml": yaml(_waiver(taut.namespace))}, "waived")
        await taut.poke()
        await taut.until(lambda: _says(taut, {("one", "team"): "skip"}), "waived", seconds=PATIENCE)
        assert _evaluations(taut) == before, "a waiver is heard without judging"
        report = _report(taut)
        assert report is not None
        assert report["results"][0]["properties"]["exception"] == "PolicyWaiver one"


@pytest.mark.usefixtures("served")
async def test_no_value_of_a_secret_is_in_a_report(taut: Taut, policies: GitRepo) -> None:
    value = "hunter2-hunter2"
    leaky = _rule("leaky", {"data": {"password": "nothing"}}, "Secret")
    leaky["spec"]["rules"][0]["validate"] = {
        "message": "it is {{ request.object.data.password }}, {{ base64_decode(request.object.data.password) }}",
        "pattern": {"data": {"password": "nothing"}},
    }
    policies.commit({"rules.yaml": yaml(leaky)}, "rules")
    encoded = base64.b64encode(value.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": encoded}}
    taut.declare(application("web"), files={"apps/web/secret.yaml": yaml(secret)})
    async with taut.run():
        await taut.synced("web")
        await taut.until(lambda: _says(taut, {("s", "leaky"): "fail"}), "reported", seconds=PATIENCE)
        text = json.dumps(_report(taut))
        assert value not in text
        assert encoded not in text


async def test_where_no_report_is_served_nothing_happens_until_it_is(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"rules.yaml": yaml(TEAM)}, "rules")
    taut.declare(application("web"), files={"apps/web/map.yaml": yaml(config_map("one"))})
    try:
        async with taut.run():
            await taut.synced("web")
            door = _scanning(taut).doors[CLUSTER]
            await taut.until(lambda: "serves no PolicyReport" in door.trouble, "it is said", seconds=PATIENCE)
            assert _evaluations(taut) == 0
            _install(taut.api, OPEN_REPORTS)
            group, plural = "openreports.io/v1alpha1", "reports"
            await taut.until(
                lambda: _report(taut, group=group, plural=plural), "reported where it is served", seconds=PATIENCE
            )
            report = _report(taut, group=group, plural=plural)
            assert report is not None
            assert (report["kind"], report["source"]) == ("Report", "taut")
            await taut.until(lambda: not door.trouble, "it is said no more", seconds=PATIENCE)
            orphans = [o async for o in _orphans(taut)]
            assert [o for o in orphans if o.endswith(f"taut.{taut.root}")] == []
    finally:
        _uninstall(taut.api, OPEN_REPORTS)


@pytest.mark.usefixtures("served")
async def test_the_scan_asks_slowly_and_with_its_own_worker(taut: Taut, policies: GitRepo) -> None:
    policies.commit({"rules.yaml": yaml(TEAM)}, "rules")
    names = [f"app-{n}" for n in range(12)]
    files = {f"apps/{n}/map.yaml": yaml(config_map(n)) for n in names}
    taut.options["clusters"][0]["policyReports"] = False
    taut.declare(*(application(n) for n in names), files=files)
    async with taut.run():
        await taut.synced(*names)
        of_plans = taut.controller.policies
        assert of_plans is not None
        without = of_plans.evaluations
    taut.options["clusters"][0]["policyReports"] = True
    log = AuditLog(taut.plane.audit_log)
    async with taut.run():
        began = time.monotonic()
        await taut.until(lambda: len(_results(_report(taut))) == 12, "reported")
        took = time.monotonic() - began
        asked = [*_bodies(log, "configmaps", "list"), *_bodies(log, "configmaps", "get"), *log.writes()]
        assert len(asked) <= 4 * took + 2
        at = await taut.push({f"apps/{n}/map.yaml": yaml(config_map(n, {"a": "2"})) for n in names})
        await taut.synced(*names, at=at)
        of_plans = taut.controller.policies
        assert of_plans is not None
        assert of_plans.evaluations == without, "what a plan is judged by is asked for plans alone"


def _bodies(log: AuditLog, plural: str, verb: str) -> list[Any]:
    """Reads of whole objects; the first list of a watch has pages of 500."""
    return [a for a in log.requests(lambda a: a.plural == plural and a.verb == verb) if a.query.get("limit") != ["500"]]


def _reports_written(log: AuditLog) -> list[Any]:
    return [a for a in log.writes() if "policyreports" in a.plural]


def _idle(taut: Taut) -> bool:
    door = _scanning(taut).doors[CLUSTER]
    return taut.controller.queue.idle and not door.scan.needs_work()


def _evaluations(taut: Taut) -> int:
    service = _scanning(taut).service
    assert service is not None
    return service.evaluations


def _cluster_report(taut: Taut) -> dict[str, Any] | None:
    return taut.get("clusterpolicyreports", f"taut.{taut.root}", GROUP, namespace="")


async def _unnoted(taut: Taut) -> bool:
    return await taut.controller.store.noted(f"policy reports in {CLUSTER}") is None


async def _orphans(taut: Taut) -> Any:
    backend = ControllerBackend(taut.controller)
    for orphan in await backend.orphans(CLUSTER, taut.namespace):
        yield f"{orphan.kind} {orphan.name}"


def _account() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}


def _waiver(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "taut.dev/v1",
        "kind": "PolicyWaiver",
        "metadata": {"name": "one"},
        "spec": {
            "policy": "team",
            "objects": [{"kind": "ConfigMap", "namespace": namespace, "name": "one"}],
            "who": "ada",
            "why": "it goes with the next release",
            "until": "2999-12-31",
        },
    }
