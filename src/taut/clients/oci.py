"""An OCI registry, as much of it as reading takes: tags, manifests, blobs, and the ways to sign in."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from taut.clients.credentials import Credentials
from taut.clients.http import HttpClient, HttpResponse, authorization
from taut.clients.urls import is_loopback, joined, origin_of, shown, web_origin
from taut.model.errors import SourceError, Where

_REPOSITORY = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
_REFERENCE = re.compile(
    r"(?:oci://)?(?P<registry>[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?)"
    rf"/(?P<repository>{_REPOSITORY})(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]+))?"
)
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_INDEXES = frozenset({_MANIFESTS[1], _MANIFESTS[3]})
_MANIFEST_SIZE = 4 * 2**20
_PAGES = 200
_ANY_STATUS = frozenset(range(200, 600))


class OciNotFoundError(SourceError):
    """The registry has no such repository, tag or digest."""


@dataclass(frozen=True, slots=True)
class OciReference:
    """`oci://registry/repository[:tag][@digest]`, taken apart."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def url(self) -> str:
        """The repository's address, without tag and digest."""
        return f"oci://{self.registry}/{self.repository}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A piece of content: what it is, its digest and its size."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OciManifest:
    """A manifest, its digest checked."""

    digest: str
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


def parse_reference(text: str) -> OciReference:
    """Read `oci://registry/repository[:tag][@digest]` (the scheme may be missing). Raises SourceError for anything else."""
    found = _REFERENCE.fullmatch(text.strip())
    if found is None or (found["digest"] and not is_digest(found["digest"])):
        raise SourceError(f"{shown(text)!r} is no OCI address", advice="write it like oci://registry/group/name")
    return OciReference(found["registry"].lower(), found["repository"], found["tag"] or "", found["digest"] or "")


def is_digest(text: str) -> bool:
    """Whether `text` is `sha256:…` or `sha512:…` of the right length."""
    return _DIGEST.fullmatch(text) is not None


def matches_digest(data: bytes, digest: str) -> bool:
    """Whether `data` has this digest."""
    name, _, value = digest.partition(":")
    return is_digest(digest) and hashlib.new(name, data).hexdigest() == value


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    until: float


