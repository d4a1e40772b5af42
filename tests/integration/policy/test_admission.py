"""Every verdict and message of taut's is compared with the real API server's own admission."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import pytest

from support.kubernetes import eventually
from taut.clients.kubernetes import KubernetesClient, load_config
from taut.model.errors import TargetError
from taut.model.verdict import Enforcement, Outcome
from taut.policy.admission import ENGINE
from taut.policy.review import Given, Nothing, Review

V1 = "admissionregistration.k8s.io/v1"
POLICIES = f"/apis/{V1}/validatingadmissionpolicies"
BINDINGS = f"/apis/{V1}/validatingadmissionpolicybindings"
DENIED = re.compile(
    r"ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding '[^']+' denied request: (?P<message>.*)", re.DOTALL
)


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return body | ({"data": data} if data is not None else {})


def deployment(name: str, replicas: int, image: str, **pod: Any) -> dict[str, Any]:
    labels = {"app": name}
    spec = {"containers": [{"name": "main", "image": image}], **pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"team": "shop"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


OBJECTS = {
    "empty": config_map("empty"),
    "plain": config_map(
        "plain", {"size": "10Mi", "url": "https://example.com:8443/a?b=c", "version": "1.2.3"}, labels={"team": "shop"}
    ),
    "odd": config_map("odd", {"size": "lots", "ip": "10.0.0.300", "url": "not a url"}, annotations={"a/b": "c"}),
    "net": config_map("net", {"ip": "10.1.2.3", "cidr": "10.0.0.0/8", "size": "1.5Gi"}),
    "small": deployment("small", 1, "nginx:1.27"),
    "large": deployment("large", 12, "registry.example.com/app@sha256:" + "a" * 64, hostNetwork=True),
}
"""What is judged, by name."""


@dataclass(frozen=True)
class Case:
    """A policy's spec, without what it matches."""

    validations: list[dict[str, str]]
    variables: tuple[tuple[str, str], ...] = ()
    conditions: tuple[str, ...] = ()
    failure: str = "Fail"
    actions: tuple[str, ...] = ("Deny",)
    binding: tuple[tuple[str, Any], ...] = ()
    match: tuple[tuple[str, Any], ...] = ()


def expects(expression: str, **more: Any) -> Case:
    return Case([{"expression": expression}], **more)


