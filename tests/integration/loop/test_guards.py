"""Nothing disappears by surprise: each guard stops, says what it waits for, and lets pass exactly what was approved."""

from __future__ import annotations

from typing import Any

import pytest

from integration.loop.harness import CLUSTER, Taut, annotate, application, config_map, deployment, job, yaml
from taut.model.errors import BadInput
from taut.model.plan import Action
from taut.model.refs import ObjectRef

pytestmark = pytest.mark.integration

MANUAL = {"mode": "manual"}


def numbered(count: int, prefix: str = "c") -> dict[str, str]:
    return {f"apps/web/{prefix}{n}.yaml": yaml(config_map(f"{prefix}{n}")) for n in range(count)}


def maps(taut: Taut) -> list[str]:
    """The names of the ConfigMaps of the test, those of the cluster left out."""
    found = taut.api.get(f"/api/v1/namespaces/{taut.namespace}/configmaps") or {"items": []}
    return [m["metadata"]["name"] for m in found["items"] if m["metadata"]["name"] != "kube-root-ca.crt"]


def claim(name: str = "data", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }


def stateful_set(name: str, when_deleted: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "db", "image": "example/db:1"}]},
            },
        },
    }


def space(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def crd(plural: str, group: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": "thing", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


async def audited(taut: Taut, action: str) -> list[tuple[str, str]]:
    """(actor, detail) of audit entries about the test's applications."""
    found = await taut.controller.store.audit_entries(limit=500)
    return [(e.actor, e.detail) for e in found if e.action == action and e.subject.startswith(f"{taut.root}/")]


async def test_an_empty_render_is_held_and_a_new_commit_ends_it(taut: Taut) -> None:
    taut.declare(application("web"), files=numbered(2))
    async with taut.run():
        await taut.synced("web")
        emptied: dict[str, Any] = {"apps/web/c0.yaml": "# nothing\n", "apps/web/c1.yaml": "# nothing\n"}
        await taut.push(emptied)
        status = await taut.held("web", "empty-render")
        assert "2 objects would go" in status.message
        assert f"taut approve web --plan {status.plan_hash[:8]}" in status.message
        assert (status.sync, sorted(maps(taut))) == ("OutOfSync", ["c0", "c1"])
        commit = await taut.push(numbered(2))
        await taut.synced("web", at=commit)
        assert len(maps(taut)) == 2


async def test_a_source_that_fails_prunes_nothing_also_after_a_restart(taut: Taut) -> None:
    taut.declare(application("web"), files=numbered(2))
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete("apps/web/c0.yaml")
        await taut.push({"apps/web/c1.yaml": "a: [broken\n"})
        status = await taut.says("web", "apps/web/c1.yaml")
        assert status.sync == "Unknown"
        assert sorted(maps(taut)) == ["c0", "c1"]
    async with taut.run():
        await taut.says("web", "apps/web/c1.yaml")
        assert sorted(maps(taut)) == ["c0", "c1"]


async def test_the_share_of_deletions_and_what_an_approval_is_good_for(taut: Taut) -> None:
    """6 of 10 objects go: held. The approval is for these six, once, by name, and is written down."""
    taut.declare(application("web"), files=numbered(10))
    async with taut.run():
        await taut.synced("web")
        for n in range(6):
            taut.repo.delete(f"apps/web/c{n}.yaml")
        await taut.poke()
        status = await taut.held("web", "delete-share")
        assert "6 of 10 objects would go" in status.message
        assert len(status.held_for[0].objects) == 6
        with pytest.raises(BadInput, match="the plan of"):
            await taut.approve("web", "0" * 64)
        with pytest.raises(BadInput):
            await taut.approve("web", status.plan_hash[:4])
        assert len(maps(taut)) == 10
        await taut.approve("web", by="grace")
        await taut.synced("web")
        assert sorted(maps(taut)) == ["c6", "c7", "c8", "c9"]
        assert await taut.controller.store.approvals(taut.key("web")) == []
        [(actor, detail)] = await audited(taut, "approve")
        assert (actor, status.plan_hash in detail) == ("grace", True)
        with pytest.raises(BadInput, match="not held"):
            await taut.approve("web", status.plan_hash)
        # Three may go without asking, however large their share is.
        for n in (6, 7, 8):
            taut.repo.delete(f"apps/web/c{n}.yaml")
        await taut.poke()
        await taut.until(lambda: maps(taut) == ["c9"], "three are pruned")


async def test_an_approval_does_not_pass_another_commit_nor_a_live_change(taut: Taut) -> None:
    taut.declare(application("web", sync=MANUAL), files=numbered(5))
    async with taut.run():
        await taut.until(lambda: taut.status("web") is not None)
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        for n in range(4):
            taut.repo.delete(f"apps/web/c{n}.yaml")
        await taut.poke()
        first = await taut.held("web", "delete-share")
        await taut.approve("web")
        await taut.says("web", "taut sync")
        # What would be deleted is changed by hand: this is another plan.
        taut.patch("configmaps", "c0", {"data": {"a": "precious"}})
        second = await taut.held("web", "delete-share")
        assert second.plan_hash != first.plan_hash
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: taut.state("web").asked is not None)  # pyright: ignore[reportOptionalMemberAccess]
        assert len(maps(taut)) == 5
        with pytest.raises(BadInput):
            await taut.approve("web", first.plan_hash)
        # So is one with another commit.
        await taut.approve("web")
        await taut.until(lambda: maps(taut) == ["c4"], "pruned: it was asked for before")
        await taut.synced("web")


async def test_an_approval_ends_with_the_commit_it_was_for(taut: Taut) -> None:
    taut.declare(application("web", sync=MANUAL), files=numbered(9))
    async with taut.run():
        await taut.until(lambda: taut.status("web") is not None)
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.synced("web")
        for n in range(5):
            taut.repo.delete(f"apps/web/c{n}.yaml")
        await taut.poke()
        first = await taut.held("web", "delete-share")
        await taut.approve("web")
        await taut.says("web", "taut sync")
        taut.repo.delete("apps/web/c5.yaml")
        await taut.poke()
        second = await taut.held("web", "delete-share")
        assert second.plan_hash != first.plan_hash
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: taut.state("web").asked is not None)  # pyright: ignore[reportOptionalMemberAccess]
        assert len(maps(taut)) == 9


