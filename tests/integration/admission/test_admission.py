"""A real API server asks taut: refusals that explain themselves, who fails how, certificates that change, hands that meddle."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from integration.admission.scene import CONFIGURATIONS, Both, Door, Scene, policy
from integration.loop.harness import CLUSTER, application, config_map, deployment, yaml
from support.kubernetes import eventually, kubectl
from taut.admission.certificates import CA_LIFE, DAY
from taut.admission.cluster import remove_all
from taut.admission.reviews import read
from taut.model.drift import DriftRecord
from taut.model.refs import ObjectRef
from taut.server.controlled import serve_controller
from unit.admission.questions import review

pytestmark = pytest.mark.integration


async def test_a_write_that_breaks_a_policy_is_refused_and_told_why(scene: Scene) -> None:
    scene.closed = [policy("teams", "ConfigMap")]
    scene.open = [policy("secret-teams", "Secret"), policy("service-teams", "ServiceAccount", action="Audit")]
    async with scene.run():
        said = await scene.refused("ConfigMap", "teams/team")
        assert 'admission webhook "closed.admission.taut.dev" denied the request' in said
        assert f"ConfigMap {scene.taut.namespace}/probe is refused by a policy:" in said
        assert "every ConfigMap has a team" in said
        assert "at metadata.labels" in said
        assert "or a PolicyException for teams, rule team," in said
        assert "secret-teams/team" in await scene.refused("Secret", "open.admission.taut.dev")
        assert "created" in await scene.write("ConfigMap", "good", team=True, dry=False)
        assert "created" in await scene.write("Secret", "good", team=True, dry=False)
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}}
        path = f"/api/v1/namespaces/{scene.taut.namespace}/serviceaccounts"
        answer = await scene.taut.controller.fleet.clusters[CLUSTER].client.send("POST", path, body=body)
        assert len(answer.warnings) == 1
        assert answer.warnings[0].startswith("service-teams/team: validation error: every ServiceAccount has a team.")
        status, answer = await asyncio.to_thread(  # taut answers in this thread
            scene.taut.api.request,
            "PATCH",
            f"/api/v1/namespaces/{scene.taut.namespace}/configmaps/good",
            {"metadata": {"labels": {"team": None}}},
            content="application/merge-patch+json",
        )
        assert status == 403, answer
        assert b"teams/team" in answer
        assert scene.taut.get("configmaps", "good")["metadata"]["labels"] == {"team": "shop"}  # pyright: ignore[reportOptionalSubscript]


async def test_taut_is_down(scene: Scene) -> None:
    """What fails open passes, what fails closed is refused; a new start answers again with the certificate it had."""
    scene.closed, scene.open = [policy("teams", "ConfigMap")], [policy("secret-teams", "Secret")]
    async with scene.run() as admission:
        await scene.refused("ConfigMap", "teams/team")
        await scene.refused("Secret", "secret-teams/team")
        bundle, port = admission.bundle, admission.url.rpartition(":")[2]
    said = await scene.write("ConfigMap", "good", team=True)
    assert "refused" in said
    assert 'failed calling webhook "closed.admission.taut.dev"' in said
    assert "created" in await scene.write("Secret", "bad", team=False)
    scene.set_up(listen=f"127.0.0.1:{port}")
    async with scene.run() as admission:
        assert admission.bundle == bundle
        await scene.refused("ConfigMap", "teams/team")
        assert "created" in await scene.write("ConfigMap", "good", team=True)


async def test_policies_come_and_go(scene: Scene) -> None:
    """An entry that no policy needs is removed, and with the last one the configuration; what is not known changes nothing."""
    scene.closed, scene.open = [policy("teams", "ConfigMap")], [policy("secret-teams", "Secret")]
    async with scene.run() as admission:
        await eventually(lambda: scene.entries().keys() == {"open", "closed"}, "both entries are there")
        policies = admission.policies
        assert isinstance(policies, Both)
        before, policies.unknown = scene.entries(), "the policies are being read"
        policies.doors = (Door([]), Door([]))
        admission.refresh()
        await eventually(lambda: "being read" in admission.doors[CLUSTER].trouble, "it is said")
        assert scene.entries() == before
        policies.unknown = ""
        policies.doors = (Door([policy("account-teams", "ServiceAccount")]), Door([]))
        admission.refresh()
        await eventually(lambda: scene.entries().keys() == {"open"}, "the other entry goes")
        assert [r["resources"] for r in scene.entries()["open"]["rules"]] == [["serviceaccounts"]]
        assert not admission.doors[CLUSTER].trouble
        policies.doors = (Door([]), Door([]))
        admission.refresh()
        await eventually(lambda: scene.configuration() is None, "the configuration goes")


async def test_exempt_namespaces_are_not_judged(scene: Scene, plane_api: Any) -> None:
    free = f"{scene.taut.namespace}-free"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": free}}
    plane_api.apply(f"/api/v1/namespaces/{free}", body)
    scene.closed = [policy("teams", "ConfigMap")]
    scene.set_up(exemptNamespaces=[free])
    async with scene.run():
        await scene.refused("ConfigMap", "teams/team")
        assert "created" in await scene.write("ConfigMap", "bad", team=False, namespace=free)
        assert "created" in await scene.write("ConfigMap", "bad", team=False, namespace="kube-system")


async def test_what_is_changed_by_hand_is_healed(scene: Scene) -> None:
    scene.closed = [policy("teams", "ConfigMap")]
    async with scene.run():
        await scene.refused("ConfigMap", "teams/team")
        found = scene.configuration()
        assert found is not None
        good = found["webhooks"]
        for change in (_switched_off, _weakened, None):
            if change is None:
                status, _ = scene.taut.api.request("DELETE", f"{CONFIGURATIONS}/{scene.name}")
                assert status == 200
                version = "gone"
            else:
                version = await _changed(scene, change)

            # A change that was healed already is another version, too: it is not the one that was made by hand.
            def healed(version: str = version) -> bool:
                now = scene.configuration()
                return now is not None and now["webhooks"] == good and now["metadata"]["resourceVersion"] != version

            await eventually(healed, f"{change} is healed", 30)
        managers = {e["manager"] for e in (scene.configuration() or {})["metadata"]["managedFields"]}
        assert managers == {"taut-admission"}
        await scene.refused("ConfigMap", "teams/team")


def _switched_off(body: dict[str, Any]) -> None:
    """An apply would leave this as it is: the condition belongs to somebody else."""
    body["webhooks"][0]["matchConditions"] = [{"name": "off", "expression": "false"}]


def _weakened(body: dict[str, Any]) -> None:
    body["webhooks"][0]["failurePolicy"] = "Ignore"
    body["webhooks"][0]["namespaceSelector"] = {"matchLabels": {"nothing": "here"}}


async def _changed(scene: Scene, change: Any) -> str:
    body = scene.configuration()
    assert body is not None
    change(body)
    status, answer = scene.taut.api.request("PUT", f"{CONFIGURATIONS}/{scene.name}?fieldManager=somebody", body)
    assert status == 200, answer
    return json.loads(answer)["metadata"]["resourceVersion"]


async def test_certificates_change_while_requests_go_on(scene: Scene) -> None:
    """A new CA, and the first certificate that it signs: every request in between is judged."""
    now = time.time()
    moment = [now - CA_LIFE * 2 / 3 - 3 * 3600]
    scene.clock = lambda: moment[0]
    scene.closed = [policy("teams", "ConfigMap")]
    async with scene.run() as admission:
        moment[0] = now - 20 * DAY - 60
        await admission.renew()
        await scene.refused("ConfigMap", "teams/team")
        await asyncio.sleep(2)  # by then nothing is looked at any more because of the first write
        answers: list[str] = []
        done = asyncio.Event()
        load = asyncio.create_task(_load(scene, answers, done))
        first = admission.bundle
        moment[0] = now - 2 * 3600
        await admission.renew()
        assert admission.bundle.startswith(first)
        assert admission.bundle.count(b"BEGIN CERTIFICATE") == 2
        await eventually(lambda: _registered(scene) == admission.bundle, "both CAs are registered", 30)
        await _more(answers)
        assert await _served_by(admission.url, first)
        moment[0] = now
        await admission.renew()
        assert not await _served_by(admission.url, first)
        assert await _served_by(admission.url, admission.bundle[len(first) :])
        await _more(answers)
        done.set()
        await load
        assert len(answers) >= 40
        assert [a for a in answers if "teams/team" not in a] == []


async def _load(scene: Scene, answers: list[str], done: asyncio.Event) -> None:
    """Eight at a time, so that the API server opens new connections."""
    path = f"/api/v1/namespaces/{scene.taut.namespace}/configmaps?dryRun=All"
    while not done.is_set():
        ask = [asyncio.to_thread(scene.taut.api.request, "POST", path, config_map("bad")) for _ in range(8)]
        answers += [f"{status} {body.decode()}" for status, body in await asyncio.gather(*ask)]


async def _more(answers: list[str]) -> None:
    known = len(answers)
    await eventually(lambda: len(answers) >= known + 16, "more answers")


def _registered(scene: Scene) -> bytes:
    import base64

    return base64.b64decode(scene.entries()["closed"]["clientConfig"]["caBundle"])


async def _served_by(url: str, bundle: bytes) -> bool:
    host, port = url.removeprefix("https://").split(":")
    try:
        trusting = ssl.create_default_context(cadata=bundle.decode())
        _, writer = await asyncio.open_connection(host, int(port), ssl=trusting)
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    return True


AS = ("--as-group", "system:masters", "--as")


async def test_who_changed_a_managed_object_is_in_the_drift_record(scene: Scene) -> None:
    taut, kubeconfig = scene.taut, scene.taut.plane.kubeconfig
    place = ("-n", taut.namespace)
    files = {"apps/web/x.yaml": yaml(deployment("web", replicas=2), config_map("cm", {"a": "1", "b": "2"}))}
    taut.declare(application("web"), files=files)
    async with scene.run() as admission:
        await taut.synced("web")
        await eventually(lambda: "record" in scene.entries(), "changes are recorded")
        assert scene.entries().keys() == {"record"}
        cm = ObjectRef(CLUSTER, "", "ConfigMap", taut.namespace, "cm")
        web = ObjectRef(CLUSTER, "apps", "Deployment", taut.namespace, "web")

        async def heard() -> bool:
            """A change that is no drift, until the API server has read the configuration."""
            stamp = f"seen={time.monotonic()}"
            await kubectl(kubeconfig, *place, *AS, "probe", "annotate", "--overwrite", "cm/cm", stamp)
            return any(c.user == "probe" for c in admission.recorder.changes(cm))

        await eventually(heard, "the API server tells of changes")
        patch = ("patch", "cm/cm", "--type=merge", "-p")
        steps: list[tuple[tuple[str, ...], str, str, str]] = [
            (("ada", *patch, '{"data":{"a":"9"}}'), "data.a", "ada", "kubectl-patch"),
            (("eve", "scale", "deployment/web", "--replicas=5"), "spec.replicas", "eve", "kubectl"),
            (("bob", *patch, '{"data":{"b":null}}'), "data.b", "bob", ""),
            (("dan", "delete", "cm/cm"), "", "dan", ""),
        ]
        for number, (args, path, user, who) in enumerate(steps):
            await kubectl(kubeconfig, *place, *AS, *args)

            async def fact(number: int = number) -> DriftRecord | None:
                found = await taut.drift("web")
                return found[0] if len(found) > number and found[0].outcome == "healed" else None

            record = await taut.until(fact, f"{path} by {user} is recorded")
            assert (record.path, record.user, record.who) == (path, user, who)
            await taut.synced("web")
        events = await taut.controller.store.events(taut.key("web"))
        said = [e.message for e in events if e.kind == "drift"]
        assert "ada (kubectl-patch) changed data.a" in said
        assert "dan removed the whole object" in said
        users = {c.user for ref in (cm, web) for c in admission.recorder.changes(ref)}
        assert users == {"probe", "ada", "eve", "bob", "dan"}, "taut's own writes are not recorded"
        before = admission.recorder.changes(web)
        own = admission.doors[CLUSTER].own_user
        assert own
        for user, more in ((own, {}), ("ada", {"dryRun": True}), ("ada", {"name": "", "object": None})):
            # A server that knows no match conditions asks about taut itself, too.
            body = {**deployment("web"), "metadata": {"name": "web", "namespace": taut.namespace}}
            admission.record(CLUSTER, read(review(body, "deployments", userInfo={"username": user}, **more)))
        assert admission.recorder.changes(web) == before


async def test_who_it_was_is_not_forgotten_by_a_restart(scene: Scene) -> None:
    taut = scene.taut
    taut.declare(application("web", sync={"heal": False}), files={"apps/web/x.yaml": yaml(config_map("cm"))})
    async with scene.run() as admission:
        await taut.synced("web")
        cm = ObjectRef(CLUSTER, "", "ConfigMap", taut.namespace, "cm")
        patch = ("patch", "cm/cm", "--type=merge", "-p")

        async def heard() -> bool:
            stamp = json.dumps({"metadata": {"annotations": {"seen": str(time.monotonic())}}})
            await kubectl(taut.plane.kubeconfig, "-n", taut.namespace, *AS, "probe", *patch, stamp)
            return bool(admission.recorder.changes(cm))

        await eventually(heard, "the API server tells of changes")
        await kubectl(taut.plane.kubeconfig, "-n", taut.namespace, *AS, "ada", *patch, '{"data":{"a":"9"}}')
        (record,) = await eventually(lambda: taut.drift("web"), "the drift is recorded")
        assert (record.user, record.outcome) == ("ada", "reported")
    async with scene.run() as admission:
        await taut.until(lambda: (s := taut.status("web")) is not None and s.sync == "OutOfSync", "it is looked at")
        await taut.push({"apps/web/y.yaml": yaml(config_map("other"))})
        await taut.until(lambda: taut.get("configmaps", "other") is not None, "it is synced again")
        assert admission.recorder.who(cm, "", 0) is None
        assert [(r.user, r.path) for r in await taut.drift("web")] == [("ada", "data.a")]


async def test_what_taut_writes_as_a_service_account_is_not_recorded(scene: Scene) -> None:
    """A person who acts as that account is: only what taut writes as it is taut's own."""
    taut, space = scene.taut, scene.taut.namespace
    user = f"system:serviceaccount:{space}:deployer"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": space}],
    }
    taut.api.apply(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/rolebindings/deployer", binding)
    deployer = application("web", target={"serviceAccount": "deployer"})
    taut.declare(deployer, files={"apps/web/x.yaml": yaml(config_map("cm"))})
    cm = ObjectRef(CLUSTER, "", "ConfigMap", space, "cm")
    async with scene.run() as admission:
        await taut.synced("web")

        async def as_deployer(value: str) -> None:
            change = json.dumps({"data": {"a": value}})
            await kubectl(
                taut.plane.kubeconfig, "-n", space, "--as", user, "patch", "cm/cm", "--type=merge", "-p", change
            )

        async def heard() -> bool:
            # A field that is healed too often is contested: what the API server needs to take the configuration in is waited for.
            await asyncio.sleep(1)
            await as_deployer(str(time.monotonic()))
            return bool(admission.recorder.changes(cm))

        await eventually(lambda: "record" in scene.entries(), "the configuration is there")
        await eventually(heard, "the API server tells of changes")
        await taut.synced("web")
        changes = admission.recorder.changes(cm)
        await as_deployer("9")
        await taut.until(lambda: len(admission.recorder.changes(cm)) > len(changes), "it is recorded")
        await taut.until(lambda: (taut.get("configmaps", "cm") or {})["data"] == {"a": "1"}, "it is healed")
        await taut.synced("web")
        assert {(c.user, c.manager) for c in admission.recorder.changes(cm)} == {(user, "kubectl-patch")}


async def test_switched_off_it_is_taken_down(scene: Scene) -> None:
    scene.closed = [policy("teams", "ConfigMap")]
    async with scene.run():
        await scene.refused("ConfigMap", "teams/team")
    del scene.taut.options["admission"]
    taut = scene.taut
    async with (
        taut.run(),
        serve_controller(
            taut.controller, listen="127.0.0.1:0", store=Path(taut.controller.config.store), webhook_secret=None
        ),
    ):
        await eventually(lambda: scene.configuration() is None, "the configuration is removed")
        await eventually(lambda: _passes(scene), "writes pass")


async def _passes(scene: Scene) -> bool:
    return "created" in await scene.write("ConfigMap", "bad", team=False)


async def test_it_is_part_of_a_running_taut_and_leaves_with_it(scene: Scene) -> None:
    """As `taut run` does it: without policies only changes are recorded, and a renamed instance leaves nothing behind."""
    taut = scene.taut
    taut.declare(application("web"), files={"apps/web/x.yaml": yaml(config_map("cm"))})
    store = Path(taut.folder / "state" / "taut.db")
    async with taut.run(), serve_controller(taut.controller, listen="127.0.0.1:0", store=store, webhook_secret=None):
        await taut.synced("web")
        await eventually(lambda: scene.entries().keys() == {"record"}, "changes are recorded")
    assert scene.entries().keys() == {"record"}, "a restart finds what it left"
    old = scene.name
    scene.set_up(instance=f"{taut.namespace}-b")
    async with taut.run(), serve_controller(taut.controller, listen="127.0.0.1:0", store=store, webhook_secret=None):
        await eventually(lambda: scene.configuration() is None, "the old name is gone")
        status = await eventually(lambda: taut.api.request("GET", f"{CONFIGURATIONS}/{old}-b")[0] == 200, "the new one")
        assert status
    async with taut.run():
        assert await remove_all(taut.controller)
    assert taut.api.request("GET", f"{CONFIGURATIONS}/{old}-b")[0] == 404


async def test_a_strangers_configuration_of_the_same_name_is_left_alone(scene: Scene) -> None:
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": scene.name},
        "webhooks": [],
    }
    assert scene.taut.api.request("POST", CONFIGURATIONS, body)[0] == 201
    scene.closed = [policy("teams", "ConfigMap")]
    async with scene.run() as admission:
        door = admission.doors[CLUSTER]
        await eventually(lambda: "not taut's" in door.trouble, "it is said")
        found = scene.configuration()
        assert found is not None
        assert not found.get("webhooks")
        assert (await scene.write("ConfigMap", "bad", team=False)).count("created") == 1
