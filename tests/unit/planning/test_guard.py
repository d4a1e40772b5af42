"""What stops a plan, and what lets it pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taut.model.application import Guards
from taut.model.manifests import Manifest
from taut.model.operation import Approval
from taut.model.plan import Action, Change, Hold, HoldKind, Plan
from taut.model.refs import AppKey, ObjectRef
from taut.planning.guard import Facts, guard_root, guarded, holds_after, stops

APP = AppKey("main", "", "shop")
GROUPS = {"StatefulSet": "apps", "Deployment": "apps", "CustomResourceDefinition": "apiextensions.k8s.io"}


def ref(kind: str, name: str = "a") -> ObjectRef:
    return ObjectRef("local", GROUPS.get(kind, ""), kind, "n", name)


def gone(kind: str = "ConfigMap", name: str = "a", **more: Any) -> Change:
    return Change(ref(kind, name), Action.DELETE, live_hash="x", **more)


def kinds(
    changes: list[Change],
    *,
    rendered: int = 10,
    managed: int = 20,
    guards: Guards = Guards(),
    bodies: dict[ObjectRef, Any] | None = None,
    **facts: Any,
) -> list[HoldKind]:
    plan = guarded(Plan(APP, tuple(changes)), guards, Facts(rendered, managed, **facts), bodies or {})
    return [hold.kind for hold in plan.holds]


def several(number: int) -> list[Change]:
    return [gone(name=str(n)) for n in range(number)]


@pytest.mark.parametrize(
    ("number", "managed", "guards", "held"),
    [
        (3, 3, Guards(), False),
        (4, 8, Guards(), False),
        (4, 7, Guards(), True),
        (5, 8, Guards(), True),
        (1, 10, Guards(max_delete_share=0, max_delete_count=0), True),
        (9, 10, Guards(max_delete_share=1), False),
        (9, 10, Guards(max_delete_count=9), False),
    ],
)
def test_share(number: int, managed: int, guards: Guards, held: bool) -> None:
    found = kinds(several(number), managed=managed, guards=guards)
    assert found == ([HoldKind.SHARE] if held else [])


def test_nothing_rendered() -> None:
    assert kinds(several(1), rendered=0, managed=1) == [HoldKind.EMPTY]
    assert kinds(several(1), rendered=0, managed=1, guards=Guards(allow_empty=True)) == []
    assert kinds([], rendered=0, managed=0) == []
    released = Change(ref("ConfigMap"), Action.RELEASE)
    assert kinds([released], rendered=0, managed=1) == []


def test_the_first_deletion_after_a_rebuild() -> None:
    assert kinds(several(1), rebuilt=True) == [HoldKind.REBUILT]
    assert kinds([], rebuilt=True) == []


def test_removing_an_application_is_no_matter_of_its_own_share() -> None:
    assert kinds(several(9), rendered=0, managed=9, rebuilt=True, deleting=True) == []
    assert kinds([gone("PersistentVolumeClaim")], rendered=0, managed=1, deleting=True) == [HoldKind.DATA]


def stateful_set(when_deleted: str | None) -> dict[str, Any]:
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted}} if when_deleted else {}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"}, "spec": policy}


@pytest.mark.parametrize(
    ("kind", "facts", "body", "held"),
    [
        ("ConfigMap", {}, {}, None),
        ("PersistentVolumeClaim", {}, {}, HoldKind.DATA),
        ("PersistentVolume", {}, {}, HoldKind.DATA),
        ("StatefulSet", {}, stateful_set("Delete"), HoldKind.DATA),
        ("StatefulSet", {}, stateful_set("Retain"), None),
        ("StatefulSet", {}, stateful_set(None), None),
        ("StatefulSet", {}, None, HoldKind.DATA),
        ("Namespace", {}, {}, HoldKind.NAMESPACE),
        ("Namespace", {"undeclared": 2}, {}, HoldKind.NAMESPACE),
        ("Namespace", {"undeclared": 0}, {}, None),
        ("CustomResourceDefinition", {}, {}, HoldKind.CRD),
        ("CustomResourceDefinition", {"instances": 1}, {}, HoldKind.CRD),
        ("CustomResourceDefinition", {"instances": 0}, {}, None),
        ("ConfigMap", {}, {"metadata": {"annotations": {"taut.dev/prune": "ask"}}}, HoldKind.DATA),
        ("ConfigMap", {}, {"metadata": {"annotations": {"taut.dev/delete": "ask"}}}, None),
    ],
)
def test_what_holds_data(kind: str, facts: dict[str, int], body: Any, held: HoldKind | None) -> None:
    known = {name: {ref(kind): number} for name, number in facts.items()}
    assert kinds([gone(kind)], bodies={ref(kind): body}, **known) == ([held] if held else [])


def recreated(kind: str = "Deployment", **annotations: str) -> Change:
    metadata = {"name": "a", "annotations": {k.replace("_", "/"): v for k, v in annotations.items()}}
    return Change(ref(kind), Action.RECREATE, Manifest({"kind": kind, "metadata": metadata}))


@pytest.mark.parametrize(
    ("change", "held"),
    [
        (recreated(), HoldKind.RECREATE),
        (recreated(**{"taut.dev_recreate": "allow"}), None),
        (recreated(**{"argocd.argoproj.io_sync-options": "Force=true"}), None),
        (recreated("PersistentVolumeClaim"), HoldKind.DATA),
        (recreated("PersistentVolumeClaim", **{"taut.dev_recreate": "allow"}), HoldKind.DATA),
        (recreated("CustomResourceDefinition", **{"taut.dev_recreate": "allow"}), HoldKind.RECREATE),
        (replace(recreated(), hook=True), None),
        (gone("Job", hook=True), None),
        # A hook that holds something asks: making room for its next run would destroy that.
        (gone("PersistentVolumeClaim", hook=True), HoldKind.DATA),
        (Change(ref("PersistentVolumeClaim"), Action.RECREATE, hook=True), HoldKind.DATA),
        (Change(ref("Namespace"), Action.RECREATE, hook=True), HoldKind.RECREATE),
    ],
)
def test_recreating(change: Change, held: HoldKind | None) -> None:
    assert kinds([change]) == ([held] if held else [])


def test_a_root_that_loses_its_applications() -> None:
    keys = [AppKey("main", "", str(n)) for n in range(20)]
    assert guard_root(keys[:3], 4) is None
    assert guard_root(keys[:1], 1) is None
    emptied = guard_root(keys[:2], 2)
    assert emptied is not None
    assert "declares nothing any more" in emptied.message
    assert guard_root(keys[:2], 2, Guards(allow_empty=True)) is None
    assert guard_root(keys[:10], 20) is None
    hold = guard_root(keys[:11], 20)
    assert hold is not None
    assert hold.kind is HoldKind.ROOT_SHARE
    assert "11 of 20 applications" in hold.message
    assert hold.message.endswith("…")
    assert guard_root(keys[:4], 20, Guards(max_delete_share=0.1)) is not None


def approval(plan: Plan, **more: Any) -> Approval:
    return replace(Approval(APP, plan.hash, by="me", at=0), **more)


def test_an_approval_is_for_the_very_plan() -> None:
    held = guarded(Plan(APP, (gone("PersistentVolumeClaim"),)), Guards(), Facts(1, 5), {})
    assert stops(holds_after(held, []))
    assert holds_after(held, [approval(held)]) == ()
    # The live object changed meanwhile, or the commit: another plan.
    other = replace(held, changes=(gone("PersistentVolumeClaim", name="b"),))
    changed = replace(held, changes=(replace(held.changes[0], live_hash="y"),))
    for plan in (other, changed):
        assert holds_after(plan, [approval(held)]) == held.holds
    assert holds_after(held, [approval(held, app=AppKey("main", "", "other"))]) == held.holds
    # A revision alone changes nothing.
    assert holds_after(replace(held, revision="another"), [approval(held)]) == ()


def test_no_approval_gives_another_applications_object() -> None:
    hold = Hold(HoldKind.OWNED, "it belongs to another", (ref("ConfigMap"),), approvable=False)
    plan = Plan(APP, (), holds=(hold,))
    assert holds_after(plan, [approval(plan)]) == (hold,)
    assert not stops(plan.holds)
