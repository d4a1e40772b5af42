"""Parsers of policies, waivers, external secrets and admission reviews."""

from __future__ import annotations

from contextlib import suppress

from fuzz.registry import bodies_of, parser, text_of
from taut.admission.reviews import read as read_question
from taut.model.errors import TautError
from taut.model.manifests import Body, Manifest, Origin
from taut.model.verdict import Outcome, Subject, Verdict
from taut.planning.rolling import rolled
from taut.policy.documents import Objects
from taut.policy.engines import build
from taut.policy.judge import Judge
from taut.policy.review import Given, Review
from taut.policy.waivers import content_of, read_waivers, waived
from taut.secrets.external.documents import cluster_external_secret, external_secret
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.keys import decoded
from taut.secrets.external.selecting import expand
from taut.secrets.external.stores import store
from taut.secrets.external.values import gjson, parsed, parsed_map

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


@parser(EXTERNAL_WORDS, right=(EXTERNAL,))
def external_secrets(data: bytes) -> None:
    """Documents are read, or refused with their line; whatever they say, they ask for something at most every second."""
    for body in bodies_of(data):
        if not isinstance(body.get("metadata"), dict) or not isinstance(body.get("kind"), str):
            continue
        manifest = Manifest(body, Origin("repo", "e.yaml", 1))
        with suppress(TautError):
            assert external_secret(manifest, namespace="y").refresh_seconds >= 0
        with suppress(TautError):
            assert store(manifest, namespace="y").name
        with suppress(TautError):
            for made in expand(cluster_external_secret(manifest), [POD]):
                assert made.namespace


@parser('{"a":¦{"b.c":¦[1,¦"x"]¦}¦a.b¦.0¦\\.¦null¦"', right=('{"a": {"b": [1, "x"]}}',))
def external_values(data: bytes) -> None:
    """Parts of values and encodings: bytes, or an error of a provider."""
    for strategy in ("None", "Base64", "Base64URL", "Auto"):
        with suppress(ProviderError):
            assert isinstance(decoded(strategy, data), bytes)
    for path in ("a", "a.b.0", "b\\.c", "0", "..", text_of(data)):
        with suppress(ProviderError, RecursionError):
            gjson(parsed(data), path)
        with suppress(ProviderError, RecursionError):
            assert isinstance(parsed_map(data), dict)


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
