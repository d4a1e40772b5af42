"""HTTP to secret managers: verified, bounded, never redirected, and silent about what it sends."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from taut.secrets.external.errors import SecretError
from taut.secrets.external.values import hosts_of

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

_SECONDS = 15
_MOST = 8 * 2**20
_NEVER = ("169.254.", "metadata.google.internal", "fd00:ec2:", "100.100.100.200")
"""Where clouds tell machines their credentials: no document of a repository leads there."""


@dataclass(frozen=True)
class Rules:
    """Which hosts may be asked (globs), and where AWS is (empty: where boto3 finds it)."""

    hosts: Sequence[str] = ("*",)
    aws_endpoint: str = ""


@dataclass(frozen=True)
class Web:
    """Asks one server. `ca` is PEM; empty: the system's authorities."""

    rules: Rules
    ca: str = field(default="", repr=False)

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        seconds: float = _SECONDS,
    ) -> tuple[int, bytes]:
        """The status and the body. Raises SecretError when the server may not be, or cannot be, asked."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host or parts.username:
            raise SecretError(f"{parts.scheme}://{host} is no address of a server", advice="write https://host")
        if any(host.startswith(p) for p in _NEVER) or not hosts_of(self.rules.hosts, host):
            raise SecretError(f"stores may not ask {host}", advice="an administrator lists it in externalSecrets.hosts")
        import requests  # it is large, and most fleets have no such store

        with requests.Session() as session:
            session.trust_env = False
            if self.ca and parts.scheme == "https":
                session.mount("https://", _adapter(self.ca))
            try:
                with session.request(
                    method,
                    url,
                    headers=dict(headers or {}),
                    data=body,
                    timeout=seconds,
                    allow_redirects=False,
                    stream=True,
                ) as answer:
                    data = answer.raw.read(_MOST + 1, decode_content=True)
            except (requests.RequestException, OSError, ValueError) as error:
                raise SecretError(
                    f"{host} does not answer ({_kind(error)})", advice="what was there stays, and it is tried again"
                ) from None
        if len(data) > _MOST:
            raise SecretError(f"{host} answers with more than {_MOST // 2**20} MiB")
        return answer.status_code, data


def _adapter(pem: str) -> HTTPAdapter:
    """One that trusts a store's own CA, and nothing else."""
    from requests.adapters import HTTPAdapter

    try:
        context = ssl.create_default_context(cadata=pem)
    except ssl.SSLError:
        raise SecretError("the store's caBundle holds no certificate", advice="base64 of PEM") from None

    class OwnAuthorities(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
            return super().init_poolmanager(*args, ssl_context=context, **kwargs)  # pyright: ignore[reportUnknownMemberType]

    return OwnAuthorities()


def _kind(error: Exception) -> str:
    """What happened, without what was sent."""
    from requests import exceptions

    for kind, text in (
        (exceptions.SSLError, "its certificate is not trusted"),
        (exceptions.ConnectTimeout, "no connection in time"),
        (exceptions.ReadTimeout, "no answer in time"),
        (exceptions.ConnectionError, "no connection"),
    ):
        if isinstance(error, kind):
            return text
    return type(error).__name__
