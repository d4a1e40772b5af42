"""Field ownership on a real API server: drift and its blame, taking over, leaving alone, unchanged without a look."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taut.model.application import IgnoreRule
from taut.model.live import OWNER, LiveObject
from taut.model.manifests import Manifest
from taut.model.plan import Action, InventoryItem
from taut.model.refs import AppKey
from taut.planning.diff import compare
from taut.planning.drift import find_drift
from taut.planning.fields import absorb, lost_fields, managed_fields, owned_fields, owned_hash
from taut.planning.ignore import resolve
from taut.planning.ownership import checked_owner
from taut.planning.plan import Circumstances, decide, survey
from taut.planning.prepare import for_apply
from taut.planning.redact import Redactor
from taut.planning.wanted import interpret

from .conftest import Scene, path_of

pytestmark = pytest.mark.integration

REDACT = Redactor(b"key")
APP = AppKey("main", "", "shop")


def deployment(namespace: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "web", "image": "nginx", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace, "labels": {"team": "shop"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}, "data": data}


CONTAINER = "spec.template.spec.containers[name=web]"
ENV = "/spec/template/spec/containers/0/env"


@pytest.mark.parametrize(
    ("change", "at", "path", "found", "who"),
    [
        ({"spec": {"replicas": 5}}, "/scale", "spec.replicas", 5, ("hand", "scale")),
        ({"metadata": {"labels": {"team": "other"}}}, "", "metadata.labels.team", "other", ("hand", "")),
        (
            [{"op": "replace", "path": f"{ENV}/0/value", "value": "9"}],
            "",
            f"{CONTAINER}.env[name=A].value",
            "9",
            ("hand", ""),
        ),
        ([{"op": "remove", "path": f"{ENV}/1"}], "", f"{CONTAINER}.env[name=B]", None, ("", "")),
        ({"metadata": {"labels": {"team": None}}}, "", "metadata.labels.team", None, ("", "")),
    ],
)
def test_drift_is_named(
    scene: Scene, namespace: str, change: Any, at: str, path: str, found: Any, who: tuple[str, str]
) -> None:
    wish = deployment(namespace)
    before = scene.apply(wish)
    scene.patch(wish, change, at=at)
    live = scene.get(wish)
    assert owned_hash(managed_fields(live)) != owned_hash(managed_fields(before))
    (finding,) = find_drift(wish, live, redact=REDACT).findings
    assert (finding.path, finding.found, finding.missing) == (path, found, found is None)
    assert (finding.owner.manager, finding.owner.subresource) == who
    # Healing gives the old hash back.
    healed = scene.apply(wish)
    assert owned_hash(managed_fields(healed)) == owned_hash(managed_fields(before))
    assert find_drift(wish, healed, redact=REDACT).findings == ()


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"paused": True}},
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
        {"spec": {"replicas": 2}},
        {"metadata": {"labels": {"more": "x"}}},
    ],
)
def test_what_is_none_of_tauts_is_no_drift(scene: Scene, namespace: str, change: Any) -> None:
    wish = deployment(namespace)
    before = scene.apply(wish)
    after = scene.patch(wish, change)
    assert owned_hash(managed_fields(after)) == owned_hash(managed_fields(before))
    assert find_drift(wish, after, redact=REDACT).findings == ()


def test_an_edited_secret_is_drift_and_not_shown(scene: Scene, namespace: str) -> None:
    """With `stringData` sent as it is, the server would not notice; taut sends `data`."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}}
    wish = for_apply(Manifest({**body, "stringData": {"a": "one"}}))
    scene.apply(wish)
    live = scene.patch(wish, {"data": {"a": "dHdv"}})
    (finding,) = find_drift(wish, live, redact=REDACT).findings
    assert (finding.path, finding.owner.manager, finding.secret) == ("data.a", "hand", True)
    assert "dHdv" not in repr(finding)


@pytest.mark.parametrize("manager", ["kubectl-client-side-apply", "helm", "argocd-controller", "kubectl-edit"])
def test_taking_over_from_another_tool(scene: Scene, namespace: str, manager: str) -> None:
    old = config_map(namespace, kept="1", gone="2")
    last = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    old["metadata"]["annotations"] = last
    scene.send("POST", f"/api/v1/namespaces/{namespace}/configmaps?fieldManager={manager}", old)
    wish = config_map(namespace, kept="1")
    live = scene.get(wish)
    (change,) = compare(wish, live, redact=REDACT).changes
    assert (change.path, change.after_set) == ("data.gone", False)
    # Without absorbing, the field would stay for ever.
    assert "gone" in scene.apply(wish, dry_run=True)["data"]
    entries = absorb(managed_fields(live), "v1")
    assert entries is not None
    guard = {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}
    scene.patch(wish, [guard, {"op": "replace", "path": "/metadata/managedFields", "value": entries}], manager="taut")
    after = scene.apply(wish)
    assert after["data"] == {"kept": "1"}
    assert "annotations" not in after["metadata"]
    assert [e["manager"] for e in after["metadata"]["managedFields"]] == ["taut"]
    assert compare(wish, after, redact=REDACT).changes == ()


