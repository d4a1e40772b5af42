"""Parsers of policies, waivers, external secrets and admission reviews."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from fuzz.registry import bodies_of, parser, text_of
from taut.admission.reviews import read as read_question
from taut.model.errors import TautError, Where
from taut.model.manifests import Body, Manifest
from taut.model.verdict import Outcome, Subject, Verdict
from taut.planning.rolling import rolled
from taut.policy.documents import Objects
from taut.policy.engines import build
from taut.policy.judge import Judge
from taut.policy.review import Given, Review
from taut.policy.waivers import content_of, read_waivers, waived
from taut.secrets.external.asking import Rules
from taut.secrets.external.documents import RemoteRef, is_external, read_external
from taut.secrets.external.resolve import expand
from taut.secrets.external.stores import Opening, StoreDocument, open_store
from taut.secrets.external.values import converted, decoded, entries, part

KYVERNO = '{"apiVersion":"kyverno.io/v1","kind":"ClusterPolicy","metadata":{"name":"p"},"spec":{"rules":[{"name":"r","match":{"any":[{"resources":{"kinds":["Pod"]}}]},"validate":{"message":"m","pattern":{"metadata":{"name":"?*"}}}}]}}'
WORDS = KYVERNO.replace(",", ",¦").replace(":", ":¦").replace("{", "{¦") + (
    '¦"mutate":¦"patchStrategicMerge":¦"patchesJson6902":¦"foreach":¦"deny":¦"conditions":¦"cel":¦"expressions":¦"{{ request.object }}"¦"{{"¦"}}"¦null¦7¦[]¦{}¦"+(a)"¦"^(a)"¦"X(a)"'
)
EXTERNAL = '{"apiVersion":"external-secrets.io/v1","kind":"ExternalSecret","metadata":{"name":"a"},"spec":{"secretStoreRef":{"name":"s"},"data":[{"secretKey":"k","remoteRef":{"key":"x"}}]}}'
EXTERNAL_WORDS = EXTERNAL.replace(",", ",¦").replace(":", ":¦").replace("{", "{¦") + (
    '¦"dataFrom":¦"extract":¦"find":¦"rewrite":¦"target":¦"template":¦"refreshInterval":¦"1h"¦"-1h"¦null¦7¦[]¦"provider":¦"vault":¦"aws":¦"webhook":¦"fake":¦"conditions":¦"kind":"SecretStore"¦"kind":"ClusterExternalSecret"'
)
WAIVER = '{"apiVersion":"taut.dev/v1","kind":"PolicyWaiver","metadata":{"name":"w"},"spec":{"policy":"*","objects":[{"kind":"Pod","name":"*"}],"who":"a","why":"b","until":"2030-01-01"}}'
REVIEW = '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"userInfo":{"username":"a"},"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}}}'
POD: Body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "y"}, "spec": {"containers": []}}


@parser(WORDS, right=(KYVERNO,))
def policies(data: bytes) -> None:
    """Whatever a policy says: a trouble, or verdicts; the object that is judged is never changed."""
    built = build([Given(body, "p.yaml:1") for body in bodies_of(data)])
    for trouble in built.troubles:
        assert trouble.what
    before = content_of(POD)
    for verdict in Judge(built.policies).judge(Review(POD), Objects([POD])).verdicts:
        assert verdict.result in Outcome
    assert content_of(POD) == before


@parser(WAIVER.replace(",", ",¦").replace(":", ":¦").replace("{", "{¦") + "¦null¦7¦[]", right=(WAIVER,))
def waivers(data: bytes) -> None:
    """A waiver is read or told of; what it does not cover stays denied."""
    given = [Given(body, "w.yaml:1") for body in bodies_of(data)]
    found, troubles = read_waivers(given)
    assert len(found) + len(troubles) <= len(given)
    denial = Verdict("p", "r", "kyverno", Subject("v1", "Pod", "y", "x"), Outcome.FAIL)
    for verdict in waived([denial], found, "c", 0.0):
        assert verdict.denies or verdict.exception


class _Nowhere:
    """A target with nothing in it."""

    server = ("https://127.0.0.1:9", "")

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return {"token": b"t", "id": b"i", "key": b"k"}

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        return None

    async def token(self, namespace: str, account: str, audiences: list[str]) -> str:
        return "t"

    async def namespace(self, name: str) -> Body | None:
        return None


async def _same(texts: Mapping[str, str], data: Mapping[str, str]) -> dict[str, str]:
    return dict(texts)


@parser(EXTERNAL_WORDS, right=(EXTERNAL,))
def external_secrets(data: bytes) -> None:
    """Documents are read, or refused with their field; stores open, or say why not. Nothing is asked of a network."""
    for body in bodies_of(data):
        metadata = body.get("metadata")
        name = str(metadata.get("name")) if isinstance(metadata, dict) else ""
        where = Where(file="e.yaml", line=1)
        for kind in ("SecretStore", "ClusterSecretStore"):
            opening = Opening("y", _Nowhere(), _same, Rules(), (RemoteRef(key="k"),))
            with suppress(TautError):
                asyncio.run(open_store(StoreDocument(kind, "y", name, body, where), opening))
        with suppress(TautError):
            assert read_external(body, where).seconds >= 0
        if is_external(body):
            for made in expand(body, [POD], where):
                assert made["metadata"]["namespace"]


@parser('{"a":¦{"b.c":¦[1,¦"x"]¦}¦a.b¦.0¦\\.¦null¦"', right=('{"a": {"b": [1, "x"]}}',))
def external_values(data: bytes) -> None:
    """Parts of values: bytes, or an error that does not quote the value."""
    for strategy in ("None", "Base64", "Base64URL", "Auto"):
        with suppress(TautError):
            assert isinstance(decoded(data, strategy, "it"), bytes)
    assert converted(text_of(data), "Unicode").isascii()
    for path in ("a", "a.b.0", "b\\.c", "0", "..", text_of(data)):
        with suppress(TautError):
            assert isinstance(part(data, path, "it"), bytes)
            assert isinstance(entries(data, path, "it"), dict)


@parser(REVIEW.replace(",", ",¦").replace(":", ":¦").replace("{", "{¦") + "¦null¦7¦[]", right=(REVIEW,))
def admission_reviews(data: bytes) -> None:
    """A question is read, or refused in a sentence."""
    question = read_question(data)
    assert isinstance(question.review.body, dict)
    assert question.review.subject is not None


@parser(
    '{"kind":"Deployment",¦"apiVersion":"apps/v1",¦"metadata":{"name":"a","annotations":{"taut.dev/roll-on-secrets":"true"}},¦"spec":¦{"template":¦{"spec":¦{"containers":¦[{"envFrom":¦[{"secretRef":{"name":"s"}}]¦}]¦}¦}¦}¦}¦null¦7',
    right=(
        '{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"a","annotations":{"taut.dev/roll-on-secrets":"true"}},"spec":{"template":{"spec":{"containers":[{"envFrom":[{"secretRef":{"name":"s"}}]}]}}}}',
    ),
)
def rolling(data: bytes) -> None:
    """Whatever a workload looks like, it comes out with nothing but a note more."""
    secret: Body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}}
    found = [b for b in bodies_of(data) if isinstance(b.get("metadata"), dict)]
    manifests = (*(Manifest(b) for b in found), Manifest(secret))
    made = rolled(manifests, lambda text: "0" * 64)
    assert len(made) == len(manifests)
    assert all(m.body.keys() == n.body.keys() for m, n in zip(made, manifests, strict=True))
