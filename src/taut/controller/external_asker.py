"""What stores of external secrets ask clusters for, with the rights that the application writes with, or with the store's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taut.clients.kubernetes.client import KubernetesClient, segment
from taut.clients.kubernetes.config import ClusterConfig
from taut.clients.kubernetes.credentials import Credential, Fixed
from taut.clients.kubernetes.tls import Certificate, Tls
from taut.model.errors import TargetError
from taut.model.manifests import Body
from taut.secrets.external.asking import Cluster as Remote
from taut.secrets.external.stores import Store
from taut.targets.kubernetes.cluster import Cluster
from taut.targets.kubernetes.writes import impersonation

_TOKEN_SECONDS = 600
_MOST_BYTES = 8 * 2**20

type User = Callable[[str], str | None]


@dataclass(frozen=True)
class ClusterAsker:
    """Asks one cluster. `user` says as whom, by namespace (None: as taut), and raises TargetError where the project allows nobody to read.

    `store_of` gives a store, `may_ask` whether a URL may be asked, `user_of` as whom the application that declares a ClusterSecretStore reads.
    """

    cluster: Cluster
    user: User
    store_of: Callable[[str, str, str], Store | None]
    may_ask: Callable[[str], bool]
    user_of: Callable[[Store], User]
    namespace_of: str = ""
    """The namespace of the ExternalSecret that is resolved: there its own application's rights count."""

    def for_store(self, store: Store) -> ClusterAsker:
        """What a ClusterSecretStore refers to is read with its application's rights: whoever uses it lends it none elsewhere."""
        if not store.cluster_wide:
            return self
        mine, owners = self.user, self.user_of(store)

        def user(namespace: str) -> str | None:
            return mine(namespace) if namespace == self.namespace_of else owners(namespace)

        return dataclasses.replace(self, user=user)

    async def secret(self, namespace: str, name: str) -> Body | None:
        """A Secret; None when there is none."""
        return await self._get(namespace, "secrets", name)

    async def config_map(self, namespace: str, name: str) -> Body | None:
        """A ConfigMap; None when there is none."""
        return await self._get(namespace, "configmaps", name)

    async def store(self, kind: str, namespace: str, name: str) -> Store | None:
        """A store that an application of this cluster declares."""
        return self.store_of(kind, namespace, name)

    async def account_token(self, namespace: str, name: str, audiences: Sequence[str]) -> str:
        """A token of a service account, for ten minutes."""
        path = f"/api/v1/namespaces/{segment(namespace)}/serviceaccounts/{segment(name)}/token"
        spec: dict[str, Any] = {"expirationSeconds": _TOKEN_SECONDS}
        if audiences:
            spec["audiences"] = list(audiences)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        user = impersonation(self.user(namespace), namespace)
        subject = f"a token of ServiceAccount {namespace}/{name}"
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

    async def remote_secret(self, cluster: Remote, namespace: str, name: str) -> Body | None:
        """A Secret, with the rights of the store's own account."""
        path = f"/api/v1/namespaces/{segment(namespace)}/secrets/{segment(name)}"
        try:
            return await self._remote(cluster, path, {}, f"Secret {namespace}/{name}")
        except TargetError as error:
            if error.status == 404:
                return None
            raise

    async def remote_secrets(self, cluster: Remote, namespace: str, labels: Mapping[str, str]) -> list[Body]:
        """The Secrets of a namespace that carry all these labels, with the same rights."""
        query = {"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())} if labels else {}
        path = f"/api/v1/namespaces/{segment(namespace)}/secrets"
        answer = await self._remote(cluster, path, query, f"the Secrets of {namespace}")
        return [item for item in answer.get("items") or () if isinstance(item, dict)]

    async def _remote(self, remote: Remote, path: str, query: Mapping[str, str], subject: str) -> Any:
        """Never with taut's own rights: the store says who asks."""
        if not remote.token and not remote.certificate:
            raise TargetError("the store does not say as whom it asks", advice="set auth.serviceAccount or auth.token")
        if remote.url and not self.may_ask(remote.url):
            raise TargetError("this API server may not be asked", advice="list its host in externalSecrets.hosts")
        own = self.cluster.client.config
        certificate = Certificate(remote.certificate, remote.key) if remote.certificate else None
        token = f"Bearer {remote.token}" if remote.token else ""
        signed = Fixed(Credential(token, certificate))
        config = (
            ClusterConfig(remote.url.rstrip("/"), Tls(ca=remote.ca), signed, guarded=True)
            if remote.url
            else dataclasses.replace(own, credentials=signed, impersonate=None)
        )
        client = KubernetesClient(config, concurrency=2, most_bytes=_MOST_BYTES)
        try:
            return await client.request("GET", path, query=query or None, subject=subject)
        finally:
            await client.close()

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
