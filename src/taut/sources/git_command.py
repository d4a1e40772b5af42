"""The git command, run so that neither a repository, nor a URL, nor the machine's configuration can make it do anything else."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from taut.clients.credentials import Credentials
from taut.model.errors import SourceError, Where
from taut.sources.git_errors import explain
from taut.sources.repository_url import RepositoryUrl, shown

_PROTOCOLS = "https:http:ssh:file"
_KEPT = (
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "credential.helper=",
    "transfer.credentialsInUrl=die",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=30",
)
_ASKPASS = """#!/bin/sh
# Answers git's question from the environment, and only for the server the answer belongs to.
case "$1" in
  *"://$TAUT_GIT_HOST'"*|*"@$TAUT_GIT_HOST'"*|*"://$TAUT_GIT_HOST/"*|*"@$TAUT_GIT_HOST/"*) ;;
  *) exit 1 ;;
esac
case "$1" in
  Username*) printf '%s\\n' "$TAUT_GIT_USERNAME" ;;
  Password*) printf '%s\\n' "$TAUT_GIT_PASSWORD" ;;
  *) exit 1 ;;
esac
"""
_OPEN_KEY = """#!/bin/sh
printf '%s\\n' "$TAUT_SSH_PASSPHRASE"
"""


class Processes:
    """The git processes that run for one `Sources`, so that they end with it."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.closed = False

    @contextmanager
    def holding(self, process: subprocess.Popen[bytes]) -> Generator[None]:
        """Know of a process while it runs."""
        with self._lock:
            self._running.add(process)
            if self.closed:
                _kill(process)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)

    def close(self) -> None:
        """Kill what runs, and whatever would be started from now on."""
        with self._lock:
            self.closed = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_git(
    repository: Path,
    arguments: Sequence[str],
    *,
    url: RepositoryUrl,
    credentials: Credentials | None,
    timeout: float,
    processes: Processes,
    file_bytes: int = 0,
) -> str:
    """Run git in a bare repository and give what it printed. Blocks; killed with its children after `timeout` seconds.

    The environment is made from nothing: no configuration of the system or the user, no hooks, no prompts. Credentials are passed in the environment
    or in private files that end with the call, never as arguments. No file that git writes grows beyond `file_bytes` (0: no bound). Raises
    SourceError with a sentence for people.
    """
    command = ["git", *(part for option in _SAFE for part in ("-c", option)), f"--git-dir={repository}", *arguments]
    with prepared_environment(url, credentials) as environment:
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=repository,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise SourceError("the git command is missing", advice="install git 2.31 or newer") from None
        with processes.holding(process):
            if file_bytes:
                # Before the first answer comes in: git has yet to start the programs that talk and write, which inherit this.
                with suppress(ProcessLookupError):
                    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
            output, errors = _wait(process, timeout, url)
    if processes.closed and process.returncode != 0:
        raise SourceError("taut is stopping", where=Where(shown(url.text)))
    if process.returncode != 0:
        raise explain(errors.decode("utf-8", "replace"), url.text, credentials)
    return output.decode("utf-8", "surrogateescape")


def too_large(url: RepositoryUrl, largest: int) -> SourceError:
    """The error for a download that has no end."""
    return SourceError(
        f"the repository sends more than {largest >> 20} MiB at once: it is larger than that, or the server lies",
        where=Where(shown(url.text)),
        advice="use a smaller repository",
    )


def _wait(process: subprocess.Popen[bytes], timeout: float, url: RepositoryUrl) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise SourceError(
            f"the repository did not answer within {timeout:g} s",
            where=Where(shown(url.text)),
            advice="taut tries again later",
        ) from None
    finally:
        if process.poll() is None:
            _kill(process)
            process.communicate()