CASES = {
    "labels": expects("has(object.metadata.labels) && object.metadata.labels.team == 'shop'"),
    "optional": expects("object.metadata.?labels[?'team'].orValue('none') == 'shop'"),
    "missing-key": expects("object.data.size == '10Mi'"),
    "missing-ignored": expects("object.data.size == '10Mi'", failure="Ignore"),
    "replicas": Case(
        [{"expression": "object.kind != 'Deployment' || object.spec.replicas <= 5", "message": "at most five replicas"}]
    ),
    "message-expression": Case(
        [
            {
                "expression": "object.metadata.name.size() < 5",
                "messageExpression": "'the name ' + object.metadata.name + ' is too long'",
            }
        ]
    ),
    "message-fails": Case(
        [{"expression": "false", "messageExpression": "string(object.nothing.at.all)", "message": "the message holds"}]
    ),
    "message-empty": Case([{"expression": "false", "messageExpression": "''", "message": "instead"}]),
    "message-lines": Case([{"expression": "false", "messageExpression": "'one\\ntwo'", "message": "one line"}]),
    "two": Case([{"expression": "true"}, {"expression": "object.metadata.name != 'plain'", "message": "not plain"}]),
    "variables": expects(
        "variables.images.all(i, i.contains('@'))",
        variables=(
            ("kinds", "['Deployment']"),
            ("images", "object.kind in variables.kinds ? object.spec.template.spec.containers.map(c, c.image) : []"),
        ),
    ),
    "variable-error": expects("variables.size > 1", variables=(("size", "object.data.size.size()"),)),
    "variable-unused": expects("true || variables.bad", variables=(("bad", "object.nothing"),)),
    "condition-skips": expects("false", conditions=("object.metadata.name == 'plain'",)),
    "condition-error": expects("false", conditions=("object.data.size == 'lots'",)),
    "condition-error-ignored": expects("false", conditions=("object.data.size == 'lots'",), failure="Ignore"),
    "condition-false-beats-error": expects("false", conditions=("object.data.size == 'lots'", "false")),
    "quantity": expects(
        "!has(object.data) || !('size' in object.data) || (isQuantity(object.data.size) && quantity(object.data.size).isGreaterThan(quantity('100Mi')))"
    ),
    "quantity-error": expects("quantity(object.data.size).isLessThan(quantity('1Gi'))"),
    "ip": expects("!has(object.data) || !('ip' in object.data) || isIP(object.data.ip)"),
    "cidr": expects(
        "!has(object.data) || !('cidr' in object.data) || cidr(object.data.cidr).containsIP(object.data.ip)"
    ),
    "url": expects(
        "!has(object.data) || !('url' in object.data) || (isURL(object.data.url) && url(object.data.url).getPort() == '8443')"
    ),
    "semver": expects(
        "!has(object.data) || !('version' in object.data) || semver(object.data.version).isLessThan(semver('2.0.0'))"
    ),
    "format": expects("!format.dns1123Label().validate(object.metadata.name).hasValue()"),
    "regex": expects("object.metadata.name.matches('^[a-m]')"),
    "find": expects("object.metadata.name.find('[aeiou]') != 'o'"),
    "lists": expects("object.metadata.name.split('').map(c, c == 'l' ? 1 : 0).sum() < 2"),
    "sets": expects("sets.contains(['small', 'large', 'net'], [object.metadata.name])"),
    "two-variables": expects("!has(object.data) || object.data.all(k, v, k != 'ip' || v.startsWith('10.1'))"),
    "request": expects(
        "request.operation == 'CREATE' && request.kind.kind != 'Deployment' && request.resource.resource == 'configmaps'"
    ),
    "request-name": Case([{"expression": "request.name != 'net'", "messageExpression": "'no ' + request.name"}]),
    "namespace": expects("namespaceObject.metadata.labels['tier'] == 'test'"),
    "old": expects("oldObject == null"),
    "type-error": expects("object.metadata.name > 1"),
    "division": expects("1 / (object.metadata.name.size() - 5) < 10"),
    "index": expects("object.metadata.name.split('')[4] != 'x'"),
    "ternary": expects(
        "object.kind == 'Deployment' ? object.spec.template.spec.?hostNetwork.orValue(false) == false : true"
    ),
    "warn": expects("object.kind == 'ConfigMap'", actions=("Warn", "Audit")),
    "audit": expects("false", actions=("Audit",)),
    "object-selector": expects("false", match=(("objectSelector", {"matchLabels": {"team": "shop"}}),)),
    "namespace-selector": expects("false", binding=(("namespaceSelector", {"matchLabels": {"tier": "other"}}),)),
    "expressions-selector": expects(
        "false", binding=(("objectSelector", {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}),)
    ),
    "resource-names": expects(
        "false",
        match=(
            (
                "resourceRules",
                [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["*"],
                        "resources": ["configmaps"],
                        "resourceNames": ["odd"],
                    }
                ],
            ),
        ),
    ),
    "excluded": expects(
        "false",
        match=(
            (
                "excludeResourceRules",
                [{"apiGroups": ["apps"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}],
            ),
        ),
    ),
    "string-format": Case(
        [
            {
                "expression": "object.kind != 'Deployment'",
                "messageExpression": "'%s has %d'.format([object.metadata.name, object.spec.replicas])",
            }
        ]
    ),
    "duration": expects("duration('1h') > duration(string(object.metadata.name.size()) + 'm')"),
}
REFUSED = [
    "object.",
    "nothing == 1",
    "variables.nothing == 1",
    "1 + 'a' == 2",
    "object.metadata.name.unknown()",
    "'text'",
    "quantity(1) == 1",
]
"""Expressions that the API server takes into no policy."""


