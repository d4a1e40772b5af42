"""SecretStores and ClusterSecretStores, read to the field, for the providers that are supported."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from taut.model.errors import BadInput, Where
from taut.model.manifests import Manifest
from taut.secrets.external.documents import Strict, convert, place, where_of

PROVIDERS = ("vault", "aws", "kubernetes", "webhook", "fake")


class SecretKey(Strict, frozen=True):
    """A value in a Secret of the cluster."""

    name: str = ""
    key: str = ""
    namespace: str = ""


class Account(Strict, frozen=True):
    """A ServiceAccount, and for whom its token is."""

    name: str
    namespace: str = ""
    audiences: tuple[str, ...] = ()


class CaProvider(Strict, frozen=True):
    """A certificate authority in a Secret or ConfigMap."""

    type: Literal["Secret", "ConfigMap"]
    name: str
    key: str = ""
    namespace: str = ""


class AppRole(Strict, frozen=True):
    """AppRole."""

    secret_ref: SecretKey
    path: str = "approle"
    role_id: str = ""
    role_ref: SecretKey | None = None


class KubernetesSignIn(Strict, frozen=True):
    """The token of a ServiceAccount."""

    role: str
    mount_path: str = "kubernetes"
    service_account_ref: Account | None = None
    secret_ref: SecretKey | None = None


class Password(Strict, frozen=True):
    """A user and a password (userPass, ldap)."""

    username: str
    secret_ref: SecretKey = SecretKey()
    path: str = ""


class AccountToken(Strict, frozen=True):
    """A token made for a ServiceAccount."""

    service_account_ref: Account
    audiences: tuple[str, ...] = ()
    expiration_seconds: int | None = None


class Jwt(Strict, frozen=True):
    """A JWT."""

    path: str = "jwt"
    role: str = ""
    secret_ref: SecretKey | None = None
    kubernetes_service_account_token: AccountToken | None = None


class CertSignIn(Strict, frozen=True):
    """A client certificate."""

    client_cert: SecretKey
    secret_ref: SecretKey
    path: str = "cert"
    vault_role: str = ""


class VaultAuth(Strict, frozen=True):
    """How to sign in; exactly one way is set."""

    namespace: str = ""
    token_secret_ref: SecretKey | None = None
    app_role: AppRole | None = None
    kubernetes: KubernetesSignIn | None = None
    user_pass: Password | None = None
    ldap: Password | None = None
    jwt: Jwt | None = None
    cert: CertSignIn | None = None
    iam: dict[str, Any] | None = None
    gcp: dict[str, Any] | None = None


class ClientTls(Strict, frozen=True):
    """A client certificate for the connection."""

    cert_secret_ref: SecretKey | None = None
    key_secret_ref: SecretKey | None = None


class Vault(Strict, frozen=True):
    """Vault or OpenBao."""

    server: str
    auth: VaultAuth = VaultAuth()
    path: str = ""
    version: Literal["v1", "v2"] = "v2"
    namespace: str = ""
    ca_bundle: str = ""
    ca_provider: CaProvider | None = None
    tls: ClientTls | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    read_your_writes: bool = False
    forward_inconsistent: bool = False
    check_and_set: dict[str, Any] | None = None


class AwsSecretRef(Strict, frozen=True):
    """An access key in Secrets."""

    access_key_id: SecretKey = msgspec.field(name="accessKeyIDSecretRef")
    secret_access_key: SecretKey = msgspec.field(name="secretAccessKeySecretRef")
    session_token: SecretKey | None = msgspec.field(default=None, name="sessionTokenSecretRef")


class AwsAuth(Strict, frozen=True):
    """How to sign in."""

    secret_ref: AwsSecretRef | None = None
    jwt: dict[str, Any] | None = None


class Tag(Strict, frozen=True):
    """A tag of a session."""

    key: str
    value: str


class Aws(Strict, frozen=True):
    """Secrets Manager or Parameter Store."""

    service: Literal["SecretsManager", "ParameterStore"]
    region: str
    auth: AwsAuth = AwsAuth()
    role: str = ""
    additional_roles: tuple[str, ...] = ()
    external_id: str = msgspec.field(default="", name="externalID")
    session_tags: tuple[Tag, ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    prefix: str = ""
    secrets_manager: dict[str, Any] | None = None
    """Says how Secrets are deleted there; taut writes nothing."""


class Server(Strict, frozen=True):
    """The API server; without a URL the cluster that taut keeps."""

    url: str = ""
    ca_bundle: str = ""
    ca_provider: CaProvider | None = None


class TokenAuth(Strict, frozen=True):
    """A token in a Secret."""

    bearer_token: SecretKey


class CertAuth(Strict, frozen=True):
    """A client certificate in Secrets."""

    client_cert: SecretKey
    client_key: SecretKey


class KubernetesAuth(Strict, frozen=True):
    """Who asks."""

    token: TokenAuth | None = None
    service_account: Account | None = None
    cert: CertAuth | None = None


class Kubernetes(Strict, frozen=True):
    """Secrets of a cluster."""

    server: Server = Server()
    auth: KubernetesAuth | None = None
    auth_ref: SecretKey | None = None
    remote_namespace: str = "default"


class WebhookResult(Strict, frozen=True):
    """Where in the answer the value is."""

    json_path: str = ""


class WebhookSecret(Strict, frozen=True):
    """A Secret that the templates see."""

    name: str
    secret_ref: SecretKey


class Webhook(Strict, frozen=True):
    """Any HTTP service."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    body: str = ""
    timeout: str | int = ""
    result: WebhookResult = WebhookResult()
    secrets: tuple[WebhookSecret, ...] = ()
    ca_bundle: str = ""
    ca_provider: CaProvider | None = None
    auth: dict[str, Any] | None = None


