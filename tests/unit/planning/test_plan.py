"""From desired and live to a plan."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.model.application import IgnoreRule
from taut.model.live import OWNER, LiveObject
from taut.model.manifests import Manifest, Origin
from taut.model.plan import Action, Change, HoldKind, InventoryItem, Phase, Plan
from taut.model.refs import AppKey, ObjectRef
from taut.planning.fields import managed_fields, owned_hash
from taut.planning.ownership import checked_owner, owner_app, owner_text
from taut.planning.plan import COMPLETED, Circumstances, Survey, decide, remembered, survey, uncertain
from taut.planning.redact import Redactor
from taut.planning.wanted import interpret

APP, OTHER = AppKey("main", "", "shop"), AppKey("main", "", "other")
REDACT = Redactor(b"key")
HERE = Circumstances(APP, REDACT)
REF = ObjectRef("local", "", "ConfigMap", "n", "a")


def config_map(name: str = "a", data: dict[str, str] | None = None, **annotations: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "n"}
    if annotations:
        metadata["annotations"] = {k.replace("_", "/"): v for k, v in annotations.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"} if data is None else data}


def ref_of(body: dict[str, Any]) -> ObjectRef:
    return Manifest(body).ref("local")


def applied(body: dict[str, Any], app: AppKey | None = APP, **more: Any) -> dict[str, Any]:
    """The live object as it is after taut applied it: what the server keeps of it, with taut's field set."""
    live = copy.deepcopy(body)
    metadata = live["metadata"]
    fields: dict[str, Any] = {"f:data": {f"f:{k}": {} for k in body.get("data", {})}}
    if app is not None:
        annotations = metadata.setdefault("annotations", {})
        annotations[OWNER] = owner_text(app, ref_of(body))
        fields["f:metadata"] = {"f:annotations": {f"f:{k}": {} for k in annotations}}
        entry = {"manager": "taut", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}
        metadata["managedFields"] = [entry]
    metadata |= {"uid": f"uid-{metadata['name']}", "resourceVersion": "1", **more}
    return live


