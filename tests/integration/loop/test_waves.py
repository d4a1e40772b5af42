"""Waves: what comes before what, on the way up and on the way down."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from integration.loop.harness import Taut, annotate, application, config_map, deployment, yaml
from integration.loop.written import Writes

pytestmark = pytest.mark.integration


@pytest.fixture
def writes(taut: Taut) -> Writes:
    return Writes(taut)


@pytest.fixture
def group(taut: Taut) -> Iterator[str]:
    """An API group of the test's own; its CRD is removed at the end."""
    name = f"g{secrets.token_hex(3)}.example.com"
    yield name
    taut.api.request("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{name}")


def crd(group: str) -> dict[str, Any]:
    """The definition of a Widget."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def widget(group: str, name: str, size: int = 1) -> dict[str, Any]:
    """A Widget."""
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}}


def slow(name: str, after: str = "700ms") -> dict[str, Any]:
    """A Deployment that takes its time to become ready."""
    return deployment(name, **{"localplane.taut.dev/ready-after": after})


def waves(*numbered: tuple[int, dict[str, Any]]) -> str:
    """Objects with their waves."""
    return yaml(*(annotate(body, wave=str(wave)) for wave, body in numbered))


async def test_waves_up_and_down(taut: Taut, writes: Writes) -> None:
    objects = waves((2, config_map("c")), (-1, config_map("a")), (0, config_map("b")), (2, config_map("d")))
    taut.declare(
        application("web"),
        application("stays"),
        files={
            "apps/web/all.yaml": objects,
            "apps/stays/a.yaml": yaml(config_map("stays")),
        },
    )
    async with taut.run():
        await taut.synced("web", "stays")
        order = [w for w in writes.order() if "stays" not in w]
        assert order[:2] == ["patch configmaps/a", "patch configmaps/b"]
        assert set(order[2:]) == {"patch configmaps/c", "patch configmaps/d"}
        writes.mark()
        taut.declare(application("stays"))
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "the application is gone")
        order = writes.order()
        assert set(order[:2]) == {"delete configmaps/c", "delete configmaps/d"}
        assert order[2:] == ["delete configmaps/b", "delete configmaps/a"]


async def test_a_wave_waits_for_the_health_of_the_one_before(taut: Taut, writes: Writes) -> None:
    taut.declare(application("web"), files={"apps/web/all.yaml": waves((0, slow("first")), (1, config_map("second")))})
    async with taut.run():
        await taut.says("web", "first", "Progressing")
        assert taut.get("configmaps", "second") is None
        await taut.synced("web")
        first, second = taut.get("deployments", "first", "apps/v1"), taut.get("configmaps", "second")
        assert first is not None
        assert second is not None
        assert first["status"]["availableReplicas"] == 1


async def test_without_waiting_everything_is_applied_at_once(taut: Taut) -> None:
    never = deployment("first", **{"localplane.taut.dev/pod": "never-ready"})
    taut.declare(
        application("web", sync={"wait": False}),
        files={"apps/web/all.yaml": waves((0, never), (1, config_map("second")))},
    )
    async with taut.run():
        await taut.until(lambda: taut.get("configmaps", "second"), "the second wave did not wait")
        await taut.until(lambda: (s := taut.status("web")) and s.operation == "Succeeded", "it is over")
        status = await taut.until(lambda: (s := taut.status("web")) and s.sync == "Synced" and s, "synced")
        assert status.health == "Progressing"


async def test_an_unhealthy_object_holds_back_later_waves_although_it_does_not_change(taut: Taut) -> None:
    never = deployment("first", **{"localplane.taut.dev/pod": "never-ready"})
    taut.declare(
        application("web", sync={"timeout": "2s", "retry": {"limit": 0}}),
        files={"apps/web/first.yaml": waves((0, never)), "apps/web/second.yaml": waves((1, config_map("second")))},
    )
    async with taut.run():
        await taut.until(lambda: (s := taut.status("web")) and s.operation == "Failed", "the first wave fails")
        await taut.push({"apps/web/second.yaml": waves((1, config_map("second", {"a": "2"})))})
        await taut.until(lambda: (s := taut.state("web")) and s.run is not None, "it is tried")
        await taut.says("web", "waiting", "first", "Progressing")
        assert taut.get("configmaps", "second") is None
        # In the same wave nobody waits for anybody.
        commit = await taut.push({"apps/web/second.yaml": waves((0, config_map("second", {"a": "3"})))})
        await taut.until(lambda: taut.get("configmaps", "second"), f"{commit} is applied")


async def test_namespaces_and_definitions_come_first(taut: Taut, group: str) -> None:
    """In one commit: a namespace, a CRD, and objects of both in an earlier wave than theirs."""
    space = f"{taut.namespace}-made"
    inside = config_map("inside", namespace=space)
    custom = widget(group, "one")
    custom["metadata"]["namespace"] = space
    files = waves(
        (-5, inside),
        (-5, custom),
        (7, crd(group)),
        (9, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}),
    )
    taut.declare(application("web", sync={"wait": False}), files={"apps/web/all.yaml": files})
    async with taut.run():
        await taut.synced("web")
        assert taut.get("widgets", "one", f"{group}/v1", space) is not None
        assert taut.get("configmaps", "inside", namespace=space) is not None
        assert [e.result for e in await taut.history("web")] == ["Succeeded"]


async def test_a_definition_that_somebody_deleted_comes_back_with_its_objects(taut: Taut, group: str) -> None:
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(crd(group), widget(group, "one"))})
    async with taut.run():
        await taut.synced("web")
        first = taut.get("widgets", "one", f"{group}/v1")
        assert first is not None
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}"
        assert taut.api.request("DELETE", path)[0] == 200

        def back() -> bool:
            found = taut.get("widgets", "one", f"{group}/v1")
            return found is not None and found["metadata"]["uid"] != first["metadata"]["uid"]

        await taut.until(back, "both are back")
        await taut.synced("web")


async def test_definitions_go_after_their_objects(taut: Taut, writes: Writes, group: str) -> None:
    taut.declare(
        application("web"),
        application("stays"),
        files={
            "apps/web/all.yaml": waves((0, crd(group)), (3, widget(group, "one"))),
            "apps/stays/a.yaml": yaml(config_map("stays")),
        },
    )
    async with taut.run():
        await taut.synced("web", "stays")
        taut.declare(application("stays"))
        await taut.poke()
        await taut.until(lambda: taut.state("web") is None, "the application is gone")
        inside = [str(w) for w in writes.all() if w.verb == "delete"]
        assert inside == [f"delete widgets.{group}/one"]
        assert taut.get("customresourcedefinitions", f"widgets.{group}", "apiextensions.k8s.io/v1", "") is None


async def test_what_intercepts_requests_comes_last_in_its_wave(taut: Taut) -> None:
    """A webhook that nobody answers would refuse the objects of its own commit."""
    name = f"w-{secrets.token_hex(4)}"
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "refuses.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "clientConfig": {"service": {"namespace": taut.namespace, "name": "nobody"}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": taut.namespace}},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ],
            }
        ],
    }
    taut.declare(application("web"), files={"apps/web/all.yaml": yaml(webhook, config_map("a"), config_map("b"))})
    try:
        async with taut.run():
            await taut.synced("web")
            assert taut.get("configmaps", "a") is not None
            assert taut.get("configmaps", "b") is not None
    finally:
        base = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        taut.api.request("DELETE", f"{base}/{name}")


@pytest.mark.parametrize("policy", [{}, {"pruneLast": True}, {"pruneLast": True, "wait": False}])
async def test_pruning_waits_until_everything_else_is_healthy(taut: Taut, policy: dict[str, Any]) -> None:
    taut.declare(
        application("web", sync=policy),
        files={"apps/web/old.yaml": yaml(config_map("old")), "apps/web/new.yaml": yaml(config_map("kept"))},
    )
    async with taut.run():
        await taut.synced("web")
        taut.repo.commit(
            {"apps/web/old.yaml": None, "apps/web/new.yaml": waves((0, config_map("kept")), (0, slow("new")))}
        )
        await taut.poke()
        await taut.says("web", "new", "Progressing")
        assert taut.get("configmaps", "old") is not None
        await taut.until(lambda: taut.get("configmaps", "old") is None, "pruned")
        new = taut.get("deployments", "new", "apps/v1")
        assert new is not None
        assert new["status"]["availableReplicas"] == 1


async def test_pruning_goes_in_reverse_waves(taut: Taut, writes: Writes) -> None:
    taut.declare(
        application("web"),
        files={
            "apps/web/kept.yaml": yaml(config_map("kept")),
            "apps/web/old.yaml": waves((1, config_map("a")), (2, config_map("b")), (3, config_map("c"))),
        },
    )
    async with taut.run():
        await taut.synced("web")
        writes.mark()
        taut.repo.delete("apps/web/old.yaml")
        await taut.poke()
        await taut.until(lambda: len(writes.all()) == 3, "all three go")
        assert writes.order() == ["delete configmaps/c", "delete configmaps/b", "delete configmaps/a"]
        await taut.synced("web")
        state = taut.state("web")
        assert state is not None
        assert {ref.name for ref in state.items} == {"kept"}
