"""What resolving needs of others: the cluster, an engine for templates, and what the caller allows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from taut.model.errors import TautError
from taut.model.manifests import Body
from taut.secrets.external.documents import Find, RemoteRef, data_of
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.stores import CaProvider, SecretKey, Store

type Values = Mapping[str, bytes]
type TemplateData = Mapping[str, bytes | Mapping[str, bytes]]
"""What a template sees as `.`: values, and mappings of values."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Another cluster's API server, and who asks. An empty `url`: the cluster that is kept; then a token may still say who asks."""

    url: str = ""
    ca: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


class Asker(Protocol):
    """Reads the cluster the ExternalSecret is for. Each raises TautError when it cannot be told; None: there is no such object."""

    async def secret(self, namespace: str, name: str) -> Body | None:
        """A Secret."""
        ...

    async def config_map(self, namespace: str, name: str) -> Body | None:
        """A ConfigMap."""
        ...

    async def namespace(self, name: str) -> Body | None:
        """A Namespace."""
        ...

    async def store(self, kind: str, namespace: str, name: str) -> Store | None:
        """A SecretStore of a namespace, or a ClusterSecretStore (then `namespace` is empty)."""
        ...

    def for_store(self, store: Store) -> Asker:
        """Who reads what a store refers to: with the rights of whoever declares the store."""
        ...

    async def account_token(self, namespace: str, name: str, audiences: Sequence[str]) -> str:
        """A fresh, short-lived token of a ServiceAccount; without audiences it is for the API server."""
        ...

    async def remote_secret(self, cluster: Cluster, namespace: str, name: str) -> Body | None:
        """A Secret, for the provider `kubernetes`."""
        ...

    async def remote_secrets(self, cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> list[Body]:
        """The Secrets of a namespace that carry all these labels."""
        ...


class TemplateError(Exception):
    """A template cannot be run: `number` says which (as they were given; -1: unknown), the text why, and holds no value."""

    def __init__(self, what: str, number: int = -1) -> None:
        super().__init__(what)
        self.number = number


class Templates(Protocol):
    """Runs Go templates with sprig's functions: those of strangers, so with bounds, and with no way to the network or the environment.

    A key that is missing is an error (`missingkey=error`).
    """

    async def render(self, items: Sequence[tuple[str, int]], data: Sequence[TemplateData]) -> list[bytes]:
        """What each template (its text, and which of `data` it sees) gives, in their order. Raises TautError, whose `where.field` is the number of
        the template that failed, and whose text holds no value.
        """
        ...


async def run(templates: Templates, items: Sequence[tuple[str, int]], data: Sequence[TemplateData]) -> list[bytes]:
    """What templates give; those without any action are not sent to the engine. Raises TemplateError."""
    sent = [number for number, (text, _) in enumerate(items) if "{{" in text]
    results = [text.encode() for text, _ in items]
    if not sent:
        return results
    try:
        made = await templates.render([items[number] for number in sent], data)
    except TautError as error:
        field = error.where.field
        known = field.isdecimal() and int(field) < len(sent)
        raise TemplateError(error.what, sent[int(field)] if known else -1) from None
    for number, result in zip(sent, made, strict=True):
        results[number] = result
    return results


class Provider(Protocol):
    """One store, ready to be asked. Each raises NothingThereError for a key that is not there, ProviderError for every other failure."""

    async def get(self, ref: RemoteRef) -> bytes:
        """One value."""
        ...

    async def get_map(self, ref: RemoteRef) -> dict[str, bytes]:
        """The values of one key."""
        ...

    async def find(self, find: Find) -> dict[str, bytes]:
        """The values of all keys that fit."""
        ...

    async def close(self) -> None:
        """Give back what was borrowed to ask."""
        ...


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """An access key."""

    id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def _anything(_: str) -> bool:
    return True


@dataclass(frozen=True)
class Options:
    """What the caller allows. `may_ask` is asked for each URL before anything is sent there; `aws_keys` are lent to stores of AWS that have
    no `auth` (None: they are refused); `aws_endpoint` takes the place of all of AWS's.
    """

    may_ask: Callable[[str], bool] = _anything
    aws_keys: AwsKeys | None = None
    aws_endpoint: str = ""
    most_found: int = 1000
    """How many keys `find` may give."""
    seconds: float = 120.0
    """How long one ExternalSecret may take."""


@dataclass(frozen=True)
class Reader:
    """Reads what a store refers to in the cluster, for one namespace that uses it."""

    asker: Asker
    store: Store
    namespace: str

    def place(self, namespace: str) -> str:
        """Where a reference points: a SecretStore never out of its own namespace. Raises ProviderError."""
        if self.store.cluster_wide:
            return namespace or self.namespace
        if namespace and namespace != self.store.namespace:
            raise ProviderError(
                f"a SecretStore cannot read namespace {namespace}", "leave `namespace` out, or use a ClusterSecretStore"
            )
        return self.store.namespace

    async def secret_data(self, ref: SecretKey) -> dict[str, bytes]:
        """All values of a Secret. Raises ProviderError when there is none."""
        namespace = self.place(ref.namespace)
        body = await self.asker.secret(namespace, ref.name)
        if body is None:
            raise ProviderError(f"the store needs Secret {namespace}/{ref.name}, and there is none", "create it")
        return decoded(body)

    async def value(self, ref: SecretKey, default_key: str = "") -> bytes:
        """One value of a Secret, without spaces and newlines around it. Raises ProviderError when there is none."""
        data = await self.secret_data(ref)
        key = ref.key or default_key
        if key not in data:
            raise ProviderError(
                f"Secret {self.place(ref.namespace)}/{ref.name} has no key {key!r}",
                "correct the reference in the store",
            )
        return data[key].strip()

    async def text(self, ref: SecretKey, default_key: str = "") -> str:
        """The same, as text."""
        try:
            return (await self.value(ref, default_key)).decode()
        except UnicodeDecodeError:
            raise ProviderError(f"Secret {self.place(ref.namespace)}/{ref.name} holds no text") from None

    async def authority(self, bundle: str, provider: CaProvider | None) -> bytes:
        """The certificate authority that a store names (PEM), empty for none. Raises ProviderError."""
        if bundle:
            try:
                return base64.b64decode(bundle, validate=True)
            except (binascii.Error, ValueError):
                raise ProviderError("caBundle is no base64", "write the PEM file in base64") from None
        if provider is None:
            return b""
        if provider.type == "Secret":
            return await self.value(
                SecretKey(name=provider.name, key=provider.key, namespace=provider.namespace), "ca.crt"
            )
        namespace = self.place(provider.namespace)
        body = await self.asker.config_map(namespace, provider.name)
        value = data_of(body or {}).get(provider.key or "ca.crt")
        if value is None:
            raise ProviderError(f"ConfigMap {namespace}/{provider.name} has no key {provider.key or 'ca.crt'!r}")
        return str(value).encode()


def decoded(secret: Body) -> dict[str, bytes]:
    """The values of a Secret. Raises ProviderError for what is no base64."""
    found: dict[str, bytes] = {}
    for key, value in data_of(secret).items():
        try:
            found[str(key)] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            raise ProviderError(f"the Secret's value {key} is no base64") from None
    return found
