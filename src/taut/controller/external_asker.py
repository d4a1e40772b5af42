"""What stores of external secrets ask the target for, with the rights that the application writes with."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from taut.clients.kubernetes.client import segment
from taut.model.errors import TargetError
from taut.model.manifests import Body
from taut.targets.kubernetes.cluster import Cluster
from taut.targets.kubernetes.writes import impersonation

_TOKEN_SECONDS = 600


@dataclass(frozen=True)
class ClusterAsker:
    """Asks one cluster. `user` says as whom, by namespace (None: as taut)."""

    cluster: Cluster
    user: Callable[[str], str | None]

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A Secret's entries, decoded; None when there is none."""
        body = await self._get(namespace, "secrets", name)
        return None if body is None else {k: base64.b64decode(v) for k, v in (body.get("data") or {}).items()}

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A ConfigMap's entries; None when there is none."""
        body = await self._get(namespace, "configmaps", name)
        return None if body is None else {k: str(v).encode() for k, v in (body.get("data") or {}).items()}

    async def token(self, namespace: str, account: str, audiences: list[str]) -> str:
        """A token of a service account, for ten minutes."""
        path = f"/api/v1/namespaces/{segment(namespace)}/serviceaccounts/{segment(account)}/token"
        spec: dict[str, Any] = {"expirationSeconds": _TOKEN_SECONDS}
        if audiences:
            spec["audiences"] = audiences
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        user = impersonation(self.user(namespace), namespace)
        subject = f"a token of ServiceAccount {namespace}/{account}"
        answer = await self.cluster.client.request("POST", path, body=body, impersonate=user, subject=subject)
        return str((answer.get("status") or {}).get("token") or "")

    async def namespace(self, name: str) -> Body | None:
        """A Namespace; None when it is not there, or may not be seen."""
        try:
            return await self._ask(f"/api/v1/namespaces/{segment(name)}", name, f"Namespace {name}")
        except TargetError as error:
            if error.status == 403:
                return None
            raise

    @property
    def server(self) -> tuple[str, str]:
        """The cluster's URL, and its CA as PEM."""
        config = self.cluster.client.config
        return config.server, config.tls.ca.decode()

    async def _get(self, namespace: str, plural: str, name: str) -> Body | None:
        path = f"/api/v1/namespaces/{segment(namespace)}/{plural}/{segment(name)}"
        return await self._ask(path, namespace, f"{plural} {namespace}/{name}")

    async def _ask(self, path: str, namespace: str, subject: str) -> Body | None:
        user = impersonation(self.user(namespace), namespace)
        try:
            return await self.cluster.client.request("GET", path, impersonate=user, subject=subject)
        except TargetError as error:
            if error.status == 404:
                return None
            raise
