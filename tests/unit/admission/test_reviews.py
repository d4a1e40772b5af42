"""AdmissionReview ⇄ Review: nothing is lost, nothing is too long, and what is no question is said to be none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taut.admission.reviews import Answer, bounded, read, write
from taut.model.errors import BadInput
from taut.model.refs import KindRef
from taut.policy.review import Operation, User
from unit.admission.questions import POD, review


def test_everything_that_policies_may_ask_for_is_there() -> None:
    question = read(review(dryRun=True))
    assert question.review.object == POD
    assert question.review.old_object is None
    assert question.review.operation is Operation.CREATE
    assert question.review.user == User(
        "ada", ("system:authenticated", "admins"), "014fbff9a07c", {"scopes": ("a", "b")}, known=True
    )
    assert question.review.resource == "v1/pods"
    assert question.review.subresource == ""
    assert question.review.namespaced is True
    assert question.review.dry_run is True
    assert question.uid == question.review.uid == "705ab4f5-6393-11e8-b7cc-42010a800002"
    assert (question.kind, question.resource) == (KindRef("", "Pod"), ("", "pods"))
    assert (question.namespace, question.name, question.manager) == ("shop", "web", "kubectl-create")


def test_a_deletion_has_an_old_object_only() -> None:
    question = read(review(operation="DELETE", object=None, oldObject=POD, options=None))
    assert question.review.object is None
    assert question.review.old_object == POD
    assert question.review.body == POD
    assert question.manager == ""


def test_groups_and_subresources() -> None:
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": "shop"}}
    resource = {"group": "apps", "version": "v1", "resource": "deployments"}
    question = read(review(scale, resource=resource, subResource="scale", operation="UPDATE"))
    assert question.review.resource == "apps/v1/deployments"
    assert question.review.subresource == "scale"
    assert question.kind == KindRef("autoscaling", "Scale")
    assert question.resource == ("apps", "deployments")


def test_a_namespace_is_in_none() -> None:
    """The API server sends a Namespace's own name as its namespace."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    question = read(review(body, "namespaces", namespace="shop"))
    assert question.review.namespaced is False
    assert (question.namespace, question.name) == ("", "shop")


def test_an_object_without_a_type_is_of_the_requests_kind() -> None:
    body = {"metadata": {"name": "web", "namespace": "shop"}}
    assert read(review(object=body)).review.subject.kind == "Pod"


BAD: list[tuple[bytes, str]] = [
    (b"", "no JSON"),
    (b"{", "no JSON"),
    (b'{"apiVersion": "\xff"}', "no AdmissionReview|no JSON"),
    (b"[" * 100_000, "no JSON|no AdmissionReview"),
    (b"[]", "no AdmissionReview"),
    (b"{}", "no AdmissionReview.*apiVersion"),
    (
        json.dumps({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}).encode(),
        "not an AdmissionReview",
    ),
    (json.dumps({"apiVersion": "v1", "kind": "Pod"}).encode(), "not an AdmissionReview"),
    (json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).encode(), "no request"),
    (review(uid=""), "no uid"),
    (review(operation="EXPLODE"), "operation"),
    (review(object=[1]), "object"),
    (review(userInfo={"groups": "admins"}), "groups"),
]


@pytest.mark.parametrize(("data", "words"), BAD)
def test_what_is_no_question_is_said(data: bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        read(data)


def test_what_cannot_be_read_quotes_no_value() -> None:
    """A question that does not fit may hold a Secret all the same."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k"}, "data": {"a": "aHVudGVyMg=="}}
    for data in (review(body, "secrets", operation="hunter2"), review(body, "secrets")[:-3] + b"hunter2"):
        with pytest.raises(BadInput) as caught:
            read(data)
        assert "hunter2" not in str(caught.value)
        assert "aHVudGVyMg" not in str(caught.value)


def written(answer: Answer) -> dict[str, Any]:
    found = json.loads(write("u1", answer))
    assert (found["apiVersion"], found["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert found["response"]["uid"] == "u1"
    return found["response"]


def test_allowed() -> None:
    assert written(Answer(True)) == {"uid": "u1", "allowed": True}


def test_refused() -> None:
    found = written(Answer(False, "no\x1b[31m", notes={"denied": "a/b"}))
    assert found["allowed"] is False
    assert found["status"] == {"code": 403, "reason": "Forbidden", "message": "no\\x1b[31m"}
    assert found["auditAnnotations"] == {"denied": "a/b"}


def test_answers_are_bounded() -> None:
    found = written(Answer(False, "x" * 100_000, ["w" * 5000], {"denied": "y" * 100_000}))
    assert len(found["status"]["message"]) == 8192
    assert [len(w) for w in found["warnings"]] == [256]
    assert len(found["auditAnnotations"]["denied"]) == 2048


def test_warnings_fit_into_what_the_api_server_passes_on() -> None:
    assert bounded(["a\nb", "  ", "c"]) == ["a b", "c"]
    many = bounded([f"{n:03} " + "w" * 300 for n in range(40)])
    assert sum(map(len, many)) <= 4096
    assert all(len(w) <= 256 for w in many)
    assert len(many) == 16
    assert many[-1] == "and 25 more warnings"
