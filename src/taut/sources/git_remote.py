"""A remote repository: what refs it has, and how its objects come here. Blocking; run it in a thread.

libgit2 does what it can do safely, for a hundredth of the cost of a process: nothing new costs one request. The git command does the rest: the first
download of a repository (it is several times faster there), ssh (libgit2's binding does not show the host's key), own authorities and client
certificates (libgit2 has them for the whole process only). Where there are credentials, `smart_http` asks for the refs, for the reasons given there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pygit2
from pygit2.callbacks import RemoteCallbacks
from pygit2.enums import ConfigLevel, CredentialType
from pygit2.remotes import TransferProgress

from taut.clients.credentials import Credentials
from taut.clients.http import authorization
from taut.model.errors import SourceError, Where
from taut.sources.git_command import Processes, run_git, too_large
from taut.sources.git_errors import explain
from taut.sources.repository_url import RepositoryUrl, shown
from taut.sources.smart_http import advertised
from taut.sources.tree import ObjectStore, remove_unfinished_packs

_HEX = 40


@dataclass(frozen=True, slots=True)
class RemoteRefs:
    """What a remote advertises: full ref names to object ids (of the tag itself for annotated tags), and its default branch ("" when unknown)."""

    refs: dict[str, str]
    head: str


@dataclass(frozen=True, slots=True)
class Received:
    """What one download cost, as counted by the transport; zeros when the git command did it."""

    objects: int = 0
    bytes: int = 0


def prepare_library(timeout: float) -> None:
    """Settings that libgit2 has for the whole process: no configuration from the machine, a limit on silence, and no cache of its own: it
    would have one for each thread, and folders that are looked at often are kept by `ObjectStore` for all.
    """
    pygit2.settings.enable_caching(False)
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG, ConfigLevel.PROGRAMDATA):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.server_connect_timeout = int(min(timeout, 10.0) * 1000)
    pygit2.settings.server_timeout = int(min(timeout, 20.0) * 1000)
    pygit2.settings.user_agent_product = "git/2 (taut)"


class GitRemote:
    """One remote of one local repository, for one fetch."""

    def __init__(
        self,
        store: ObjectStore,
        url: RepositoryUrl,
        credentials: Credentials | None,
        *,
        timeout: float,
        pack_bytes: int,
        processes: Processes,
    ) -> None:
        self._store = store
        self._url = url
        self._credentials = credentials
        self._timeout = timeout
        self._pack_bytes = pack_bytes
        self._processes = processes
        self._remote: pygit2.Remote | None = None
        own_tls = credentials is not None and (credentials.ca or credentials.client_cert)
        self._by_library = url.scheme in {"http", "https", "file"} and not own_tls

    def refs(self) -> RemoteRefs:
        """Ask the remote for its refs. A redirect is only followed within the host, and when there are no credentials that would go along."""
        held = self._credentials
        if self._url.scheme in {"http", "https"} and held is not None and (held.identifies or held.ca):
            return _checked(*advertised(self._url, held, self._timeout))
        return self._refs_by_library() if self._by_library else self._refs_by_command()

    def download(self, refspecs: Sequence[str], *, first: bool) -> Received:
        """Bring the objects of refs (`+source:destination`) and set the local ones. `first`: the mirror is empty."""
        if self._by_library and not first:
            return self._download_by_library(refspecs)
        self._git(
            "fetch",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--force",
            "--quiet",
            "--",
            self._url.text,
            *refspecs,
        )
        return Received()

    def download_commit(self, commit: str) -> None:
        """Bring one commit by its hash, which many servers allow even when no branch contains it any more."""
        self._git(
            "fetch",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--quiet",
            "--",
            self._url.text,
            commit,
        )

    def _git(self, *arguments: str) -> str:
        try:
            return run_git(
                self._store.path,
                arguments,
                url=self._url,
                credentials=self._credentials,
                timeout=self._timeout,
                processes=self._processes,
                file_bytes=self._pack_bytes,
            )
        except SourceError:
            # What was received of a pack is of no use to the next try, and would fill the disk in the end.
            if remove_unfinished_packs(self._store.path) >= self._pack_bytes:
                raise too_large(self._url, self._pack_bytes) from None
            raise

    def _refs_by_command(self) -> RemoteRefs:
        refs: dict[str, str] = {}
        head = ""
        for line in self._git("ls-remote", "--symref", "--", self._url.text).splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: ") and name == "HEAD":
                head = value.removeprefix("ref: ")
            elif len(value) == _HEX:
                refs[name] = value
        return _checked(refs, head)

    def _refs_by_library(self) -> RemoteRefs:
        remote = self._store.repository().remotes.create_anonymous(self._url.text)
        callbacks = self._callbacks()
        try:
            heads = remote.list_heads(callbacks=callbacks, proxy=True)
        except (pygit2.GitError, OSError, ValueError, KeyError) as error:
            raise self._explained(error) from None
        self._remote = remote
        head = next((item.symref_target or "" for item in heads if item.name == "HEAD"), "")
        return _checked({item.name or "": str(item.oid) for item in heads}, head)

    def _download_by_library(self, refspecs: Sequence[str]) -> Received:
        remote = self._remote or self._store.repository().remotes.create_anonymous(self._url.text)
        callbacks = self._callbacks()
        try:
            progress = remote.fetch(list(refspecs), callbacks=callbacks, proxy=True)
        except (pygit2.GitError, OSError, ValueError, KeyError) as error:
            raise self._explained(error) from None
        return Received(progress.received_objects, progress.received_bytes)

    def _callbacks(self) -> _Callbacks:
        deadline = time.monotonic() + self._timeout
        return _Callbacks(
            self._url,
            self._credentials,
            lambda: self._processes.closed or time.monotonic() > deadline,
            self._pack_bytes,
        )

    def _explained(self, error: Exception) -> SourceError:
        return explain(str(error), self._url.text, self._credentials)


class _Callbacks(RemoteCallbacks):
    """Answers libgit2's questions: credentials once (a second question means that they were wrong), and whether to go on."""

    def __init__(
        self, url: RepositoryUrl, credentials: Credentials | None, enough: Callable[[], bool], largest: int
    ) -> None:
        super().__init__()
        self._largest = largest
        self._url = url
        self._held = credentials
        self._enough = enough
        self._asked = False

    def credentials(self, url: str, username_from_url: str | None, allowed_types: CredentialType) -> pygit2.UserPass:
        """Called when the server wants to know who asks."""
        held = self._held
        if (
            held is None
            or self._asked
            or not (held.username or held.password)
            or not allowed_types & CredentialType.USERPASS_PLAINTEXT
        ):
            raise explain("authentication failed", self._url.text, held)
        self._asked = True
        return pygit2.UserPass(held.username or username_from_url or "git", held.password)

    def custom_headers(self) -> list[str] | None:
        """A token that goes along with every request."""
        if self._held is None or not self._held.bearer:
            return None
        return [f"Authorization: {authorization(self._held)}"]

    def transfer_progress(self, stats: TransferProgress) -> None:
        """Called while data comes in: a server that never ends is left."""
        if stats.received_bytes > self._largest:
            raise too_large(self._url, self._largest)
        if self._enough():
            raise SourceError(
                "the repository did not finish in time",
                where=Where(shown(self._url.text)),
                advice="taut tries again later",
            )


def _checked(refs: dict[str, str], head: str) -> RemoteRefs:
    """Only plain names count: what else a server advertises may be meant for a terminal or a shell."""
    good = {name: oid for name, oid in refs.items() if name.startswith("refs/") and plain_ref(name)}
    return RemoteRefs(good, head if head in good else "")


def plain_ref(name: str) -> bool:
    """Whether a ref's name follows Git's rules (`git check-ref-format`) and can be printed."""
    return name.isprintable() and not name.startswith("-") and "//" not in name and pygit2.reference_is_valid_name(name)
