"""HashiCorp Vault and OpenBao: key-value engines 1 and 2, over their HTTP API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from taut.documents.re2 import ExpressionError, matches
from taut.secrets.external.asking import Web
from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NoValueError, SecretError
from taut.secrets.external.values import entries, part

_STEP = re.compile(r"(?!\.{1,2}\Z)[^/\x00-\x1f]+\Z")
_MOST_FOUND = 1000


@dataclass(frozen=True)
class Login:
    """How to get a token: `path` is a sign-in of the API (empty: `token` is one already), `body` what is sent to it."""

    token: str = field(default="", repr=False)
    path: str = ""
    body: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class Vault:
    """One mount. `mount` is the engine's path; empty: the first step of each key. Signs in with the first request."""

    def __init__(
        self, web: Web, server: str, login: Login, *, mount: str = "", version: str = "v2", namespace: str = ""
    ) -> None:
        self._web = web
        self._server = server.rstrip("/")
        self._login = login
        self._mount = mount.strip("/")
        self._two = version != "v1"
        self._namespace = namespace
        self._token = ""

    def get(self, ref: RemoteRef) -> bytes:
        """One value: all entries as JSON, or the property."""
        if ref.metadata_policy == "Fetch":
            return part(orjson.dumps(self._metadata(ref.key)), ref.property, f"the metadata of {ref.key}")
        return part(orjson.dumps(self._read(ref)), ref.property, ref.key)

    def get_map(self, ref: RemoteRef) -> Mapping[str, bytes]:
        """The entries of one value."""
        if ref.metadata_policy == "Fetch":
            return entries(orjson.dumps(self._metadata(ref.key)), ref.property, f"the metadata of {ref.key}")
        return entries(orjson.dumps(self._read(ref)), ref.property, ref.key)

    def find(self, find: Find) -> Mapping[str, bytes]:
        """All values below a path whose names, or custom metadata, fit."""
        if not self._two:
            raise SecretError("values are found in engines of version 2 alone", advice="name the keys with extract")
        found: dict[str, bytes] = {}
        for name in self._names(find.path.strip("/"), 0):
            try:
                if find.name is not None and find.name.regexp and not matches(find.name.regexp, name):
                    continue
            except ExpressionError as error:
                raise SecretError(str(error), advice="correct dataFrom.find.name.regexp") from None
            if find.tags:
                tags = self._metadata(name)
                if any(tags.get(k) != v for k, v in find.tags.items()):
                    continue
            try:
                found[name] = orjson.dumps(self._read(RemoteRef(key=name)))
            except NoValueError:
                continue  # it was deleted, and its name is still listed
            if len(found) > _MOST_FOUND:
                raise SecretError(f"more than {_MOST_FOUND} values are found", advice="narrow find.path")
        return found

    def _names(self, folder: str, depth: int) -> list[str]:
        if depth > 20:
            return []
        status, answer = self._call("LIST", f"{self._path('metadata', folder, folder=True)}")
        if status == 404:
            return []
        names: list[str] = []
        for name in (answer.get("data") or {}).get("keys") or ():
            full = f"{folder}/{name}".lstrip("/")
            names += self._names(full.rstrip("/"), depth + 1) if str(name).endswith("/") else [full]
        return names

    def _read(self, ref: RemoteRef) -> dict[str, Any]:
        query = f"?version={quote(ref.version, safe='')}" if ref.version and self._two else ""
        status, answer = self._call("GET", self._path("data", ref.key) + query)
        data = answer.get("data")
        if self._two and isinstance(data, dict):
            data = data.get("data")
        if status == 404 or not isinstance(data, dict):
            raise NoValueError(f"{self._place()} has no {ref.key}", advice="correct remoteRef.key, or write the value")
        return data

    def _metadata(self, key: str) -> dict[str, Any]:
        status, answer = self._call("GET", self._path("metadata", key))
        if status == 404:
            raise NoValueError(f"{self._place()} has no {key}", advice="correct remoteRef.key, or write the value")
        return (answer.get("data") or {}).get("custom_metadata") or {}

    def _path(self, part_: str, key: str, *, folder: bool = False) -> str:
        """A path of the API. A step that would make another request of it is refused: keys are what strangers write."""
        steps = [s for s in key.strip("/").split("/") if s or not folder]
        if any(not _STEP.match(s) for s in steps) or (not steps and not folder):
            raise SecretError(f"{key[:200]!r} is no key", advice="write the path below the engine's")
        mount = self._mount or (steps.pop(0) if steps else "")
        if self._two and steps[:1] == ["data"] and len(steps) > 1 and not folder:
            steps = steps[1:]  # External Secrets lets the API's own spelling pass
        middle = [part_] if self._two else []
        return "/v1/" + "/".join(quote(s, safe="") for s in (*mount.split("/"), *middle, *steps))

    def _call(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        for again in (True, False):
            status, answer = self._ask(method, path, None, {"X-Vault-Token": self._signed_in()})
            if status not in {401, 403} or not again or not self._login.path:
                break
            self._token = ""  # it may have run out
        if status in {401, 403}:
            raise SecretError(
                f"{self._place()} refuses with {status}", advice="check the store's credentials and their policy"
            )
        if status not in {200, 204, 404}:
            raise SecretError(f"{self._place()} answers with {status}", advice="it is tried again")
        return status, answer

    def _signed_in(self) -> str:
        if self._login.token:
            return self._login.token
        if not self._token:
            status, answer = self._ask("POST", f"/v1/{self._login.path}", dict(self._login.body), {})
            found = (answer.get("auth") or {}).get("client_token")
            if status != 200 or not found:
                what = f"{self._place()} does not let in by {self._login.path} ({status})"
                raise SecretError(what, advice="check the store's auth")
            self._token = str(found)
        return self._token

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        more = {"X-Vault-Namespace": self._namespace} if self._namespace else {}
        data = orjson.dumps(body) if body is not None else None
        status, answer = self._web.ask(
            method, self._server + path, headers={"X-Vault-Request": "true", **headers, **more}, body=data
        )
        try:
            found = orjson.loads(answer) if answer else {}
        except orjson.JSONDecodeError:
            raise SecretError(f"{self._place()} answers what is no JSON", advice="check the store's server") from None
        return status, found if isinstance(found, dict) else {}

    def _place(self) -> str:
        return f"{self._server}/{self._mount}" if self._mount else self._server
