"""From a store's document to a store that can be asked: who signs in, with what, where."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from taut.documents.re2 import ExpressionError, matches
from taut.model.errors import BadInput, Where
from taut.model.manifests import Body
from taut.secrets.external.asking import Rules, Web
from taut.secrets.external.aws import Account, ParameterStore, SecretsManager
from taut.secrets.external.documents import RemoteRef, Store, StoreCondition, at, read
from taut.secrets.external.errors import SecretError
from taut.secrets.external.others import Fake, KubernetesSecrets, Request, Webhook
from taut.secrets.external.provider import Provider
from taut.secrets.external.vault import Login, Vault


class Asker(Protocol):
    """What the target is asked for on behalf of a document. All may raise TargetError."""

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A Secret's entries; None when there is none."""
        ...

    async def config_map(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """A ConfigMap's entries; None when there is none."""
        ...

    async def token(self, namespace: str, account: str, audiences: list[str]) -> str:
        """A token of a service account, for a few minutes."""
        ...

    async def namespace(self, name: str) -> Body | None:
        """A Namespace; None when it is not known."""
        ...

    @property
    def server(self) -> tuple[str, str]:
        """The target's own API: its URL, and its CA as PEM."""
        ...


class Templates(Protocol):
    """Renders Go templates, with the functions that Helm has."""

    async def __call__(self, texts: Mapping[str, str], data: Mapping[str, str]) -> dict[str, str]:
        """Each text with `data` as its dot. Raises RenderError with what is wrong with which."""
        ...


@dataclass(frozen=True)
class StoreDocument:
    """A SecretStore (in a namespace) or ClusterSecretStore (namespace empty)."""

    kind: str
    namespace: str
    name: str
    body: Body = field(repr=False)
    where: Where = field(default_factory=Where)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Opening:
    """What opening a store needs. `namespace` is that of the ExternalSecret: a namespaced store takes its credentials from there."""

    namespace: str
    asker: Asker
    templates: Templates
    rules: Rules
    asked: tuple[RemoteRef, ...] = ()
    """Every value that will be asked for."""


async def open_store(store: StoreDocument, opening: Opening) -> Provider:
    """The store, ready to be asked. Raises BadInput for a document that cannot be meant, SecretError for credentials that are not there, or a
    namespace that may not use it.
    """
    spec = read(store.body.get("spec"), Store, store.where)
    if store.kind == "ClusterSecretStore" and spec.conditions:
        await _allowed(store, spec.conditions, opening)
    if len(spec.provider) != 1:
        what = "a store has exactly one provider"
        raise BadInput(what, where=at(store.where, "spec.provider"), advice="keep one of them")
    ((name, settings),) = spec.provider.items()
    make = _MAKE.get(name)
    if make is None or not isinstance(settings, dict):
        raise BadInput(
            f"the provider {name!r} is not supported",
            where=at(store.where, "spec.provider"),
            advice=f"one of {', '.join(sorted(_MAKE))}; or have External Secrets' operator resolve it",
        )
    return await make(_Making(store, settings, opening))


async def _allowed(store: StoreDocument, conditions: Iterable[StoreCondition], opening: Opening) -> None:
    body = await opening.asker.namespace(opening.namespace)
    labels: Mapping[str, Any] = ((body or {}).get("metadata") or {}).get("labels") or {}
    for condition in conditions:
        if opening.namespace in condition.namespaces:
            return
        try:
            if any(matches(f"^(?:{r})$", opening.namespace) for r in condition.namespace_regexes):
                return
        except ExpressionError as error:
            raise BadInput(str(error), where=at(store.where, "spec.conditions")) from None
        if condition.namespace_selector is not None and selected(condition.namespace_selector, labels):
            return
    raise SecretError(
        f"{store} is not for the namespace {opening.namespace}", where=store.where, advice="see its conditions"
    )


def selected(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a label selector fits."""
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        key, values = rule.get("key"), rule.get("values") or ()
        fits = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not fits.get(str(rule.get("operator")), False):
            return False
    return True


@dataclass(frozen=True)
class _Making:
    """One store that is being opened."""

    store: StoreDocument
    settings: Mapping[str, Any] = field(repr=False)
    opening: Opening = field(repr=False)

    def text(self, *path: str, default: str = "") -> str:
        value: Any = self.settings
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return default if value is None else str(value)

    def part(self, *path: str) -> dict[str, Any]:
        value: Any = self.settings
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def bad(self, what: str, field_: str, advice: str = "") -> BadInput:
        return BadInput(what, where=at(self.store.where, f"spec.provider.{field_}"), advice=advice)

    def space(self, ref: Mapping[str, Any]) -> str:
        """A namespaced store has its credentials beside it; one of the cluster says where, or takes the asking document's namespace."""
        if self.store.namespace:
            return self.store.namespace
        return str(ref.get("namespace") or self.opening.namespace)

    async def secret(self, ref: Any, what: str) -> str:
        """The entry that a `secretRef` names, as text."""
        if not isinstance(ref, dict) or not ref.get("name") or not ref.get("key"):
            raise self.bad("a secretRef needs a name and a key", what)
        space = self.space(ref)
        found = await self.opening.asker.secret(space, str(ref["name"]))
        if found is None or str(ref["key"]) not in found:
            raise SecretError(
                f"{self.store} signs in with the entry {ref['key']} of the Secret {space}/{ref['name']}, which is not there",
                where=self.store.where,
                advice="make it",
            )
        return found[str(ref["key"])].decode(errors="replace").strip()

    async def account_token(self, ref: Mapping[str, Any], audiences: Iterable[str] = ()) -> str:
        wanted = [str(a) for a in (ref.get("audiences") or audiences)]
        return await self.opening.asker.token(self.space(ref), str(ref.get("name") or "default"), wanted)

    async def web(self) -> Web:
        """With the store's own CA, where it names one."""
        bundle, provider = self.text("caBundle"), self.part("caProvider")
        if bundle:
            try:
                return Web(self.opening.rules, base64.b64decode(bundle, validate=True).decode())
            except (binascii.Error, ValueError):
                raise self.bad("caBundle is no base64", "caBundle") from None
        if provider:
            space, name = self.space(provider), str(provider.get("name") or "")
            ask = self.opening.asker.secret if provider.get("type") == "Secret" else self.opening.asker.config_map
            found = await ask(space, name) or {}
            key = str(provider.get("key") or "ca.crt")
            if key not in found:
                raise SecretError(f"{self.store}: the CA {space}/{name} has no {key}", where=self.store.where)
            return Web(self.opening.rules, found[key].decode(errors="replace"))
        return Web(self.opening.rules)


async def _vault(making: _Making) -> Provider:
    server = making.text("server")
    if not server:
        raise making.bad("vault needs a server", "vault.server")
    return Vault(
        await making.web(),
        server,
        await _vault_login(making),
        mount=making.text("path"),
        version=making.text("version", default="v2"),
        namespace=making.text("namespace"),
    )


async def _vault_login(making: _Making) -> Login:
    auth = making.part("auth")
    if "tokenSecretRef" in auth:
        return Login(token=await making.secret(auth["tokenSecretRef"], "vault.auth.tokenSecretRef"))
    if "appRole" in auth:
        role = making.part("auth", "appRole")
        ident = str(role.get("roleId") or "") or await making.secret(role.get("roleRef"), "vault.auth.appRole.roleRef")
        secret = await making.secret(role.get("secretRef"), "vault.auth.appRole.secretRef")
        return Login(path=_login_path(role, "approle"), body={"role_id": ident, "secret_id": secret})
    if "kubernetes" in auth:
        kube = making.part("auth", "kubernetes")
        if kube.get("secretRef"):
            reference = {"key": "token", **kube["secretRef"]}
            token = await making.secret(reference, "vault.auth.kubernetes.secretRef")
        else:
            token = await making.account_token(making.part("auth", "kubernetes", "serviceAccountRef"), ("vault",))
        path = _login_path({"path": kube.get("mountPath")}, "kubernetes")
        return Login(path=path, body={"role": str(kube.get("role") or ""), "jwt": token})
    if "userPass" in auth:
        user = making.part("auth", "userPass")
        secret = await making.secret(user.get("secretRef"), "vault.auth.userPass.secretRef")
        path = _login_path(user, "userpass")
        return Login(path=f"{path}/{_plain(making, str(user.get('username') or ''))}", body={"password": secret})
    if "jwt" in auth:
        jwt = making.part("auth", "jwt")
        if jwt.get("secretRef"):
            token = await making.secret(jwt["secretRef"], "vault.auth.jwt.secretRef")
        else:
            account = making.part("auth", "jwt", "kubernetesServiceAccountToken")
            token = await making.account_token(
                account.get("serviceAccountRef") or {}, account.get("audiences") or ("vault",)
            )
        return Login(path=_login_path(jwt, "jwt"), body={"role": str(jwt.get("role") or ""), "jwt": token})
    raise making.bad(
        "there is no way to sign in that is supported",
        "vault.auth",
        "tokenSecretRef, appRole, kubernetes, userPass or jwt",
    )


def _login_path(auth: Mapping[str, Any], default: str) -> str:
    mount = str(auth.get("path") or default).strip("/")
    if ".." in mount.split("/"):
        raise SecretError(f"{mount!r} is no path of a sign-in")
    return f"auth/{mount}/login"


def _plain(making: _Making, name: str) -> str:
    if not name or "/" in name or name in {".", ".."}:
        raise making.bad("the user's name cannot be read", "vault.auth.userPass.username")
    return name


async def _aws(making: _Making) -> Provider:
    service, region = making.text("service"), making.text("region")
    if service not in {"SecretsManager", "ParameterStore"} or not region:
        raise making.bad("aws needs a region, and a service", "aws.service", "SecretsManager or ParameterStore")
    reference = making.part("auth", "secretRef")
    if not reference:
        raise making.bad(
            "taut signs in to AWS with keys that a Secret holds",
            "aws.auth.secretRef",
            "set auth.secretRef.accessKeyIDSecretRef and secretAccessKeySecretRef",
        )
    place = "aws.auth.secretRef"
    session = reference.get("sessionTokenSecretRef")
    account = Account(
        region,
        await making.secret(reference.get("accessKeyIDSecretRef"), f"{place}.accessKeyIDSecretRef"),
        await making.secret(reference.get("secretAccessKeySecretRef"), f"{place}.secretAccessKeySecretRef"),
        await making.secret(session, f"{place}.sessionTokenSecretRef") if session else "",
        making.text("role"),
        making.text("externalID"),
        making.opening.rules.aws_endpoint,
    )
    make = SecretsManager if service == "SecretsManager" else ParameterStore
    return make(account, making.text("prefix"))


async def _kubernetes(making: _Making) -> Provider:
    auth = making.part("auth")
    if "token" in auth:
        token = await making.secret(
            making.part("auth", "token").get("bearerToken"), "kubernetes.auth.token.bearerToken"
        )
    elif "serviceAccount" in auth:
        token = await making.account_token(making.part("auth", "serviceAccount"))
    else:
        raise making.bad("the store needs a sign-in", "kubernetes.auth", "serviceAccount or token")
    url, web = making.text("server", "url"), await making.web()
    if making.part("server"):
        inner = _Making(making.store, making.part("server"), making.opening)
        web = await inner.web()
    if not url or url == "kubernetes.default":
        url, ca = making.opening.asker.server
        web = Web(Rules(), ca)
    return KubernetesSecrets(web, url, token, making.text("remoteNamespace", default=making.opening.namespace))


async def _webhook(making: _Making) -> Provider:
    settings = making.settings
    secrets: dict[str, Mapping[str, str]] = {}
    for entry in settings.get("secrets") or ():
        reference = entry.get("secretRef") or {}
        found = await making.opening.asker.secret(making.space(reference), str(reference.get("name") or ""))
        if found is None:
            raise SecretError(
                f"{making.store}: the Secret {reference.get('name')} is not there", where=making.store.where
            )
        key = reference.get("key")
        chosen = {key: found[key]} if key and key in found else found
        secrets[str(entry.get("name"))] = {k: v.decode(errors="replace") for k, v in chosen.items()}
    asked: dict[tuple[str, str, str], Request] = {}
    for ref in making.opening.asked:
        asked[ref.key, ref.property, ref.version] = await _request(making, ref, secrets)
    return Webhook(await making.web(), asked, making.text("result", "jsonPath"))


async def _request(making: _Making, ref: RemoteRef, secrets: Mapping[str, Mapping[str, str]]) -> Request:
    headers = {str(k): str(v) for k, v in making.part("headers").items()}
    texts = {"url": making.text("url"), "body": making.text("body"), **{f"h.{k}": v for k, v in headers.items()}}
    remote = {"key": ref.key, "property": ref.property, "version": ref.version}
    data: dict[str, Any] = {**secrets, "remoteRef": remote}
    made = await making.opening.templates(texts, data)
    if any(c in text for name, text in made.items() if name != "body" for c in "\r\n"):
        raise SecretError(f"{making.store}: a header or the url holds a line break", where=making.store.where)
    try:
        seconds = min(float(making.text("timeout", default="15s").removesuffix("s")), 60.0)
    except ValueError:
        raise making.bad("timeout is no duration", "webhook.timeout", "write 15s") from None
    return Request(
        made["url"],
        making.text("method", default="GET"),
        {name.removeprefix("h."): text for name, text in made.items() if name.startswith("h.")},
        made["body"],
        seconds,
    )


async def _fake(making: _Making) -> Provider:
    return Fake(tuple(d for d in making.settings.get("data") or () if isinstance(d, dict)))


type _Make = Callable[[_Making], Coroutine[Any, Any, Provider]]
_MAKE: dict[str, _Make] = {
    "vault": _vault,
    "aws": _aws,
    "kubernetes": _kubernetes,
    "webhook": _webhook,
    "fake": _fake,
}
