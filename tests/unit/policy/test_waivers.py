"""A waiver lets pass what it names, for as long as it says, and is heard only when it says who and why."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from taut.model.verdict import Enforcement, Outcome, Subject, Verdict
from taut.policy.review import Given
from taut.policy.waivers import content_of, read_waivers, waived

NOON = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC).timestamp()
DENIAL = Verdict("wants-team", "only", "kyverno", Subject("v1", "ConfigMap", "shop", "old"), Outcome.FAIL, "no team")


def _waiver(**spec: Any) -> Given:
    full = {
        "policy": "wants-*",
        "objects": [{"kind": "ConfigMap", "namespace": "shop", "name": "o*"}],
        "who": "ada",
        "why": "it goes soon",
        "until": "2026-06-01",
        **spec,
    }
    body = {"apiVersion": "taut.dev/v1", "kind": "PolicyWaiver", "metadata": {"name": "soon"}, "spec": full}
    return Given(body, "waivers.yaml:1")


def _after(given: Given, verdict: Verdict = DENIAL, *, content: str = "c0", now: float = NOON) -> Verdict:
    waivers, troubles = read_waivers([given])
    assert not troubles
    (found,) = waived([verdict], waivers, content, now)
    return found


def test_a_denial_becomes_a_skip_that_names_the_waiver() -> None:
    found = _after(_waiver())
    assert (found.result, found.exception, found.denies) == (Outcome.SKIP, "PolicyWaiver soon", False)


@pytest.mark.parametrize(
    "spec",
    [
        {"policy": "other"},
        {"rule": "another"},
        {"objects": [{"kind": "Secret", "namespace": "shop", "name": "old"}]},
        {"objects": [{"kind": "ConfigMap", "name": "old"}]},
        {"objects": [{"kind": "ConfigMap", "namespace": "shop", "name": "new"}]},
        {"hash": "sha256:c1"},
        {"until": "2026-05-31"},
        {"until": "2026-06-01T11:59:59"},
        {"until": "2026-06-01T13:30:00+02:00"},
    ],
)
def test_what_it_does_not_name_is_denied(spec: dict[str, Any]) -> None:
    assert _after(_waiver(**spec)) is DENIAL


@pytest.mark.parametrize(
    "spec", [{"hash": "sha256:c0"}, {"hash": "c0"}, {"until": "2026-06-01T12:30:00"}, {"rule": "on*"}]
)
def test_it_may_be_narrow(spec: dict[str, Any]) -> None:
    assert _after(_waiver(**spec)).result is Outcome.SKIP


def test_what_denies_nothing_stays_as_it_is() -> None:
    warning = Verdict("wants-team", "only", "kyverno", DENIAL.subject, Outcome.FAIL, enforcement=Enforcement.WARN)
    assert _after(_waiver(), warning) is warning


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"who": " "}, "spec.who is empty"),
        ({"why": ""}, "spec.why is empty"),
        ({"objects": []}, "spec.objects is empty"),
        ({"until": "soon"}, "spec.until is 'soon'"),
        ({"until": 7}, "until"),
        ({"everything": True}, "everything"),
    ],
)
def test_one_that_cannot_be_meant_is_told_and_waives_nothing(spec: dict[str, Any], words: str) -> None:
    waivers, troubles = read_waivers([_waiver(**spec)])
    assert not waivers
    (trouble,) = troubles
    assert words in trouble.what
    assert (trouble.origin, trouble.policy) == ("waivers.yaml:1", "PolicyWaiver soon")


def test_the_content_is_what_its_author_wrote() -> None:
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "1"}}
    marked = {**plain, "metadata": {"name": "a", "annotations": {"taut.dev/owner": "x"}}}
    noted = {**plain, "metadata": {"name": "a", "annotations": {"taut.dev/owner": "x", "note": "y"}}}
    assert content_of(plain) == content_of(marked) != content_of(noted)
    assert content_of({**plain, "data": {"a": "2"}}) != content_of(plain)


def test_the_hash_of_a_secret_tells_nothing_of_its_values() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"pin": "MTIzNA=="}}
    assert content_of(secret) == content_of({**secret, "data": {"pin": "NDMyMQ=="}})
    assert content_of(secret) != content_of({**secret, "data": {"pin": "MTIzNA==", "more": ""}})
