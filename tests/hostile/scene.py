"""What an attack meets: a real taut on a real cluster and repository, a canary that counts connections, a secret on the machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import FileMode, ObjectType

from hostile.attack import Attack, Ground, Planted, Raw, config_map
from integration.loop.harness import CLUSTER, yaml
from servers.git import Content, GitHttpServer, GitRepo

SECRET = "s3cr3t-0f-the-machine"
VARIABLE = "s3cr3t-0f-the-environment"
HEALTHY = ("healthy-1", "healthy-2", "healthy-3")


@dataclass
class Canary:
    """A server that should never be called."""

    connections: int = 0
    port: int = 0

    @contextmanager
    def listening(self) -> Iterator[Canary]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()
            yield self

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Machine:
    """A folder beside taut's with a secret in it, in which nothing may change."""

    folder: Path
    _before: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "secret").write_text(SECRET)
        self._before = self._content()

    @property
    def untouched(self) -> bool:
        return self._content() == self._before

    def _content(self) -> dict[str, bytes]:
        return {str(f.relative_to(self.folder)): f.read_bytes() for f in self.folder.rglob("*") if f.is_file()}


def plant(
    git: GitHttpServer, fleet: GitRepo, attacks: Sequence[Attack], ground: Ground, words: Mapping[str, str]
) -> None:
    """Commit the attacks, healthy applications and the documents of all of them."""
    here: dict[str, Content] = {f"apps/{name}/cm.yaml": config_map(name) for name in HEALTHY}
    raw: dict[str, Raw] = {}
    documents = [_document(name, fleet.url, words["@NAMESPACE@"], {}, {}) for name in HEALTHY]
    for attack in attacks:
        repo = git.repo(attack.name) if attack.alone else fleet
        documents.append(
            _document(attack.name, repo.url, words["@NAMESPACE@"], ground.fill(attack.source), ground.fill(attack.spec))
        )
        files, odd = _files(attack, ground, words)
        if attack.alone:
            repo.commit(files)
            graft(repo, odd)
        else:
            here |= files
            raw |= odd
    each = {f"taut/{d['metadata']['name']}.yaml": yaml(d) for d in documents}
    fleet.commit({**here, **each})
    graft(fleet, raw)


def plant_later(fleet: GitRepo, attacks: Sequence[Attack], ground: Ground, words: Mapping[str, str]) -> None:
    """Commit attacks by plain files on top."""
    files: dict[str, str] = {}
    for attack in attacks:
        document = _document(attack.name, fleet.url, words["@NAMESPACE@"], ground.fill(attack.source), attack.spec)
        files |= {f"taut/{attack.name}.yaml": yaml(document)}
        files |= {path: str(content) for path, content in _files(attack, ground, words)[0].items()}
    overlay(fleet, files)


def _files(attack: Attack, ground: Ground, words: Mapping[str, str]) -> tuple[dict[str, Content], dict[str, Raw]]:
    plain: dict[str, Content] = {}
    raw: dict[str, Raw] = {}
    for path, content in attack.files.items():
        place = path[1:] if path.startswith("/") else f"apps/{attack.name}/{path}"
        if isinstance(content, Raw):
            raw[place] = content
        else:
            plain[place] = _filled(content, ground, words)
    return plain, raw


def _filled(content: Planted, ground: Ground, words: Mapping[str, str]) -> Any:
    filled = ground.fill(content)
    for word, value in words.items():
        filled = filled.replace(word, value) if isinstance(filled, str) else filled
    return filled


def _document(
    name: str, url: str, namespace: str, source: Mapping[str, Any], spec: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "taut.dev/v1",
        "kind": "Application",
        "metadata": {"name": name},
        "spec": {
            "project": "hostile",
            "source": {"git": url, "ref": "main", "path": f"apps/{name}", **source},
            "target": {"cluster": CLUSTER, "namespace": namespace},
            **spec,
        },
    }


def graft(repo: GitRepo, entries: Mapping[str, Raw]) -> None:
    """Put entries into the tree of `main` that Git would not write, with a commit on top."""
    _commit(repo, {(_above(path), path[len(_above(path)) :].lstrip("/")): entry for path, entry in entries.items()})


def overlay(repo: GitRepo, files: Mapping[str, str]) -> None:
    """Commit plain files over what `main` has, whatever odd things are in it: Git's own index would refuse those."""
    _commit(
        repo, {(path.rpartition("/")[0], path.rpartition("/")[2]): Raw(0o100644, text) for path, text in files.items()}
    )


def _above(path: str) -> str:
    return "/".join(path.split("/")[:2]) if path.startswith("apps/") else ""


def _commit(repo: GitRepo, entries: Mapping[tuple[str, str], Raw]) -> None:
    if not entries:
        return
    head = repo.git.revparse_single("main").peel(pygit2.Commit)
    tree = str(head.tree_id)
    for (folder, name), entry in entries.items():
        content = entry.content.encode() if isinstance(entry.content, str) else entry.content
        oid = entry.content if entry.mode == FileMode.COMMIT else str(repo.git.create_blob(content))
        tree = _with(repo, tree, folder, name, entry.mode, str(oid))
    author = pygit2.Signature("Eve", "eve@example.test")
    commit = repo.git.create_commit(None, author, author, "odd", pygit2.Oid(hex=tree), [head.id])
    repo.git.references.create("refs/heads/main", commit, force=True)


def _with(repo: GitRepo, tree: str, folder: str, name: str, mode: int, oid: str) -> str:
    """The tree with an entry put in, as raw bytes: nothing is checked."""
    found = repo.git[tree]
    entries = {e.raw_name: (int(e.filemode), str(e.id)) for e in found}  # pyright: ignore[reportGeneralTypeIssues]
    head, _, rest = folder.partition("/")
    if head:
        inner = entries.get(head.encode(), (0, str(repo.git.TreeBuilder().write())))[1]
        mode, oid, name = FileMode.TREE, _with(repo, inner, rest, name, mode, oid), head
    entries[name.encode()] = (int(mode), oid)
    order = sorted(entries.items(), key=lambda e: e[0] + (b"/" if e[1][0] == FileMode.TREE else b""))
    data = b"".join(b"%o %b\0%b" % (m, n, bytes.fromhex(o)) for n, (m, o) in order)
    return str(repo.git.odb.write(ObjectType.TREE, data))
