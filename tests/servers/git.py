"""Real Git repositories over real HTTP: bare repositories on disk, served by `git http-backend`."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast, override
from urllib.parse import unquote, urlsplit

import pygit2
from pygit2.enums import FileMode, ObjectType

_AUTHOR = pygit2.Signature("Ada Tester", "ada@example.test")
_QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ.get("PATH", "")}
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Symlink:
    """A symbolic link, as a file's content."""

    target: str


@dataclass(frozen=True)
class Executable:
    """A file with the executable bit."""

    data: bytes


type Content = str | bytes | Symlink | Executable | None
"""What a path is to hold; None removes it (a folder: with everything below)."""


class GitRepo:
    """One bare repository. Everything is done in its object store, without a working copy, in a millisecond or so.

    `url` is where a server serves it. Commits are named by their 40 hex digits.
    """

    def __init__(self, path: Path, url: str = "") -> None:
        self.path = path
        self.url = url or path.as_uri()
        if not path.exists():
            repo = pygit2.init_repository(str(path), bare=True, initial_head="main")
            repo.config["http.receivepack"] = True
        self.git = pygit2.Repository(str(path))

    def commit(
        self,
        files: Mapping[str, Content],
        message: str = "change",
        *,
        branch: str = "main",
        fresh: bool = False,
        orphan: bool = False,
        author: pygit2.Signature = _AUTHOR,
    ) -> str:
        """Commit changes of `files` on `branch` (made when it is new); the answer is the commit.

        `fresh` starts from an empty tree instead of the branch's. `orphan` gives the commit no parent: it rewrites history.
        """
        ref = f"refs/heads/{branch}"
        old = self.git.references.get(ref)
        parents = [] if old is None or orphan else [cast("pygit2.Oid", old.target)]
        index = pygit2.Index()
        if old is not None and not fresh:
            index.read_tree(old.peel(pygit2.Tree))
        for path, content in files.items():
            self._change(index, path, content)
        tree = index.write_tree(self.git)
        commit = self.git.create_commit(None, author, author, message, tree, cast("Any", parents))
        self.git.references.create(ref, commit, force=True)
        return str(commit)

    def delete(self, *paths: str, message: str = "remove", branch: str = "main") -> str:
        """Commit the removal of files or folders; the answer is the commit."""
        return self.commit(dict.fromkeys(paths), message, branch=branch)

    def force_push(self, files: Mapping[str, Content], message: str = "rewritten", *, branch: str = "main") -> str:
        """Replace the branch by one new commit without a parent that holds `files` only; the answer is the commit."""
        return self.commit(files, message, branch=branch, fresh=True, orphan=True)

    def reset(self, branch: str, commit: str) -> None:
        """Point the branch at a commit, forwards or backwards."""
        self.git.references.create(f"refs/heads/{branch}", commit, force=True)

    def branch(self, name: str, at: str = "main") -> str:
        """Make or move the branch `name` to what `at` (a branch, tag or commit) is; the answer is the commit."""
        commit = self.resolve(at)
        self.reset(name, commit)
        return commit

    def delete_branch(self, name: str) -> None:
        """Remove a branch."""
        self.git.references.delete(f"refs/heads/{name}")

    def tag(self, name: str, at: str = "main", *, message: str = "") -> str:
        """Tag what `at` is, annotated when there is a `message`; moves a tag that exists. The answer is the commit."""
        commit = self.resolve(at)
        ref = f"refs/tags/{name}"
        if ref in self.git.references:
            self.git.references.delete(ref)
        if message:
            self.git.create_tag(name, pygit2.Oid(hex=commit), ObjectType.COMMIT, _AUTHOR, message)
        else:
            self.git.references.create(ref, commit)
        return commit

    def delete_tag(self, name: str) -> None:
        """Remove a tag."""
        self.git.references.delete(f"refs/tags/{name}")

    def resolve(self, name: str) -> str:
        """The commit that a branch, tag or commit is. Raises KeyError when there is none."""
        return str(self.git.revparse_single(name).peel(pygit2.Commit).id)

    def head(self, branch: str = "main") -> str:
        """The commit of a branch."""
        return self.resolve(f"refs/heads/{branch}")

    def read(self, path: str, at: str = "main") -> bytes:
        """A file's content. Raises KeyError when there is none."""
        entry = self.git.revparse_single(at).peel(pygit2.Tree)[path]
        return entry.peel(pygit2.Blob).data

    def run(self, *args: str) -> str:
        """Run a git command in the repository; the answer is what it prints."""
        done = subprocess.run(["git", *args], cwd=self.path, env=_QUIET, capture_output=True, text=True, check=True)
        return done.stdout

    def _change(self, index: pygit2.Index, path: str, content: Content) -> None:
        if content is None:
            gone = [e.path for e in index if e.path == path or e.path.startswith(f"{path}/")]
            if not gone:
                raise KeyError(f"{path} is not there, so it cannot be removed")
            for name in gone:
                index.remove(name)
            return
        mode = FileMode.BLOB
        if isinstance(content, Symlink):
            content, mode = content.target, FileMode.LINK
        elif isinstance(content, Executable):
            content, mode = content.data, FileMode.BLOB_EXECUTABLE
        data = content.encode() if isinstance(content, str) else content
        index.add(pygit2.IndexEntry(path, self.git.create_blob(data), mode))


