"""Drift, noticed by watches: what was done, who did it, and what became of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from integration.loop.harness import CLUSTER, Taut, application, config_map, deployment, job, yaml
from support.kubernetes import kubectl
from taut.model.drift import DriftRecord
from taut.model.refs import ObjectRef
from taut.server.controlled import ControllerBackend

pytestmark = pytest.mark.integration

APPS = "apps/v1"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


def web(replicas: int = 2) -> dict[str, Any]:
    body = deployment("web", replicas=replicas)
    body["metadata"]["annotations"] = {"team": "blue"}
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
    ]
    return body


def service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def secret(value: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"password": value}}


FILES = {"apps/web/x.yaml": yaml(web(), service(), config_map("cm", {"a": "1", "b": "2"}), secret("hunter2-secret"))}
PLACES = {
    "Deployment": ("deployments", APPS, "web"),
    "Service": ("services", "", "web"),
    "ConfigMap": ("configmaps", "", "cm"),
}


def path(taut: Taut, kind: str) -> str:
    plural, group, name = PLACES[kind]
    base = f"/apis/{group}" if group else "/api/v1"
    return f"{base}/namespaces/{taut.namespace}/{plural}/{name}"


def send(taut: Taut, method: str, where: str, body: Any, manager: str, content: str = "application/json") -> None:
    query = f"?fieldManager={manager}" + ("&force=true" if content == APPLY else "")
    status, answer = taut.api.request(method, where + query, body, content=content)
    assert status in (200, 201), answer


async def scale(taut: Taut) -> None:
    await kubectl(taut.plane.kubeconfig, "-n", taut.namespace, "scale", "deployment/web", "--replicas=5")


async def set_env(taut: Taut) -> None:
    await kubectl(taut.plane.kubeconfig, "-n", taut.namespace, "set", "env", "deployment/web", "A=9")


async def annotated(taut: Taut) -> None:
    args = ("-n", taut.namespace, "annotate", "--overwrite", "deployment/web", "team=red")
    await kubectl(taut.plane.kubeconfig, *args)


async def patched(taut: Taut) -> None:
    change = [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9090}]
    send(taut, "PATCH", path(taut, "Service"), change, "patcher", JSON_PATCH)


async def replaced(taut: Taut) -> None:
    body = taut.get("configmaps", "cm")
    assert body is not None
    body["data"]["a"] = "9"
    send(taut, "PUT", path(taut, "ConfigMap"), body, "putter")


async def forced(taut: Taut) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"b": "9"}}
    send(taut, "PATCH", path(taut, "ConfigMap"), body, "rival", APPLY)


async def key_removed(taut: Taut) -> None:
    send(taut, "PATCH", path(taut, "ConfigMap"), [{"op": "remove", "path": "/data/b"}], "remover", JSON_PATCH)


async def env_removed(taut: Taut) -> None:
    change = [{"op": "remove", "path": "/spec/template/spec/containers/0/env/1"}]
    send(taut, "PATCH", path(taut, "Deployment"), change, "remover", JSON_PATCH)


async def deleted(taut: Taut) -> None:
    taut.delete("configmaps", "cm")


ENV = "spec.template.spec.containers[name=web].env"
PORT = "spec.ports[port=80,protocol=TCP].targetPort"

# what is done · (kind, field, desired, found, who, operation)
WAYS: list[tuple[Callable[[Taut], Any], tuple[str, str, Any, Any, str, str]]] = [
    (scale, ("Deployment", "spec.replicas", 2, 5, "kubectl", "Update")),
    (set_env, ("Deployment", f"{ENV}[name=A].value", "1", "9", "kubectl-set", "Update")),
    (annotated, ("Deployment", "metadata.annotations.team", "blue", "red", "kubectl-annotate", "Update")),
    (patched, ("Service", PORT, 8080, 9090, "patcher", "Update")),
    (replaced, ("ConfigMap", "data.a", "1", "9", "putter", "Update")),
    (forced, ("ConfigMap", "data.b", "2", "9", "rival", "Apply")),
    (key_removed, ("ConfigMap", "data.b", "2", None, "", "")),
    (env_removed, ("Deployment", f"{ENV}[name=B]", {"name": "B", "value": "2"}, None, "", "")),
    (deleted, ("ConfigMap", "", None, None, "", "")),
]


async def newest(taut: Taut, outcome: str = "healed", known: int = 0) -> DriftRecord:
    """Wait for the newest drift record, when there are more than `known`, to have this outcome."""

    async def fact() -> DriftRecord | None:
        found = await taut.drift("web")
        return found[0] if len(found) > known and found[0].outcome == outcome else None

    return await taut.until(fact, f"a record that says {outcome}")


async def test_every_way_to_drift_is_named_and_healed(taut: Taut) -> None:
    """techniques.md, section 1, through the loop: one after the other, each healed by a write of that object alone."""
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        for number, (act, (kind, field, desired, found, who, operation)) in enumerate(WAYS):
            others = {k: versions(taut, k) for k in PLACES if k != kind}
            await act(taut)
            record = await newest(taut, known=number)
            assert (record.ref.kind, record.path) == (kind, field), act.__name__
            assert (record.desired, record.found) == (desired, found), act.__name__
            assert (record.who, record.operation) == (who, operation), act.__name__
            assert record.missing is (found is None), act.__name__
            assert record.noticed_at <= record.healed_at, act.__name__
            if who and act is not scale:  # the API server notes no time for the scale subresource
                assert record.noticed_at - 20 < record.changed_at <= record.noticed_at + 1, act.__name__
            await taut.synced("web")
            assert {k: versions(taut, k) for k in others} == others, act.__name__
            entry = (await taut.history("web"))[0]
            assert (entry.kind, entry.result) == ("heal", "Succeeded"), act.__name__
            assert [ref for _, ref in entry.changes] == [str(record.ref)], act.__name__
        events = await taut.controller.store.events(taut.key("web"))
        said = [e.message for e in events if e.kind == "drift"]
        assert "kubectl changed spec.replicas" in said
        assert "the whole object was removed" in said
        found_live = taut.get("deployments", "web", APPS)
        assert found_live is not None
        assert found_live["spec"]["replicas"] == 2


def versions(taut: Taut, kind: str) -> list[Any]:
    """What taut wrote of an object: its own entry in managedFields, and the generation."""
    plural, group, name = PLACES[kind]
    body = taut.get(plural, name, group)
    assert body is not None
    metadata = body["metadata"]
    times = [e["time"] for e in metadata["managedFields"] if e["manager"] == "taut"]
    return [metadata["uid"], metadata.get("generation"), times]


async def test_an_edited_secret_is_healed_and_shown_nowhere(taut: Taut) -> None:
    found, encoded = "letmein-found-value", base64.b64encode(b"letmein-found-value").decode()
    desired, desired64 = "hunter2-secret", base64.b64encode(b"hunter2-secret").decode()
    taut.declare(application("web", sync={"heal": False}), files=FILES)
    async with taut.run():
        await taut.synced("web")
        taut.patch("secrets", "key", {"data": {"password": encoded}}, manager="somebody")
        record = await newest(taut, "reported")
        assert (record.path, record.secret, record.who) == ("data.password", True, "somebody")
        backend = ControllerBackend(taut.controller)
        shown = [
            record,
            await backend.plan(taut.key("web")),
            await backend.drift(None, open_only=True, limit=10),
            await backend.events(None, 100),
            await backend.history(taut.key("web"), 10),
            await backend.objects(taut.key("web")),
            await backend.tree(taut.key("web")),
            await backend.audit(100),
            taut.status("web"),
        ]
        text = msgspec.json.encode(shown).decode() + repr(shown)
        assert "••••••" in text
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await newest(taut, "healed")
        await taut.synced("web")
        assert taut.get("secrets", "key")["data"]["password"] == desired64  # pyright: ignore[reportOptionalSubscript]
    kept = b"".join(f.read_bytes() for f in (taut.folder / "state").rglob("*") if f.is_file())
    assert b"key" in kept
    for value in (found, encoded, desired, desired64):
        assert value not in text
        # Git's own objects are the repository's, compressed; everything that taut itself keeps is sealed.
        assert value.encode() not in kept


async def test_what_is_no_drift(taut: Taut) -> None:
    """Fields that Git does not declare, a restart, the same value again: no record, no write."""
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        place = ("-n", taut.namespace)
        await kubectl(taut.plane.kubeconfig, *place, "label", "deployment/web", "seen=yes")
        await kubectl(taut.plane.kubeconfig, *place, "rollout", "restart", "deployment/web")
        taut.patch("configmaps", "cm", {"data": {"a": "1"}}, manager="again")
        taut.patch("configmaps", "cm", {"data": {"c": "mine"}}, manager="somebody")
        sidecar = {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "s", "image": "s:1"}}
        send(taut, "PATCH", path(taut, "Deployment"), [sidecar], "injector", JSON_PATCH)
        # A change that is drift, after all of them: when it is healed, they were all seen.
        taut.patch("configmaps", "cm", {"data": {"b": "9"}}, manager="somebody")
        await newest(taut)
        await taut.synced("web")
        assert [r.path for r in await taut.drift("web")] == ["data.b"]
        live = taut.get("deployments", "web", APPS)
        assert live is not None
        template = live["spec"]["template"]
        assert len(template["spec"]["containers"]) == 2
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
        assert live["metadata"]["labels"] == {"seen": "yes"}
        found = taut.get("configmaps", "cm")
        assert found is not None
        assert found["data"] == {"a": "1", "b": "2", "c": "mine"}
        # And the next commit leaves them alone, too.
        changed = web()
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = "example/web:2"
        commit = await taut.push({"apps/web/x.yaml": yaml(changed, service(), config_map("cm", {"a": "1", "b": "3"}))})
        await taut.synced("web", at=commit)
        live = taut.get("deployments", "web", APPS)
        assert live is not None
        template = live["spec"]["template"]
        assert [c["image"] for c in template["spec"]["containers"]] == ["example/web:2", "s:1"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]


async def test_an_autoscaler_keeps_its_replicas(taut: Taut) -> None:
    """A HorizontalPodAutoscaler that taut knows from the cluster alone."""
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        autoscale(taut, "web")
        autoscaler_writes(taut, "web", 4)
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await newest(taut)
        await taut.synced("web")
        changed = web()
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = "example/web:2"
        commit = await taut.push({"apps/web/x.yaml": yaml(changed, service(), config_map("cm", {"a": "1"}))})
        await taut.synced("web", at=commit)
        live = taut.get("deployments", "web", APPS)
        assert live is not None
        assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "example/web:2"
        assert live["spec"]["replicas"] == 4
        records = await taut.drift("web")
        assert [r.path for r in records] == ["data.a"], records


async def test_what_the_autoscaler_of_another_workload_brings_up_is_no_drift(taut: Taut) -> None:
    """Its rules are found in the midst of a look, and are about both: the second workload was not read before, but is there."""
    taut.declare(
        application("web"), files={"apps/web/x.yaml": yaml(web(), deployment("other"), config_map("cm", {"a": "1"}))}
    )
    async with taut.run():
        await taut.synced("web")
        for name in ("web", "other"):
            autoscale(taut, name)
        before = taut.get("deployments", "other", APPS)
        autoscaler_writes(taut, "web", 4)
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await newest(taut)
        await taut.synced("web")
        assert [(r.ref.kind, r.path) for r in await taut.drift("web")] == [("ConfigMap", "data.a")]
        after = taut.get("deployments", "other", APPS)
        assert before is not None
        assert after is not None
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def autoscale(taut: Taut, name: str) -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "minReplicas": 1,
            "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": APPS, "kind": "Deployment", "name": name},
        },
    }
    taut.api.apply(f"/apis/autoscaling/v2/namespaces/{taut.namespace}/horizontalpodautoscalers/{name}", scaler)


def autoscaler_writes(taut: Taut, name: str, replicas: int) -> None:
    where = f"/apis/{APPS}/namespaces/{taut.namespace}/deployments/{name}/scale?fieldManager=kube-controller-manager"
    body = {"spec": {"replicas": replicas}}
    status, answer = taut.api.request("PATCH", where, body, content="application/merge-patch+json")
    assert status == 200, answer


async def test_ignored_fields_are_left_alone_also_by_the_next_apply(taut: Taut) -> None:
    """By pointer, by jq and by field manager."""
    rules = [
        {"kind": "Deployment", "pointers": ["/spec/replicas"]},
        {"kind": "Deployment", "jq": ['.spec.template.spec.containers[] | select(.name == "web") | .env']},
        {"kind": "ConfigMap", "managers": ["operator"]},
    ]
    taut.declare(application("web", ignore=rules), files=FILES)
    async with taut.run():
        await taut.synced("web")
        await scale(taut)
        await set_env(taut)
        taut.patch("configmaps", "cm", {"data": {"a": "7"}}, manager="operator")
        taut.patch("configmaps", "cm", {"data": {"b": "9"}}, manager="somebody")
        record = await newest(taut)
        assert record.path == "data.b"
        await taut.synced("web")
        changed = web()
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = "example/web:2"
        body = config_map("cm", {"a": "1", "b": "3"})
        commit = await taut.push({"apps/web/x.yaml": yaml(changed, service(), body)})
        await taut.synced("web", at=commit)
        live, data = taut.get("deployments", "web", APPS), taut.get("configmaps", "cm")
        assert live is not None
        assert data is not None
        assert live["spec"]["replicas"] == 5
        container = live["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "example/web:2"
        assert {e["name"]: e["value"] for e in container["env"]} == {"A": "9", "B": "2"}
        assert data["data"] == {"a": "7", "b": "3"}
        assert len(await taut.drift("web")) == 1


@pytest.mark.parametrize(
    ("policy", "reason"),
    [({"mode": "report"}, "report-only"), ({"heal": False}, "self-heal is off")],
    ids=["report", "no-heal"],
)
async def test_what_is_not_healed_is_recorded_and_its_end_too(taut: Taut, policy: dict[str, Any], reason: str) -> None:
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        taut.declare(application("web", sync=policy))
        await taut.poke()
        await taut.until(lambda: taut.state("web").app.spec.sync.heal is (policy.get("heal", True)) and (taut.status("web").mode == policy.get("mode", "automatic")), "the policy is known")  # pyright: ignore[reportOptionalMemberAccess] # fmt: skip
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        record = await newest(taut, "reported")
        assert (record.path, record.who, record.reason, record.healed_at) == ("data.a", "somebody", reason, 0.0)
        status = await taut.says("web", reason)
        assert (status.sync, status.drift) == ("OutOfSync", 1)
        live = taut.get("configmaps", "cm")
        assert live is not None
        assert live["data"]["a"] == "9"
    async with taut.run():
        await taut.until(lambda: (s := taut.status("web")) is not None and s.drift == 1, "known after a restart")
        await taut.says("web", reason)
        assert len(await taut.drift("web")) == 1
        # Somebody puts it back.
        taut.patch("configmaps", "cm", {"data": {"a": "1"}}, manager="somebody")
        reverted = await newest(taut, "reverted")
        assert "somebody else" in reverted.reason
        # Git takes over what was found.
        taut.patch("configmaps", "cm", {"data": {"b": "9"}}, manager="somebody")
        await newest(taut, "reported", known=1)
        files = {"apps/web/x.yaml": yaml(web(), service(), config_map("cm", {"a": "1", "b": "9"}), secret("hunter2"))}
        await taut.push(files)
        adopted = await newest(taut, "adopted", known=1)
        assert (adopted.path, adopted.found) == ("data.b", "9")


async def test_a_commit_that_overwrites_a_drift_heals_it(taut: Taut) -> None:
    """Git says something else than what was found: that is no adoption."""
    taut.declare(application("web", sync={"heal": False}), files=FILES)
    async with taut.run():
        await taut.synced("web")
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await newest(taut, "reported")
        body = config_map("cm", {"a": "3", "b": "2"})
        commit = await taut.push({"apps/web/x.yaml": yaml(web(), service(), body)})
        await taut.synced("web", at=commit)
        assert (await newest(taut, "healed")).found == "9"
        assert len(await taut.drift("web")) == 1


async def test_changes_while_taut_was_down_are_found_at_its_start(taut: Taut) -> None:
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
    await scale(taut)
    taut.delete("services", "web")
    async with taut.run():

        async def fact() -> bool:
            return {(r.path, r.who, r.outcome) for r in await taut.drift("web")} == {
                ("spec.replicas", "kubectl", "healed"),
                ("", "", "healed"),
            }

        await taut.until(fact, "both are found and healed")
        assert taut.get("services", "web") is not None


async def test_a_field_that_is_fought_over_is_left_and_everything_else_goes_on(taut: Taut) -> None:
    taut.declare(application("web"), files=FILES)
    async with taut.run():
        await taut.synced("web")
        for number in range(5):
            taut.patch("configmaps", "cm", {"data": {"a": f"fight {number}"}}, manager="rival")
            await newest(taut, known=number)
            await taut.synced("web")
        taut.patch("configmaps", "cm", {"data": {"a": "fight 5"}}, manager="rival")
        record = await newest(taut, "contested", known=5)
        assert "taut backs off" in record.reason
        status = await taut.says("web", "contested")
        assert (status.contested, status.sync) == (True, "OutOfSync")
        events = await taut.controller.store.events(taut.key("web"))
        assert [e.message for e in events if e.kind == "contested"] == [
            "data.a was healed 5 times in ten minutes: taut backs off"
        ]
        # Another object is still healed.
        await scale(taut)
        await taut.until(lambda: replicas(taut) == 2, "healed")
        live = taut.get("configmaps", "cm")
        assert live is not None
        assert live["data"]["a"] == "fight 5"
        # So is another field of the same object, which is written as a whole; the fight is not taken up again because of it.
        taut.patch("configmaps", "cm", {"data": {"b": "by hand"}}, manager="somebody")
        await taut.until(lambda: (taut.get("configmaps", "cm") or {})["data"] == {"a": "1", "b": "2"}, "healed")

        async def recorded() -> bool:
            healed = {(r.path, r.found) for r in await taut.drift("web") if r.outcome == "healed"}
            return {("data.b", "by hand"), ("data.a", "fight 5")} <= healed

        await taut.until(recorded, "both are recorded")
        known = len(await taut.drift("web"))
        taut.patch("configmaps", "cm", {"data": {"a": "fight 6"}}, manager="rival")
        record = await newest(taut, "contested", known=known)
        assert (record.path, record.found) == ("data.a", "fight 6")
        # A person's word counts.
        await taut.controller.ask_sync(taut.key("web"), by="ada")
        await taut.until(lambda: (taut.get("configmaps", "cm") or {})["data"]["a"] == "1", "synced by hand")


def replicas(taut: Taut) -> int:
    live = taut.get("deployments", "web", APPS)
    assert live is not None
    return live["spec"]["replicas"]


@pytest.mark.parametrize("seconds", [0, 1])
async def test_a_job_that_its_time_to_live_removed_is_no_drift(taut: Taut, seconds: int) -> None:
    body = job("once")
    body["spec"]["ttlSecondsAfterFinished"] = seconds
    taut.declare(application("web"), files={"apps/web/x.yaml": yaml(body, config_map("cm", {"a": "1"}))})
    async with taut.run():
        await taut.until(lambda: taut.get("configmaps", "cm"), "applied")
        ref = ObjectRef(CLUSTER, "batch", "Job", taut.namespace, "once")
        cluster = taut.controller.fleet.clusters[CLUSTER]
        await taut.until(lambda: created(taut, "jobs") == 1, "made")
        await taut.until(lambda: taut.get("jobs", "once", "batch/v1") is None, "removed")
        await taut.until(lambda: cluster.get(ref) is None, "seen to be removed")
        await taut.synced("web")
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")
        await newest(taut)
        await taut.synced("web")
        assert cluster.get(ref) is None
        assert [r.path for r in await taut.drift("web")] == ["data.a"]
    async with taut.run():
        await taut.synced("web")
        assert taut.get("jobs", "once", "batch/v1") is None
        assert created(taut, "jobs") == 1


def created(taut: Taut, plural: str) -> int:
    """How many objects of this kind taut made, by the API server's own log."""
    log = taut.plane.audit_log
    assert log is not None
    count = 0
    for line in log.read_bytes().splitlines():
        event = json.loads(line)
        ref = event.get("objectRef") or {}
        if ref.get("namespace") != taut.namespace or ref.get("resource") != plural:
            continue
        status = (event.get("responseStatus") or {}).get("code")
        count += event.get("verb") in ("create", "patch") and status == 201
    return count