class OciClient:
    """Reads one or many registries. `plain_http` says which registries speak plain HTTP; loopback addresses may without being told."""

    def __init__(self, http: HttpClient, *, plain_http: Callable[[str], bool] | None = None) -> None:
        self._http = http
        self._plain_http = plain_http or (lambda _: False)
        self._tokens: dict[tuple[str, str, Credentials | None], _Token] = {}
        self._schemes: dict[str, str] = {}

    async def tags(self, reference: OciReference, credentials: Credentials | None = None) -> list[str]:
        """All tags of a repository, over as many pages as there are."""
        path: str | None = f"/v2/{reference.repository}/tags/list?n=1000"
        found: list[str] = []
        for _ in range(_PAGES):
            answer = await self._get(reference, path, credentials, accept="application/json")
            body = _json(answer)
            found += [tag for tag in body.get("tags") or () if isinstance(tag, str)]
            following = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', answer.headers.get("link", ""))
            if following is None:
                return found
            path = self._same_registry(answer.url, following[1])
        raise SourceError("the registry's list of tags has no end", where=Where(reference.url))

    async def manifest(
        self, reference: OciReference, wanted: str, credentials: Credentials | None = None
    ) -> OciManifest:
        """The manifest of a tag or digest; of an index the one that is for no platform in particular, else linux/amd64, else the first.

        Raises SourceError when there is none, or its content does not have the digest it should.
        """
        digest, media_type, body = await self._manifest(reference, wanted, credentials)
        if media_type in _INDEXES or "manifests" in body:
            digest, media_type, body = await self._manifest(reference, choose_manifest(body, reference), credentials)
        return read_manifest(digest, media_type, body, reference)

    async def blob(
        self,
        reference: OciReference,
        descriptor: Descriptor,
        credentials: Credentials | None = None,
        *,
        limit: int = 200 * 2**20,
    ) -> bytes:
        """A blob's content. Raises SourceError when it is larger than `limit` or does not have its digest."""
        where = Where(f"{reference.url}@{descriptor.digest[:200]}")
        if not is_digest(descriptor.digest):
            raise SourceError("the registry names a digest of an unknown form", where=where)
        if descriptor.size > limit:
            raise SourceError(f"the artifact is larger than {limit} bytes", where=where)
        answer = await self._get(
            reference, f"/v2/{reference.repository}/blobs/{descriptor.digest}", credentials, limit=limit
        )
        if not matches_digest(answer.body, descriptor.digest):
            raise SourceError(
                "the registry's answer does not have the digest that was asked for",
                where=where,
                advice="somebody changed it on the way",
            )
        return answer.body

    async def _manifest(
        self, reference: OciReference, wanted: str, credentials: Credentials | None
    ) -> tuple[str, str, dict[str, Any]]:
        path = f"/v2/{reference.repository}/manifests/{quote(wanted, safe=':')}"
        answer = await self._get(reference, path, credentials, accept=", ".join(_MANIFESTS), limit=_MANIFEST_SIZE)
        said = wanted if ":" in wanted else answer.headers.get("docker-content-digest", "")
        if said and not matches_digest(answer.body, said):
            raise SourceError(
                "the registry's manifest does not have its digest", where=Where(f"{reference.url}@{said[:200]}")
            )
        body = _json(answer)
        media_type = body.get("mediaType") or answer.headers.get("content-type", "").partition(";")[0]
        return said or "sha256:" + hashlib.sha256(answer.body).hexdigest(), str(media_type), body

    async def _get(
        self,
        reference: OciReference,
        path: str | None,
        credentials: Credentials | None,
        *,
        accept: str = "*/*",
        limit: int | None = None,
    ) -> HttpResponse:
        """One request; signs in when the registry wants it, once."""
        key = (reference.registry, reference.repository, credentials)
        tls = _tls_only(credentials)
        url = await self._base(reference.registry) + (path or "")
        answer = await self._ask(url, self._tokens.get(key), tls, accept, limit)
        if answer.status == 401:
            header, until = await self._sign_in(reference, answer, credentials)
            self._tokens[key] = _Token(header, until)
            answer = await self._ask(url, self._tokens[key], tls, accept, limit)
        if answer.status != 200:
            self._tokens.pop(key, None)
            raise _refused(answer, reference, credentials)
        return answer

    async def _ask(
        self, url: str, token: _Token | None, tls: Credentials | None, accept: str, limit: int | None
    ) -> HttpResponse:
        headers = {"Accept": accept}
        if token is not None and token.until > time.monotonic():
            headers["Authorization"] = token.header
        return await self._http.get(
            url, headers=headers, credentials=tls, accept=frozenset({200, 401, 403, 404}), limit=limit
        )

    async def _base(self, registry: str) -> str:
        """https; plain HTTP where it was told, and for this machine when it does not speak TLS."""
        known = self._schemes.get(registry)
        if known is None:
            known = "http" if self._plain_http(registry) else "https"
            if known == "https" and is_loopback(web_origin(f"https://{registry}").host):
                known = await self._loopback_scheme(registry)
            self._schemes[registry] = known
        return f"{known}://{registry}"

    async def _loopback_scheme(self, registry: str) -> str:
        try:
            await self._http.get(f"http://{registry}/v2/", accept=_ANY_STATUS, limit=_MANIFEST_SIZE)
        except SourceError:
            return "https"
        return "http"

    def _same_registry(self, base: str, link: str) -> str:
        """The path of a next page; one on another server is refused."""
        target = joined(base, link)
        if web_origin(target) != web_origin(base):
            raise SourceError("the registry's list of tags continues on another server", where=Where(shown(base)))
        return target.partition("://")[2].partition("/")[2].join(("/", ""))

    async def _sign_in(
        self, reference: OciReference, answer: HttpResponse, credentials: Credentials | None
    ) -> tuple[str, float]:
        """The Authorization header the registry asked for, and until when it holds."""
        schemes = {challenge.partition(" ")[0].lower(): challenge for challenge in answer.challenges}
        if "bearer" in schemes:
            if credentials is not None and credentials.bearer:
                return f"Bearer {credentials.bearer}", float("inf")
            return await self._token(reference, dict(_PARAMETER.findall(schemes["bearer"])), credentials)
        if "basic" in schemes and credentials is not None and credentials.password:
            return authorization(credentials), float("inf")
        raise _refused(answer, reference, credentials)

    async def _token(
        self, reference: OciReference, parameters: dict[str, str], credentials: Credentials | None
    ) -> tuple[str, float]:
        realm = parameters.get("realm", "")
        try:
            origin = origin_of(realm)
        except ValueError:
            raise SourceError("the registry names no place to sign in at", where=Where(reference.url)) from None
        if is_loopback(origin.host) and not is_loopback(web_origin(f"https://{reference.registry}").host):
            raise SourceError(
                "the registry wants taut to sign in at this machine",
                where=Where(reference.url),
                advice="nothing was sent",
            )
        plain = self._schemes.get(reference.registry) == "http"
        if origin.scheme != "https" and not (plain and origin.scheme == "http"):
            raise SourceError(
                "the registry wants the password sent without TLS",
                where=Where(reference.url),
                advice="nothing was sent",
            )
        query = {"scope": parameters.get("scope") or f"repository:{reference.repository}:pull"}
        if parameters.get("service"):
            query["service"] = parameters["service"]
        address = realm + ("&" if "?" in realm else "?") + urlencode(query)
        answer = await self._http.get(
            address, credentials=credentials, accept=frozenset({200, 400, 401, 403, 404}), limit=_MANIFEST_SIZE
        )
        body = _json(answer) if answer.status == 200 else {}
        token = body.get("token") or body.get("access_token")
        if not isinstance(token, str) or "\n" in token or "\r" in token:
            raise _refused(HttpResponse(401, {}, b"", reference.url), reference, credentials)
        expires = body.get("expires_in")
        lifetime = float(expires) if isinstance(expires, int) and expires > 0 else 60.0
        return f"Bearer {token}", time.monotonic() + lifetime * 0.9


