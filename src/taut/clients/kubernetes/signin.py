"""Which way to sign in a kubeconfig's user means."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taut.clients.kubernetes.credentials import (
    CertificateFiles,
    Credential,
    Credentials,
    Fixed,
    TokenFile,
    basic,
    bearer,
)
from taut.clients.kubernetes.exec_plugin import ExecPlugin, exec_settings
from taut.clients.kubernetes.kubeconfig import Named, bytes_of, path_of
from taut.clients.kubernetes.oidc import Oidc, OidcSettings, oidc_settings
from taut.clients.kubernetes.tls import Certificate
from taut.documents.yaml import dump, load_one
from taut.model.errors import BadInput, Where


def credentials_of(user: Named, *, cluster: Mapping[str, Any]) -> Credentials:
    """The credentials of a kubeconfig's user. `cluster` is what an exec plugin is told about the cluster if it asks.

    A token file wins over a token, and both over exec, auth-provider and password (client-go's order). A client certificate
    comes on top of any of them. Raises BadInput for what cannot be meant.
    """
    return _with_certificate(user, _header(user, cluster))


def _header(user: Named, cluster: Mapping[str, Any]) -> Credentials:
    value = user.value
    token_file = path_of(user, "tokenFile")
    if token_file is not None:
        return TokenFile(token_file)
    if value.get("token"):
        return Fixed(Credential(bearer(str(value["token"]))))
    folder = user.file.absolute().parent
    if isinstance(value.get("exec"), dict):
        return ExecPlugin(exec_settings(value["exec"], file=str(user.file), folder=folder, cluster=cluster))
    if isinstance(value.get("auth-provider"), dict):
        return _provider(user, value["auth-provider"], folder)
    if value.get("username"):
        return Fixed(Credential(basic(str(value["username"]), str(value.get("password") or ""))))
    return Fixed()


def _with_certificate(user: Named, base: Credentials) -> Credentials:
    value = user.value
    has_certificate = bool(value.get("client-certificate-data") or value.get("client-certificate"))
    has_key = bool(value.get("client-key-data") or value.get("client-key"))
    if has_certificate != has_key:
        raise BadInput(
            f"the user {user.name!r} has a client certificate without its key, or a key alone",
            where=Where(file=str(user.file), field="users.user.client-certificate"),
            advice="write both",
        )
    if not has_certificate:
        return base
    certificate, key = path_of(user, "client-certificate"), path_of(user, "client-key")
    in_files = not value.get("client-certificate-data") and not value.get("client-key-data")
    if in_files and certificate is not None and key is not None:
        return CertificateFiles(base, certificate, key)
    pair = Certificate(bytes_of(user, "client-certificate"), bytes_of(user, "client-key"))
    return WithCertificate(base, pair)


class WithCertificate:
    """Another way to sign in, with a client certificate that never changes."""

    def __init__(self, base: Credentials, pair: Certificate) -> None:
        self._base = base
        self._pair = pair

    async def current(self) -> Credential:
        """The other way's header, and the certificate."""
        return Credential((await self._base.current()).authorization, self._pair)

    def refused(self) -> bool:
        """Whatever the other way can renew."""
        return self._base.refused()


def _provider(user: Named, provider: Mapping[str, Any], folder: Path) -> Credentials:
    name = str(provider.get("name") or "")
    if name != "oidc":
        raise BadInput(
            f"the auth-provider {name!r} is gone from Kubernetes",
            where=Where(file=str(user.file), field="users.user.auth-provider"),
            advice="use the provider's exec plugin (gke-gcloud-auth-plugin, kubelogin, aws eks get-token)",
        )
    settings = oidc_settings(provider.get("config") or {}, file=str(user.file), folder=folder)
    return Oidc(settings, keep=lambda changed: keep_tokens(user.file, user.name, changed))


def keep_tokens(file: Path, user: str, settings: OidcSettings) -> None:
    """Write renewed tokens back into the kubeconfig, as kubectl does: a rotating refresh token is good only once.

    A file that cannot be written (a mounted Secret) is left alone: then the tokens live as long as the process.
    """
    file = file.resolve()
    if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        return
    lock = file.with_name(file.name + ".taut-lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        document = load_one(file.read_bytes(), file=str(file))
        for entry in document.get("users") or ():
            if entry.get("name") == user:
                config = entry["user"]["auth-provider"]["config"]
                config["id-token"], config["refresh-token"] = settings.id_token, settings.refresh_token
        _replace(file, dump(document).encode())
        lock.unlink(missing_ok=True)


def _replace(file: Path, data: bytes) -> None:
    """Replace the content in one step, with the mode the file has."""
    beside = file.with_name(f"{file.name}.taut-{os.getpid()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, file.stat().st_mode & 0o777)
    with os.fdopen(fd, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