async def test_what_cannot_be_healed_says_why(taut: Taut) -> None:
    """An admission policy refuses the healing: the record stays open, with the reason."""
    taut.declare(application("web", sync={"retry": {"limit": 0}}), files=FILES)
    async with taut.run():
        await taut.synced("web")
        name = f"frozen-{taut.namespace}"
        base = "/apis/admissionregistration.k8s.io/v1"
        policy = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {
                    "resourceRules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["UPDATE"],
                            "resources": ["configmaps"],
                        }
                    ],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": taut.namespace}},
                },
                "validations": [{"expression": "object.data.a == '9'", "message": "frozen by the night shift"}],
            },
        }
        binding = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }
        taut.api.apply(f"{base}/validatingadmissionpolicies/{name}", policy)
        taut.api.apply(f"{base}/validatingadmissionpolicybindings/{name}", binding)
        probe = {"data": {"a": "refused?"}}

        def refused() -> bool:
            where = f"{path(taut, 'ConfigMap')}?dryRun=All"
            status, _ = taut.api.request("PATCH", where, probe, content="application/merge-patch+json")
            return status != 200

        await taut.until(refused, "the policy is in force")
        taut.patch("configmaps", "cm", {"data": {"a": "9"}}, manager="somebody")

        async def fact() -> bool:
            found = await taut.drift("web")
            return bool(found) and "frozen by the night shift" in found[0].reason

        await taut.until(fact, "the record says why")
        assert (await taut.drift("web"))[0].outcome == "open"
        status = await taut.says("web", "frozen by the night shift")
        assert status.sync == "OutOfSync"
        taut.api.request("DELETE", f"{base}/validatingadmissionpolicybindings/{name}")
        taut.api.request("DELETE", f"{base}/validatingadmissionpolicies/{name}")