@dataclass
class GitHttpServer:
    """Serves all repositories below `root` over HTTP, or HTTPS with a certificate. A context manager.

    With `credentials` (user, password) it asks for them. `failure` makes it answer with that status instead, and `requests` is what
    was asked: method and path with query.
    """

    root: Path
    credentials: tuple[str, str] | None = None
    certificate: tuple[Path, Path] | None = None
    """Certificate and key (PEM): then it serves HTTPS."""
    ca: Path | None = None
    """What verifies the certificate."""
    failure: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """The address of `root`."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def repo(self, name: str) -> GitRepo:
        """The repository `name` (made when it is new), served at `url/name.git`."""
        return GitRepo(self.root / f"{name}.git", f"{self.url}/{name}.git")

    def start(self) -> None:
        """Serve, on the same port as before when it was stopped."""
        server = _Server(("127.0.0.1", self.port), _Handler)
        server.git = self
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_port
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop serving: from now on connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> GitHttpServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    git: GitHttpServer
    daemon_threads = True
    request_queue_size = 64

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up or distrust the certificate are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Tests read `requests` instead."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self._body()
        git = self.server.git
        git.requests.append((self.command, self.path))
        if git.failure:
            self._answer(git.failure, {}, b"the server is out of order\n")
        elif git.credentials and not self._authorized(git.credentials):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"who are you?\n")
        else:
            self._backend(body)

    def _authorized(self, credentials: tuple[str, str]) -> bool:
        expected = base64.b64encode(":".join(credentials).encode()).decode()
        return self.headers.get("Authorization", "") == f"Basic {expected}"

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _backend(self, body: bytes) -> None:
        """Run `git http-backend` as CGI (RFC 3875), and pass its answer on while it comes."""
        parts = urlsplit(self.path)
        environment = _QUIET | {
            "GIT_PROJECT_ROOT": str(self.server.git.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_USER": "tester",
        }
        with subprocess.Popen(
            ["git", "http-backend"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            feeder = threading.Thread(target=_feed, args=(process.stdin, body), daemon=True)
            feeder.start()
            status, headers = _cgi_headers(process.stdout)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while piece := process.stdout.read1(_CHUNK):  # pyright: ignore[reportAttributeAccessIssue] - it is buffered
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            feeder.join()

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "text/plain", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _feed(stdin: Any, body: bytes) -> None:
    try:
        stdin.write(body)
        stdin.close()
    except BrokenPipeError:
        return


def _cgi_headers(out: Any) -> tuple[int, dict[str, str]]:
    status, headers = 200, {}
    while line := out.readline().decode().strip():
        name, _, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers[name] = value.strip()
    return status, headers
