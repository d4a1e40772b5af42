"""Drift: which field, what it is, who has it now."""

from __future__ import annotations

import copy
from typing import Any

from taut.model.application import IgnoreRule
from taut.planning.drift import Drift, DriftFinding, find_drift
from taut.planning.ignore import resolve
from taut.planning.redact import DIFFERS, HIDDEN, Redactor

REDACT = Redactor(b"key")
APPLIED = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "n"},
    "data": {"a": "1", "b": "2"},
}


def live(data: dict[str, str], ours: str, *others: tuple[str, str], kind: str = "ConfigMap") -> dict[str, Any]:
    """An object of which taut owns the keys `ours`, and each other manager its own."""
    body = copy.deepcopy(APPLIED)
    entries = [_entry("taut", "Apply", ours), *(_entry(m, "Update", keys) for m, keys in others)]
    return {**body, "kind": kind, "data": data, "metadata": {**body["metadata"], "managedFields": entries}}


def _entry(manager: str, operation: str, keys: str) -> dict[str, Any]:
    fields = {"f:data": {f"f:{k}": {} for k in keys}}
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsV1": fields,
        "time": "2026-01-01T00:00:00Z",
    }


def test_nothing() -> None:
    body = live({"a": "1", "b": "2"}, "ab", ("hand", "c"))
    assert find_drift(APPLIED, body, redact=REDACT) == Drift()


def test_a_changed_field_and_who_has_it() -> None:
    (finding,) = find_drift(APPLIED, live({"a": "9", "b": "2"}, "b", ("hand", "a")), redact=REDACT).findings
    assert (finding.path, finding.desired, finding.found) == ("data.a", "1", "9")
    assert (finding.owner.manager, finding.owner.operation, finding.owner.time) == (
        "hand",
        "Update",
        "2026-01-01T00:00:00Z",
    )
    assert not finding.missing


def test_a_removed_field_has_no_owner() -> None:
    (finding,) = find_drift(APPLIED, live({"b": "2"}, "b"), redact=REDACT).findings
    assert (finding.path, finding.desired, finding.found, finding.missing) == ("data.a", "1", None, True)
    assert finding.owner.manager == ""


def test_what_is_none_of_ours() -> None:
    body = live({"a": "1", "b": "2", "theirs": "x"}, "ab", ("hand", "c"))
    assert find_drift(APPLIED, body, redact=REDACT) == Drift()
    # What taut owns still and looks otherwise, a webhook made so.
    assert find_drift(APPLIED, live({"a": "rewritten", "b": "2"}, "ab"), redact=REDACT) == Drift()


def test_a_deleted_object() -> None:
    assert find_drift(APPLIED, None, redact=REDACT) == Drift((DriftFinding("", missing=True),))


def test_ignored_fields() -> None:
    body = live({"a": "9", "b": "2"}, "b", ("hand", "a"))
    ignore = resolve([IgnoreRule(managers=("hand",))], APPLIED, body)
    assert find_drift(APPLIED, body, redact=REDACT, ignore=ignore) == Drift()


def test_without_a_field_set_nothing_is_certain() -> None:
    body = live({"a": "9", "b": "2"}, "b")
    body["metadata"]["managedFields"] = []
    drift = find_drift(APPLIED, body, redact=REDACT)
    assert [f.path for f in drift.findings] == ["data.a"]
    assert not drift.certain


def test_secret_values_do_not_show() -> None:
    wish = {**APPLIED, "kind": "Secret", "data": {"a": "b2xk", "b": "Yg=="}}
    body = live({"a": "bmV3", "b": "Yg=="}, "b", ("hand", "a"), kind="Secret")
    (finding,) = find_drift(wish, body, redact=REDACT).findings
    assert (finding.desired, finding.found, finding.secret) == (DIFFERS, HIDDEN, True)
    assert finding.owner.manager == "hand"
    assert "b2xk" not in repr(finding)
