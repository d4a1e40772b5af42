"""The ValidatingWebhookConfiguration of a cluster: what it should be (a pure function), and what keeps it so."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taut.admission.decision import NOTHING, Interests, Rule, joined
from taut.clients.kubernetes.client import APPLY, KubernetesClient, segment
from taut.model.errors import BadInput, TargetError
from taut.model.live import OWNER
from taut.model.manifests import Body
from taut.model.refs import KindRef

MANAGER = "taut-admission"
KIND = KindRef("admissionregistration.k8s.io", "ValidatingWebhookConfiguration")
RECORD_TIMEOUT = 1
SYSTEM = "kube-system"
_PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_LABEL, _LABEL_VALUE = "app.kubernetes.io/managed-by", "taut"
_NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Service:
    """The Service in front of taut in its own cluster."""

    namespace: str
    name: str
    port: int = 443


@dataclass(frozen=True, slots=True)
class Wish:
    """What a configuration is made from.

    `reach` is the URL (https, without the path) or the Service by which the API server finds taut, `bundle` the CAs to trust as PEM, `managed` what to
    record, `own_user` whose changes are not recorded, `exempt` the namespaces that no policy judges.
    """

    instance: str
    cluster: str
    reach: str | Service
    bundle: bytes
    interests: Interests = NOTHING
    managed: tuple[Rule, ...] = ()
    own_user: str = ""
    exempt: tuple[str, ...] = ()
    timeout: int = 5


def name_of(instance: str) -> str:
    """The configuration's name."""
    return f"taut-{instance}"


def wanted(wish: Wish) -> Body | None:
    """The configuration as the API server keeps it, with every default written out; None when nothing needs to be asked."""
    entries = [
        *_judging(wish, "closed", wish.interests.closed, "Fail"),
        *_judging(wish, "open", wish.interests.open, "Ignore"),
        *_recording(wish),
    ]
    if not entries:
        return None
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name_of(wish.instance), "labels": {_LABEL: _LABEL_VALUE}},
        "webhooks": entries,
    }


def _judging(wish: Wish, door: str, rules: Sequence[Rule], failure: str) -> list[dict[str, Any]]:
    if not rules:
        return []
    entry = _entry(wish, door, rules, failure, wish.timeout)
    exempt = sorted({SYSTEM, *wish.exempt})
    entry["namespaceSelector"] = {"matchExpressions": [{"key": _NAMESPACE, "operator": "NotIn", "values": exempt}]}
    return [entry]


def _recording(wish: Wish) -> list[dict[str, Any]]:
    if not wish.managed:
        return []
    entry = _entry(wish, "record", wish.managed, "Ignore", RECORD_TIMEOUT)
    entry["matchConditions"] = _conditions(wish.own_user)
    return [entry]


def _conditions(own_user: str) -> list[dict[str, str]]:
    """What the API server looks at before it asks who changes something: most changes in a cluster are of objects that taut has nothing to do with."""
    mark = json.dumps(OWNER)
    marked = (
        f"[object, oldObject].exists(o, o != null && has(o.metadata.annotations) && {mark} in o.metadata.annotations)"
    )
    conditions = [
        # The object of a request for a subresource carries no annotations of what it belongs to.
        {"name": "managed", "expression": f'(has(request.subResource) && request.subResource != "") || {marked}'}
    ]
    if own_user:
        text = json.dumps(own_user, ensure_ascii=False)
        conditions.append({"name": "not-taut-itself", "expression": f"request.userInfo.username != {text}"})
    return conditions


def _entry(wish: Wish, door: str, rules: Sequence[Rule], failure: str, timeout: int) -> dict[str, Any]:
    return {
        "name": f"{door}.admission.taut.dev",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {**_reach(wish, door), "caBundle": base64.b64encode(wish.bundle).decode()},
        "failurePolicy": failure,
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "rules": [
            {
                "apiGroups": [rule.group],
                "apiVersions": list(rule.versions),
                "operations": [str(o) for o in rule.operations],
                "resources": list(rule.resources),
                "scope": "*",
            }
            for rule in joined(rules)
        ],
        "sideEffects": "None",
        "timeoutSeconds": timeout,
    }


def _reach(wish: Wish, door: str) -> dict[str, Any]:
    path = f"/admit/{segment(wish.cluster)}/{door}"
    if isinstance(wish.reach, str):
        return {"url": f"{wish.reach.rstrip('/')}{path}"}
    service = wish.reach
    return {"service": {"namespace": service.namespace, "name": service.name, "port": service.port, "path": path}}


class Registration:
    """The configuration in one cluster. Everything raises TargetError when the cluster refuses, or cannot be asked."""

    def __init__(self, client: KubernetesClient, instance: str) -> None:
        self._client = client
        self._path = f"{_PATH}/{segment(name_of(instance))}"
        self._subject = f"ValidatingWebhookConfiguration {name_of(instance)}"

    async def keep(self, body: Body | None) -> bool:
        """Have the cluster's configuration be `body` (None: there is none). Whether something had to be written is the answer.

        Raises BadInput when there is to be one, and one of this name exists that is not taut's.
        """
        live = await self._read()
        if live is not None and not _is_ours(live):
            if body is None:
                return False
            raise BadInput(
                f"{self._subject} exists, and is not taut's",
                advice="give this taut another name (admission.instance), or delete that configuration",
            )
        if body is None:
            return live is not None and await self._delete(live)
        if live is not None and same(live, body):
            return False
        await self._write(body)
        return True

    async def _read(self) -> Body | None:
        try:
            return await self._client.request("GET", self._path, subject=self._subject)
        except TargetError as error:
            if error.status != 404:
                raise
            return None

    async def _write(self, body: Body) -> None:
        query = {"fieldManager": MANAGER, "force": "true"}
        made = await self._client.request(
            "PATCH", self._path, query=query, body=body, content_type=APPLY, subject=self._subject
        )
        if same(made, body):
            return
        # An apply leaves what others have added, and a condition or an entry that somebody added can switch everything off.
        version = made["metadata"]["resourceVersion"]
        exact = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
        await self._client.request(
            "PUT", self._path, query={"fieldManager": MANAGER}, body=exact, subject=self._subject
        )

    async def _delete(self, live: Body) -> bool:
        options = {"preconditions": {"uid": live["metadata"]["uid"]}}
        try:
            await self._client.request("DELETE", self._path, body=options, subject=self._subject)
        except TargetError as error:
            if error.status not in (404, 409):
                raise
            return False
        return True


def _is_ours(live: Body) -> bool:
    metadata = live.get("metadata") or {}
    marked = (metadata.get("labels") or {}).get(_LABEL) == _LABEL_VALUE
    return marked or any(entry.get("manager") == MANAGER for entry in metadata.get("managedFields") or ())


def same(live: Body, body: Body) -> bool:
    """Whether a configuration asks what `body` asks, of the same server, in the same way."""
    labels = (live.get("metadata") or {}).get("labels") or {}
    return labels.get(_LABEL) == _LABEL_VALUE and _by_name(live) == _by_name(body)


def _by_name(body: Body) -> Mapping[str, Any]:
    return {str(entry.get("name")): entry for entry in body.get("webhooks") or ()}
