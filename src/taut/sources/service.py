"""Sources: every place that manifests come from, as snapshots with Git trees. One object serves a whole taut."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pygit2

from taut.clients.credentials import CredentialProvider
from taut.clients.http import HttpClient, HttpLimits
from taut.clients.oci import OciClient
from taut.clients.urls import shown
from taut.model.application import Source
from taut.model.errors import SourceError, Where
from taut.model.project import Signatures
from taut.model.snapshot import Entry, EntryKind, Revision, Snapshot, Tree
from taut.sources.archive import ArchiveLimits, UnpackedFile
from taut.sources.artifacts import ArtifactStore
from taut.sources.claim import DirectoryClaim
from taut.sources.dependencies import FilledChart, chart_with_dependencies
from taut.sources.fetching import SingleFlight
from taut.sources.git_command import Processes
from taut.sources.git_remote import prepare_library
from taut.sources.helm_repository import Charts
from taut.sources.mirror import Fetched, Mirror
from taut.sources.remote_bases import RemoteAddress, parse_remote
from taut.sources.repository_url import RepositoryUrl, parse_repository_url
from taut.sources.semver_range import parse_version
from taut.sources.submodules import submodules
from taut.sources.touched import Touched
from taut.sources.tree import GitTree

type Allowed = Callable[[str], bool]
"""Whether a project may read from a URL."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DEEPEST = 5
_ONE_FILE = 16 * 2**20


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Bounds of time and size. `git_timeout` is for one conversation with a Git server, a first download included; `pack_bytes` for what it
    may send in one."""

    git_timeout: float = 300.0
    pack_bytes: int = 8 * 2**30
    threads: int = 16
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)
    http: HttpLimits = field(default_factory=HttpLimits)


@dataclass(frozen=True, slots=True)
class RemoteBase:
    """A remote kustomize base: the snapshot it is in, where in it (a folder, or one file), and what deserves a warning."""

    snapshot: Snapshot
    path: str
    warnings: tuple[str, ...] = ()


def _nowhere(_: str) -> bool:
    return False


class Sources:
    """Finds, fetches and keeps sources below `directory`. Use it from one event loop; trees may be read from any thread.

    `plain_http` says which registries speak plain HTTP (loopback addresses may anyway).
    """

    def __init__(
        self,
        directory: Path,
        credentials: CredentialProvider,
        *,
        allow_file_urls: bool = True,
        limits: SourceLimits | None = None,
        plain_http: Callable[[str], bool] | None = None,
    ) -> None:
        self._directory = directory
        self._credentials = credentials
        self._allow_file = allow_file_urls
        self._limits = limits or SourceLimits()
        prepare_library(self._limits.git_timeout)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._threads = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="taut-sources")
        self._http = HttpClient(self._limits.http)
        self._claim = DirectoryClaim(directory)
        self._artifacts = ArtifactStore(directory / "artifacts", alone=self._claim.alone)
        oci = OciClient(self._http, plain_http=plain_http)
        self._charts = Charts(self._http, oci, self._artifacts, credentials, self._limits.archive)
        self._processes = Processes()
        self._mirrors: dict[str, Mirror] = {}
        self._opening = threading.Lock()
        self._moves: Counter[str] = Counter()
        self._flights: dict[str, SingleFlight[Fetched]] = {}

    async def close(self) -> None:
        """End what runs (git's processes at once, libgit2's transfers at their next step) and close all connections."""
        self._processes.close()
        for flight in self._flights.values():
            await flight.close()
        await self._http.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._claim.release()

    async def resolve(self, source: Source, *, fetch: bool, allowed: Allowed = _nowhere) -> Snapshot:
        """The snapshot that a source's ref (or chart version) names.

        With `fetch` the remote is asked first; without, only when the mirror does not know the ref, and then once. `allowed` says where submodules may
        come from. Raises SourceError when the source cannot be read, or the ref is not there; `Mirror.find` documents the order of names.
        """
        with _damage_told(source.url):
            return await self._resolve(source, fetch, allowed)

    async def _resolve(self, source: Source, fetch: bool, allowed: Allowed) -> Snapshot:
        if source.oci is not None:
            wanted = source.ref or source.version
            address = f"{source.oci.rstrip('/')}/{source.chart}" if source.chart else source.oci
            return await self._charts.artifact(address, wanted, credentials=source.credentials, fetch=fetch)
        if source.helm is not None:
            if not source.chart:
                raise SourceError(
                    "the source names a Helm repository and no chart",
                    where=Where(shown(source.helm)),
                    advice="add `chart`",
                )
            return await self.chart(
                source.helm, source.chart, source.version or source.ref, credentials=source.credentials, fetch=fetch
            )
        if source.git is None:
            raise SourceError("the source has no address", advice="set one of git, helm and oci")
        snapshot = await self._resolve_git(source.git, source.ref, source.tag_prefix, source.credentials, fetch=fetch)
        return await self._with_submodules(snapshot, allowed, 0) if source.submodules else snapshot

    async def fetch(self, url: str, *, credentials: str | None = None) -> bool:
        """Bring what is new in a Git repository; True when any ref moved, came or went. One fetch serves all who wait. Raises SourceError."""
        with _damage_told(url):
            return (await self._fetch(url, credentials)).moved

    async def branches(self, url: str, *, credentials: str | None = None, fetch: bool = False) -> dict[str, str]:
        """The branches of a repository and their commits. Raises SourceError when it could never be read."""
        mirror = await self._mirror(url)
        found = await asyncio.to_thread(mirror.branches)
        if fetch or not found:
            await self._fetch(url, credentials)
            found = await asyncio.to_thread(mirror.branches)
        return found

    async def folders(self, snapshot: Snapshot) -> tuple[str, ...]:
        """All folder paths of a snapshot, parents before children, in name order. Kept by the tree's hash."""
        tree = _git_tree(snapshot.tree)
        return await asyncio.to_thread(tree.store.folder_paths, tree.hash)

    def touched(self, old: Snapshot, new: Snapshot) -> Touched | None:
        """What lies between two snapshots of one repository; None when that cannot be told quickly: then everything has to be compared."""
        before, after = old.tree, new.tree
        if not isinstance(before, GitTree) or not isinstance(after, GitTree) or before.store is not after.store:
            return None
        return after.store.touched(before.hash, after.hash)

    def tree(self, url: str, revision: str) -> Tree:
        """The tree of a revision that was fetched before (url and revision as a Snapshot gives them). Raises SourceError when it is not here."""
        if "#" not in url and not url.startswith("oci://"):
            mirror = self._known_mirror(url)
            if mirror is not None and mirror.commit(revision):
                return mirror.snapshot(revision).tree
        found = self._charts.tree(url, revision)
        if found is None:
            raise SourceError(
                f"the revision {revision[:80]!r} is not kept here", where=Where(shown(url)), advice="refresh the source"
            )
        return found

    def pin(self, url: str, revision: str) -> None:
        """Keep a revision: a force-push loses no rollback. Charts and artifacts are kept without being told."""
        if mirror := self._known_mirror(url):
            with _damage_told(url):
                mirror.pin(revision)

    def unpin(self, url: str, revision: str) -> None:
        """Let go of a revision; nothing happens when it was not pinned."""
        if mirror := self._known_mirror(url):
            with _damage_told(url):
                mirror.unpin(revision)

    def pins(self, url: str) -> frozenset[str]:
        """The commits of a repository that are pinned."""
        mirror = self._known_mirror(url)
        return mirror.pins() if mirror else frozenset()

    async def verify(self, snapshot: Snapshot, signatures: Signatures) -> None:
        """Check that a snapshot's commit, or the tag that led to it, is signed by a key the project trusts.

        Raises SourceError that says who signed, or that nobody did, and for sources that are no Git repository.
        """
        if signatures.require == "none":
            return
        await asyncio.to_thread(self._verify, snapshot, signatures)

    async def chart(
        self,
        repository_url: str,
        chart: str,
        version_range: str | None = None,
        *,
        credentials: str | None = None,
        pass_credentials: bool = False,
        fetch: bool = True,
    ) -> Snapshot:
        """A chart from a Helm repository (http, https) or a registry (`oci://`): the exact version, else the highest in the range.

        The tree's root is the chart itself. Credentials go to the repository's own server only, unless `pass_credentials`. Without `fetch` what is
        known already is taken, and the server asked only for the rest. Raises SourceError.
        """
        return await self._charts.chart(
            repository_url,
            chart,
            version_range,
            credentials=credentials,
            pass_credentials=pass_credentials,
            fetch=fetch,
        )

    async def chart_with_dependencies(
        self, tree: Tree, path: str, *, allowed: Allowed, credentials: str | None = None
    ) -> FilledChart:
        """Fill the `charts/` folder of the chart at `path` (see `dependencies.chart_with_dependencies`), from places that `allowed` accepts."""

        async def obtain(repository: str, name: str, version: str) -> Snapshot:
            _must_be_allowed(repository, allowed, "a chart's dependency")
            own = credentials if credentials and _covers(self._credentials, repository, credentials) else None
            return await self._charts.chart(
                repository, name, version, credentials=own, pass_credentials=False, fetch=False
            )

        with _damage_told(""):
            return await chart_with_dependencies(tree, path, obtain)

    async def remote_base(self, url: str, *, allowed: Allowed, fetch: bool = False) -> RemoteBase:
        """Fetch a remote kustomize base, or one plain file, from a place that `allowed` accepts (it is asked with the repository's URL).

        Raises SourceError when it is not allowed or cannot be read. A base that is not pinned to a tag, version or commit gets a warning.
        """
        address = parse_remote(url)
        _must_be_allowed(address.url, allowed, "a remote base")
        with _damage_told(address.url):
            return await (self._remote_file if address.file else self._remote_folder)(address, allowed, fetch)

    async def _remote_folder(self, address: RemoteAddress, allowed: Allowed, fetch: bool) -> RemoteBase:
        snapshot = await self._resolve_git(address.url, address.ref, None, None, fetch=fetch)
        if address.submodules:
            snapshot = await self._with_submodules(snapshot, allowed, 0)
        warnings: tuple[str, ...] = ()
        if address.ref is None:
            warnings = (f"the remote base {shown(address.url)} is not pinned: add ?ref= with a tag or commit",)
        elif (
            not address.pinned
            and parse_version(address.ref.rpartition("/")[2]) is None
            and await self._is_branch(address)
        ):
            warnings = (
                f"the remote base {shown(address.url)} follows the branch {address.ref!r}: name a tag or commit",
            )
        return RemoteBase(snapshot, address.path, warnings)

    async def _is_branch(self, address: RemoteAddress) -> bool:
        mirror = await self._mirror(address.url)
        return address.ref in await asyncio.to_thread(mirror.branches)

    async def _remote_file(self, address: RemoteAddress, allowed: Allowed, fetch: bool) -> RemoteBase:
        name = unquote(urlsplit(address.url).path).rpartition("/")[2]
        tree = None if fetch else await asyncio.to_thread(self._artifacts.recall, "file", address.url)
        if tree is None:
            held = self._credentials.for_url(address.url, None)
            answer = await self._http.get(address.url, credentials=held, limit=_ONE_FILE, may_follow=allowed)
            tree = await asyncio.to_thread(self._artifacts.keep, {name: UnpackedFile(answer.body)}, "file", address.url)
        entry = tree.entry(name)
        revision = f"git:{entry.hash if entry else tree.hash}"
        await asyncio.to_thread(self._artifacts.keep_tree, tree, address.url, revision)
        warnings = () if address.pinned else (f"{shown(address.url)} is not pinned: what it holds may change",)
        return RemoteBase(Snapshot(address.url, Revision(revision, revision[:12]), tree), name, warnings)

    async def _resolve_git(
        self, url: str, ref: str | None, prefix: str | None, credentials: str | None, *, fetch: bool
    ) -> Snapshot:
        mirror = await self._mirror(url)
        if ref and ref.startswith("refs/") and not ref.startswith(("refs/heads/", "refs/tags/")):
            mirror.follow(ref)
        immutable = ref is not None and _COMMIT.fullmatch(ref) is not None
        if fetch and not (immutable and await asyncio.to_thread(mirror.find, ref, prefix)):
            await self._fetch(url, credentials)
        found = await asyncio.to_thread(mirror.find, ref, prefix)
        if found is None and not fetch:
            await self._fetch(url, credentials)
            found = await asyncio.to_thread(mirror.find, ref, prefix)
        if found is None and ref is not None and immutable:
            await self._fetch_commit(mirror, ref, credentials)
            found = await asyncio.to_thread(mirror.find, ref, prefix)
        if found is None:
            raise await asyncio.to_thread(mirror.missing, ref)
        return found

    async def _fetch(self, url: str, credentials: str | None) -> Fetched:
        mirror = await self._mirror(url)
        held = self._credentials.for_url(url, credentials)

        def work() -> Fetched:
            # Counted where it happens, for whoever asked may have left by then; one that failed half way may have moved something as well.
            moved = True
            try:
                fetched = mirror.fetch(held)
                moved = fetched.moved
                return fetched
            finally:
                self._moves[url] += moved

        return await self._in_flight(mirror, credentials or "", work)

    def moves(self, url: str) -> int:
        """Grows whenever a fetch of the repository, whoever asked for it, brought or took anything: who compares misses no news."""
        return self._moves[url]

    async def _fetch_commit(self, mirror: Mirror, commit: str, credentials: str | None) -> None:
        held = self._credentials.for_url(mirror.url.text, credentials)

        def work() -> Fetched:
            mirror.fetch_commit(commit, held)
            return Fetched(moved=False)

        try:
            await self._in_flight(mirror, f"{credentials or ''}\0{commit}", work)
        except SourceError:
            # Servers refuse with many sentences; what a person wants to know is that the commit is not there.
            raise SourceError(
                f"the commit {commit} is not in the repository",
                where=Where(shown(mirror.url.text)),
                advice="push it on a branch or a tag; it may have been lost by a force-push",
            ) from None

    async def _in_flight(self, mirror: Mirror, key: str, work: Callable[[], Fetched]) -> Fetched:
        flight = self._flights.setdefault(mirror.url.text, SingleFlight(self._threads))
        limit = 2 * self._limits.git_timeout + 60
        try:
            async with asyncio.timeout(limit):
                return await flight.run(key, work)
        except TimeoutError:
            raise SourceError(
                "the repository did not answer in time",
                where=Where(shown(mirror.url.text)),
                advice="taut tries again later",
            ) from None

    async def _mirror(self, url: str) -> Mirror:
        known = self._mirrors.get(url)
        if known is None:
            parsed = parse_repository_url(url, allow_file=self._allow_file)
            known = await asyncio.to_thread(self._open, url, parsed)
        return known

    def _known_mirror(self, url: str) -> Mirror | None:
        """The mirror of a URL if there is one, opened or on disk."""
        known = self._mirrors.get(url)
        if known is None and "#" not in url and not url.startswith("oci://"):
            parsed = parse_repository_url(url, allow_file=self._allow_file)
            known = self._open(url, parsed) if (self._place(parsed) / "HEAD").exists() else None
        return known

    def _place(self, url: RepositoryUrl) -> Path:
        return self._directory / "git" / hashlib.sha256(url.text.encode()).hexdigest()[:40]

    def _open(self, url: str, parsed: RepositoryUrl) -> Mirror:
        with self._opening:
            if url not in self._mirrors:
                self._mirrors[url] = Mirror(
                    self._place(parsed),
                    parsed,
                    timeout=self._limits.git_timeout,
                    pack_bytes=self._limits.pack_bytes,
                    processes=self._processes,
                    alone=self._claim.alone,
                )
            return self._mirrors[url]

    async def _with_submodules(self, snapshot: Snapshot, allowed: Allowed, depth: int) -> Snapshot:
        """The snapshot with its submodules' files in it. The tree is written into the repository's own mirror, and kept there."""
        tree = _git_tree(snapshot.tree)
        wanted = await asyncio.to_thread(submodules, tree, snapshot.url)
        if not wanted:
            return snapshot
        if depth >= _DEEPEST:
            raise SourceError(f"submodules are nested more than {_DEEPEST} deep", where=Where(shown(snapshot.url)))
        entries: dict[str, Entry] = {}
        for module in wanted:
            parsed = parse_repository_url(module.url, allow_file=self._allow_file)
            _must_be_allowed(parsed.text, allowed, f"the submodule {module.path!r}")
            inner = await self._resolve_git(module.url, module.commit, None, None, fetch=False)
            inner_tree = _git_tree((await self._with_submodules(inner, allowed, depth + 1)).tree)
            await asyncio.to_thread(tree.store.copy_tree, inner_tree.store, inner_tree.hash)
            entries[module.path] = Entry(module.path.rpartition("/")[2], EntryKind.FOLDER, inner_tree.hash)

        def grafted() -> str:
            oid = tree.store.graft(tree.hash, entries)
            tree.store.keep(oid)
            return oid

        return Snapshot(snapshot.url, snapshot.revision, GitTree(tree.store, await asyncio.to_thread(grafted)))

    def _verify(self, snapshot: Snapshot, wanted: Signatures) -> None:
        # Its libraries are large, and most projects ask for no signature.
        from taut.sources import signatures as signing

        where = Where(shown(snapshot.url))
        mirror = self._known_mirror(snapshot.url)
        commit = mirror.commit(snapshot.revision.id) if mirror else None
        if mirror is None or commit is None:
            raise SourceError(
                "signatures are checked in Git repositories only",
                where=where,
                advice="ask for no signature, or use Git",
            )
        if wanted.require == "commit":
            signing.check(signing.signed_commit(commit, where), wanted, where)
            return
        name = snapshot.revision.label.rpartition("@")[0]
        tag = mirror.tag_object(name) if name and name not in mirror.branches() else None
        if tag is None:
            raise SourceError(
                f"a signed tag is asked for, and {name or snapshot.revision.label!r} is none",
                where=where,
                advice="name a signed tag, or a range of versions, as ref",
            )
        if str(tag.target) != snapshot.revision.id:
            raise SourceError(f"the tag {name!r} has moved since", where=where, advice="refresh the source")
        signing.check(signing.signed_tag(tag, name, where), wanted, where)


@contextmanager
def _damage_told(url: str) -> Generator[None]:
    """What goes wrong on taut's own disk, as a sentence about this one source: all others go on."""
    try:
        yield
    except (pygit2.GitError, KeyError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise SourceError(
                "the disk is full", where=Where(shown(url)), advice="make room in taut's folder"
            ) from None
        raise SourceError(
            f"taut's own copy of the source cannot be read or written: {str(error)[:200]}",
            where=Where(shown(url)),
            advice="check the disk; when taut's folder of sources is deleted it is fetched anew",
        ) from error


def _git_tree(tree: Tree) -> GitTree:
    if not isinstance(tree, GitTree):
        raise TypeError("only trees that come from Sources are taken")
    return tree


def _must_be_allowed(url: str, allowed: Allowed, what: str) -> None:
    if not allowed(url):
        raise SourceError(
            f"{what} comes from a place the project does not list",
            where=Where(shown(url)),
            advice="add it to the project's repositories",
        )


def _covers(provider: CredentialProvider, url: str, name: str) -> bool:
    """Whether credentials of that name are meant for the address."""
    try:
        return provider.for_url(url, name) is not None
    except SourceError:
        return False
