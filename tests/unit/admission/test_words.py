"""What the author of an object reads: all reasons, where, and the way out; never a value of a Secret."""

from __future__ import annotations

import base64
from dataclasses import replace

from taut.admission.decision import Decision
from taut.admission.reviews import MESSAGE_LENGTH, write
from taut.admission.words import answer, without_reviewer
from taut.model.verdict import Enforcement, Outcome, Subject, Verdict
from taut.policy.review import Operation, Review
from unit.admission.questions import POD

WEB = Subject("v1", "Pod", "shop", "web")
TAG = Verdict(
    "disallow-latest-tag",
    "validate-image-tag",
    "kyverno",
    WEB,
    Outcome.FAIL,
    "a mutable tag",
    path="spec.containers.0.image",
    found="nginx:latest",
    wanted="!*:latest",
)
REVIEW = Review(POD)


def test_a_refusal_explains_itself() -> None:
    found = answer(Decision((TAG,)), REVIEW)
    assert not found.allowed
    assert found.message.splitlines() == [
        "Pod shop/web is refused by a policy:",
        "- disallow-latest-tag/validate-image-tag: a mutable tag",
        "  at spec.containers.0.image, found nginx:latest, wanted !*:latest",
        "  to waive it: a PolicyWaiver for disallow-latest-tag and Pod shop/web, or a PolicyException for disallow-latest-tag, rule validate-image-tag, that matches Pod shop/web",
    ]
    assert found.notes == {"denied": "disallow-latest-tag/validate-image-tag"}


def test_every_reason_is_listed_with_its_own_way_out() -> None:
    others = [
        Verdict("image-digest", "", "taut", WEB, Outcome.FAIL, "not pinned"),
        Verdict("K8sRequired/team", "", "gatekeeper", WEB, Outcome.FAIL, "no team"),
        Verdict("replicas", "", "admission", WEB, Outcome.ERROR, "no such key: spec"),
    ]
    text = answer(Decision((TAG, *others)), REVIEW).message
    assert text.startswith("Pod shop/web is refused by 4 policies:")
    assert "checks.taut.dev/image-digest: the reason" in text
    assert "constraint K8sRequired/team" in text
    assert "binding of replicas" in text
    assert "- replicas: it could not be judged, which is no pass: no such key: spec" in text


def test_warnings_do_not_refuse() -> None:
    warned = replace(TAG, enforcement=Enforcement.WARN)
    found = answer(Decision((), (warned,)), REVIEW)
    assert found.allowed
    assert found.message == ""
    assert list(found.warnings) == [
        "disallow-latest-tag/validate-image-tag: a mutable tag (at spec.containers.0.image, found nginx:latest, wanted !*:latest)"
    ]
    assert found.notes == {"warned": "disallow-latest-tag/validate-image-tag"}


def test_many_reasons_are_bounded_and_counted() -> None:
    many = tuple(replace(TAG, policy=f"p{n}", message="m" * 500) for n in range(200))
    text = answer(Decision(many), REVIEW).message
    assert len(text) <= MESSAGE_LENGTH
    shown = text.count("- p")
    assert shown >= 8
    assert text.endswith(f"- and {200 - shown} more")


def test_a_secrets_values_are_nowhere() -> None:
    value, old = "hunter2-new", "letmein-old"
    encoded = {v: base64.b64encode(v.encode()).decode() for v in (value, old)}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k"}, "data": {"p": encoded[value]}}
    before = {**body, "data": {"p": encoded[old]}}
    review = Review(body, before, Operation.UPDATE)
    said = f"{value} {encoded[value]} replaces {old} {encoded[old]}"
    leaky = replace(TAG, message=said, found=value, wanted=f"not {old}")
    found = answer(Decision((leaky,), (replace(leaky, enforcement=Enforcement.WARN),)), review)
    text = write("u", found).decode()
    for secret in (value, old, *encoded.values()):
        assert secret not in text
    assert "replaces" in text


def test_nobody_could_judge() -> None:
    opened = without_reviewer("it took longer than 4.5 s", closed=False)
    assert opened.allowed
    assert "lets it pass: it took longer than 4.5 s" in opened.warnings[0]
    closed = without_reviewer("it took longer than 4.5 s", closed=True)
    assert not closed.allowed
    assert "it took longer than 4.5 s" in closed.message
    assert closed.code == 500