@contextmanager
def prepared_environment(url: RepositoryUrl, credentials: Credentials | None) -> Generator[dict[str, str]]:
    """The environment of one call, with private files that go with it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taut-git-", dir=private_place())))
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {
            "HOME": str(folder),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "false",
            "SSH_ASKPASS": "false",
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_TEMPLATE_DIR": "",
            "GIT_NO_LAZY_FETCH": "1",
        }
        if url.scheme == "ssh":
            environment["GIT_SSH_COMMAND"] = _ssh_command(folder, url, credentials)
            environment["GIT_SSH_VARIANT"] = "ssh"
            if credentials and credentials.ssh_key and credentials.ssh_passphrase:
                environment |= {
                    "SSH_ASKPASS": _program(stack, folder, "ssh-askpass", _OPEN_KEY),
                    "SSH_ASKPASS_REQUIRE": "force",
                    "TAUT_SSH_PASSPHRASE": credentials.ssh_passphrase,
                }
        elif url.scheme in {"http", "https"}:
            environment |= _http_settings(folder, url, credentials)
            if credentials and not credentials.bearer and (credentials.username or credentials.password):
                environment["GIT_ASKPASS"] = _program(stack, folder, "askpass", _ASKPASS)
        yield environment


def private_place() -> str | None:
    """Memory instead of a disk, where the system has such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a private folder is made inside


def _private(folder: Path, name: str, content: bytes, mode: int = 0o600) -> str:
    path = folder / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return str(path)


def _program(stack: ExitStack, folder: Path, name: str, text: str) -> str:
    """A program, without a secret in it. Containers forbid programs in /dev/shm, as a rule: then it is in the folder for temporary files."""
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taut-git-")))
    return _private(folder, name, text.encode(), 0o700)


def _ssh_command(folder: Path, url: RepositoryUrl, credentials: Credentials | None) -> str:
    options = [
        "ssh",
        "-F",
        "/dev/null",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ConnectTimeout=15",
    ]
    options += [
        "-o",
        "ServerAliveInterval=15",
        "-o",
        "ServerAliveCountMax=2",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
    ]
    options += [
        "-o",
        "PermitLocalCommand=no",
        "-o",
        "ForwardAgent=no",
        "-o",
        "ClearAllForwardings=yes",
        "-o",
        "UpdateHostKeys=no",
    ]
    if credentials and credentials.known_hosts:
        known = _private(folder, "known_hosts", credentials.known_hosts.rstrip() + b"\n")
        options += ["-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null"]
    else:
        own = Path(os.path.expanduser("~")) / ".ssh" / "known_hosts"
        options += ["-o", f"UserKnownHostsFile={own}"]
    if credentials and credentials.ssh_key:
        options += ["-i", _private(folder, "key", credentials.ssh_key.rstrip() + b"\n")]
        options += ["-o", "PreferredAuthentications=publickey"]
    else:
        options += ["-o", "PubkeyAuthentication=no"]
    if credentials and credentials.ssh_passphrase:
        options += ["-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1"]  # one question, answered by SSH_ASKPASS
    else:
        options += ["-o", "BatchMode=yes"]
    if credentials and credentials.username and not url.user:
        options += ["-l", credentials.username]
    return shlex.join(options)


def _http_settings(folder: Path, url: RepositoryUrl, credentials: Credentials | None) -> dict[str, str]:
    settings: list[tuple[str, str]] = []
    environment: dict[str, str] = {}
    host = url.authority
    identifies = credentials is not None and credentials.identifies
    # A redirect would take the credentials along: with any at hand none is followed. Without, the question for the refs, which comes first, has
    # refused one to another host already.
    settings.append(("http.followRedirects", "false" if identifies else "initial"))
    if credentials is not None:
        if credentials.bearer:
            settings.append((f"http.{url.scheme}://{host}/.extraHeader", f"Authorization: Bearer {credentials.bearer}"))
        elif credentials.username or credentials.password:
            environment |= {
                "TAUT_GIT_HOST": host,
                "TAUT_GIT_USERNAME": credentials.username or "git",
                "TAUT_GIT_PASSWORD": credentials.password,
            }
        if credentials.ca:
            environment["GIT_SSL_CAINFO"] = _private(folder, "ca.pem", credentials.ca)
        if credentials.client_cert:
            environment["GIT_SSL_CERT"] = _private(folder, "cert.pem", credentials.client_cert)
            environment["GIT_SSL_KEY"] = _private(folder, "key.pem", credentials.client_key or credentials.client_cert)
    environment["GIT_CONFIG_COUNT"] = str(len(settings))
    for index, (name, value) in enumerate(settings):
        environment |= {f"GIT_CONFIG_KEY_{index}": name, f"GIT_CONFIG_VALUE_{index}": value}
    return environment
