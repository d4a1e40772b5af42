"""Keys of Google Cloud KMS and Azure Key Vault, over their published REST APIs (cloudkms v1; keyvault keys 7.4)."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GCP = "https://cloudkms.googleapis.com"
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
_GCP_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_AZURE_LOGIN = "https://login.microsoftonline.com"
_AZURE_SCOPE = "https://vault.azure.net/.default"
_AZURE_VERSION = "7.4"
AZURE_HOSTS = (".vault.azure.net", ".vault.azure.cn", ".vault.usgovcloudapi.net", ".managedhsm.azure.net")
"""Where Azure's vaults are: a file names its vault itself, and the token is sent to no other place."""
_GCP_KEY = re.compile(
    r"^projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+(?:/cryptoKeyVersions/\d+)?$"
)
_AZURE_PART = re.compile(r"^[A-Za-z0-9-]{1,127}$")
_SECONDS = 20


class CloudError(Exception):
    """The key cannot be used; the text says why, and holds no token."""


@dataclass(frozen=True)
class Clouds:
    """Credentials as the environment names them, and where the services are (other places are for tests)."""

    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    gcp: str = GCP
    azure_hosts: tuple[str, ...] = AZURE_HOSTS
    azure_login: str = _AZURE_LOGIN

    def gcp_decrypt(self, resource: str, wrapped: str) -> bytes:
        """The key that was wrapped by a key of KMS. Raises CloudError."""
        answer = self._gcp(resource, "decrypt", {"ciphertext": wrapped})
        return _bytes(answer.get("plaintext"))

    def gcp_encrypt(self, resource: str, key: bytes) -> str:
        """A key, wrapped by a key of KMS. Raises CloudError."""
        answer = self._gcp(resource, "encrypt", {"plaintext": base64.b64encode(key).decode()})
        return str(answer.get("ciphertext") or "")

    def _gcp(self, resource: str, verb: str, body: dict[str, str]) -> dict[str, Any]:
        if not _GCP_KEY.match(resource):
            raise CloudError("the resource is no key of KMS")
        return _post(f"{self.gcp}/v1/{resource}:{verb}", body, self._gcp_token())

    def _gcp_token(self) -> str:
        env = self.environment
        if env.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
            return env["GOOGLE_OAUTH_ACCESS_TOKEN"]
        text = env.get("GOOGLE_CREDENTIALS") or ""
        if text and not text.lstrip().startswith("{"):
            text = _file(text)
        text = text or (
            _file(env["GOOGLE_APPLICATION_CREDENTIALS"]) if env.get("GOOGLE_APPLICATION_CREDENTIALS") else ""
        )
        if text:
            return _service_account(text)
        answer = _ask("GET", env.get("TAUT_GCP_METADATA") or _METADATA, headers={"Metadata-Flavor": "Google"})
        return str(answer.get("access_token") or "")

    def azure_decrypt(self, vault: str, name: str, version: str, wrapped: str) -> bytes:
        """The key that was wrapped by a key of a vault. Raises CloudError."""
        answer = self._azure(vault, name, version, "decrypt", wrapped)
        return _bytes(answer.get("value"))

    def azure_encrypt(self, vault: str, name: str, version: str, key: bytes) -> str:
        """A key, wrapped by a key of a vault. Raises CloudError."""
        answer = self._azure(vault, name, version, "encrypt", base64.urlsafe_b64encode(key).decode().rstrip("="))
        return str(answer.get("value") or "")

    def _azure(self, vault: str, name: str, version: str, verb: str, value: str) -> dict[str, Any]:
        parts = urlsplit(vault)
        host = parts.hostname or ""
        known = any(host.endswith(h) if h.startswith(".") else parts.netloc == h for h in self.azure_hosts)
        secure = parts.scheme == "https" or parts.netloc in self.azure_hosts
        if not known or not secure or parts.username or not _AZURE_PART.match(name) or not _AZURE_PART.match(version):
            raise CloudError("the vault is none of Azure's, so the token is not sent there")
        url = f"{parts.scheme}://{parts.netloc}/keys/{name}/{version}/{verb}?api-version={_AZURE_VERSION}"
        return _post(url, {"alg": "RSA-OAEP-256", "value": value}, self._azure_token())

    def _azure_token(self) -> str:
        env = self.environment
        tenant, client = env.get("AZURE_TENANT_ID"), env.get("AZURE_CLIENT_ID")
        if not tenant or not client:
            raise CloudError(
                "there are no credentials (AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret or a federated token)"
            )
        form = {"grant_type": "client_credentials", "client_id": client, "scope": _AZURE_SCOPE}
        if env.get("AZURE_FEDERATED_TOKEN_FILE"):
            form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            form["client_assertion"] = _file(env["AZURE_FEDERATED_TOKEN_FILE"]).strip()
        elif env.get("AZURE_CLIENT_SECRET"):
            form["client_secret"] = env["AZURE_CLIENT_SECRET"]
        else:
            raise CloudError("there is neither AZURE_CLIENT_SECRET nor AZURE_FEDERATED_TOKEN_FILE")
        answer = _ask("POST", f"{self.azure_login}/{tenant}/oauth2/v2.0/token", data=form)
        return str(answer.get("access_token") or "")


def _service_account(text: str) -> str:
    """A token for a service account, by a signed assertion (RFC 7523)."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        account = json.loads(text)
        key = serialization.load_pem_private_key(account["private_key"].encode(), None)
        uri, mail = str(account["token_uri"]), str(account["client_email"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CloudError("the credentials are none of a service account") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CloudError("the service account's key is no RSA key")
    now = int(time.time())
    claims = {"iss": mail, "scope": _GCP_SCOPE, "aud": uri, "iat": now, "exp": now + 600}
    signed = ".".join(_url64(json.dumps(p).encode()) for p in ({"alg": "RS256", "typ": "JWT"}, claims))
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": f"{signed}.{_url64(signature)}"}
    return str(_ask("POST", uri, data=form).get("access_token") or "")


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _file(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        raise CloudError(f"the credentials in {path} cannot be read") from None


def _bytes(value: Any) -> bytes:
    text = str(value or "")
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CloudError("the service's answer is no base64") from None


def _post(url: str, body: dict[str, str], token: str) -> dict[str, Any]:
    if not token:
        raise CloudError("the sign-in gave no token")
    return _ask("POST", url, json=body, headers={"Authorization": f"Bearer {token}"})


def _ask(method: str, url: str, **more: Any) -> dict[str, Any]:
    import requests  # it is large, and most files are not for these services

    host = urlsplit(url).hostname
    try:
        answer = requests.request(method, url, timeout=_SECONDS, allow_redirects=False, **more)
        found = answer.json() if answer.content else {}
    except (requests.RequestException, ValueError) as error:
        raise CloudError(f"{host} cannot be asked ({type(error).__name__})") from None
    if answer.status_code != requests.codes.ok:
        raise CloudError(f"{host} refused with {answer.status_code}")
    return found if isinstance(found, dict) else {}
