"""The few requests that bringing a control plane up needs."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from taut.model.errors import TautError

_TIMEOUT = 20.0


class Api:
    """The API server of one control plane, with verified TLS."""

    def __init__(self, port: int, ca: Path, token: str) -> None:
        self.port = port
        self.ca = ca
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "localplane-supervisor"}

    def request(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send one request; the answer is its status and body. Raises OSError or HTTPException when there is none."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._tls, timeout=_TIMEOUT)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, self._headers | {"Content-Type": content})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            status, _ = self.request("GET", "/readyz")
        except (OSError, http.client.HTTPException):
            return False
        return status == http.HTTPStatus.OK

    def apply(self, path: str, body: dict[str, Any]) -> None:
        """Apply an object on the server's side. Raises TautError when it is refused."""
        status, answer = self.request(
            "PATCH", f"{path}?fieldManager=localplane&force=true", body, content="application/apply-patch+yaml"
        )
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise TautError(
                f"the new control plane refused {body['kind']} {body['metadata']['name']}: {answer.decode(errors='replace')[:300]}"
            )

    def get(self, path: str) -> dict[str, Any] | None:
        """An object, None when it is not there (yet)."""
        status, answer = self.request("GET", path)
        return json.loads(answer) if status == http.HTTPStatus.OK else None
