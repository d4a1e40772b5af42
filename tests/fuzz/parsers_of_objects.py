"""Parsers of what a cluster and people say about objects: managed fields, rules, amounts, windows, watches."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import msgspec
import orjson

from fuzz.registry import bodies_of, parser, text_of, value_of
from taut.clients.kubernetes.frames import read_body, read_frame, read_meta, read_page
from taut.dialects.cron import cron_fault, zone_fault
from taut.model.application import IgnoreRule, SyncWindow
from taut.model.durations import seconds
from taut.model.errors import TautError
from taut.model.manifests import Manifest, Origin
from taut.model.refs import KindRef, ObjectRef, parse_app_key, parse_object_id
from taut.planning.diff import compare
from taut.planning.fields import FieldSet, absorb, get, human, lost_fields, managed_fields, owned_hash
from taut.planning.ignore import jq_paths, parse_pointer, resolve
from taut.planning.normalise import normalise
from taut.planning.options import parse_annotations
from taut.planning.redact import Redactor
from taut.planning.values import base64_bytes, duration, quantity
from taut.planning.windows import is_open
from taut.server.selector import parse_selector

REDACT = Redactor(b"key")
FIELDS = '"f:metadata"¦"f:name"¦"f:spec"¦"."¦"k:{\\"name\\":\\"a\\"}"¦"k:{"¦"v:\\"x\\""¦"v:x"¦"i:3"¦"i:-1"¦"i:x"¦"k:[]"¦"z:"¦""¦"manager"¦"taut"¦"kubectl"¦"operation"¦"Apply"¦"Update"¦"fieldsV1"¦"subresource"¦"time"¦"apiVersion"¦"\\u001b[2J"¦{¦}¦[¦]¦:¦,¦null¦1¦"f:a":{}¦"f:a":{".":{}}'
ENTRY = {"manager": "taut", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
OWNED = {**ENTRY, "fieldsV1": {"f:data": {".": {}, "f:a": {}}, "f:spec": {'k:{"name":"a"}': {".": {}, "f:x": {}}}}}
OTHER = {**OWNED, "manager": "kubectl", "operation": "Update"}

BODY = (
    FIELDS
    + "¦"
    + '"kind"¦"ConfigMap"¦"Deployment"¦"Secret"¦"v1"¦"apps/v1"¦"data"¦"spec"¦"containers"¦"ports"¦"resources"¦"limits"¦"cpu"¦"100m"¦"1e3"¦"managedFields"¦"annotations"¦"labels"¦"metadata"¦"namespace"¦"generateName"¦"items"¦"List"¦"taut.dev/owner"¦1e300¦-0¦true¦18446744073709551615¦[[]]¦"2020-01-01T00:00:00Z"'
)
SOME = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "managedFields": [OWNED]},
    "spec": {"containers": [{"name": "a"}]},
}


@parser(FIELDS, right=(orjson.dumps([OWNED, OTHER]), orjson.dumps(OWNED["fieldsV1"])))
def managed_fields_entries(data: bytes) -> None:
    """Any JSON is read; a set written and read again is the same."""
    value = value_of(data)
    if isinstance(value, dict):
        found = FieldSet.parse(value)
        assert FieldSet.parse(found.to_json()) == found
        for path in found:
            assert isinstance(human(path), str)
            get(value, path)
    entries = managed_fields({"metadata": {"managedFields": value}})
    owned_hash(entries)
    absorb(entries, "v1")
    lost_fields(entries, entries)
    lost_fields(entries, [])


@parser(BODY, right=(orjson.dumps([SOME, {**SOME, "spec": {}}]), orjson.dumps(SOME)))
def differences(data: bytes) -> None:
    """An object does not differ from itself, and any two can be compared."""
    bodies = list(bodies_of(data))
    for desired in bodies:
        for live in bodies:
            result = compare(desired, live, redact=REDACT)
            assert isinstance(result.changes, tuple | list)
            resolve([IgnoreRule(pointers=("/spec",), jq=(".spec[]?",), managers=("kubectl",))], desired, live)


@parser(BODY, right=(orjson.dumps(SOME), orjson.dumps({"apiVersion": "v1", "kind": "List", "items": [SOME]})))
def normalising(data: bytes) -> None:
    """What comes out has an identity, and no two have the same."""
    manifests = [Manifest(body, Origin("r", "f.yaml", 1)) for body in bodies_of(data)]
    result = normalise(manifests, cluster="c", namespace="ns", kinds=lambda _: None)
    refs = [m.ref("c") for m in result.manifests]
    assert len(refs) == len(set(refs))
    for manifest in result.manifests:
        assert manifest.name
        parse_annotations(manifest.annotations, manifest.labels)


@parser(
    '.¦[]¦..¦|¦select(¦)¦test(¦"(a+)+b"¦"¦==¦map(¦first(¦repeat(¦env¦input¦$x¦def f: f; f¦limit(¦range(¦recurse¦/a¦~1¦~0¦/¦-1¦and¦not¦?¦//¦getpath(¦[¦]¦spec¦containers¦name¦:¦,¦ltrimstr(¦@base64¦\\(¦null¦1e999¦{¦}',
    right=('.spec.containers[] | select(.name == "a")', "/spec/replicas", ".. | .name?"),
)
def ignore_rules(data: bytes) -> None:
    """An expression is refused or ends by itself; its paths exist in the body."""
    text = text_of(data)
    parse_pointer("/" + text.lstrip("/"))
    for steps in jq_paths(text, SOME):
        value: Any = SOME
        for step in steps:
            fits = (isinstance(value, dict) and step in value) or (
                isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value)
            )
            value = value[step] if fits else None


@parser("s¦m¦h¦ms¦1¦.¦-¦1.5¦Ki¦e9¦E¦n¦u¦µs¦+¦ ¦=¦AAAA" + "¦" + ("9" * 30), right=("1h30m", "500m", "1.5Gi", "1e3"))
def amounts(data: bytes) -> None:
    """A number or nothing; finite."""
    text = text_of(data)
    with contextlib.suppress(ValueError):
        assert 0 <= seconds(text) < math.inf
    for read_amount in (quantity, duration):
        found = read_amount(text)
        assert found is None or found == found + 0
    base64_bytes(text)


@parser(
    "*¦/¦-¦,¦ ¦0¦59¦7¦L¦W¦#¦MON¦JAN¦?¦@daily¦Europe/Berlin¦../¦UTC¦h" + "¦" + ("9" * 20),
    right=("0 22 * * 1-5", "*/15 3 L * *", "0 0 29 2 *"),
)
def windows(data: bytes) -> None:
    """What is accepted as a window has a verdict."""
    text = text_of(data)
    zone_fault(text)
    if not cron_fault(text):
        for kind in ("allow", "deny"):
            window = msgspec.convert(
                {"kind": kind, "schedule": text, "duration": "1h", "timeZone": "Europe/Berlin"}, SyncWindow
            )
            is_open([window], 1_700_000_000)


@parser(
    '{"type":¦"ADDED"¦"ERROR"¦"BOOKMARK"¦,"object":¦{"metadata":¦{"name":"a"}¦"managedFields":¦[¦]¦}¦null¦1¦"\\ud800"'
    + "¦"
    + ('{"a":' * 100),
    right=(b'{"type":"ADDED","object":{"metadata":{"name":"a","managedFields":[]}}}',),
)
def watch_stream(data: bytes) -> None:
    """A line is a frame or it is said that it is none."""
    for line in data.split(b"\n"):
        try:
            frame = read_frame(line)
            meta = read_meta(frame.object)
            assert isinstance(meta.name, str)
            with contextlib.suppress(TautError):
                assert isinstance(read_body(frame.object), dict)
        except msgspec.DecodeError:
            pass
        with contextlib.suppress(msgspec.DecodeError):
            read_page(line)


@parser("=¦!=¦,¦in (¦)¦notin (¦!¦a¦b.c/d¦ ", right=("a=b,!c,d in (e,f)",))
def selector(data: bytes) -> None:
    """A selector tells."""
    assert isinstance(parse_selector(text_of(data))({"a": "b"}), bool)


@parser("/¦:¦|¦a¦apps¦Deployment¦\x1b¦\n", right=("apps/Deployment:ns/name", "root/ns/name"))
def references(data: bytes) -> None:
    """An object's id written and read is the same."""
    text = text_of(data)
    parse_app_key(text)
    ref = parse_object_id(text, "c")
    assert ref is None or parse_object_id(ref.id, "c") == ref
    ObjectRef("c", *KindRef("", "A"), "", text)
