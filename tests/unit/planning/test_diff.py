"""The diff engine: what differs, what does not, and how sure that is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.model.application import IgnoreRule
from taut.model.manifests import Manifest, Origin
from taut.planning.diff import Comparison, compare, confirm, exact_changes, unowned
from taut.planning.ignore import resolve
from taut.planning.prepare import wanted_hash
from taut.planning.redact import DIFFERS, HIDDEN, Redactor, redacted

REDACT = Redactor(b"key")


def config_map(data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **more}, "data": data}


def deployment(spec: dict[str, Any], **pod: Any) -> dict[str, Any]:
    template = {"template": {"spec": pod}} if pod else {}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {**spec, **template}}


def entry(fields: dict[str, Any], manager: str = "taut", operation: str = "Apply") -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields}


def found(result: Comparison) -> dict[str, tuple[Any, Any]]:
    return {c.path: (c.before if c.before_set else "-", c.after if c.after_set else "-") for c in result.changes}


CONTAINER = {"name": "x", "image": "a"}


@pytest.mark.parametrize(
    ("desired", "live", "changes", "certain"),
    [
        # Values
        (config_map({"a": "1"}), config_map({"a": "2"}), {"data.a": ("2", "1")}, True),
        (config_map({"a": "1", "b": "2"}), config_map({"a": "1"}), {"data.b": ("-", "2")}, True),
        (config_map({"a": "1000m"}), config_map({"a": "1"}), {"data.a": ("1", "1000m")}, True),
        (config_map({"a": "1"}), config_map({"a": "1", "more": "x"}), {}, True),
        (config_map({}, labels={}), config_map({}), {}, True),
        # The server's defaults
        (deployment({"replicas": 1}), deployment({"replicas": 1, "strategy": {"type": "RollingUpdate"}}), {}, True),
        (
            deployment({}, containers=[CONTAINER]),
            deployment({}, containers=[{**CONTAINER, "imagePullPolicy": "Always"}]),
            {},
            True,
        ),
        (deployment({}, volumes=[]), deployment({}, dnsPolicy="ClusterFirst"), {}, True),
        (deployment({"paused": None}), deployment({}), {}, True),
        (deployment({"paused": None}), deployment({"paused": True}), {"spec.paused": (True, "-")}, False),
        (deployment({"paused": False}), deployment({}), {"spec.paused": ("-", False)}, False),
        # Lists by key
        (
            deployment({}, containers=[CONTAINER]),
            deployment({}, containers=[{"name": "injected"}, {"name": "x", "image": "b"}]),
            {"spec.template.spec.containers[name=x].image": ("b", "a")},
            True,
        ),
        (
            deployment({}, containers=[{"name": "x", "ports": [{"containerPort": 80}]}]),
            deployment({}, containers=[{"name": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]),
            {},
            True,
        ),
        (
            deployment({}, containers=[{"name": "x", "env": [{"name": "A"}, {"name": "B"}]}]),
            deployment({}, containers=[{"name": "x", "env": [{"name": "B"}, {"name": "A"}]}]),
            {"spec.template.spec.containers[name=x].env[(order)]": (["name=B", "name=A"], ["name=A", "name=B"])},
            False,
        ),
        # Lists that are one value
        (
            deployment({}, tolerations=[{"key": "a"}]),
            deployment({}, tolerations=[{"key": "a"}, {"key": "b"}]),
            {"spec.template.spec.tolerations": ([{"key": "a"}, {"key": "b"}], [{"key": "a"}])},
            True,
        ),
        (
            deployment({}, tolerations=[{"key": "a"}]),
            deployment({}, tolerations=[{"key": "a", "effect": "x"}]),
            {"spec.template.spec.tolerations[0].effect": ("x", "-")},
            False,
        ),
        # Maps that are one value
        (
            deployment({"selector": {"matchLabels": {"a": "b"}}}),
            deployment({"selector": {"matchLabels": {"a": "b", "c": "d"}}}),
            {"spec.selector.matchLabels.c": ("d", "-")},
            False,
        ),
        # Quantities
        (
            deployment({}, containers=[{"name": "x", "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}]),
            deployment({}, containers=[{"name": "x", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]),
            {},
            True,
        ),
    ],
)
def test_comparing(desired: dict[str, Any], live: dict[str, Any], changes: dict[str, Any], certain: bool) -> None:
    result = compare(desired, live, redact=REDACT)
    assert (found(result), result.certain) == (changes, certain)


def test_custom_resources_are_never_guessed() -> None:
    desired = {"apiVersion": "x.dev/v1", "kind": "W", "spec": {"every": "60s", "rows": [{"a": 1}], "cpu": "1000m"}}
    live = {"apiVersion": "x.dev/v1", "kind": "W", "spec": {"every": "1m0s", "rows": [{"a": 1, "b": 2}], "cpu": "1"}}
    result = compare(desired, live, redact=REDACT)
    assert set(found(result)) == {"spec.every", "spec.rows[0].b", "spec.cpu"}
    assert not result.certain


OWN = {"f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}


@pytest.mark.parametrize(
    ("entries", "changes"),
    [
        ([entry(OWN)], {"data.b": ("2", "-"), "metadata.labels.l": ("x", "-")}),
        # Another owner keeps the value alive.
        ([entry(OWN), entry({"f:data": {"f:b": {}}}, "hand", "Update")], {"metadata.labels.l": ("x", "-")}),
        # Nobody's and other managers' fields are none of taut's business …
        ([entry({"f:data": {"f:a": {}}})], {}),
        ([entry(OWN, "hand", "Update")], {}),
        # … except those of its predecessors, before its own first apply.
        ([entry(OWN, "kubectl-client-side-apply", "Update")], {"data.b": ("2", "-"), "metadata.labels.l": ("x", "-")}),
        ([entry(OWN, "helm", "Update"), entry({"f:data": {"f:a": {}}})], {}),
    ],
)
def test_a_field_that_git_no_longer_sets(entries: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    live = config_map({"a": "1", "b": "2"}, labels={"l": "x"}, managedFields=entries)
    result = compare(config_map({"a": "1"}), live, redact=REDACT)
    assert (found(result), result.certain) == (changes, True)


def test_a_removed_field_with_a_default_is_for_the_server_to_say() -> None:
    live = deployment({"replicas": 3})
    live["metadata"]["managedFields"] = [entry({"f:spec": {"f:replicas": {}}})]
    result = compare(deployment({}), live, redact=REDACT)
    assert (found(result), result.certain) == ({"spec.replicas": (3, "-")}, False)


def test_a_removed_list_element_goes_whole() -> None:
    side = {"name": "side", "image": "b"}
    live = deployment({}, containers=[CONTAINER, side])
    fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}
    fields["f:spec"]["f:template"]["f:spec"]["f:containers"] = {
        f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:image": {}} for name in ("x", "side")
    }
    live["metadata"]["managedFields"] = [entry(fields)]
    result = compare(deployment({}, containers=[CONTAINER]), live, redact=REDACT)
    assert found(result) == {"spec.template.spec.containers[name=side]": (side, "-")}
    assert result.certain


def test_what_taut_owns_was_changed_by_the_server_alone() -> None:
    """A webhook rewrote the image: with the same wish as at the last apply that is no difference, else it is a doubt."""
    live = deployment({"minReadySeconds": 7})
    live["metadata"]["managedFields"] = [entry({"f:spec": {"f:minReadySeconds": {}}})]
    desired = deployment({"minReadySeconds": 3})
    assert compare(desired, live, redact=REDACT, unchanged_since_apply=True) == Comparison()
    assert not compare(desired, live, redact=REDACT).certain
    assert confirm(live, copy.deepcopy(live), redact=REDACT) == ()


def test_ignored_fields_make_no_difference() -> None:
    live = deployment({"replicas": 5, "paused": True})
    live["metadata"]["managedFields"] = [entry({"f:spec": {"f:replicas": {}, "f:paused": {}}})]
    rules = [IgnoreRule(pointers=("/spec/replicas", "/spec/paused"))]
    desired = deployment({"replicas": 2})
    assert compare(desired, live, redact=REDACT, ignore=resolve(rules, desired, live)) == Comparison()


def test_the_manager_that_loses_is_named() -> None:
    live = config_map({"a": "2"}, managedFields=[entry({"f:data": {"f:a": {}}}, "hand", "Update")])
    (change,) = compare(config_map({"a": "1"}), live, redact=REDACT).changes
    assert change.owner == "hand"


def secret(data: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data}


def test_secret_values_are_told_apart_and_not_shown() -> None:
    live = secret({"a": "b2xkLXZhbHVl", "same": "c2FtZQ=="})
    wish = {**secret({}), "stringData": {"a": "new-value", "same": "same", "more": "another"}}
    result = compare(wish, live, redact=REDACT)
    by_path = {c.path: c for c in result.changes}
    assert set(by_path) == {"data.a", "data.more"}
    assert (by_path["data.a"].before, by_path["data.a"].after) == (HIDDEN, DIFFERS)
    assert by_path["data.a"].digest_before != by_path["data.a"].digest_after != ""
    assert by_path["data.more"].digest_before == ""
    text = repr(result)
    for value in ("new-value", "bmV3", "b2xk", "old-value", "another"):
        assert value not in text
    other = compare(wish, live, redact=Redactor(b"another key"))
    assert other.changes[0].digest_after != result.changes[0].digest_after


def test_whole_secret_data_and_marked_values_are_hidden_too() -> None:
    change = compare(secret({"a": "eA=="}), {**secret({}), "data": None}, redact=REDACT).changes[0]
    assert change.after == DIFFERS or change.after == HIDDEN
    maps = [Manifest(config_map({"a": "x"}), Origin(secret=(("data", "a"),)))]
    marked = Redactor(b"key").marking(maps)
    assert Redactor(b"key").marking([Manifest(config_map({}))]) == Redactor(b"key")
    assert wanted_hash(maps[0], redact=marked) != wanted_hash(maps[0])
    shown = compare(config_map({"a": "x", "b": "y"}), config_map({"a": "1", "b": "2"}), redact=marked).changes
    assert [(c.path, c.secret) for c in shown] == [("data.a", True), ("data.b", False)]
    assert redacted(secret({"a": "eA=="}), REDACT)["data"] == {"a": HIDDEN}
    assert redacted(config_map({"a": "x", "b": "y"}), marked)["data"] == {"a": HIDDEN, "b": "y"}


def test_confirming_sees_both_directions_and_no_noise() -> None:
    live = deployment({"replicas": 3, "old": 1}, containers=[CONTAINER, {"name": "gone"}])
    live["metadata"] |= {"resourceVersion": "1", "generation": 1, "uid": "u", "managedFields": [entry({})]}
    live["status"] = {"x": 1}
    answer = deployment({"replicas": 1}, containers=[{**CONTAINER, "image": "b"}])
    answer["metadata"] |= {"resourceVersion": "1", "generation": 2, "uid": "u"}
    changes = {c.path: (c.before, c.after) for c in confirm(live, answer, redact=REDACT)}
    assert changes == {
        "spec.replicas": (3, 1),
        "spec.old": (1, None),
        "spec.template.spec.containers[name=x].image": ("a", "b"),
        "spec.template.spec.containers[name=gone]": ({"name": "gone"}, None),
    }


def test_what_a_controller_wrote_between_two_reads_is_not_ours() -> None:
    ours = [entry({"f:data": {"f:a": {}}})]
    live = config_map({"a": "1", "b": "1"}, resourceVersion="1", managedFields=ours)
    answer = config_map({"a": "2", "b": "2"}, resourceVersion="2", managedFields=ours)
    assert [c.path for c in confirm(live, answer, redact=REDACT)] == ["data.a"]


def test_a_rendered_diff() -> None:
    changes = exact_changes(config_map({"a": "1", "b": "2"}), config_map({"a": "1", "c": "3"}), redact=REDACT)
    assert [(c.path, c.before_set, c.after_set) for c in changes] == [("data.b", True, False), ("data.c", False, True)]


def test_values_that_somebody_else_wrote_last() -> None:
    desired = config_map({"a": "1", "b": "2", "empty": None})
    paths = unowned(desired, [entry({"f:data": {"f:a": {}}})])
    assert paths == (("f:data", "f:b"),)


scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "a", "1", "1Gi", "60s"]))
names = st.sampled_from(["a", "b", "containers", "env", "name", "ports", "limits", "labels", "x/y.z"])
values = st.recursive(
    scalars, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(names, v, max_size=4)), max_leaves=12
)
kinds = st.sampled_from([("v1", "Pod"), ("apps/v1", "Deployment"), ("x.dev/v1", "Widget"), ("v1", "ConfigMap")])


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    api_version, kind = draw(kinds)
    spec = draw(st.dictionaries(names, values, max_size=4))
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "n"}, "spec": spec}


@settings(deadline=None)
@given(objects())
def test_an_object_does_not_differ_from_itself(body: dict[str, Any]) -> None:
    result = compare(body, copy.deepcopy(body), redact=REDACT)
    assert result == Comparison()
    assert confirm(body, copy.deepcopy(body), redact=REDACT) == ()


@settings(deadline=None)
@given(objects(), objects())
def test_confirming_finds_a_difference_where_there_is_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    other = {**other, "apiVersion": one["apiVersion"], "kind": one["kind"]}
    assert bool(confirm(one, other, redact=REDACT)) is not _equal(one, other)


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Equality as JSON has it, with lists by key in any order: told by the canonical form of each side."""
    return exact_changes(one, other, redact=REDACT) == exact_changes(other, one, redact=REDACT) == ()


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=3)),
    st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=3)),
)
def test_applying_what_is_wanted_leaves_no_difference(was: dict[str, str], wish: dict[str, str]) -> None:
    """Server-side apply of a map: what taut set and no longer sets goes, what is set is set."""
    fields = {"f:data": {".": {}, **{f"f:{k}": {} for k in was}}}
    live = config_map({**was, "other": "x"}, managedFields=[entry(fields)])
    changes = compare(config_map(wish), live, redact=REDACT).changes
    data = {k: v for k, v in live["data"].items() if k not in was or k in wish} | wish
    assert {c.path.removeprefix("data.") for c in changes} == {k for k in {*was, *wish} if was.get(k) != wish.get(k)}
    after = config_map(data, managedFields=[entry({"f:data": {".": {}, **{f"f:{k}": {} for k in wish}}})])
    assert compare(config_map(wish), after, redact=REDACT) == Comparison()