def projection(body: dict[str, Any]) -> LiveObject:
    metadata, ref = body["metadata"], ref_of(body)
    return LiveObject(
        ref=ref,
        api_version=body["apiVersion"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        owned_hash=owned_hash(managed_fields(body)),
        owner=checked_owner(metadata.get("annotations", {}), ref),
        run_key=metadata.get("annotations", {}).get("taut.dev/run-key", ""),
        deleting="deletionTimestamp" in metadata,
    )


def item(body: dict[str, Any], live: dict[str, Any] | None = None, **more: Any) -> InventoryItem:
    there = projection(live) if live else None
    base = InventoryItem(
        ref=ref_of(body),
        api_version=body["apiVersion"],
        desired_hash=Manifest(body).hash,
        owned_hash=there.owned_hash if there else "x",
        uid=there.uid if there else f"uid-{body['metadata']['name']}",
    )
    return replace(base, **more)


def look(
    desired: list[dict[str, Any]],
    live: list[dict[str, Any]],
    inventory: list[InventoryItem],
    circumstances: Circumstances = HERE,
    rules: tuple[IgnoreRule, ...] = (),
    revision: str = "r1",
) -> Survey:
    there = {ref_of(b): projection(b) for b in live}
    wanted = interpret([Manifest(b) for b in desired], app=APP, cluster="local", revision=revision, rules=rules)
    return survey(wanted.objects, wanted.hooks, inventory, there.get, circumstances)


def plan(
    desired: list[dict[str, Any]],
    live: list[dict[str, Any]],
    inventory: list[InventoryItem],
    circumstances: Circumstances = HERE,
    **more: Any,
) -> Plan:
    dry_runs, immutable = more.pop("dry_runs", None), more.pop("immutable", ())
    found = look(desired, live, inventory, circumstances, **more)
    bodies = {ref_of(b): b for b in live}
    return decide(found, {r: bodies[r] for r in found.need_body}, dry_runs, immutable=immutable)


def actions(made: Plan) -> dict[str, Action]:
    return {c.ref.name: c.action for c in made.changes}


def only(made: Plan) -> Change:
    (change,) = made.changes
    return change


def test_what_is_as_taut_left_it_needs_no_look() -> None:
    body = config_map()
    live = applied(body)
    found = look([body], [live], [item(body, live)])
    assert found.need_body == ()
    assert only(decide(found, {})).action is Action.UNCHANGED


@pytest.mark.parametrize(
    "difference",
    [
        {"desired_hash": "other"},
        {"owned_hash": "other"},
        {"owned_hash": ""},
        {"uid": "other"},
        {"pending": True},
    ],
)
def test_any_doubt_needs_a_look(difference: dict[str, Any]) -> None:
    body = config_map()
    live = applied(body)
    found = look([body], [live], [item(body, live, **difference)])
    assert found.need_body == (REF,)
    assert found.versions == {REF: "v1"}


def test_creating() -> None:
    change = only(plan([config_map()], [], []))
    assert change.action is Action.CREATE
    assert change.certain
    assert change.desired is not None
    assert change.desired.annotations[OWNER] == "main/shop|/ConfigMap:n/a"


def test_updating_names_the_fields() -> None:
    live = applied(config_map())
    change = only(plan([config_map(data={"k": "new"})], [live], [item(config_map(), live)]))
    assert change.action is Action.UPDATE
    assert [(f.path, f.before, f.after) for f in change.fields] == [("data.k", "v", "new")]
    assert change.uid == "uid-a"


def test_a_field_that_left_git_is_an_update() -> None:
    old = config_map(data={"k": "v", "gone": "x"})
    live = applied(old)
    change = only(plan([config_map()], [live], [item(old, live)]))
    assert change.action is Action.UPDATE
    assert [(f.path, f.after_set) for f in change.fields] == [("data.gone", False)]


def test_a_comment_in_git_changes_nothing_but_the_memory() -> None:
    body = config_map()
    live = applied(body)
    found = look([body], [live], [item(body, live, desired_hash="of a text with another default")])
    made = decide(found, {REF: live})
    assert only(made).action is Action.UNCHANGED
    (fresh,) = remembered(found, made, {REF: live})
    assert fresh == item(body, live)


def test_what_is_remembered_is_what_was_compared() -> None:
    """Somebody changes the object after it was read: the memory of it must not hide that."""
    body = config_map()
    live = applied(body)
    found = look([body], [live], [item(body, live, desired_hash="of a text with another default")])
    made = decide(found, {REF: live})
    assert list(remembered(found, made, {})) == []
    (fresh,) = remembered(found, made, {REF: live})
    assert fresh.owned_hash == projection(live).owned_hash


def test_an_object_that_is_declared_again_comes_back_into_the_inventory() -> None:
    body = config_map()
    live = applied(body)
    found = look([body], [live], [])
    made = decide(found, {REF: live})
    assert only(made).action is Action.UNCHANGED
    (fresh,) = remembered(found, made, {REF: live})
    assert fresh == item(body, live)


def test_adopting_is_visible() -> None:
    live = applied(config_map(), app=None)
    change = only(plan([config_map()], [live], []))
    assert change.action is Action.ADOPT
    assert "no application owns it" in change.reason


@pytest.mark.parametrize("in_inventory", [False, True])
def test_an_object_of_another_application_is_held(in_inventory: bool) -> None:
    live = applied(config_map(), app=OTHER)
    made = plan([config_map()], [live], [item(config_map(), live)] if in_inventory else [])
    assert made.changes == ()
    (hold,) = made.holds
    assert (hold.kind, hold.approvable, hold.refs) == (HoldKind.OWNED, False, (REF,))
    assert "main/other" in hold.message


def test_an_object_that_another_application_is_about_to_make_is_held() -> None:
    made = plan([config_map()], [], [], replace(HERE, elsewhere={REF: OTHER}))
    assert [h.kind for h in made.holds] == [HoldKind.OWNED]


def test_a_copy_with_the_annotation_of_another_object_is_nobodys() -> None:
    live = applied(config_map(), app=None)
    live["metadata"]["annotations"] = {OWNER: "main/other|/ConfigMap:n/original"}
    assert only(plan([config_map()], [live], [])).action is Action.ADOPT


def test_handing_over_in_one_commit() -> None:
    """The one application lets go, the other one takes; whichever is first, nothing is deleted."""
    body = config_map()
    live = applied(body, app=OTHER)
    taken = only(plan([body], [live], [], replace(HERE, moved_from={REF: OTHER})))
    assert (taken.action, taken.reason) == (Action.UPDATE, "taken over from main/other")
    assert [f.path for f in taken.fields] == ["metadata.annotations[taut.dev/owner]"]
    giver = replace(HERE, app=OTHER, claimed_by={REF: APP})
    before = only(plan([], [live], [item(body, live)], giver))
    after = only(plan([], [applied(body)], [item(body, live)], replace(HERE, app=OTHER)))
    assert (before.action, before.reason) == (Action.UNCHANGED, "waits until main/shop takes it over"), (
        "kept until then"
    )
    assert after.action is Action.RELEASE


@pytest.mark.parametrize("deleting", [False, True])
def test_who_may_still_want_it(deleting: bool) -> None:
    """Nobody lets go of an object before somebody else has it, or is known to want it."""
    ours, theirs, here = applied(config_map()), applied(config_map(), app=OTHER), replace(HERE, deleting=deleting)

    def becomes(live: dict[str, Any], **more: Any) -> tuple[Action, str]:
        change = only(plan([], [live], [item(config_map(), live)], replace(here, **more)))
        return change.action, change.reason

    assert becomes(ours, claimed_by={REF: OTHER}) == (Action.UNCHANGED, "waits until main/other takes it over")
    assert becomes(theirs, claimed_by={REF: OTHER})[0] is Action.UNCHANGED, "its mark is not its inventory"
    assert becomes(ours, claimed_by={REF: APP})[0] is Action.RELEASE, "one cluster under two names"
    assert becomes(ours, left_to={REF: OTHER})[0] is Action.RELEASE
    unknown = becomes(theirs, unclear={REF: OTHER})
    assert unknown == (Action.UNCHANGED, "waits until it is known whether main/other wants it")
    assert becomes(theirs)[0] is Action.RELEASE, "it is known that it wants it, or it is another taut's"
    assert becomes(theirs, moved_from={REF: OTHER})[0] is Action.DELETE


@pytest.mark.parametrize(
    ("live", "remembered_as", "circumstances", "action"),
    [
        (applied(config_map()), {}, HERE, Action.DELETE),
        (None, {}, HERE, Action.RELEASE),
        (applied(config_map()), {}, replace(HERE, prune=False), Action.UNCHANGED),
        (applied(config_map(taut_dev="")), {}, HERE, Action.DELETE),
        (applied(config_map(**{"taut.dev_prune": "false"})), {}, HERE, Action.RELEASE),
        (applied(config_map(**{"helm.sh_resource-policy": "keep"})), {}, HERE, Action.RELEASE),
        (applied(config_map(**{"taut.dev_delete": "false"})), {}, HERE, Action.DELETE),
        (applied(config_map(**{"taut.dev_delete": "false"})), {}, replace(HERE, deleting=True), Action.RELEASE),
        (applied(config_map(**{"taut.dev_prune": "false"})), {}, replace(HERE, deleting=True), Action.DELETE),
        (applied(config_map()), {}, replace(HERE, deleting=True, orphan=True), Action.RELEASE),
        # Without pruning an application can still be deleted.
        (applied(config_map()), {}, replace(HERE, deleting=True, prune=False), Action.DELETE),
        # Somebody else made an object of the same name after taut's was deleted.
        (applied(config_map(), app=None), {"uid": "earlier"}, HERE, Action.RELEASE),
        # Somebody replaced it, taut's annotation still on it.
        (applied(config_map()), {"uid": "earlier"}, HERE, Action.DELETE),
        (applied(config_map(), app=OTHER), {}, HERE, Action.RELEASE),
    ],
)
def test_what_git_no_longer_has(
    live: dict[str, Any] | None, remembered_as: dict[str, Any], circumstances: Circumstances, action: Action
) -> None:
    change = only(plan([], [live] if live else [], [item(config_map(), live, **remembered_as)], circumstances))
    assert change.action is action
    assert change.phase is (Phase.DELETE if circumstances.deleting else Phase.SYNC)
    assert bool(change.live_hash) is (action is Action.DELETE)
    assert change.reason


@pytest.mark.parametrize(("created", "action"), [(True, Action.DELETE), (False, Action.RELEASE)])
def test_a_namespace_that_taut_did_not_create_stays(created: bool, action: Action) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    live = applied(body)
    assert only(plan([], [live], [item(body, live, created_by_taut=created)])).action is action


def test_what_is_of_unknown_scope_is_not_pruned() -> None:
    live = applied(config_map())
    unknown = replace(HERE, unsettled=frozenset({REF}))
    assert plan([], [live], [item(config_map(), live)], unknown).changes == ()
    goes = only(plan([], [live], [item(config_map(), live)], replace(unknown, deleting=True)))
    assert goes.action is Action.DELETE, "with the application everything goes"


def test_a_job_that_its_time_to_live_removed_is_no_drift() -> None:
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"}, "spec": {}}
    done = item(body, extra={COMPLETED: Manifest(body).hash})
    assert only(plan([body], [], [done])).action is Action.UNCHANGED
    assert only(plan([{**body, "spec": {"suspend": True}}], [], [done])).action is Action.CREATE
    assert only(plan([body], [], [item(body)])).action is Action.CREATE


@pytest.mark.parametrize(
    ("annotation", "exists", "action"),
    [
        ("taut.dev_apply:once", True, Action.UNCHANGED),
        ("taut.dev_apply:once", False, Action.CREATE),
        ("taut.dev_apply:never", True, Action.UNCHANGED),
        ("taut.dev_apply:never", False, Action.UNCHANGED),
    ],
)
def test_objects_that_are_left_alone(annotation: str, exists: bool, action: Action) -> None:
    name, _, value = annotation.partition(":")
    live = applied(config_map(data={"k": "by hand"}))
    assert only(plan([config_map(**{name: value})], [live] if exists else [], [])).action is action


def test_an_object_that_is_being_deleted_is_waited_for() -> None:
    body = config_map()
    live = applied(body, deletionTimestamp="2026-01-01T00:00:00Z")
    made = plan([body], [live], [item(body, live)])
    assert only(made).action is Action.UNCHANGED
    assert "being deleted" in made.warnings[0]


def test_an_object_that_vanished_between_survey_and_reading_is_created() -> None:
    live = applied(config_map())
    found = look([config_map(data={})], [live], [item(config_map(), live)])
    assert only(decide(found, {REF: None})).action is Action.CREATE


def webhook(replicas: int, owner: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "x.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "n"},
        "spec": {"every": "60s", "n": replicas},
    }


def test_a_doubt_is_confirmed_by_the_server() -> None:
    wish = webhook(1)
    live = applied({**wish, "spec": {"every": "1m0s", "n": 1}})
    fields = live["metadata"]["managedFields"][0]["fieldsV1"]
    fields["f:spec"] = {"f:every": {}, "f:n": {}}
    doubt = plan([wish], [live], [])
    assert [c.ref.name for c in uncertain(doubt)] == ["w"]
    assert only(doubt).action is Action.UPDATE
    same = plan([wish], [live], [], dry_runs={ref_of(wish): copy.deepcopy(live)})
    assert only(same).action is Action.UNCHANGED
    answer = copy.deepcopy(live)
    answer["spec"]["n"] = 2
    changed = only(plan([wish], [live], [], dry_runs={ref_of(wish): answer}))
    assert (changed.action, changed.certain, [f.path for f in changed.fields]) == (Action.UPDATE, True, ["spec.n"])


def test_taking_over_shows_what_goes_although_a_dry_run_cannot() -> None:
    wish = webhook(1)
    live = applied({**wish, "spec": {"every": "1m0s", "n": 1, "old": True}}, app=None)
    fields = {"f:spec": {"f:every": {}, "f:n": {}, "f:old": {}}}
    live["metadata"]["managedFields"] = [
        {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "x.dev/v1", "fieldsV1": fields}
    ]
    change = only(plan([wish], [live], [], dry_runs={ref_of(wish): copy.deepcopy(live)}))
    assert change.action is Action.ADOPT
    assert [(f.path, f.after_set) for f in change.fields] == [("spec.old", False)]


def test_values_that_somebody_changed_and_changed_back_are_taken_over_again() -> None:
    body = config_map()
    live = applied(body)
    fields = live["metadata"]["managedFields"][0]["fieldsV1"].pop("f:data")
    live["metadata"]["managedFields"].append({"manager": "hand", "operation": "Update", "fieldsV1": {"f:data": fields}})
    change = only(plan([body], [live], [item(body, live, owned_hash="before")]))
    assert (change.action, change.fields) == (Action.UPDATE, ())
    assert "takes the fields over" in change.reason


def test_immutable_fields_are_a_recreation() -> None:
    live = applied(config_map())
    wish = config_map(data={"k": "new"})
    change = only(plan([wish], [live], [item(config_map(), live)], immutable=[REF]))
    assert change.action is Action.RECREATE
    assert change.live_hash
    assert change.uid == "uid-a"


def test_ignored_fields_are_neither_compared_nor_sent() -> None:
    rules = (IgnoreRule(pointers=("/data/k",)),)
    live = applied(config_map(data={"k": "theirs", "o": "1"}))
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:data"] = {"f:o": {}}
    wish = config_map(data={"k": "ours", "o": "1"})
    assert only(plan([wish], [live], [], rules=rules)).action is Action.UNCHANGED
    wish = config_map(data={"k": "ours", "o": "2"})
    change = only(plan([wish], [live], [], rules=rules))
    assert [f.path for f in change.fields] == ["data.o"]
    assert change.desired is not None
    assert change.desired.body["data"] == {"o": "2"}


def hook(phase: str = "PreSync", **annotations: str) -> dict[str, Any]:
    named = {"taut.dev/hook": phase, **annotations}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "h", "namespace": "n", "annotations": named}}


