"""managedFields: reading, hashing, blaming, taking over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.planning.fields import (
    MISSING,
    FieldSet,
    absorb,
    fields_of_managers,
    get,
    human,
    lost_fields,
    owned_fields,
    owned_hash,
    owners_of,
)

IMAGE = ("f:spec", "f:containers", 'k:{"name":"web"}', "f:image")


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: Any) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        "time": "2026-01-01T00:00:00Z",
        **more,
    }


CONTAINERS = {
    "f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:name": {}, "f:image": {}}}, "f:replicas": {}},
    "f:metadata": {"f:finalizers": {'v:"x"': {}}},
}


def test_a_set_holds_members_only() -> None:
    fields = FieldSet.parse(CONTAINERS)
    assert fields.paths == {
        ("f:spec", "f:containers", 'k:{"name":"web"}'),
        ("f:spec", "f:containers", 'k:{"name":"web"}', "f:name"),
        IMAGE,
        ("f:spec", "f:replicas"),
        ("f:metadata", "f:finalizers", 'v:"x"'),
    }
    assert ("f:spec", "f:containers", 'k:{"name":"web"}') not in fields.leaves
    assert fields.to_json() == CONTAINERS


def test_what_lies_in_an_atomic_value_is_owned_with_it() -> None:
    fields = FieldSet.parse({"f:spec": {"f:args": {}, "f:selector": {".": {}, "f:app": {}}}})
    assert fields.owns(("f:spec", "f:args", "i:0"))
    assert not fields.owns(("f:spec", "f:selector", "f:tier"))
    assert not fields.owns(("f:spec",))
    assert fields.touches(("f:spec",))


names = st.sampled_from(["f:a", "f:b", "f:c.d/e", 'k:{"name":"x"}', 'v:"y"', "i:0"])
paths = st.lists(names, min_size=1, max_size=4).map(tuple)


@settings(deadline=None)
@given(st.frozensets(paths, max_size=12))
def test_writing_and_reading_a_set_gives_it_back(members: frozenset[tuple[str, ...]]) -> None:
    assert FieldSet.parse(FieldSet(members).to_json()).paths == members


@settings(deadline=None)
@given(st.frozensets(paths, max_size=8), st.frozensets(paths, max_size=8))
def test_set_algebra(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> None:
    one, two = FieldSet(a), FieldSet(b)
    assert ((one - two) | (one & two)).paths == a
    assert all(p in (one | two) for p in a | b)


def test_the_hash_is_of_our_apply_entry_alone() -> None:
    ours = entry("taut", {"f:a": {}, "f:b": {}}, "Apply")
    turned = entry("taut", {"f:b": {}, "f:a": {}}, "Apply", apiVersion="apps/v2", time="2027-01-01T00:00:00Z")
    assert owned_hash([ours]) == owned_hash([entry("kubectl", {"f:c": {}}), turned]) != ""
    assert (
        owned_hash([entry("taut", {"f:a": {}}, "Update"), entry("taut", {"f:a": {}}, "Apply", subresource="status")])
        == ""
    )
    assert owned_hash([entry("taut", {"f:a": {}}, "Apply")]) != owned_hash([ours])


def test_blame_names_the_latest_owner_first() -> None:
    entries = [
        entry("old", CONTAINERS),
        entry("hand", {"f:spec": {"f:replicas": {}}}, time="2026-02-02T00:00:00Z", subresource="scale"),
    ]
    assert [(o.manager, o.subresource) for o in owners_of(entries, ("f:spec", "f:replicas"))] == [
        ("hand", "scale"),
        ("old", ""),
    ]
    assert [o.manager for o in owners_of(entries, ("f:spec", "f:containers"))] == ["old"]
    assert owners_of(entries, ("f:data",)) == []
    assert ("f:spec", "f:replicas") in fields_of_managers(entries, ["hand"])


@pytest.mark.parametrize(
    ("manager", "operation", "more", "taken"),
    [
        ("kubectl-client-side-apply", "Update", {}, True),
        ("kubectl", "Apply", {}, True),
        ("kubectl-create", "Update", {}, True),
        ("kubectl-edit", "Update", {}, True),
        ("before-first-apply", "Update", {}, True),
        ("helm", "Update", {}, True),
        ("argocd-controller", "Update", {}, True),
        ("argocd-application-controller", "Apply", {}, True),
        ("kustomize-controller", "Apply", {}, True),
        ("helm-controller", "Update", {}, True),
        ("kubectl-rollout", "Update", {}, False),
        ("kubectl", "Update", {"subresource": "scale"}, False),
        ("helm", "Update", {"subresource": "status"}, False),
        ("kube-controller-manager", "Update", {}, False),
        ("cert-manager-cainjector", "Update", {}, False),
    ],
)
def test_who_is_absorbed(manager: str, operation: str, more: dict[str, Any], taken: bool) -> None:
    other = entry(manager, {"f:data": {"f:a": {}}}, operation, **more)
    result = absorb([other, entry("taut", {"f:data": {"f:b": {}}}, "Apply")], "apps/v1")
    assert (result is not None) is taken
    if result is not None:
        assert len(result) == 1
        assert owned_fields(result).paths == {("f:data", "f:a"), ("f:data", "f:b")}


def test_absorbing_keeps_controllers_and_makes_an_entry_where_there_is_none() -> None:
    controller = entry("kube-controller-manager", {"f:status": {}}, subresource="status")
    old = entry("kubectl-client-side-apply", {"f:data": {"f:a": {}}}, apiVersion="apps/v1beta1")
    result = absorb([old, controller], "apps/v1")
    assert result is not None
    assert result[1:] == [controller]
    assert (result[0]["manager"], result[0]["operation"]) == ("taut", "Apply")
    # The fields are those of the version they were written in; the server converts with the next apply.
    assert result[0]["apiVersion"] == "apps/v1beta1"
    assert absorb([controller], "apps/v1") is None


def test_who_lost_what() -> None:
    before = [entry("hand", {"f:spec": {"f:replicas": {}, "f:paused": {}}}), entry("taut", {"f:data": {}}, "Apply")]
    after = [
        entry("hand", {"f:spec": {"f:paused": {}}}),
        entry("taut", {"f:spec": {"f:replicas": {}}}, "Apply"),
    ]
    assert [(path, owner.manager) for path, owner in lost_fields(before, after)] == [("spec.replicas", "hand")]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:spec", "f:template", "f:spec", *IMAGE[1:]), "spec.template.spec.containers[name=web].image"),
        (("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}'), "spec.ports[port=80,protocol=TCP]"),
        (("f:metadata", "f:labels", "f:app.kubernetes.io/name"), "metadata.labels[app.kubernetes.io/name]"),
        (("f:metadata", "f:finalizers", 'v:"a/b"'), "metadata.finalizers[a/b]"),
        (("f:args", "i:2"), "args[2]"),
        ((), ""),
    ],
)
def test_paths_for_people(path: tuple[str, ...], text: str) -> None:
    assert human(path) == text


def test_get_follows_every_kind_of_element() -> None:
    body = {
        "spec": {"containers": [{"name": "side"}, {"name": "web", "image": "a"}], "ports": [{"port": 80}], "n": None},
        "list": ["x", 1, True],
    }
    assert get(body, IMAGE) == "a"
    assert get(body, ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}')) == {"port": 80}
    assert get(body, ("f:list", "i:1")) == 1
    assert get(body, ("f:list", 'v:"x"')) == "x"
    assert get(body, ("f:spec", "f:n")) is None
    for path in [("f:no",), ("f:list", "i:9"), ("f:list", 'v:"z"'), ("f:spec", "i:0"), ("f:list", "f:a", "f:b")]:
        assert get(body, path) is MISSING
