"""From a store to the provider that asks it."""

from __future__ import annotations

from taut.secrets.external.asking import Options, Provider, Reader, Templates
from taut.secrets.external.aws import ParameterStore, SecretsManager
from taut.secrets.external.fake import FakeProvider
from taut.secrets.external.http import Http
from taut.secrets.external.kubernetes import KubernetesProvider
from taut.secrets.external.stores import Aws, Fake, Kubernetes, Store, Vault, Webhook
from taut.secrets.external.vault import VaultProvider
from taut.secrets.external.webhook import WebhookProvider


def provider(store: Store, reader: Reader, http: Http, options: Options, templates: Templates) -> Provider:
    """The provider of a store; nothing is asked yet. Raises ProviderError for a store that cannot be asked as it is."""
    match store.spec:
        case Vault() as spec:
            return VaultProvider(store, spec, reader, http, options)
        case Aws(service="SecretsManager") as spec:
            return SecretsManager(store, spec, reader, http, options)
        case Aws() as spec:
            return ParameterStore(store, spec, reader, http, options)
        case Kubernetes() as spec:
            return KubernetesProvider(store, spec, reader, options)
        case Webhook() as spec:
            return WebhookProvider(store, spec, reader, http, options, templates)
        case Fake() as spec:
            return FakeProvider(store, spec)