async def test_volume_claims_and_what_deletes_them_ask(taut: Taut) -> None:
    files = {
        "apps/web/keep.yaml": yaml(config_map("keep")),
        "apps/web/claim.yaml": yaml(claim()),
        "apps/web/set.yaml": yaml(stateful_set("db", "Delete"), stateful_set("cache", "Retain")),
    }
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete("apps/web/claim.yaml")
        taut.repo.delete("apps/web/set.yaml")
        await taut.poke()
        status = await taut.held("web", "deletes-data")
        objects = sorted(o for h in status.held_for for o in h.objects)
        place = taut.namespace
        assert objects == [f"PersistentVolumeClaim {place}/data", f"StatefulSet.apps {place}/db"]
        assert taut.get("persistentvolumeclaims", "data") is not None
        # The application itself goes: the guards for data hold all the same.
        taut.declare()
        await taut.poke()
        await taut.until(lambda: taut.state("web").removed, "being removed")  # pyright: ignore[reportOptionalMemberAccess]
        before = status.plan_hash
        await taut.until(lambda: taut.status("web").plan_hash not in ("", before), "planned anew")  # pyright: ignore[reportOptionalMemberAccess]
        await taut.held("web", "deletes-data")
        assert taut.get("configmaps", "keep") is not None
        await taut.approve("web")
        await taut.until(lambda: taut.state("web") is None, "gone")
        assert taut.get("persistentvolumeclaims", "data") is None
        assert taut.get("statefulsets", "db", "apps/v1") is None


