"""Renderers, through the loop: every option reaches the cluster, what is read from the target is followed, and cost follows change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.loop.harness import Taut, application, config_map, yaml
from servers.git import Content
from support.audit import AuditLog

pytestmark = pytest.mark.integration

CHART = "apiVersion: v2\nname: chart\nversion: 1.0.0\n"
MAP = """apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data:
"""


def chart(folder: str, name: str, *lines: str, values: str = "{}\n") -> dict[str, Content]:
    """A chart of one ConfigMap with these lines of data."""
    template = MAP % name + "".join(f"  {line}\n" for line in lines)
    return {f"{folder}/Chart.yaml": CHART, f"{folder}/values.yaml": values, f"{folder}/templates/cm.yaml": template}


def data(taut: Taut, name: str) -> dict[str, str] | None:
    """The data of a ConfigMap; None when there is none."""
    return (taut.get("configmaps", name) or {}).get("data")


def put(taut: Taut, name: str, values: dict[str, str], kind: str = "ConfigMap") -> None:
    """Make or change a ConfigMap or Secret by hand."""
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    body["data" if kind == "ConfigMap" else "stringData"] = values  # pyright: ignore[reportArgumentType]
    taut.api.apply(f"/api/v1/namespaces/{taut.namespace}/{kind.lower()}s/{name}", body)


async def test_options_of_every_renderer(taut: Taut) -> None:
    files: dict[str, Content] = {
        "apps/plain/a.yaml": yaml(config_map("plain-a")),
        "apps/plain/b.yaml": yaml(config_map("plain-b")),
        "apps/plain/deep/c.yaml": yaml(config_map("plain-c")),
        "apps/kustomize/kustomization.yaml": "resources: [cm.yaml]\n",
        "apps/kustomize/cm.yaml": yaml(config_map("k")),
        "apps/jsonnet/main.jsonnet": (
            "local lib = import 'lib.libsonnet'; function(name) lib.map(name, {a: std.extVar('a')})"
        ),
        "lib/lib.libsonnet": "{map(name, data):: {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: name}, data: data}}",
        **chart("apps/helm", "{{ .Release.Name }}-h", "a: {{ .Values.a | quote }}", "b: {{ .Values.b | quote }}"),
        "apps/helm/more.yaml": "a: from a file\nb: from a file\n",
        "apps/several/cm.yaml": yaml(config_map("several-plain")),
    }
    plain = application("plain")
    plain["spec"]["source"]["plain"] = {"include": ["{a,b}.yaml", "deep/**"], "exclude": ["b.yaml"]}
    kustomize = application("kustomize")
    patch = yaml({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "k"}, "data": {"b": "2"}})
    kustomize["spec"]["source"]["kustomize"] = {
        "namePrefix": "pre-",
        "commonLabels": {"team": "x"},
        "patches": [{"patch": patch}],
    }
    jsonnet = application("jsonnet")
    tlas, variables = [{"name": "name", "value": "j"}], [{"name": "a", "value": "outer"}]
    jsonnet["spec"]["source"]["jsonnet"] = {"tlas": tlas, "extVars": variables, "libs": ["lib"]}
    helm = application("helm")
    helm["spec"]["source"]["helmOptions"] = {
        "valueFiles": ["more.yaml"],
        "values": {"b": "inline"},
        "releaseName": "rel",
    }
    several: dict[str, Any] = application("several")
    del several["spec"]["source"]
    several["spec"]["sources"] = [
        {"path": "apps/several"},
        {"path": "apps/helm", "helmOptions": {"valueFiles": ["$values/apps/helm/more.yaml"]}},
        {"name": "values", "path": "."},
    ]
    taut.declare(plain, kustomize, jsonnet, helm, several, files=files)
    async with taut.run():
        await taut.synced("plain", "kustomize", "jsonnet", "helm", "several")
        assert [data(taut, f"plain-{n}") is not None for n in "abc"] == [True, False, True]
        assert data(taut, "pre-k") == {"a": "1", "b": "2"}
        assert (taut.get("configmaps", "pre-k") or {})["metadata"]["labels"] == {"team": "x"}
        assert data(taut, "j") == {"a": "outer"}
        assert data(taut, "rel-h") == {"a": "from a file", "b": "inline"}
        assert data(taut, "several-h") == {"a": "from a file", "b": "from a file"}
        assert data(taut, "several-plain") == {"a": "1"}


async def test_values_of_the_target_are_followed(taut: Taut) -> None:
    """Values and variables from ConfigMaps and Secrets: a change of one is live without a push, a poll or a request at rest."""
    helm = application("helm")
    references = [{"kind": "ConfigMap", "name": "values"}, {"kind": "Secret", "name": "hidden", "optional": True}]
    helm["spec"]["source"]["helmOptions"] = {"valuesFrom": references}
    varied = application("varied", substitute={"varsFrom": [{"kind": "ConfigMap", "name": "vars"}]})
    files = {
        **chart(
            "apps/helm", "h", "a: {{ .Values.a | quote }}", "secret: {{ .Values.secret | default `none` | quote }}"
        ),
        "apps/varied/cm.yaml": yaml(config_map("v", {"a": "${a}"})),
        "apps/owner/cm.yaml": yaml(config_map("vars", {"a": "from taut"})),
    }
    taut.declare(helm, varied, application("owner"), files=files)
    async with taut.run():
        await taut.says("helm", "ConfigMap values does not exist")
        put(taut, "values", {"values.yaml": "a: one\n"})
        await taut.synced("helm", seconds=10)
        assert data(taut, "h") == {"a": "one", "secret": "none"}
        for value in ("two", "three"):
            put(taut, "values", {"values.yaml": f"a: {value}\n"})
            await taut.until(lambda v=value: data(taut, "h") == {"a": v, "secret": "none"}, value)
        put(taut, "hidden", {"values.yaml": "secret: found\n"}, kind="Secret")
        await taut.until(lambda: data(taut, "h") == {"a": "three", "secret": "found"}, "the Secret is read")
        # One application writes what another reads: taut's own writes are news as well.
        await taut.until(lambda: data(taut, "v") == {"a": "from taut"}, "variables of another application")
        await taut.push({"apps/owner/cm.yaml": yaml(config_map("vars", {"a": "changed"}))})
        await taut.until(lambda: data(taut, "v") == {"a": "changed"}, "they are followed")
        await taut.synced("helm", "varied", "owner")
    put(taut, "values", {"values.yaml": "a: while it was down\n"})
    async with taut.run():
        await taut.until(lambda: (data(taut, "h") or {}).get("a") == "while it was down", "found at the start")


async def test_a_chart_is_told_what_the_cluster_can_do(taut: Taut) -> None:
    group = f"{taut.namespace}.example.test"
    has = '{{ .Capabilities.APIVersions.Has "%s" | quote }}'
    lines = [
        f"deployments: {has % 'apps/v1/Deployment'}",
        f"gadgets: {has % (group + '/v1')}",
        "version: {{ .Capabilities.KubeVersion.Major }}.{{ .Capabilities.KubeVersion.Minor }}-",
    ]
    taut.declare(application("asks"), application("other"), files=chart("apps/asks", "asks", *lines) | chart("apps/other", "other", "a: b"))  # fmt: skip
    _, body = taut.api.request("GET", "/version")
    about = json.loads(body)
    async with taut.run():
        await taut.synced("asks", "other")
        version = f"{about['major']}.{about['minor']}-"
        assert data(taut, "asks") == {"deployments": "true", "gadgets": "false", "version": version}
        renders = taut.controller.wanting.renders
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{group}"
        names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"}
        schema = {"openAPIV3Schema": {"type": "object"}}
        versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
        taut.api.apply(
            path,
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"gadgets.{group}"},
                "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
            },
        )
        try:
            await taut.until(lambda: (data(taut, "asks") or {}).get("gadgets") == "true", "the chart hears of it")
            await taut.synced("asks", "other")
            assert taut.controller.wanting.renders == renders + 1  # the chart that does not ask is left alone
        finally:
            taut.api.request("DELETE", path)


async def test_cost_follows_change(taut: Taut) -> None:
    """A commit elsewhere renders nothing; words that change nothing render once, and neither plan nor write anything."""
    names = ("a", "b", "c")
    files: dict[str, Content] = {}
    for name in names:
        files |= chart(f"apps/{name}", name, "v: {{ .Values.v | quote }}", values="v: one\n")
    taut.declare(*(application(n) for n in names), files=files)
    async with taut.run():
        await taut.synced(*names)
        log = AuditLog(taut.plane.audit_log)
        renders = taut.controller.wanting.renders
        commit = await taut.push({"docs/readme.md": "words"})
        await taut.synced(*names, at=commit)
        assert taut.controller.wanting.renders == renders
        commit = await taut.push({"apps/a/values.yaml": "# a comment\nv: one\n"})
        await taut.synced(*names, at=commit)
        assert taut.controller.wanting.renders == renders + 1
        assert log.requests(lambda a: not a.watches) == []
        assert [len(await taut.history(n)) for n in names] == [1, 1, 1]
        commit = await taut.push({"apps/b/values.yaml": "v: two\n"})
        await taut.synced(*names, at=commit)
        assert data(taut, "b") == {"v": "two"}
        assert taut.controller.wanting.renders == renders + 2
        assert [a.name for a in log.writes()] == ["b"]


async def test_what_does_not_render_is_not_rendered_again_for_nothing(taut: Taut) -> None:
    """Neither for a commit elsewhere nor for news from the cluster: only what it had read can mend it."""
    files = {**chart("apps/bad", "bad", "v: {{ .Values.v.deep.down }}"), "apps/good/cm.yaml": yaml(config_map("good"))}
    taut.declare(application("bad"), application("good"), files=files)
    async with taut.run():
        await taut.says("bad", "nil pointer")
        failed = taut.controller.state(taut.key("bad")).failed
        commit = await taut.push({"apps/good/cm.yaml": yaml(config_map("good", {"a": "2"}))})
        await taut.synced("good", at=commit)
        await taut.controller.refresh(None, None)
        await taut.until(lambda: taut.controller.queue.idle, "nothing left to do")
        assert taut.controller.state(taut.key("bad")).failed is failed
        await taut.push({"apps/bad/values.yaml": "v: {deep: {down: mended}}\n"})
        await taut.synced("bad")
        assert data(taut, "bad") == {"v": "mended"}