def made_by(change: Change) -> dict[str, Any]:
    assert change.desired is not None
    return applied(change.desired.body)


def test_hooks_run_with_a_write_and_only_then() -> None:
    body = config_map()
    live = applied(body)
    assert actions(plan([body, hook()], [live], [item(body, live)])) == {"a": Action.UNCHANGED}
    made = plan([body, hook()], [], [])
    assert [(c.ref.name, c.phase, c.action, c.hook) for c in made.changes] == [
        ("h", Phase.PRE_SYNC, Action.CREATE, True),
        ("a", Phase.SYNC, Action.CREATE, False),
    ]
    assert actions(plan([body, hook()], [], [], replace(HERE, run_hooks=False))) == {"a": Action.CREATE}
    assert "h" not in actions(plan([body, hook()], [], [], replace(HERE, selected=frozenset({REF}))))


def test_a_hook_runs_once_for_each_content_and_revision() -> None:
    forced = replace(HERE, run_hooks=True)
    first = only(plan([hook()], [], [], forced))
    there = made_by(first)
    assert there["metadata"]["annotations"]["taut.dev/run-key"] == first.run_key
    assert only(plan([hook()], [there], [], forced)).action is Action.UNCHANGED
    assert only(plan([hook()], [], [], replace(forced, ran=frozenset({first.run_key})))).action is Action.UNCHANGED
    again = only(plan([hook()], [there], [], forced, revision="r2"))
    assert (again.action, again.hook, again.uid) == (Action.RECREATE, True, "uid-h")
    assert again.hash != first.hash
    # A new commit with the same content is the same change to approve.
    assert only(plan([hook()], [], [], forced, revision="r2")).hash == first.hash


