"""Fields and types by schema: of the kept Kubernetes version, of OpenAPI documents of both kinds, and of custom kinds."""

from __future__ import annotations

from typing import Any

import pytest

from taut.policy.builtin import Schemas, check, keep, read_openapi
from taut.policy.builtin.schemas import kept

V3 = {
    "components": {
        "schemas": {
            "io.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "io.Time": {"type": "string", "format": "date-time"},
            "io.ObjectMeta": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
            "io.Shop": {
                "type": "object",
                "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Shop"}],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"allOf": [{"$ref": "#/components/schemas/io.ObjectMeta"}], "default": {}},
                    "opened": {"allOf": [{"$ref": "#/components/schemas/io.Time"}]},
                    "size": {"$ref": "#/components/schemas/io.Quantity"},
                    "port": {"x-kubernetes-int-or-string": True},
                    "shelves": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"count": {"type": "integer"}}},
                    },
                    "open": {"type": "boolean"},
                    "price": {"type": "number"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "raw": {"type": "object"},
                },
            },
        }
    }
}


def shop(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Shop", "metadata": {"name": "x"}, **fields}


@pytest.mark.parametrize(
    ("fields", "misfits"),
    [
        ({}, []),
        ({"open": True, "price": 1, "size": 5, "port": "http", "opened": "2026-01-01T00:00:00Z"}, []),
        ({"free": {"anything": [1]}, "raw": {"goes": 1}, "shelves": [{"count": 1}, {}], "open": None}, []),
        ({"pirce": 1}, [("pirce", False, "pirce", "price")]),
        ({"whatever": 1}, [("whatever", False, "whatever", "")]),
        ({"shelves": [{"count": 1}, {"cuont": 2}]}, [("shelves[1].cuont", False, "cuont", "count")]),
        ({"shelves": [{"count": "1"}]}, [("shelves[0].count", True, "string", "integer")]),
        ({"shelves": {"count": 1}}, [("shelves", True, "map", "list")]),
        ({"open": "true", "price": True}, [("open", True, "string", "boolean"), ("price", True, "boolean", "number")]),
        (
            {"metadata": {"name": "x", "labels": {"a": 1}, "label": {}}},
            [("metadata.labels.a", True, "integer", "string"), ("metadata.label", False, "label", "labels")],
        ),
        ({"opened": 5}, [("opened", True, "integer", "string")]),
    ],
)
def test_misfits(fields: dict[str, Any], misfits: list[tuple[str, bool, str, str]]) -> None:
    found = read_openapi([V3]).misfits(shop(**fields))
    assert [(m.path, m.known, m.found, m.wanted) for m in found] == misfits


def test_openapi_of_version_2_tells_all_that_is_served() -> None:
    definitions = V3["components"]["schemas"]
    schemas = read_openapi([{"definitions": definitions}])
    assert schemas.whole
    assert not read_openapi([V3]).whole
    assert [m.path for m in schemas.misfits(shop(opne=1))] == ["opne"]
    gone = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
    (found,) = check([gone], schemas=schemas)
    assert (found[1].policy, found[1].message) == ("removed-api", "the target does not serve batch/v1 of Job")


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"components": 1},
        {"components": {"schemas": []}},
        {"definitions": {"a": 1, "b": {"$ref": "#/definitions/b"}, "c": {"$ref": "#/definitions/d"}, "d": {"$ref": "#/definitions/c"}}},
        {"definitions": {"a": {"allOf": [{"allOf": 3}], "x-kubernetes-group-version-kind": [3]}}},
    ],
)  # fmt: skip
def test_documents_of_the_wrong_shape_do_no_harm(document: dict[str, Any]) -> None:
    assert list(read_openapi([document]).misfits(shop())) == []


def _definition(schema: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "toys.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Toy", "plural": "toys"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            **spec,
        },
    }


def _toy(**fields: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Toy", "metadata": {"name": "x"}, **fields}


def test_custom_kinds_are_known_by_their_definitions() -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"colour": {"type": "string"}}}},
    }
    objects = [_definition(schema), _toy(spec={"color": "red"}), _toy(metadata={"name": "y", "lables": {}})]
    found = [(number, v.policy, v.path, v.wanted) for number, v in check(objects)]
    assert found == [
        (1, "unknown-field", "spec.color", "colour"),
        (2, "unknown-field", "metadata.lables", "labels"),
    ]
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert list(check([_definition(free), objects[1]])) == []
    assert list(check([objects[1]])) == [], "nobody knows the kind"


def test_kubernetes_is_known() -> None:
    pod = {"containers": [{"name": "a", "image": "a", "ports": [{"containerPort": "80"}], "evn": []}]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"replicas": "3"}},
        "spec": {"replica": 3, "selector": {}, "template": {"spec": pod}},
    }
    assert [(m.path, m.wanted) for m in kept().misfits(body)] == [
        ("spec.replica", "replicas"),
        ("spec.template.spec.containers[0].ports[0].containerPort", "integer"),
        ("spec.template.spec.containers[0].evn", "env"),
    ]


def test_what_is_kept_reads_back() -> None:
    schemas = read_openapi([V3], version="v9")
    lines = keep(schemas).decode().splitlines()
    assert any(line.startswith(',"io.Shop"') or line.startswith('"io.Shop"') for line in lines), "a line a type"
    assert isinstance(schemas, Schemas)


def test_a_value_is_never_told() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"pin": 4711}}
    found = [v for _, v in check([secret], without=["raw-secret"])]
    assert [v.policy for v in found] == ["wrong-type"]
    assert "4711" not in str(found)
