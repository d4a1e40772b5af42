"""Who taut is for a cluster: the headers of each request and the client certificate of the connection."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from taut.clients.kubernetes.tls import Certificate
from taut.model.errors import BadInput, Where

REREAD_AFTER = 60.0
"""Files of tokens and certificates are looked at again this often: the kubelet renews service account tokens in place."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request carries: an Authorization header (empty: none) and the connection's certificate. Both stay out of repr."""

    authorization: str = field(default="", repr=False)
    certificate: Certificate | None = None


class Credentials(Protocol):
    """A way to sign in."""

    async def current(self) -> Credential:
        """What to sign in with now; renewed when it ran out. Raises BadInput or TargetError when there is none."""
        ...

    def refused(self) -> bool:
        """The server answered 401. Returns whether another try makes sense: there is something to renew."""
        ...


class Fixed:
    """Credentials that never change: a token or a password written into the kubeconfig, or nobody at all."""

    def __init__(self, credential: Credential = Credential()) -> None:
        self._credential = credential

    async def current(self) -> Credential:
        """The same each time."""
        return self._credential

    def refused(self) -> bool:
        """There is nothing to renew."""
        return False


class TokenFile:
    """A token in a file, read again each minute, and at once when it was refused."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._credential: Credential | None = None
        self._read_at = 0.0

    async def current(self) -> Credential:
        """The token; the last good one when the file cannot be read for a moment. Raises BadInput when there never was one."""
        now = self._clock()
        if self._credential is None or now - self._read_at >= REREAD_AFTER:
            self._read_at = now
            self._credential = await asyncio.to_thread(self._read) or self._credential
        if self._credential is None:
            raise BadInput(
                "the token file cannot be read, or is empty",
                where=Where(file=str(self._path)),
                advice="check the service account's volume, or tokenFile of the kubeconfig's user",
            )
        return self._credential

    def _read(self) -> Credential | None:
        try:
            token = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return Credential(bearer(token)) if token else None

    def refused(self) -> bool:
        """Look at the file again with the next request."""
        self._read_at = float("-inf")
        return True


class CertificateFiles:
    """Another way to sign in, with a client certificate from files that are read again each minute."""

    def __init__(
        self, base: Credentials, certificate: Path, key: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._base = base
        self._files = (certificate, key)
        self._clock = clock
        self._pair: Certificate | None = None
        self._read_at = 0.0

    async def current(self) -> Credential:
        """The other way's header, and the certificate. Raises BadInput when a file cannot be read."""
        now = self._clock()
        if self._pair is None or now - self._read_at >= REREAD_AFTER:
            self._read_at = now
            self._pair = await asyncio.to_thread(self._read, self._pair)
        return Credential((await self._base.current()).authorization, self._pair)

    def _read(self, last: Certificate | None) -> Certificate:
        try:
            return Certificate(*(f.read_bytes() for f in self._files))
        except OSError as e:
            if last is not None:
                return last
            raise BadInput(
                f"the client certificate cannot be read: {e.strerror}",
                where=Where(file=str(e.filename)),
                advice="check client-certificate and client-key of the kubeconfig's user",
            ) from e

    def refused(self) -> bool:
        """Look at the files again with the next request."""
        self._read_at = float("-inf")
        return True


def bearer(token: str) -> str:
    """The Authorization header for a token. Raises BadInput for a token that would break the header."""
    if any(c in token for c in "\r\n\0"):
        raise BadInput("the token holds a line break", advice="write the token without white space around it")
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    """The Authorization header for a user and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
