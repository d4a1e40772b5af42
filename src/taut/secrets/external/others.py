"""Smaller stores: Secrets of a Kubernetes cluster, any server that answers over HTTP, and values written in the store itself."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from taut.documents.re2 import ExpressionError, matches
from taut.secrets.external.asking import Web
from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NoValueError, SecretError
from taut.secrets.external.values import entries, part, picked, text_of


@dataclass(frozen=True)
class KubernetesSecrets:
    """The Secrets of one namespace, with the rights of the store's own token."""

    web: Web
    server: str
    token: str = field(repr=False)
    namespace: str = "default"

    def get(self, ref: RemoteRef) -> bytes:
        """One entry (`property`), or all as JSON."""
        body = self._secret(ref.key)
        if ref.metadata_policy == "Fetch":
            return part(orjson.dumps(body.get("metadata") or {}), ref.property, f"the metadata of {ref.key}")
        data = _data(body)
        if not ref.property:
            return orjson.dumps({k: v.decode(errors="replace") for k, v in data.items()})
        if ref.property in data:
            return data[ref.property]
        head, _, rest = ref.property.partition(".")
        if head in data and rest:
            return part(data[head], rest, f"{ref.key}.{head}")
        raise NoValueError(f"the Secret {ref.key} has no entry {ref.property!r}", advice="correct remoteRef.property")

    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """All entries."""
        body = self._secret(ref.key)
        if ref.metadata_policy == "Fetch":
            return entries(orjson.dumps(body.get("metadata") or {}), ref.property, f"the metadata of {ref.key}")
        return _data(body)

    def find(self, find: Find) -> Mapping[str, bytes]:
        """All Secrets whose names and labels fit, each as JSON."""
        selector = ",".join(f"{k}={v}" for k, v in find.tags.items())
        answer = self._ask(f"?labelSelector={quote(selector)}" if selector else "", "the Secrets")
        found: dict[str, bytes] = {}
        for item in answer.get("items") or ():
            name = str(item["metadata"]["name"])
            if _named(find, name):
                found[name] = orjson.dumps({k: v.decode(errors="replace") for k, v in _data(item).items()})
        return found

    def _secret(self, name: str) -> dict[str, Any]:
        return self._ask("/" + quote(name, safe=""), f"the Secret {name}")

    def _ask(self, path: str, what: str) -> dict[str, Any]:
        url = f"{self.server.rstrip('/')}/api/v1/namespaces/{quote(self.namespace, safe='')}/secrets{path}"
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        status, data = self.web.ask("GET", url, headers=headers)
        if status == 404:
            raise NoValueError(f"the namespace {self.namespace} has not {what}", advice="correct remoteRef.key")
        if status != 200:
            raise SecretError(
                f"the cluster refuses {what} with {status}", advice="check the rights of the store's account"
            )
        return orjson.loads(data)


@dataclass(frozen=True)
class Fake:
    """Values that the store's document holds: for tests and trials."""

    data: Sequence[Mapping[str, Any]]

    def get(self, ref: RemoteRef) -> bytes:
        """One value."""
        return part(self._value(ref), ref.property, ref.key)

    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """The entries of a JSON object."""
        return entries(self._value(ref), ref.property, ref.key)

    def find(self, find: Find) -> Mapping[str, bytes]:
        """All values whose names fit."""
        return {str(d["key"]): text_of(d.get("value", "")) for d in self.data if _named(find, str(d.get("key")))}

    def _value(self, ref: RemoteRef) -> bytes:
        found = [d for d in self.data if d.get("key") == ref.key and str(d.get("version") or "") == ref.version]
        if not found:
            raise NoValueError(f"the store has no {ref.key}", advice="correct remoteRef.key")
        return text_of(found[-1].get("value", found[-1].get("valueMap", "")))


@dataclass(frozen=True)
class Request:
    """A request with its templates rendered."""

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    body: str = field(default="", repr=False)
    seconds: float = 15.0


@dataclass(frozen=True)
class Webhook:
    """Any server that answers over HTTP. `requests` are what is asked for each key, made before: templates are rendered elsewhere."""

    web: Web
    requests: Mapping[tuple[str, str, str], Request] = field(repr=False)
    json_path: str = ""

    def get(self, ref: RemoteRef) -> bytes:
        """What `result.jsonPath` finds in the answer, or all of it."""
        data = self._answer(ref)
        if not self.json_path:
            return data
        value = self._found(data, ref)
        return picked(value, ref.property, ref.key) if ref.property and isinstance(value, dict) else text_of(value)

    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """The entries of a JSON object."""
        return entries(self.get(ref), "", ref.key)

    def find(self, find: Find) -> Mapping[str, bytes]:
        """Nothing is found by its name."""
        raise SecretError("a webhook cannot be searched", advice="name the keys with extract")

    def _answer(self, ref: RemoteRef) -> bytes:
        request = self.requests[ref.key, ref.property, ref.version]
        status, data = self.web.ask(
            request.method,
            request.url,
            headers=request.headers,
            body=request.body.encode() or None,
            seconds=request.seconds,
        )
        if status == 404:
            raise NoValueError(f"the webhook has no {ref.key}", advice="correct remoteRef.key")
        if not 200 <= status < 300:
            raise SecretError(f"the webhook answers with {status}", advice="check the store's url and headers")
        return data

    def _found(self, data: bytes, ref: RemoteRef) -> Any:
        import jmespath
        import jmespath.exceptions

        try:
            value = jmespath.search(_jmes(self.json_path), orjson.loads(data))
        except (orjson.JSONDecodeError, jmespath.exceptions.JMESPathError):
            raise SecretError("result.jsonPath finds nothing in the answer", advice="correct the store") from None
        if value is None:
            raise NoValueError(f"the answer for {ref.key} has no {self.json_path}", advice="correct result.jsonPath")
        return value


def _jmes(path: str) -> str:
    """A simple JSONPath (`$.data.value`, `$.items[0]['a-b']`) as JMESPath."""
    import re

    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$").lstrip(".")
    return re.sub(r"\[['\"]([^'\"]+)['\"]\]", lambda found: f'."{found[1]}"', text).lstrip(".") or "@"


def _data(body: Mapping[str, Any]) -> dict[str, bytes]:
    try:
        return {str(k): base64.b64decode(str(v)) for k, v in (body.get("data") or {}).items()}
    except (binascii.Error, ValueError):
        raise SecretError("the Secret's data is no base64") from None


def _named(find: Find, name: str) -> bool:
    try:
        return find.name is None or not find.name.regexp or matches(find.name.regexp, name)
    except ExpressionError as error:
        raise SecretError(str(error), advice="correct dataFrom.find.name.regexp") from None