async def test_a_namespace_with_what_nobody_asked_to_delete_is_held(taut: Taut) -> None:
    mine, others = f"{taut.namespace}-mine", f"{taut.namespace}-other"
    files = {
        "apps/web/space.yaml": yaml(space(mine)),
        "apps/web/cm.yaml": yaml(config_map("inside", namespace=mine)),
        "apps/api/cm.yaml": yaml(config_map("neighbour", namespace=mine)),
        "apps/api/keep.yaml": yaml(config_map("keep"), space(others)),
    }
    taut.api.apply(f"/api/v1/namespaces/{others}", space(others))
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        taut.declare(application("web"), application("api"))
        await taut.poke()
        await taut.until(lambda: taut.get("configmaps", "neighbour", namespace=mine), "the neighbour is there")
        await taut.synced("api")
        taut.declare(application("api"))
        await taut.poke()
        status = await taut.held("web", "deletes-namespace")
        assert "1 object" in status.message
        # The neighbour moves out: the namespace is empty but for what goes with it.
        await taut.push({"apps/api/cm.yaml": yaml(config_map("elsewhere"))})
        await taut.until(lambda: taut.get("configmaps", "neighbour", namespace=mine) is None, "moved out")
        await taut.controller.refresh(None, taut.key("web"))
        await taut.until(lambda: taut.state("web") is None, "gone")
        await taut.until(lambda: taut.get("namespaces", mine, namespace="") is None, "the namespace is gone")
        # A namespace that was there before taut stays.
        await taut.synced("api")
        await taut.push({"apps/api/keep.yaml": yaml(config_map("keep"))})
        ref = ObjectRef(CLUSTER, "", "Namespace", "", others)
        await taut.until(lambda: ref not in taut.state("api").items, "let go of")  # pyright: ignore[reportOptionalMemberAccess]
        left = taut.get("namespaces", others, namespace="")
        assert left is not None
        assert "deletionTimestamp" not in left["metadata"]


async def test_a_crd_with_instances_is_held_and_an_empty_one_passes(taut: Taut) -> None:
    group = f"{taut.namespace}.example.com"
    files = {
        "apps/web/crd.yaml": yaml(crd("things", group)),
        "apps/web/keep.yaml": yaml(config_map("keep")),
    }
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}}
        path = f"/apis/{group}/v1/namespaces/{taut.namespace}/things/one"
        taut.api.apply(path, thing)
        taut.repo.delete("apps/web/crd.yaml")
        await taut.poke()
        status = await taut.held("web", "deletes-crd")
        assert "1 object of its kind" in status.message
        taut.api.request("DELETE", path)
        await taut.controller.refresh(None, taut.key("web"))
        name = f"things.{group}"
        base = "apiextensions.k8s.io/v1"
        await taut.until(lambda: taut.get("customresourcedefinitions", name, base, "") is None, "the CRD is gone")
        await taut.synced("web")


def service(cluster_ip: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": spec | ({"clusterIP": cluster_ip} if cluster_ip else {}),
    }


def other_selector(body: dict[str, Any]) -> dict[str, Any]:
    body["spec"]["selector"]["matchLabels"] = {"app": "other"}
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    return body


def other_image(body: dict[str, Any]) -> dict[str, Any]:
    body["spec"]["template"]["spec"]["containers"][0]["image"] = "example/job:2"
    return body


RECREATED = {
    "deployments": ("apps/v1", deployment("web"), other_selector(deployment("web")), "recreates"),
    "jobs": ("batch/v1", job("web"), other_image(job("web")), "recreates"),
    "services": ("", service(None), service("None"), "recreates"),
    "persistentvolumeclaims": ("", claim("web"), claim("web", accessModes=["ReadOnlyMany"]), "deletes-data"),
}


async def test_a_field_that_cannot_change_is_held_as_a_recreation(taut: Taut) -> None:
    """The API server's own refusals: a Deployment's selector, a Job's template, a Service's cluster IP, a claim."""
    quick = {"retry": {"backoff": {"duration": "1m"}}}
    before = {f"apps/{n}/x.yaml": yaml(old) for n, (_, old, _, _) in RECREATED.items()}
    taut.declare(*(application(n, sync=quick) for n in RECREATED), files=before)
    async with taut.run():
        await taut.synced(*RECREATED)
        uids = {n: taut.get(n, "web", g)["metadata"]["uid"] for n, (g, *_) in RECREATED.items()}  # pyright: ignore[reportOptionalSubscript]
        await taut.push({f"apps/{n}/x.yaml": yaml(new) for n, (_, _, new, _) in RECREATED.items()})
        for name, (group, _, _, kind) in RECREATED.items():
            status = await taut.held(name, kind)
            assert "made again" in status.message
            assert taut.get(name, "web", group)["metadata"]["uid"] == uids[name]  # pyright: ignore[reportOptionalSubscript]
        for name in RECREATED:
            await taut.approve(name)
        await taut.synced(*RECREATED)
        for name, (group, *_) in RECREATED.items():
            assert taut.get(name, "web", group)["metadata"]["uid"] != uids[name]  # pyright: ignore[reportOptionalSubscript]
            assert ("recreate",) in [c[:1] for c in (await taut.history(name))[0].changes]


