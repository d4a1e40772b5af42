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
from pygit2.enums import FileMode

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
    if not entries:
        return
    head = repo.git.revparse_single("main").peel(pygit2.Commit)
    tree = str(head.tree_id)
    for path, entry in entries.items():
        content = entry.content.encode() if isinstance(entry.content, str) else entry.content
        oid = entry.content if entry.mode == FileMode.COMMIT else str(repo.git.create_blob(content))
        above = f"apps/{path.split('/')[1]}" if path.startswith("apps/") else ""
        tree = _with(repo, tree, above, path[len(above) :].lstrip("/"), entry.mode, str(oid))
    author = pygit2.Signature("Eve", "eve@example.test")
    commit = repo.git.create_commit(None, author, author, "odd", pygit2.Oid(hex=tree), [head.id])
    repo.git.references.create("refs/heads/main", commit, force=True)


def _with(repo: GitRepo, tree: str, folder: str, name: str, mode: int, oid: str) -> str:
    head, _, rest = folder.partition("/")
    if head:
        inner = repo.git[tree][head]  # pyright: ignore[reportIndexIssue]
        mode, oid, name = FileMode.TREE, _with(repo, str(inner.id), rest, name, mode, oid), head
    entries = {e.raw_name: (e.filemode, str(e.id)) for e in repo.git[tree]}  # pyright: ignore[reportGeneralTypeIssues]
    entries[name.encode()] = (mode, oid)
    order = sorted(entries.items(), key=lambda e: e[0] + (b"/" if e[1][0] == FileMode.TREE else b""))
    data = b"".join(b"%o %b\0%b" % (int(m), n, bytes.fromhex(o)) for n, (m, o) in order)
    return str(repo.git.odb.write(pygit2.enums.ObjectType.TREE, data))
