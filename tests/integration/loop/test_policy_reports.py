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
from taut.localplane.api import Api

pytestmark = pytest.mark.integration

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
            conditions = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions", ())}
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
        await taut.until(lambda: _says(taut, good), "what is there already is reported")
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

        service = taut.controller.scanning.service
        assert service is not None
        before = service.evaluations
        taut.patch("configmaps", "two", {"data": {"danger": "1"}})
        await taut.until(lambda: _says(taut, {**good, ("two", "no-danger"): "fail"}), "what came by hand is reported")
        assert service.evaluations == before + 1, "the other object is not judged again"
        taut.patch("configmaps", "two", {"data": {"danger": None}})
        await taut.until(lambda: _says(taut, good), "what was mended is gone")

        before = service.evaluations
        policies.commit({"rules.yaml": yaml(TEAM)}, "danger is fine")
        await taut.poke()
        less = {key: value for key, value in good.items() if key[1] == "team"}
        await taut.until(lambda: _says(taut, less), "judged by what holds now")
        assert service.evaluations == before + 2

        taut.api.request("DELETE", f"/apis/{GROUP}/namespaces/{taut.namespace}/policyreports/taut.{taut.root}")
        await taut.until(lambda: _says(taut, less), "a report that somebody removed is back")
        await taut.push({"apps/web/map.yaml": None, "apps/web/empty.yaml": "# nothing\n"})
        await taut.held("web")
        taut.declare()
