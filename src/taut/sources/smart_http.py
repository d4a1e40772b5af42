"""The first step of Git over HTTP, asking for the refs, where credentials are at stake. Blocking; run it in a thread.

libgit2 follows redirects within a host, from https to http as well, and takes credentials along; nor can it have an authority or a client certificate for
one server only. So the question that precedes every download is asked here, with no redirect followed: a server that redirects never sees a secret.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from taut.clients.credentials import Credentials
from taut.clients.http import authorization, tls_context
from taut.model.errors import SourceError, Where
from taut.sources.git_errors import explain
from taut.sources.repository_url import RepositoryUrl, shown

_LARGEST = 128 * 2**20
_TYPE = "application/x-git-upload-pack-advertisement"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - None means: do not follow
        """Follow nothing: the redirect comes out as an error with its status."""


def advertised(url: RepositoryUrl, credentials: Credentials, timeout: float) -> tuple[dict[str, str], str]:
    """The refs of a repository (names to object ids) and its default branch ("" when it does not tell). Raises SourceError."""
    address = f"{url.scheme}://{url.authority}{url.path.rstrip('/')}/info/refs?service=git-upload-pack"
    headers = {"User-Agent": "git/2 (taut)", "Accept": "*/*"}
    if header := authorization(_named(credentials, url)):
        headers["Authorization"] = header
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=tls_context(credentials)))
    request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the scheme was checked: http or https
    try:
        with opener.open(request, timeout=min(timeout, 20.0)) as answer:
            kind = answer.headers.get("Content-Type", "")
            data = _read(answer, url, time.monotonic() + timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise explain(f"status {error.code}", url.text, credentials) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise explain(_reason(error), url.text, credentials) from None
    if kind.partition(";")[0].strip() != _TYPE:
        raise SourceError(
            "there is no Git repository at this address", where=Where(shown(url.text)), advice="check the address"
        )
    try:
        return parse_advertisement(data)
    except ValueError:
        raise SourceError("the server's list of refs cannot be read", where=Where(shown(url.text))) from None


def _named(credentials: Credentials, url: RepositoryUrl) -> Credentials:
    """A password without a user name goes with the name in the URL, else with `git`, which forges take for any token."""
    if not credentials.password or credentials.username:
        return credentials
    return Credentials(username=url.user or "git", password=credentials.password, bearer=credentials.bearer)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate: {cause.verify_message}"
    return f"timed out: {cause}" if isinstance(cause, TimeoutError) else str(cause) or type(cause).__name__


def _read(answer: http.client.HTTPResponse, url: RepositoryUrl, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := answer.read1(2**16):
        parts.append(chunk)
        size += len(chunk)
        if size > _LARGEST:
            raise SourceError("the server's list of refs is too large", where=Where(shown(url.text)))
        if time.monotonic() > deadline:
            raise SourceError(
                "the repository does not answer in time", where=Where(shown(url.text)), advice="taut tries again later"
            )
    return b"".join(parts)


def parse_advertisement(data: bytes) -> tuple[dict[str, str], str]:
    """Git's pack protocol, version 0: one line a ref, capabilities behind the first. Raises ValueError."""
    refs: dict[str, str] = {}
    head = ""
    for line in _lines(data):
        text, _, capabilities = line.partition(b"\0")
        oid, _, name = text.rstrip(b"\n").decode("utf-8", "surrogateescape").partition(" ")
        for capability in capabilities.split():
            if capability.startswith(b"symref=HEAD:"):
                head = capability.partition(b":")[2].decode("utf-8", "surrogateescape")
        if len(oid) == 40 and name and name != "capabilities^{}":
            int(oid, 16)
            refs[name] = oid
    return refs, head


def _lines(data: bytes) -> Iterator[bytes]:
    """The packet lines that are not the announcement of the service, nor its end."""
    at = 0
    while at < len(data):
        length = int(data[at : at + 4], 16)
        if length == 0:
            at += 4
            continue
        if length < 4 or at + length > len(data):
            raise ValueError("a line is cut short")
        line = data[at + 4 : at + length]
        at += length
        if not line.startswith(b"# service="):
            yield line