def _tls_only(credentials: Credentials | None) -> Credentials | None:
    """What goes with every request: certificates. Passwords go to the place to sign in only."""
    if credentials is None or not (credentials.ca or credentials.client_cert):
        return None
    return Credentials(ca=credentials.ca, client_cert=credentials.client_cert, client_key=credentials.client_key)


def _refused(answer: HttpResponse, reference: OciReference, credentials: Credentials | None) -> SourceError:
    where = Where(reference.url)
    if answer.status == 404:
        return OciNotFoundError(
            "the registry has no such repository, tag or digest", where=where, advice="check the name and the tag"
        )
    if answer.status == 403:
        return SourceError(
            "the registry refuses access (403)", where=where, advice="check what these credentials may pull"
        )
    if credentials is None or not credentials.identifies:
        return SourceError(
            "the registry wants credentials, and there are none for this address",
            where=where,
            advice="add them to taut's configuration",
        )
    return SourceError(
        "the registry does not accept the credentials", where=where, advice="check user name and password or token"
    )


def _json(answer: HttpResponse) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise SourceError(
            "the registry's answer is no JSON object",
            where=Where(shown(answer.url)),
            advice="check that this is a registry",
        )
    return body


def read_manifest(digest: str, media_type: str, body: dict[str, Any], reference: OciReference) -> OciManifest:
    """What a manifest says. Raises SourceError for one without layers."""
    where = Where(f"{reference.url}@{digest}")
    layers = body.get("layers")
    if not isinstance(layers, list):
        raise SourceError(
            "the registry's manifest has no layers", where=where, advice="push an OCI artifact or a chart"
        )
    empty: dict[str, Any] = {}
    config = body.get("config")
    return OciManifest(
        digest,
        media_type,
        _descriptor(config if isinstance(config, dict) else empty),
        tuple(_descriptor(layer) for layer in layers if isinstance(layer, dict)),
        _texts(body.get("annotations")),
    )


def choose_manifest(body: dict[str, Any], reference: OciReference) -> str:
    """The digest of the manifest of an index that is for no platform in particular, else linux/amd64, else the first. Raises SourceError."""
    listed = body.get("manifests")
    entries = [entry for entry in (listed if isinstance(listed, list) else []) if isinstance(entry, dict)]

    def rank(entry: dict[str, Any]) -> int:
        platform = entry.get("platform")
        if not isinstance(platform, dict):
            return 0
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            return 1
        return 3 if platform.get("os") == "unknown" else 2

    digests = [
        digest
        for entry in sorted(entries, key=rank)
        if isinstance(digest := entry.get("digest"), str) and is_digest(digest)
    ]
    if not digests:
        raise SourceError("the registry's index lists no manifest", where=Where(reference.url))
    return digests[0]


def _descriptor(raw: dict[str, Any]) -> Descriptor:
    size = raw.get("size")
    return Descriptor(
        str(raw.get("mediaType", "")),
        str(raw.get("digest", "")),
        size if isinstance(size, int) else 0,
        _texts(raw.get("annotations")),
    )


def _texts(raw: object) -> dict[str, str]:
    return {str(k): v for k, v in raw.items() if isinstance(v, str)} if isinstance(raw, dict) else {}