async def test_an_annotation_allows_a_recreation_but_never_of_a_claim(taut: Taut) -> None:
    def files(changed: bool) -> dict[str, Any]:
        web = other_selector(deployment("web")) if changed else deployment("web")
        data = claim("data", accessModes=["ReadOnlyMany"]) if changed else claim("data")
        return {
            "apps/web/x.yaml": yaml(annotate(web, recreate="allow")),
            "apps/data/x.yaml": yaml(annotate(data, recreate="allow")),
        }

    quick = {"retry": {"backoff": {"duration": "100ms"}}}
    taut.declare(application("web", sync=quick), application("data", sync=quick), files=files(False))
    async with taut.run():
        await taut.synced("web", "data")
        commit = await taut.push(files(True))
        await taut.synced("web", at=commit)
        found = taut.get("deployments", "web", "apps/v1")
        assert found is not None
        assert found["spec"]["selector"]["matchLabels"] == {"app": "other"}
        await taut.held("data", "deletes-data")


async def test_a_mistake_is_not_taken_for_an_immutable_field(taut: Taut) -> None:
    taut.declare(application("web"), files={"apps/web/x.yaml": yaml(deployment("web"))})
    async with taut.run():
        await taut.synced("web")
        uid = taut.get("deployments", "web", "apps/v1")["metadata"]["uid"]  # pyright: ignore[reportOptionalSubscript]
        wrong = deployment("web")
        wrong["spec"]["template"]["spec"]["restartPolicy"] = "Sometimes"
        await taut.push({"apps/web/x.yaml": yaml(wrong)})
        status = await taut.says("web", "Deployment.apps", "restartPolicy")
        assert status.held_for == ()
        plan = (await taut.controller.planned(taut.key("web"))).plan
        assert [c.action for c in plan.changes] == [Action.UPDATE]
        assert taut.get("deployments", "web", "apps/v1")["metadata"]["uid"] == uid  # pyright: ignore[reportOptionalSubscript]


async def test_many_applications_that_leave_at_once_are_held_also_after_a_restart(taut: Taut) -> None:
    names = [f"app{n}" for n in range(5)]
    files = {f"apps/{n}/cm.yaml": yaml(config_map(n)) for n in names}
    taut.declare(*(application(n) for n in names), files=files)
    async with taut.run():
        await taut.synced(*names)
        taut.declare(application("app0"))
        await taut.poke()
        for name in names[1:]:
            status = await taut.held(name, "root-delete-share")
            assert "4 of 5 applications would go" in status.message
        assert sorted(maps(taut)) == names
    async with taut.run():
        for name in names[1:]:
            await taut.held(name, "root-delete-share")
        await taut.synced("app0")
        assert sorted(maps(taut)) == names
        await taut.approve("app1")
        await taut.until(lambda: taut.state("app1") is None, "app1 is gone")
        assert sorted(maps(taut)) == ["app0", "app2", "app3", "app4"]
        # They come back: nothing was lost.
        taut.declare(*(application(n) for n in names if n != "app1"))
        await taut.poke()
        await taut.synced("app0", "app2", "app3", "app4")
        assert sorted(maps(taut)) == ["app0", "app2", "app3", "app4"]


async def test_two_applications_leave_in_one_commit(taut: Taut) -> None:
    names = ["one", "two", "three"]
    taut.declare(*(application(n) for n in names), files={f"apps/{n}/x.yaml": yaml(config_map(n)) for n in names})
    async with taut.run():
        await taut.synced(*names)
        taut.declare(application("one"))
        await taut.poke()
        await taut.until(lambda: taut.state("two") is None and taut.state("three") is None, "both are gone")
        assert maps(taut) == ["one"]


CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
RANDOM_SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: password, labels: {tier: "{{ .Values.tier }}"}}
stringData: {password: "{{ randAlphaNum 20 }}"}
"""


def chart(tier: str) -> dict[str, Any]:
    return {
        "apps/web/Chart.yaml": CHART,
        "apps/web/values.yaml": f"tier: {tier}\n",
        "apps/web/templates/secret.yaml": RANDOM_SECRET,
        "apps/web/templates/cm.yaml": yaml(config_map("settings")),
    }


async def test_a_value_that_a_chart_makes_up_is_never_rotated_unasked(taut: Taut) -> None:
    def password() -> str:
        found = taut.get("secrets", "password")
        assert found is not None
        return found["data"]["password"]

    taut.declare(application("web"), files=chart("one"))
    async with taut.run():
        await taut.synced("web")
        first = password()
        assert taut.status("web").held_for == ()  # pyright: ignore[reportOptionalMemberAccess]
        # Somebody changes it: what was made up is put back, that needs no approval.
        taut.patch("secrets", "password", {"data": {"password": "b3RoZXI="}})
        await taut.until(lambda: password() == first, "healed")
    async with taut.run():
        await taut.synced("web")
        assert taut.status("web").held_for == ()  # pyright: ignore[reportOptionalMemberAccess]
        await taut.push(chart("two"))
        status = await taut.held("web", "random-output")
        assert "makes up a new value" in status.message
        assert "set it in the values" in status.message
        assert password() == first
    for kept in taut.folder.glob("state/*"):
        if kept.is_file():
            kept.unlink()
    async with taut.run():
        await taut.held("web", "random-output")
        assert password() == first
        await taut.approve("web")
        await taut.synced("web")
        assert password() != first


async def test_an_object_of_another_application_is_held_and_the_rest_goes_on(taut: Taut) -> None:
    files = {
        "apps/web/x.yaml": yaml(config_map("shared", {"by": "web"})),
        "apps/api/x.yaml": yaml(config_map("shared", {"by": "api"}), config_map("own")),
    }
    taut.declare(application("web"), application("api", dependsOn=["web"]), files=files)
    async with taut.run():
        await taut.synced("web")
        status = await taut.held("api", "owned-by-another")
        assert f"belongs to the application {taut.root}/web" in status.message
        await taut.until(lambda: taut.get("configmaps", "own"), "the rest goes on")
        shared = taut.get("configmaps", "shared")
        assert shared is not None
        assert shared["data"] == {"by": "web"}
        with pytest.raises(BadInput):
            await taut.approve("api", (await taut.controller.planned(taut.key("api"))).plan.hash)
        # Its owner lets go of it: the other one gets it, and it is never deleted.
        taut.repo.delete("apps/web/x.yaml")
        commit = await taut.push({"apps/web/y.yaml": yaml(config_map("another"))})
        await taut.synced("web", "api", at=commit)
        after = taut.get("configmaps", "shared")
        assert after is not None
        assert after["data"] == {"by": "api"}
        assert after["metadata"]["uid"] == shared["metadata"]["uid"]


async def test_a_kind_that_nobody_knows_is_held_and_the_rest_goes_on(taut: Taut) -> None:
    group = f"{taut.namespace}.example.org"
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "one"}}
    taut.declare(application("web"), files={"apps/web/x.yaml": yaml(thing, config_map("other"))})
    async with taut.run():
        status = await taut.held("web", "unknown-scope")
        assert "Thing" in status.message
        await taut.until(lambda: taut.get("configmaps", "other"), "the rest goes on")
        # As soon as the kind exists, it is applied.
        name = f"things.{group}"
        taut.api.apply(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}", crd("things", group))
        await taut.until(lambda: taut.get("things", "one", f"{group}/v1"), "applied")
        await taut.synced("web")


async def test_what_was_synced_before_is_healed_while_a_plan_is_held(taut: Taut) -> None:
    files: dict[str, Any] = {f"apps/web/{n}.yaml": yaml(config_map(f"c{n}")) for n in range(8)}
    taut.declare(application("web"), files=files)
    async with taut.run():
        await taut.synced("web")
        taut.repo.delete(*[f"apps/web/{n}.yaml" for n in range(1, 8)])
        await taut.poke()
        status = await taut.held("web", "delete-share")
        taut.patch("configmaps", "c0", {"data": {"a": "9"}}, manager="somebody")
        await taut.until(lambda: (taut.get("configmaps", "c0") or {})["data"] == {"a": "1"}, "healed")
        await taut.held("web", "delete-share")
        assert taut.get("configmaps", "c5") is not None
        await taut.approve("web", status.plan_hash)
        await taut.until(lambda: taut.get("configmaps", "c5") is None, "the approval still counts")