def test_who_lost_a_field_to_taut(scene: Scene, namespace: str) -> None:
    wish = config_map(namespace, a="1")
    scene.apply(wish)
    before = scene.patch(wish, {"data": {"a": "2", "theirs": "x"}})
    after = scene.apply(wish)
    lost = lost_fields(managed_fields(before), managed_fields(after))
    assert [(path, owner.manager, owner.operation) for path, owner in lost] == [("data.a", "hand", "Update")]
    assert after["data"] == {"a": "1", "theirs": "x"}


@pytest.mark.parametrize("scaled", [True, False])
def test_ignored_replicas_stay_as_they_are(scene: Scene, namespace: str, scaled: bool) -> None:
    wish = deployment(namespace)
    live = scene.apply(for_apply(Manifest(wish)))
    if scaled:
        scene.patch(wish, {"spec": {"replicas": 5}}, manager="autoscaler", at="/scale")
        live = scene.get(wish)
    ignore = resolve([IgnoreRule(pointers=("/spec/replicas",))], wish, live)
    assert compare(wish, live, redact=REDACT, ignore=ignore).changes == ()
    changed = deployment(namespace, minReadySeconds=3)
    after = scene.apply(for_apply(Manifest(changed), ignore=ignore, live=live))
    assert after["spec"]["replicas"] == (5 if scaled else 2)
    assert after["spec"]["minReadySeconds"] == 3


def test_switching_a_union_takes_the_old_member_away(scene: Scene, namespace: str) -> None:
    wish = deployment(namespace, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    live = scene.apply(wish)
    other = deployment(namespace, strategy={"type": "Recreate"})
    paths = {c.path for c in compare(other, live, redact=REDACT).changes}
    assert paths == {"spec.strategy.type", "spec.strategy.rollingUpdate.maxSurge"}


def projection(body: dict[str, Any]) -> LiveObject:
    metadata, manifest = body["metadata"], Manifest(body)
    ref = manifest.ref("local")
    return LiveObject(
        ref=ref,
        api_version=manifest.api_version,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owned_hash=owned_hash(managed_fields(body)),
        owner=checked_owner(manifest.annotations, ref),
    )


def test_from_nothing_to_nothing_to_do(scene: Scene, namespace: str) -> None:
    """A plan is applied; after that the survey needs no body, and a lost inventory makes no write."""
    bodies = [deployment(namespace), config_map(namespace, a="1")]
    wanted = interpret([Manifest(b) for b in bodies], app=APP, cluster="local", revision="r").objects
    here = Circumstances(APP, REDACT)
    made = decide(survey(wanted, (), [], lambda _: None, here), {})
    assert [c.action for c in made.changes] == [Action.CREATE, Action.CREATE]
    live = {}
    for change in made.changes:
        assert change.desired is not None
        live[change.ref] = scene.apply(change.desired.body)
        assert live[change.ref]["metadata"]["annotations"][OWNER]
    there = {ref: projection(body) for ref, body in live.items()}
    inventory = [
        InventoryItem(w.ref, w.manifest.api_version, w.hash, there[w.ref].owned_hash, there[w.ref].uid) for w in wanted
    ]
    again = survey(wanted, (), inventory, there.get, here)
    assert again.need_body == ()
    assert decide(again, {}).writes == ()
    lost = survey(wanted, (), [], there.get, here)
    bodies_now = {ref: scene.get(live[ref]) for ref in lost.need_body}
    assert decide(lost, bodies_now).writes == ()
    # Somebody changes a value and changes it back: one write, and taut owns everything again.
    settings = wanted[1]
    for value in ("9", "1"):
        scene.patch(bodies[1], {"data": {"a": value}})
    touched = scene.get(bodies[1])
    there[settings.ref] = projection(touched)
    found = survey(wanted, (), inventory, there.get, here)
    assert found.need_body == (settings.ref,)
    (write,) = decide(found, {settings.ref: touched}).writes
    assert (write.action, write.fields) == (Action.UPDATE, ())
    assert write.desired is not None
    after = scene.apply(write.desired.body)
    assert owned_hash(managed_fields(after)) == replace(inventory[1]).owned_hash


def test_cleared_managed_fields_are_noticed_and_mended(scene: Scene, namespace: str) -> None:
    wish = for_apply(Manifest(config_map(namespace, a="1")))
    before = scene.apply(wish)
    scene.send("PATCH", path_of(wish), {"metadata": {"managedFields": [{}]}}, "application/merge-patch+json")
    cleared = scene.get(wish)
    assert owned_hash(managed_fields(cleared)) == ""
    drift = find_drift(wish, cleared, redact=REDACT)
    assert (drift.findings, drift.certain) == ((), False)
    after = scene.apply(wish)
    assert owned_fields(managed_fields(after)) == owned_fields(managed_fields(before))