def test_deletion_has_its_own_hooks() -> None:
    live = applied(config_map())
    inventory = [item(config_map(), live)]
    gone = plan([hook("PreDelete"), hook("PostSync")], [live], inventory, replace(HERE, deleting=True))
    assert [(c.ref.name, c.phase) for c in gone.changes] == [("h", Phase.PRE_DELETE), ("a", Phase.DELETE)]
    assert not any(c.hook for c in plan([config_map(), hook("PreDelete")], [], []).changes)


def test_a_hook_of_another_application_is_held() -> None:
    there = applied(hook(), app=OTHER)
    made = plan([hook()], [there], [], replace(HERE, run_hooks=True))
    assert (made.changes, [h.kind for h in made.holds]) == ((), [HoldKind.OWNED])


def test_selecting_some_objects() -> None:
    b = config_map("b")
    live = applied(config_map("c"))
    inventory = [item(config_map("c"), live)]
    made = plan([config_map(), b], [live], inventory, replace(HERE, selected=frozenset({ref_of(b)})))
    assert actions(made) == {"b": Action.CREATE}


def test_the_order_is_that_of_a_sync() -> None:
    late = config_map("late", **{"taut.dev_wave": "2"})
    live = applied(config_map("old"))
    made = plan([late, config_map()], [live], [item(config_map("old"), live)])
    assert list(actions(made)) == ["a", "late", "old"]


