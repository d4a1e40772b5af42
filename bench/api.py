"""The bench's own eyes and hands in the cluster. Its requests carry another user agent than taut's, so they are not counted."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable
from http.client import HTTPResponse
from typing import Any

from bench.repositories import NAMESPACE
from taut.localplane.plane import Plane


class Eyes:
    """Requests to one control plane."""

    def __init__(self, plane: Plane) -> None:
        self._server, self._token = plane.server, plane.token
        self._tls = ssl.create_default_context(cafile=str(plane.ca))
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def ask(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """One request; the answer is what the server said."""
        with self._open(method, path, body, content) as answer:
            return json.loads(answer.read())

    def ready(self) -> int:
        """How many Deployments have a replica that is ready."""
        found = self.ask("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments?resourceVersion=0")
        return sum(i["status"].get("readyReplicas", 0) >= 1 for i in found["items"])

    def make_namespace(self) -> None:
        """Make the namespace that everything goes to."""
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})

    def patch(self, name: str, data: dict[str, str]) -> None:
        """Change a ConfigMap by hand."""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}?fieldManager=somebody"
        self.ask("PATCH", path, {"data": data}, "application/merge-patch+json")

    def seen(self, names: Iterable[str], key: str, value: str) -> Seen:
        """Watch ConfigMaps until `key` has `value` in each of them."""
        found = self.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps?limit=1")
        version = found["metadata"]["resourceVersion"]
        names = set(names)
        only = f"&fieldSelector=metadata.name={next(iter(names))}" if len(names) == 1 else ""
        path = f"/api/v1/namespaces/{NAMESPACE}/configmaps?watch=true&resourceVersion={version}{only}"
        return Seen(self._open("GET", path), names, key, value)

    def _open(self, method: str, path: str, body: Any = None, content: str = "application/json") -> HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "bench", "Content-Type": content}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server + path, data, headers, method=method)
        return urllib.request.urlopen(request, timeout=600, context=self._tls)


class Seen:
    """Waits in a thread of its own for the last of some ConfigMaps to hold a value."""

    def __init__(self, stream: HTTPResponse, names: set[str], key: str, value: str) -> None:
        self._stream, self._missing, self._key, self._value = stream, names, key, value
        self._at = 0.0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while self._missing and (line := self._stream.readline()):
            found = json.loads(line)["object"]
            if found.get("data", {}).get(self._key) == self._value:
                self._missing.discard(found["metadata"]["name"])
        self._at = time.monotonic()

    def at(self) -> float:
        """When it was seen (monotonic seconds). Raises TimeoutError when it is not within two minutes."""
        self._thread.join(120)
        if self._missing:
            raise TimeoutError(f"{len(self._missing)} ConfigMaps never had {self._key}={self._value}")
        return self._at
