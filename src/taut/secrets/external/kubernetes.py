"""The provider `kubernetes`: Secrets of this cluster or another one, read by the asker."""

from __future__ import annotations

from typing import Any

from taut.model.errors import TautError
from taut.model.manifests import Body
from taut.secrets.external.asking import Cluster, Options, Reader, decoded
from taut.secrets.external.documents import Find, RemoteRef
from taut.secrets.external.errors import NothingThereError, ProviderError
from taut.secrets.external.selecting import fits
from taut.secrets.external.stores import Kubernetes, Store
from taut.secrets.external.values import as_bytes, gjson, go_json, parsed, parsed_map


class KubernetesProvider:
    """Secrets of one namespace."""

    def __init__(self, store: Store, spec: Kubernetes, reader: Reader, options: Options) -> None:
        self._store, self._spec, self._reader, self._options = store, spec, reader, options
        self._cluster: Cluster | None = None
        self._read: dict[str, Body] = {}

    async def get(self, ref: RemoteRef) -> bytes:
        """A Secret as JSON, one of its values, or a property of a value (`key.path`); with metadataPolicy Fetch labels and annotations."""
        secret = await self._secret(ref)
        if ref.metadata_policy == "Fetch":
            return _metadata(secret, ref.property)
        data = decoded(secret)
        if not ref.property:
            return _as_json(data)
        if ref.property in data:
            return data[ref.property]
        key, _, path = ref.property.partition(".")
        if path and key in data:
            found, value = gjson(parsed(data[key]), path)
            if found:
                return as_bytes(value)
        raise ProviderError(f"the Secret has no {ref.property}", "correct `property`, or write it into the Secret")

    async def get_map(self, ref: RemoteRef) -> dict[str, bytes]:
        """All values of a Secret, or the members of one that is a JSON object."""
        if ref.property or ref.metadata_policy == "Fetch":
            return parsed_map(await self.get(ref))
        return decoded(await self._secret(ref))

    async def find(self, find: Find) -> dict[str, bytes]:
        """The Secrets whose names an expression fits, or that carry all these labels, each as JSON."""
        labels = find.tags or {} if find.name is None else {}
        secrets = await self._asked_many(labels)
        found: dict[str, bytes] = {}
        for secret in secrets:
            name = str((secret.get("metadata") or {}).get("name") or "")
            if find.name is None or fits(find.name.regexp, name):
                found[name] = _as_json(decoded(secret))
        if len(found) > self._options.most_found:
            raise ProviderError(f"more than {self._options.most_found} Secrets fit", "narrow find.name or find.tags")
        return found

    async def close(self) -> None:
        """Nothing is borrowed."""

    async def _secret(self, ref: RemoteRef) -> Body:
        if ref.version:
            raise ProviderError("Secrets of a cluster have no versions", "remove remoteRef.version")
        if ref.key not in self._read:
            cluster = await self._who()
            try:
                secret = await self._reader.asker.remote_secret(cluster, self._spec.remote_namespace, ref.key)
            except TautError as error:
                raise ProviderError(error.what, error.advice) from None
            if secret is None:
                raise NothingThereError(f"there is no Secret {self._spec.remote_namespace}/{ref.key}")
            self._read[ref.key] = secret
        return self._read[ref.key]

    async def _asked_many(self, labels: dict[str, str]) -> list[Body]:
        cluster = await self._who()
        try:
            return await self._reader.asker.remote_secrets(cluster, self._spec.remote_namespace, labels)
        except TautError as error:
            raise ProviderError(error.what, error.advice) from None

    async def _who(self) -> Cluster:
        if self._cluster is None:
            self._cluster = await self._signed_in()
        return self._cluster

    async def _signed_in(self) -> Cluster:
        reader, auth, server = self._reader, self._spec.auth, self._spec.server
        if server.url and not self._options.may_ask(server.url):
            raise ProviderError(
                "stores may not ask this server", "list its host in externalSecrets.hosts of the cluster"
            )
        ca = await reader.authority(server.ca_bundle, server.ca_provider)
        if auth is not None and auth.token is not None:
            return Cluster(server.url, ca, token=await reader.text(auth.token.bearer_token, "token"))
        if auth is not None and auth.service_account is not None:
            account = auth.service_account
            token = await reader.asker.account_token(reader.place(account.namespace), account.name, account.audiences)
            return Cluster(server.url, ca, token=token)
        if auth is not None and auth.cert is not None:
            certificate = await reader.value(auth.cert.client_cert, "tls.crt")
            return Cluster(
                server.url, ca, certificate=certificate, key=await reader.value(auth.cert.client_key, "tls.key")
            )
        raise ProviderError(
            "the store does not say who asks, and taut lends its own rights to nobody",
            "set auth.serviceAccount or auth.token",
        )


def _as_json(data: dict[str, bytes]) -> bytes:
    return go_json({k: v.decode(errors="replace") for k, v in data.items()}, html=False)


def _metadata(secret: Body, path: str) -> bytes:
    metadata: dict[str, Any] = secret.get("metadata") or {}
    parts = {part: metadata.get(part) or {} for part in ("labels", "annotations")}
    if not path:
        return go_json(parts, html=False)
    part, dot, name = path.partition(".")
    found = parts.get(part)
    if found is not None and not dot:
        return go_json(found, html=False)
    if found is None or name not in found:
        raise ProviderError(f"the Secret has no {path}", "write it like labels.team")
    return str(found[name]).encode()