def policy(name: str, case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    rules = [
        {
            "apiGroups": ["", "apps"],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["configmaps", "deployments"],
        }
    ]
    spec: dict[str, Any] = {
        "failurePolicy": case.failure,
        "matchConstraints": {"resourceRules": rules, **dict(case.match)},
        "validations": case.validations,
        "variables": [{"name": n, "expression": e} for n, e in case.variables],
        "matchConditions": [{"name": f"c{i}", "expression": e} for i, e in enumerate(case.conditions)],
    }
    binding = {"policyName": name, "validationActions": list(case.actions)}
    if case.binding:
        binding["matchResources"] = dict(case.binding)
    return (
        {"apiVersion": V1, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": V1, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding},
    )


@dataclass
class Answer:
    """What was said of one object."""

    denied: bool
    message: str = ""


class Server:
    """The API server's side: one policy holds at a time, in a namespace of its own."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    async def put(self, path: str, body: dict[str, Any]) -> None:
        await self.client.request("POST", path, body=body)

    async def judge(self, body: dict[str, Any]) -> Answer:
        plural = "configmaps" if body["kind"] == "ConfigMap" else "deployments"
        prefix = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        try:
            await self.client.request("POST", f"{prefix}/namespaces/{self.namespace}/{plural}?dryRun=All", body=body)
        except TargetError as error:
            found = DENIED.search(error.what)
            return Answer(True, found["message"].strip() if found else f"another refusal: {error.what}")
        return Answer(False)


def ours(documents: tuple[dict[str, Any], ...], body: dict[str, Any], namespace: dict[str, Any]) -> Answer:
    built = ENGINE.build([Given(d) for d in documents])
    assert not built.troubles
    placed = {**body, "metadata": {**body["metadata"], "namespace": namespace["metadata"]["name"]}}
    review = Review(placed, namespace_object=namespace, namespaced=True)
    verdicts = [v for p in built.policies for v in p.validate(review, Nothing())]
    denied = [v for v in verdicts if v.result is Outcome.FAIL and v.enforcement is Enforcement.DENY]
    return Answer(bool(denied), denied[0].message if denied else "")


async def compared(
    server: Server, name: str, documents: tuple[dict[str, Any], ...], space: dict[str, Any]
) -> list[str]:
    """What differs between the API server's answers and ours, for one policy and all objects."""
    differences: list[str] = []
    for body in OBJECTS.values():
        own = ours(documents, body, space)
        try:
            # A policy holds some time after it was stored; that it does not deny needs no waiting.
            theirs = await server.judge(body)
            if own.denied and not theirs.denied:
                theirs = await eventually(lambda body=body: denied(server, body), name, seconds=10)
        except AssertionError:
            theirs = Answer(False)
        if theirs != own:
            differences.append(f"{name} on {body['metadata']['name']}: the API server {theirs}, taut {own}")
    return differences


async def denied(server: Server, body: dict[str, Any]) -> Answer | None:
    answer = await server.judge(body)
    return answer if answer.denied else None


def within(document: dict[str, Any], space: str) -> dict[str, Any]:
    """The policy for one namespace alone: other tests have theirs."""
    constraints = {**document["spec"]["matchConstraints"]}
    constraints.setdefault("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": space}})
    return {**document, "spec": {**document["spec"], "matchConstraints": constraints}}


async def test_the_api_server_and_taut_say_the_same(plane: Any, namespace: str) -> None:
    async with KubernetesClient(load_config(plane.kubeconfig)) as client:
        scenes: list[tuple[Server, str, tuple[dict[str, Any], ...], dict[str, Any]]] = []
        for name, case in CASES.items():
            space: dict[str, Any] = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": f"{namespace}-{name}", "labels": {"tier": "test"}},
            }
            server = Server(client, space["metadata"]["name"])
            await server.put("/api/v1/namespaces", space)
            document, binding = policy(server.namespace, case)
            document = within(document, server.namespace)
            await server.put(POLICIES, document)
            await server.put(BINDINGS, binding)
            scenes.append((server, name, (document, binding), space))
        try:
            found = await asyncio.gather(*(compared(*scene) for scene in scenes))
            assert [d for each in found for d in each] == []
            assert len(CASES) * len(OBJECTS) >= 60
            answers = [ours(documents, body, space) for _, _, documents, space in scenes for body in OBJECTS.values()]
            assert 60 <= sum(a.denied for a in answers) <= len(answers) - 60, "both answers have to be there often"
        finally:
            for server, *_ in scenes:
                for path in (BINDINGS, POLICIES, "/api/v1/namespaces"):
                    await client.request("DELETE", f"{path}/{server.namespace}")


async def test_a_message_has_to_be_a_text(plane: Any, namespace: str) -> None:
    case = Case([{"expression": "false", "messageExpression": "object.metadata.name"}])
    document, _ = policy(namespace, case)
    async with KubernetesClient(load_config(plane.kubeconfig)) as client:
        with pytest.raises(TargetError, match="must evaluate to string"):
            await client.request("POST", POLICIES, query={"dryRun": "All"}, body=document)
    assert "must evaluate to string" in ENGINE.build([Given(document)]).troubles[0].what


@pytest.mark.parametrize("expression", REFUSED)
async def test_expressions_that_the_api_server_refuses(plane: Any, namespace: str, expression: str) -> None:
    document, _ = policy(namespace, expects(expression))
    async with KubernetesClient(load_config(plane.kubeconfig)) as client:
        with pytest.raises(TargetError):
            await client.request("POST", POLICIES, query={"dryRun": "All"}, body=document)
    assert ENGINE.build([Given(document)]).troubles
