"""taut's copy of one Git repository: refs, commits, pins. Blocking; one writer at a time (see `fetching`)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from taut.clients.credentials import Credentials
from taut.model.errors import SourceError, Where
from taut.model.snapshot import Revision, Snapshot
from taut.sources.git_command import Processes, run_git
from taut.sources.git_remote import GitRemote, Received, RemoteRefs, plain_ref
from taut.sources.repository_url import RepositoryUrl, shown
from taut.sources.semver_range import best_version, is_range, parse_range
from taut.sources.tree import GitTree, create_store

_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_EXTRA = "refs/taut/extra/"
_PINS = "refs/taut/pins/"
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_MANY = 200
_PACKS = 40


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought: whether any ref moved, came or went, and what the download cost."""

    moved: bool
    received: Received = field(default_factory=Received)


class Mirror:
    """A bare repository that follows one remote. Branches and tags are where the remote has them; pins keep what was deployed."""

    def __init__(
        self,
        path: Path,
        url: RepositoryUrl,
        *,
        timeout: float,
        pack_bytes: int,
        processes: Processes,
        alone: bool = False,
    ) -> None:
        self.url = url
        self._timeout = timeout
        self._pack_bytes = pack_bytes
        self._processes = processes
        self.store = create_store(path, alone=alone)
        config = self.store.repository().config
        # libgit2 would follow a redirect to any host. With this it stays within the host.
        if "http.followRedirects" not in config:
            config["http.followRedirects"] = "false"
        self._gone: dict[str, str] = {}
        self._extra: set[str] = set()

    def fetch(self, credentials: Credentials | None) -> Fetched:
        """Bring what is new, drop the refs that are gone. Raises SourceError; the mirror then stays as it was."""
        remote = self._remote(credentials)
        advertised = remote.refs()
        local = self._followed()
        wanted = self._wanted(advertised, local)
        if not wanted and local:
            raise SourceError(
                "the repository has no branches and no tags any more",
                where=self._where,
                advice="nothing was changed; check the repository",
            )
        moved = {name for name, oid in wanted.items() if local.get(name) != oid}
        vanished = {name: oid for name, oid in local.items() if name not in wanted}
        # A new branch `a/b` has no room while `a` is still there; the rest goes only when the new is here.
        self._drop({name for name in vanished if _in_the_way(name, moved)})
        received = remote.download(_refspecs(moved, first=not local), first=not local) if moved else Received()
        self._drop(vanished)
        head_moved = self._follow_head(advertised)
        self._gone = {name: oid for name, oid in self._gone.items() if name not in wanted} | vanished
        if moved:
            self._tidy()
        return Fetched(bool(moved or vanished or head_moved), received)

    def fetch_commit(self, commit: str, credentials: Credentials | None) -> None:
        """Ask for one commit that no ref contains. Raises SourceError when the server does not give it."""
        self._remote(credentials).download_commit(commit)

    def _remote(self, credentials: Credentials | None) -> GitRemote:
        return GitRemote(
            self.store,
            self.url,
            credentials,
            timeout=self._timeout,
            pack_bytes=self._pack_bytes,
            processes=self._processes,
        )

    def follow(self, ref: str) -> None:
        """Have the next fetch bring a ref outside of branches and tags (`refs/pull/1/head`)."""
        self._extra.add(ref)

    def branches(self) -> dict[str, str]:
        """Branch names to commits."""
        refs = self._refs(_HEADS)
        return {name.removeprefix(_HEADS): oid for name, oid in refs.items()}

    def snapshot(self, commit: str, label: str = "") -> Snapshot:
        """The snapshot of a commit. Raises SourceError when the mirror does not have it."""
        found = self.commit(commit)
        if found is None:
            raise SourceError(
                f"the commit {commit[:40]!r} is not in the repository", where=self._where, advice="check the revision"
            )
        author = f"{_text(found.author.raw_name)} <{_text(found.author.raw_email)}>"
        revision = Revision(
            str(found.id), label or str(found.id)[:8], author, _text(found.raw_message), float(found.commit_time)
        )
        return Snapshot(self.url.text, revision, GitTree(self.store, str(found.tree_id)))

    def commit(self, oid: str) -> pygit2.Commit | None:
        """The commit with this full hash, None when it is not here or is none."""
        return _as_commit(self.store.repository().get(oid)) if len(oid) == 40 and _COMMIT.fullmatch(oid) else None

    def find(self, ref: str | None, tag_prefix: str | None = None) -> Snapshot | None:
        """What `ref` names now; None when the mirror has nothing of that name.

        Looked for in this order: a full ref (`refs/…`), a branch, a tag, a commit (40 digits or an abbreviation of 7 or more that is unique), and at
        last a range of versions among the tags. So a branch wins over a tag of the same name, and an exact name over a range. No ref: the default
        branch. Raises SourceError for names Git does not allow, abbreviations that fit several commits, and tags of something that is no commit.
        """
        if not ref:
            branch = self._default_branch()
            return self._at(_HEADS + branch, branch) if branch else None
        if ref.startswith("-") or not ref.isprintable() or len(ref) > 500:
            raise SourceError(
                f"{ref[:100]!r} is no ref",
                where=self._where,
                advice="name a branch, a tag, a commit or a range of versions",
            )
        if ref.startswith("refs/"):
            stored = ref if ref.startswith((_HEADS, _TAGS)) else _EXTRA + ref.removeprefix("refs/")
            return self._at(stored, ref) if plain_ref(ref) else None
        for space in (_HEADS, _TAGS):
            if plain_ref(space + ref) and (found := self._at(space + ref, ref)):
                return found
        return self._by_commit(ref) or self._by_range(ref, tag_prefix or "")

    def missing(self, ref: str | None) -> SourceError:
        """The error for a ref that a fresh fetch did not bring."""
        if not ref:
            return SourceError(
                "the repository is empty, or has no default branch",
                where=self._where,
                advice="push a commit, or name a ref",
            )
        for space, kind in ((_HEADS, "branch"), (_TAGS, "tag")):
            full = ref if ref.startswith("refs/") else space + ref
            if full in self._gone and full.startswith(space):
                return SourceError(
                    f"the {kind} {ref!r} was deleted from the repository; it was at {self._gone[full][:8]}",
                    where=self._where,
                    advice="push it again, or name another ref; what was deployed last keeps running",
                )
        if is_range(ref) and not _COMMIT.fullmatch(ref):
            return SourceError(
                f"no tag is in the range {ref!r}",
                where=self._where,
                advice="pre-releases count only when the range names one",
            )
        names = [*self.branches(), *(name.removeprefix(_TAGS) for name in self._refs(_TAGS))]
        near = difflib.get_close_matches(ref, names, n=1)
        advice = f"did you mean {near[0]!r}?" if near else "name a branch, a tag, a commit or a range of versions"
        return SourceError(
            f"the repository has no branch, tag or commit {ref[:200]!r}", where=self._where, advice=advice
        )

    def pin(self, revision: str) -> None:
        """Keep a commit, whatever happens to its branch."""
        if self.commit(revision) is None:
            raise SourceError(f"the commit {revision[:40]!r} is not in the repository", where=self._where)
        self.store.repository().references.create(_PINS + revision, pygit2.Oid(hex=revision), force=True)

    def unpin(self, pin: str) -> None:
        """Let go of what `pins` told; nothing happens when it was not pinned."""
        references = self.store.repository().references
        if plain_ref(_PINS + pin) and _PINS + pin in references:
            references.delete(_PINS + pin)

    def pins(self) -> frozenset[str]:
        """The commits that are kept."""
        return frozenset(name.removeprefix(_PINS) for name in self._refs(_PINS))

    def tag_object(self, name: str) -> pygit2.Tag | None:
        """The annotated tag of that name, None for a lightweight one or none."""
        reference = self.store.repository().references.get(_TAGS + name) if plain_ref(_TAGS + name) else None
        found = self.store.repository().get(reference.target) if reference else None
        return found if isinstance(found, pygit2.Tag) else None

    @property
    def _where(self) -> Where:
        return Where(shown(self.url.text))

    def _refs(self, prefix: str) -> dict[str, str]:
        repository = self.store.repository()
        return {ref.name: str(ref.target) for ref in repository.references.iterator() if ref.name.startswith(prefix)}

    def _followed(self) -> dict[str, str]:
        """The remote's refs as they were at the last fetch, by their names there."""
        found: dict[str, str] = {}
        for ref in self.store.repository().references.iterator():
            if ref.name.startswith((_HEADS, _TAGS)):
                found[ref.name] = str(ref.target)
            elif ref.name.startswith(_EXTRA):
                found["refs/" + ref.name.removeprefix(_EXTRA)] = str(ref.target)
        return found

    def _wanted(self, advertised: RemoteRefs, local: dict[str, str]) -> dict[str, str]:
        extra = self._extra | {name for name in local if not name.startswith((_HEADS, _TAGS))}
        return {name: oid for name, oid in advertised.refs.items() if name.startswith((_HEADS, _TAGS)) or name in extra}

    def _drop(self, names: Iterable[str]) -> None:
        references = self.store.repository().references
        for name in names:
            if _local_name(name) in references:
                references.delete(_local_name(name))

    def _follow_head(self, advertised: RemoteRefs) -> bool:
        repository = self.store.repository()
        old = repository.lookup_reference("HEAD").raw_target
        if not advertised.head.startswith(_HEADS) or old == advertised.head.encode():
            return False
        repository.set_head(advertised.head)
        return True

    def _default_branch(self) -> str | None:
        repository = self.store.repository()
        head = str(repository.lookup_reference("HEAD").target)
        if head in repository.references:
            return head.removeprefix(_HEADS)
        branches = self.branches()
        named = next((name for name in ("main", "master") if name in branches), None)
        return named or (next(iter(branches)) if len(branches) == 1 else None)

    def _at(self, reference: str, ref: str) -> Snapshot | None:
        repository = self.store.repository()
        found = repository.references.get(reference)
        if found is None:
            return None
        try:
            commit = found.peel(ObjectType.COMMIT)
        except ValueError:
            raise SourceError(
                f"{ref!r} names something that is no commit", where=self._where, advice="name another tag"
            ) from None
        return self.snapshot(str(commit.id), f"{ref.removeprefix(_HEADS).removeprefix(_TAGS)}@{str(commit.id)[:8]}")

    def _by_commit(self, ref: str) -> Snapshot | None:
        text = ref.lower()
        if not _COMMIT.fullmatch(text):
            return None
        try:
            found = _as_commit(self.store.repository().get(text))
        except ValueError:
            raise SourceError(
                f"the abbreviation {ref!r} fits several commits", where=self._where, advice="write more of its digits"
            ) from None
        return self.snapshot(str(found.id)) if found else None

    def _by_range(self, ref: str, prefix: str) -> Snapshot | None:
        if not is_range(ref):
            return None
        tags = (name.removeprefix(_TAGS) for name in self._refs(_TAGS))
        best = best_version(tags, parse_range(ref), prefix=prefix)
        return self._at(_TAGS + best, best) if best else None

    def _tidy(self) -> None:
        """Every fetch leaves a pack. Many of them make look-ups slow, so they are joined now and then; no object is dropped."""
        packs = list((self.store.path / "objects" / "pack").glob("*.pack"))
        if len(packs) > _PACKS:
            run_git(
                self.store.path,
                ("repack", "--geometric=2", "-d", "-l", "-q"),
                url=self.url,
                credentials=None,
                timeout=max(self._timeout, 600.0),
                processes=self._processes,
            )


def _in_the_way(name: str, moved: set[str]) -> bool:
    """Whether a ref is a folder of one that moved, or the other way round."""
    parents = {name[:at] for at, c in enumerate(name) if c == "/"}
    return not parents.isdisjoint(moved) or any(other.startswith(name + "/") for other in moved)


def _refspecs(moved: set[str], *, first: bool) -> list[str]:
    """Only what moved is asked for; the patterns are for a first download, and for very many at once."""
    common = {name for name in moved if name.startswith((_HEADS, _TAGS))}
    listed = moved - common if first or len(common) > _MANY else moved
    patterns = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"] if listed != moved else []
    return patterns + [f"+{name}:{_local_name(name)}" for name in sorted(listed)]


def _local_name(name: str) -> str:
    return name if name.startswith((_HEADS, _TAGS)) else _EXTRA + name.removeprefix("refs/")


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _as_commit(found: object) -> pygit2.Commit | None:
    return found if isinstance(found, pygit2.Commit) else None