contents = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.sampled_from("xy"), st.text(max_size=2)), max_size=4
)


@settings(deadline=None)
@given(contents, contents, st.randoms(use_true_random=False))
def test_the_hash_is_of_what_is_reviewed(
    now: Mapping[str, dict[str, str]], wish: Mapping[str, dict[str, str]], random: Any
) -> None:
    """Not the order in which things are given, nor resource versions, uids, line numbers or revisions."""
    live = [applied(config_map(n, d)) for n, d in now.items()]
    inventory = [item(config_map(n, d), applied(config_map(n, d))) for n, d in now.items()]
    desired = [config_map(n, d) for n, d in wish.items()]
    first = plan(desired, live, inventory)
    for body in live:
        body["metadata"] |= {"resourceVersion": "99", "generation": 7}
    for changed in (desired, live, inventory):
        random.shuffle(changed)
    second = plan(desired, live, inventory, replace(HERE, revision="another"))
    assert first.hash == second.hash
    assert {c.ref.name for c in first.writes} == {n for n in {*now, *wish} if now.get(n) != wish.get(n)}


@settings(deadline=None)
@given(contents)
def test_after_an_apply_there_is_nothing_to_do(wish: Mapping[str, dict[str, str]]) -> None:
    desired = [config_map(n, d) for n, d in wish.items()]
    created = plan(desired, [], [])
    live = [made_by(c) for c in created.changes]
    inventory = [item(d, applied(d)) for d in desired]
    assert plan(desired, live, inventory).writes == ()
    # Nor when the store was lost: the objects say whose they are.
    assert plan(desired, live, []).writes == ()