class FakeData(Strict, frozen=True):
    """A value that stands in the store's document."""

    key: str
    value: str = ""
    version: str = ""
    value_map: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"FakeData({self.key!r})"


class Fake(Strict, frozen=True):
    """Values that stand in the document: for trying things out."""

    data: tuple[FakeData, ...] = ()
    validation_result: int | None = None


class Retries(Strict, frozen=True):
    """How often to ask again."""

    max_retries: int = 0
    retry_interval: str = "1s"


class Condition(Strict, frozen=True):
    """Namespaces that may use a ClusterSecretStore; any of its parts is enough."""

    namespace_selector: dict[str, Any] | None = None
    namespaces: tuple[str, ...] = ()
    namespace_regexes: tuple[str, ...] = ()


class _Providers(Strict, frozen=True):
    vault: Vault | None = None
    aws: Aws | None = None
    kubernetes: Kubernetes | None = None
    webhook: Webhook | None = None
    fake: Fake | None = None


class _Spec(Strict, frozen=True):
    provider: _Providers
    controller: str = ""
    retry_settings: Retries = Retries()
    refresh_interval: int = 0
    conditions: tuple[Condition, ...] = ()


type ProviderSpec = Vault | Aws | Kubernetes | Webhook | Fake


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A store with its place. `namespace` is empty for a ClusterSecretStore."""

    kind: Literal["SecretStore", "ClusterSecretStore"]
    name: str
    namespace: str
    provider: str
    spec: ProviderSpec
    conditions: tuple[Condition, ...] = ()
    retries: Retries = Retries()
    where: Where = Where()

    @property
    def cluster_wide(self) -> bool:
        """Whether all namespaces may use it (those of its conditions, when it has some)."""
        return self.kind == "ClusterSecretStore"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def store(manifest: Manifest, *, namespace: str = "") -> Store:
    """A store of its document; `namespace` is where it goes when it does not say. Raises BadInput with file, line and field."""
    where = where_of(manifest)
    if manifest.kind not in ("SecretStore", "ClusterSecretStore"):
        raise BadInput(f"{manifest.kind} is no store", where=where)
    body = manifest.body.get("spec")
    _known(body.get("provider") if isinstance(body, dict) else None, where)
    spec = convert(body, _Spec, where)
    found = {name: part for name in PROVIDERS if (part := getattr(spec.provider, name)) is not None}
    if len(found) != 1:
        raise BadInput("exactly one provider must be set", where=place(where, "spec.provider"))
    ((name, part),) = found.items()
    _supported(name, part, where)
    wide = manifest.kind == "ClusterSecretStore"
    return Store(
        kind="ClusterSecretStore" if wide else "SecretStore",
        name=manifest.name,
        namespace="" if wide else manifest.namespace or namespace,
        provider=name,
        spec=part,
        conditions=spec.conditions if wide else (),
        retries=spec.retry_settings,
        where=where,
    )


def _known(providers: Any, where: Where) -> None:
    for name in providers if isinstance(providers, dict) else ():
        if name not in PROVIDERS:
            raise BadInput(
                f"the provider {name} is not supported",
                where=place(where, f"spec.provider.{name}"),
                advice=f"taut reads {', '.join(PROVIDERS)}",
            )


_VAULT_WAYS = ("token_secret_ref", "app_role", "kubernetes", "user_pass", "ldap", "jwt", "cert")


def _supported(name: str, part: ProviderSpec, where: Where) -> None:
    def refuse(what: str, field: str, advice: str = "") -> BadInput:
        return BadInput(what, where=place(where, f"spec.provider.{name}.{field}"), advice=advice)

    match part:
        case Vault(auth=auth):
            if auth.iam is not None or auth.gcp is not None:
                raise refuse("signing in with iam or gcp is not supported", "auth", "use jwt, kubernetes or appRole")
            if sum(getattr(auth, way) is not None for way in _VAULT_WAYS) != 1:
                raise refuse("exactly one way to sign in must be set", "auth")
        case Aws(auth=AwsAuth(jwt=jwt)) if jwt is not None:
            raise refuse("signing in with a ServiceAccount's token is not supported", "auth.jwt", "use secretRef")
        case Webhook(auth=auth) if auth is not None:
            raise refuse("NTLM is not supported", "auth", "send a header")
        case Kubernetes(auth_ref=ref, auth=auth):
            if ref is not None:
                raise refuse("a kubeconfig in a Secret is not supported", "authRef", "use auth.token")
            if auth is None and part.server.url:
                raise refuse("another cluster needs auth", "auth")
        case _:
            pass
