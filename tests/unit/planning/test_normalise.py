"""Identity: scopes, namespaces, duplicates, and what is no object at all."""

from __future__ import annotations

from typing import Any

import pytest

from taut.model.errors import BadInput
from taut.model.live import KindInfo
from taut.model.manifests import Manifest, Origin
from taut.model.plan import HoldKind
from taut.model.refs import KindRef, ObjectRef
from taut.planning.normalise import Normalised, normalise

KNOWN = {
    KindRef("", "ConfigMap"): True,
    KindRef("", "Namespace"): False,
    KindRef("batch", "Job"): True,
    KindRef("rbac.authorization.k8s.io", "Role"): True,
    KindRef("apiextensions.k8s.io", "CustomResourceDefinition"): False,
}


def kinds(kind: KindRef) -> KindInfo | None:
    return KindInfo(kind, kind.kind.lower() + "s", KNOWN[kind], ("v1",)) if kind in KNOWN else None


def run(*bodies: Any, namespace: str = "shop") -> Normalised:
    manifests = [Manifest(b, Origin("repo", "a.yaml", n + 1)) for n, b in enumerate(bodies)]
    return normalise(manifests, cluster="local", namespace=namespace, kinds=kinds)


def obj(kind: str = "ConfigMap", api_version: str = "v1", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", **metadata}}


def crd(scope: str) -> dict[str, Any]:
    spec = {"group": "x.dev", "names": {"kind": "Widget"}, "scope": scope}
    return {**obj("CustomResourceDefinition", "apiextensions.k8s.io/v1", name="widgets.x.dev"), "spec": spec}


@pytest.mark.parametrize(
    ("body", "namespace", "warned"),
    [
        (obj(), "shop", False),
        (obj(namespace="own"), "own", False),
        (obj(namespace=""), "shop", False),
        (obj(namespace=None), "shop", False),
        (obj("Namespace"), "", False),
        (obj("Namespace", namespace="shop"), "", True),
    ],
)
def test_namespaces(body: dict[str, Any], namespace: str, warned: bool) -> None:
    result = run(body)
    (manifest,) = result.manifests
    assert (manifest.namespace, bool(result.warnings)) == (namespace, warned)
    assert ("namespace" in manifest.metadata) is bool(namespace)
    assert manifest.origin.line == 1


@pytest.mark.parametrize(("scope", "namespace"), [("Namespaced", "shop"), ("Cluster", "")])
def test_the_scope_of_a_kind_that_comes_along(scope: str, namespace: str) -> None:
    widget, _ = run(obj("Widget", "x.dev/v1"), crd(scope)).manifests
    assert widget.namespace == namespace


def test_an_unknown_kind_is_held_and_not_taken_for_removed() -> None:
    result = run(obj(), obj("Widget", "x.dev/v1"), obj("Widget", "x.dev/v1", name="b", namespace="own"))
    assert [m.kind for m in result.manifests] == ["ConfigMap"]
    (hold,) = result.holds
    assert hold.kind is HoldKind.SCOPE
    assert not hold.approvable
    assert "Widget.x.dev" in hold.message
    assert len(hold.refs) == 2
    ref = ObjectRef("local", "x.dev", "Widget", "", "a")
    assert {ref, ref._replace(namespace="shop"), ref._replace(name="b", namespace="own")} <= result.unsettled


def test_lists_are_flattened() -> None:
    roles = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleList", "items": [{"metadata": {"name": "r"}}]}
    nested = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [obj(), {"apiVersion": "v1", "kind": "List", "items": [obj("Namespace")]}],
    }
    assert [(m.kind, m.name) for m in run(nested, roles).manifests] == [
        ("ConfigMap", "a"),
        ("Namespace", "a"),
        ("Role", "r"),
    ]


def test_duplicates_name_both_places() -> None:
    with pytest.raises(BadInput, match=r"a\.yaml:2.*declared twice.*a\.yaml:1"):
        run(obj(), obj(namespace="shop"))
    # Another version of the same kind is the same object, another namespace is not.
    with pytest.raises(BadInput, match="declared twice"):
        run(obj("Job", "batch/v1"), obj("Job", "batch/v1beta1"))
    assert len(run(obj(), obj(namespace="other")).manifests) == 2


def generated(**annotations: str) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "x-", "annotations": annotations}}


def test_generated_names_are_for_hooks() -> None:
    hook = generated(**{"taut.dev/hook": "PreSync"})
    assert len(run(hook, hook).manifests) == 2
    with pytest.raises(BadInput, match="only a generateName"):
        run(generated())


deep: dict[str, Any] = obj()
for _ in range(7):
    deep = {"apiVersion": "v1", "kind": "List", "items": [deep]}


def nested(levels: int) -> dict[str, Any]:
    value: Any = "x"
    for n in range(levels):
        value = {"a": value} if n % 2 else [value]
    return {**obj(), "data": value}


def test_a_deep_object_is_no_problem() -> None:
    assert len(run(nested(190)).manifests) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (nested(5000), "levels deep"),
        ({}, "apiVersion is missing"),
        ({"apiVersion": "v1"}, "kind is missing"),
        ({"apiVersion": 1, "kind": "A"}, "apiVersion is missing"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "has no metadata"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "has no metadata"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, "has no name"),
        (obj(name=5), "metadata.name is no text"),
        (obj(namespace=5), "metadata.namespace is no text"),
        (obj(labels=["a"]), "metadata.labels is no map"),
        (obj(annotations={"a": 1}), "metadata.annotations 'a' is no text"),
        ({"apiVersion": "v1", "kind": "List", "items": ["x"]}, "is no object"),
        (deep, "nested"),
    ],
)
def test_what_is_no_object(body: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as error:
        run(body)
    assert "a.yaml:1" in str(error.value)


def test_a_namespace_is_needed() -> None:
    with pytest.raises(BadInput, match="has no namespace"):
        run(obj(), namespace="")
    assert run(obj("Namespace"), namespace="").manifests