def test_the_hash_covers_what_is_overwritten_and_what_is_destroyed() -> None:
    def update(live_value: str) -> str:
        live = applied(config_map(data={"k": live_value}))
        return plan([config_map(data={"k": "new"})], [live], [item(config_map(), live)]).hash

    def delete(live_value: str, **noise: Any) -> str:
        live = applied(config_map(data={"k": live_value}), **noise)
        return plan([], [live], [item(config_map(), live)]).hash

    assert update("1") != update("2")
    assert delete("1") != delete("2")
    assert delete("1") == delete("1", resourceVersion="5")


def test_owners() -> None:
    text = owner_text(APP, REF)
    assert owner_app(text) == APP
    assert checked_owner({OWNER: text}, REF) == text
    assert checked_owner({OWNER: text}, REF._replace(name="copy")) == ""
    assert checked_owner({OWNER: 5}, REF) == checked_owner({}, REF) == ""
    assert owner_app("") is None


def test_what_a_render_says_of_itself() -> None:
    manifests = [
        Manifest(config_map(**{"taut.dev_wave": "x"}), Origin("repo", "a.yaml", 3)),
        Manifest({**config_map("t"), "metadata": {"name": "t", "annotations": {"helm.sh/hook": "test"}}}),
    ]
    found = interpret(manifests, app=APP, cluster="local", revision="r")
    assert [w.ref.name for w in found.objects] == ["a"]
    assert [m.name for m in found.dropped] == ["t"]
    assert len(found.warnings) == 1
    there: dict[ObjectRef, LiveObject] = {}
    made = decide(survey(found.objects, found.hooks, [], there.get, HERE), {})
    assert only(made).origin == "a.yaml:3"
