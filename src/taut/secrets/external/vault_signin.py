"""Signing in to Vault and OpenBao: from what a store says to a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from taut.secrets.external.asking import Reader
from taut.secrets.external.errors import ProviderError
from taut.secrets.external.http import Tls
from taut.secrets.external.stores import AppRole, Jwt, KubernetesSignIn, Password, SecretKey, Vault


@dataclass(frozen=True, slots=True)
class SignIn:
    """A token that is there already, or a request that gives one."""

    token: str = field(default="", repr=False)
    path: str = ""
    body: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)


async def sign_in(spec: Vault, reader: Reader) -> SignIn:
    """How this store signs in, with what is needed read from the cluster. Raises ProviderError when something is missing."""
    auth = spec.auth
    if auth.token_secret_ref is not None:
        return SignIn(token=await reader.text(auth.token_secret_ref, "token"))
    if auth.app_role is not None:
        return await _app_role(auth.app_role, reader)
    if auth.kubernetes is not None:
        return await _kubernetes(auth.kubernetes, reader)
    if auth.user_pass is not None:
        return await _password(auth.user_pass, "userpass", reader)
    if auth.ldap is not None:
        return await _password(auth.ldap, "ldap", reader)
    if auth.jwt is not None:
        return await _jwt(auth.jwt, reader)
    if auth.cert is not None:
        body = {"name": auth.cert.vault_role} if auth.cert.vault_role else {}
        return SignIn(path=f"auth/{auth.cert.path}/login", body=body)
    raise ProviderError("the store says no way to sign in", "set spec.provider.vault.auth")


async def client_tls(spec: Vault, reader: Reader) -> Tls:
    """How the connection is made. Raises ProviderError when a certificate is missing."""
    ca = await reader.authority(spec.ca_bundle, spec.ca_provider)
    certificate = key = b""
    if spec.auth.cert is not None:
        certificate = await reader.value(spec.auth.cert.client_cert, "tls.crt")
        key = await reader.value(spec.auth.cert.secret_ref, "tls.key")
    elif spec.tls is not None and spec.tls.cert_secret_ref is not None and spec.tls.key_secret_ref is not None:
        certificate = await reader.value(spec.tls.cert_secret_ref, "tls.crt")
        key = await reader.value(spec.tls.key_secret_ref, "tls.key")
    return Tls(ca, certificate, key)


async def _app_role(auth: AppRole, reader: Reader) -> SignIn:
    role = auth.role_id
    if not role:
        if auth.role_ref is None:
            raise ProviderError("appRole needs roleId or roleRef", "set one of them in the store")
        role = await reader.text(auth.role_ref)
    secret = await reader.text(auth.secret_ref)
    return SignIn(path=f"auth/{auth.path}/login", body={"role_id": role, "secret_id": secret})


async def _kubernetes(auth: KubernetesSignIn, reader: Reader) -> SignIn:
    if auth.service_account_ref is not None:
        account = auth.service_account_ref
        token = await reader.asker.account_token(reader.place(account.namespace), account.name, account.audiences)
    elif auth.secret_ref is not None:
        token = await reader.text(auth.secret_ref, "token")
    else:
        raise ProviderError(
            "auth.kubernetes names neither serviceAccountRef nor secretRef, and taut lends its own token to nobody",
            "name a ServiceAccount",
        )
    return SignIn(path=f"auth/{auth.mount_path}/login", body={"role": auth.role, "jwt": token})


async def _password(auth: Password, default_path: str, reader: Reader) -> SignIn:
    password = await reader.text(auth.secret_ref if auth.secret_ref.name else _nameless(), "password")
    return SignIn(path=f"auth/{auth.path or default_path}/login/{auth.username}", body={"password": password})


def _nameless() -> SecretKey:
    raise ProviderError("the store names no Secret with the password", "set secretRef")


async def _jwt(auth: Jwt, reader: Reader) -> SignIn:
    if auth.secret_ref is not None:
        token = await reader.text(auth.secret_ref, "jwt")
    elif auth.kubernetes_service_account_token is not None:
        asked = auth.kubernetes_service_account_token
        account = asked.service_account_ref
        audiences = (*account.audiences, *(asked.audiences or ("vault",)))
        token = await reader.asker.account_token(reader.place(account.namespace), account.name, audiences)
    else:
        raise ProviderError("auth.jwt names no token", "set secretRef or kubernetesServiceAccountToken")
    return SignIn(path=f"auth/{auth.path}/login", body={"role": auth.role, "jwt": token})
