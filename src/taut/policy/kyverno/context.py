"""What a rule's variables see: the request, the images, and what the rule loads (configMap, apiCall, variables)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taut.policy.kyverno.errors import NotResolvedError, PolicyError
from taut.policy.kyverno.images import images_of
from taut.policy.kyverno.queries import search
from taut.policy.kyverno.substitution import substituted
from taut.policy.review import Lookup, NotKnown, Operation, Review

_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Mocks:
    """Values that a test declares instead of what a cluster or a registry would tell: by dotted name."""

    values: Mapping[str, Any] = field(default_factory=dict)
    foreach: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    lenient: bool = False
    """What is not declared is absent, as in the command line of Kyverno; else it is an error."""


NO_MOCKS = Mocks()


class Context:
    """The variables of one rule and one object. `child` adds to it without changing it."""

    def __init__(
        self, data: dict[str, Any], lookup: Lookup, mocks: Mocks = NO_MOCKS, *, deleting: bool = False
    ) -> None:
        self._data = data
        self._lookup = lookup
        self._mocks = mocks
        self._deleting = deleting
        self._broken: dict[str, PolicyError] = {}

    def child(self, **values: Any) -> Context:
        """The same with further variables."""
        made = Context({**self._data, **values}, self._lookup, self._mocks, deleting=self._deleting)
        made._broken = dict(self._broken)
        return made

    def element(self, index: int, values: dict[str, Any]) -> Context:
        """The same for one element of a list: its own variables, and what a test declares for it."""
        mocked = {name: listed[index] for name, listed in self._mocks.foreach.items() if index < len(listed)}
        made = self.child(**values)
        if mocked:
            made._mocks = Mocks({**self._mocks.values, **mocked}, {}, self._mocks.lenient)
        return made

    def with_object(self, body: dict[str, Any]) -> Context:
        """The same with another object in the request: one that was changed on the way."""
        return self.child(request={**self._data["request"], "object": body})

    def query(self, text: str) -> Any:
        """A query's value. Raises NotResolvedError when it leads to nothing, else PolicyError."""
        if self._deleting:
            text = text.replace("request.object", "request.oldObject")
        if self._broken:
            for word in _WORD.findall(text):
                if word in self._broken:
                    raise self._broken[word]
        return search(text, self._data)

    def put(self, value: Any, *, nothing: bool = False) -> Any:
        """A value with its variables put in. Raises PolicyError."""
        return substituted(value, self.query, nothing=nothing)

    def condition(self, value: Any) -> Any:
        """A condition's key or value: what leads to nothing is null."""
        return self.put(value, nothing=True)

    def load(self, entries: Sequence[Any]) -> Context:
        """The context with a rule's entries. One that cannot be loaded is an error where it is asked for."""
        made = self.child()
        mocked = self._mocks.values
        for name, value in mocked.items():
            _place(made._data, name, value)
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise PolicyError("an entry of the context has to be a mapping with a name")
            name = entry["name"]
            if any(m == name or m.startswith(name + ".") for m in mocked):
                continue
            try:
                made._data[name] = made._entry(entry)
                made._broken.pop(name, None)
            except NotKnown as unknown:
                if not self._mocks.lenient:
                    made._broken[name] = PolicyError(f"{name}: {unknown}")
            except PolicyError as error:
                made._broken[name] = error
        return made

    def _entry(self, entry: dict[str, Any]) -> Any:
        if "variable" in entry:
            return self._variable(entry["variable"] or {})
        if "configMap" in entry:
            return self._config_map(self.put(entry["configMap"]))
        if "apiCall" in entry:
            return self._api_call(entry["apiCall"] or {})
        kind = next((k for k in entry if k != "name"), "nothing")
        raise NotKnown(f"{kind} needs a registry or a running Kyverno, and is not asked")

    def _variable(self, entry: dict[str, Any]) -> Any:
        default = self.put(entry.get("default"), nothing=True)
        try:
            value = self.put(entry["value"]) if "value" in entry else None
            query = entry.get("jmesPath")
            if query:
                query = self.put(query)
                value = search(query, value) if "value" in entry else self.query(query)
        except PolicyError:
            if default is None:
                raise
            return default
        if value is None and default is None:
            raise NotResolvedError("the variable leads to nothing, and has no default")
        return default if value is None else value

    def _config_map(self, entry: dict[str, Any]) -> Any:
        namespace, name = str(entry.get("namespace") or "default"), str(entry.get("name") or "")
        found = self._lookup.get("v1", "ConfigMap", namespace, name)
        if found is None:
            raise PolicyError(f"there is no ConfigMap {namespace}/{name}")
        return {"data": found.get("data") or {}, "metadata": found.get("metadata") or {}}

    def _api_call(self, entry: dict[str, Any]) -> Any:
        if entry.get("service"):
            raise NotKnown("apiCall of a service: only the target's API is asked")
        path = self.put(entry.get("urlPath") or "")
        data = {
            d["key"]: self.put(d.get("value")) for d in entry.get("data") or () if isinstance(d, dict) and "key" in d
        }
        answer = self._lookup.raw(str(entry.get("method") or "GET"), path, data or None)
        query = entry.get("jmesPath")
        value = search(self.put(query), answer) if query else answer
        return self.put(entry.get("default"), nothing=True) if value is None else value


def _place(data: dict[str, Any], name: str, value: Any) -> None:
    """Set a dotted name, over what is there, without changing what others hold."""
    head, _, rest = name.partition(".")
    if not rest:
        data[head] = value
        return
    inner = data.get(head)
    data[head] = dict(inner) if isinstance(inner, dict) else {}
    _place(data[head], rest, value)


def context_of(review: Review, lookup: Lookup, mocks: Mocks = NO_MOCKS, extractors: Any = None) -> Context:
    """The context of a review before a rule has loaded anything."""
    body = review.body
    metadata: dict[str, Any] = body.get("metadata") or {}
    name = review.user.name
    account = name.split(":") if name.startswith("system:serviceaccount:") else []
    request: dict[str, Any] = {
        "object": review.object if review.object is not None else {},
        "oldObject": review.old_object if review.old_object is not None else {},
        "operation": str(review.operation),
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        "kind": _kind(review),
        "uid": review.uid,
        "dryRun": review.dry_run,
        "subResource": review.subresource,
    }
    if review.user.known:
        request |= {
            "userInfo": {"username": name, "groups": list(review.user.groups), "uid": review.user.uid},
            "roles": list(review.user.roles),
            "clusterRoles": list(review.user.cluster_roles),
        }
    data: dict[str, Any] = {
        "request": request,
        "images": images_of(body, extractors),
        "serviceAccountName": account[3] if len(account) > 3 else "",
        "serviceAccountNamespace": account[2] if len(account) > 3 else "",
    }
    if review.namespace_object is not None:
        data["request"]["namespaceObject"] = review.namespace_object
    return Context(data, lookup, mocks, deleting=review.operation is Operation.DELETE)


def _kind(review: Review) -> dict[str, str]:
    group, slash, version = str(review.body.get("apiVersion") or "").partition("/")
    return {
        "group": group if slash else "",
        "version": version if slash else group,
        "kind": str(review.body.get("kind") or ""),
    }
