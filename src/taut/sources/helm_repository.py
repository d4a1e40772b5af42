"""Charts from Helm repositories (http, https) and OCI registries, as snapshots."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from taut.clients.credentials import CredentialProvider, Credentials
from taut.clients.http import HttpClient
from taut.clients.oci import OciClient, parse_reference
from taut.clients.urls import shown, web_origin
from taut.model.errors import SourceError, Where
from taut.model.snapshot import Revision, Snapshot
from taut.sources.archive import ArchiveLimits, unpack
from taut.sources.artifacts import ArtifactStore
from taut.sources.helm_index import ChartVersion, Index, chart_url, choose, parse_index
from taut.sources.oci_artifact import artifact_files, resolve_artifact
from taut.sources.tree import GitTree

_INDEX_SIZE = 64 * 2**20
_CHART_SIZE = 50 * 2**20


@dataclass(slots=True)
class _CachedIndex:
    index: Index
    etag: str
    modified: str


class Charts:
    """Finds, downloads and keeps charts and OCI artifacts."""

    def __init__(
        self,
        http: HttpClient,
        oci: OciClient,
        artifacts: ArtifactStore,
        credentials: CredentialProvider,
        limits: ArchiveLimits,
    ) -> None:
        self._http = http
        self._oci = oci
        self._artifacts = artifacts
        self._credentials = credentials
        self._limits = limits
        self._indexes: dict[tuple[str, str | None], _CachedIndex] = {}
        self._tags: dict[tuple[str, str], tuple[str, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def chart(
        self,
        repository: str,
        chart: str,
        wanted: str | None,
        *,
        credentials: str | None,
        pass_credentials: bool,
        fetch: bool,
    ) -> Snapshot:
        """A chart's best version in a range (see `Sources.chart`)."""
        if repository.startswith("oci://"):
            address = f"{repository.rstrip('/')}/{chart}" if chart else repository
            return await self.artifact(address, wanted, credentials=credentials, fetch=fetch)
        if not repository.startswith(("https://", "http://")):
            raise SourceError(
                f"{shown(repository)!r} is no Helm repository",
                advice="write it like https://host/path or oci://host/path",
            )
        where = Where(shown(repository), object=chart)
        if (
            not fetch
            and wanted
            and (known := await asyncio.to_thread(self._artifacts.recall, chart_address(repository, chart), wanted))
        ):
            return Snapshot(chart_address(repository, chart), Revision(wanted, wanted), known)
        held = self._credentials.for_url(repository, credentials)
        index = await self._index(repository, credentials, held, fetch=fetch)
        version = choose(index, chart, wanted, where)
        address = chart_address(repository, chart)
        tree = await self._chart_tree(repository, address, version, held, fetch=fetch, everywhere=pass_credentials)
        return Snapshot(address, Revision(version.version, version.version), tree)

    async def artifact(
        self, address: str, wanted: str | None, *, credentials: str | None, fetch: bool, anonymous: bool = False
    ) -> Snapshot:
        """An OCI artifact or chart: `wanted` is a tag, a digest or a range of versions. `anonymous`: with no credentials at all."""
        reference = parse_reference(address)
        held = None if anonymous else self._credentials.for_url(reference.url, credentials)
        asked = wanted or reference.digest or reference.tag or "latest"
        if not fetch and (known := await asyncio.to_thread(self._recalled_artifact, reference.url, asked)):
            return known
        found = await resolve_artifact(self._oci, reference, asked, held)
        digest = found.manifest.digest
        tree = await asyncio.to_thread(self._artifacts.recall, reference.url, digest)
        if tree is None:
            files = await artifact_files(self._oci, reference, found.manifest, held, self._limits)
            tree = await asyncio.to_thread(self._artifacts.keep, files, reference.url, digest)
        label = f"{found.tag}@{digest[:15]}" if found.tag else digest[:15]
        self._tags[reference.url, asked] = (digest, label)
        annotations = found.manifest.annotations
        message = annotations.get("org.opencontainers.image.revision", "")
        return Snapshot(reference.url, Revision(digest, label, message=message), tree)

    def tree(self, address: str, revision: str) -> GitTree | None:
        """The tree of a chart or artifact that was fetched before."""
        return self._artifacts.recall(address, revision)

    def _recalled_artifact(self, url: str, asked: str) -> Snapshot | None:
        digest, label = self._tags.get((url, asked), (asked, asked[:15]))
        tree = self._artifacts.recall(url, digest)
        return Snapshot(url, Revision(digest, label), tree) if tree else None

    async def _index(self, repository: str, name: str | None, held: Credentials | None, *, fetch: bool) -> Index:
        """The repository's index: asked for with its ETag, so that an unchanged one costs one small answer."""
        async with self._locks.setdefault(repository, asyncio.Lock()):
            known = self._indexes.get((repository, name))
            if known is not None and not fetch:
                return known.index
            headers: dict[str, str] = {}
            if known is not None and known.etag:
                headers["If-None-Match"] = known.etag
            elif known is not None and known.modified:
                headers["If-Modified-Since"] = known.modified
            url = repository.rstrip("/") + "/index.yaml"
            answer = await self._http.get(
                url, headers=headers, credentials=held, limit=_INDEX_SIZE, accept=frozenset({200, 304})
            )
            if answer.status == 304 and known is not None:
                return known.index
            index = await asyncio.to_thread(parse_index, answer.body, Where(shown(url)))
            self._indexes[repository, name] = _CachedIndex(
                index, answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
            )
            return index

    async def _chart_tree(
        self,
        repository: str,
        address: str,
        version: ChartVersion,
        held: Credentials | None,
        *,
        fetch: bool,
        everywhere: bool,
    ) -> GitTree:
        """The chart's tree; downloaded unless the same digest is here (or, without a digest, the same version and nobody asked to look)."""
        if version.digest or not fetch:
            known = await asyncio.to_thread(self._artifacts.recall, address, version.version, version.digest)
            if known is not None:
                return known
        url = chart_url(repository, version.urls[0])
        if url.startswith("oci://"):
            return await self._chart_from_registry(url, address, version)
        at_home = everywhere or web_origin(url) == web_origin(repository)
        own = held if at_home or held is None else Credentials(ca=held.ca)
        answer = await self._http.get(url, credentials=own, limit=_CHART_SIZE, everywhere=everywhere)
        if version.digest and hashlib.sha256(answer.body).hexdigest() != version.digest:
            raise SourceError(
                "the chart does not have the digest that the index gives",
                where=Where(shown(url)),
                advice="it was changed after the index was written: publish it as a new version",
            )
        files = await asyncio.to_thread(unpack, answer.body, limits=self._limits, strip_top=True)
        if "Chart.yaml" not in files:
            raise SourceError("the archive is no chart: it has no Chart.yaml", where=Where(shown(url)))
        tree = await asyncio.to_thread(self._artifacts.keep, files, address, version.version, version.digest)
        await asyncio.to_thread(self._artifacts.keep_tree, tree, address, version.version)
        return tree

    async def _chart_from_registry(self, url: str, address: str, version: ChartVersion) -> GitTree:
        """An index may point into a registry. It gets no credentials: who writes the index must not choose what they open."""
        snapshot = await self.artifact(url, None, credentials=None, fetch=True, anonymous=True)
        if not isinstance(snapshot.tree, GitTree):
            raise TypeError("artifacts are Git trees")
        await asyncio.to_thread(self._artifacts.keep_tree, snapshot.tree, address, version.version, version.digest)
        await asyncio.to_thread(self._artifacts.keep_tree, snapshot.tree, address, version.version)
        return snapshot.tree


def chart_address(repository: str, chart: str) -> str:
    """How a chart of a Helm repository is named in snapshots: the repository's URL with the chart after `#`."""
    return f"{repository.rstrip('/')}#{chart}"
