"""Runs the processes of one control plane, and sees to it that none outlives it.

Started as a program of its own (`python -m taut.localplane.supervisor HOME NAME REPORT_FD OWNER_FD LOCK_FD`) in a session of its
own. It inherits the plane's lock, which is free again when it and all components are gone. It reports one line of JSON to REPORT_FD when the plane is usable or cannot be, and ends

* when the other end of OWNER_FD is closed (its owner is gone, however it went; -1 when there is no owner),
* on SIGTERM, SIGINT or SIGHUP,
* when one of the components ends by itself.

The kernel kills the components when the supervisor dies (PR_SET_PDEATHSIG), so that its own kill -9 leaves nothing either.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NoReturn

from taut.localplane import components
from taut.localplane.api import Api
from taut.localplane.paths import Layout
from taut.model.errors import TautError

_START_DEADLINE = 90.0
_LOOK_EVERY = 0.03
_ETCD_GRACE = 5.0
_PR_SET_PDEATHSIG = 1
_LISTENER_VARIABLE = "LOCALPLANE_LISTENER_FD"
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ended(Exception):
    """The plane is to end; `error` says what failed, empty when nothing did."""

    def __init__(self, error: str = "") -> None:
        self.error = error
        super().__init__(error)


class Supervisor:
    """One control plane's processes."""

    def __init__(self, layout: Layout, owner: int, lock: int) -> None:
        self.layout = layout
        self.settings = components.Settings.from_json(layout.settings.read_text())
        self.folder = layout.folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._owner = owner
        self._lock = lock
        self._pid = os.getpid()
        self._wakeup = self._watch_signals()
        self._poll = select.poll()
        for descriptor in (self._wakeup, owner):
            if descriptor >= 0:
                self._poll.register(descriptor, select.POLLIN)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.port = 0

    def bring_up(self) -> None:
        """Start everything and wait until the plane is usable. Raises Ended."""
        listener = self._listen()
        self.port = int(listener.getsockname()[1])
        tokens = self._tokens()
        self._write_configuration(tokens)
        program = f"{self.settings.binaries}/localplane"
        self._spawn("etcd", [program, *components.etcd()])
        argv = [program, *components.apiserver(self.settings)]
        self._spawn(
            "kube-apiserver",
            argv,
            environment={_LISTENER_VARIABLE: str(listener.fileno())},
            inherit=(listener.fileno(),),
        )
        listener.close()
        api = Api(self.port, self.layout.ca, tokens[components.ADMIN])
        self._wait(api.ready, "the API server is not ready")
        self._spawn(components.CONTROLLER_MANAGER, [program, *components.controller_manager()])
        self._spawn(components.SCHEDULER, [program, *components.scheduler()])
        for path, body in components.defaults():
            api.apply(path, body)
        self._spawn(components.KWOK, [f"{self.settings.binaries}/kwok", *components.kwok(self.settings)])
        self._wait(lambda: _usable(api), "the node does not become ready")

    def watch(self) -> NoReturn:
        """Wait for the end. Raises Ended."""
        while True:
            self._look(None)

    def tear_down(self) -> None:
        """End all processes and, unless they are kept, remove the data. A kept store is closed in order."""
        store = self._processes.pop("etcd", None)
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        if store is not None:
            if self.settings.keep:
                store.terminate()
                _wait_quietly(store)
            store.kill()
            store.wait()
        if not self.settings.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _watch_signals(self) -> int:
        """Make signals readable: the descriptor that is returned gets a byte for each."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (*_END_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        return read

    def _look(self, timeout: float | None) -> None:
        """Wait for up to `timeout` seconds for something to happen. Raises Ended when it is the end."""
        readable = [fd for fd, _ in self._poll.poll(None if timeout is None else timeout * 1000)]
        if self._owner in readable and not os.read(self._owner, 1):
            raise Ended
        if self._wakeup in readable and set(os.read(self._wakeup, 512)) & set(_END_SIGNALS):
            raise Ended
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise Ended(f"{name} ended with code {process.returncode}: {_last_words(self.layout.log(name))}")

    def _wait(self, fact: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _START_DEADLINE
        while not fact():
            if time.monotonic() > deadline:
                raise Ended(f"{otherwise} after {_START_DEADLINE:.0f} s; see the logs in {self.folder}")
            self._look(_LOOK_EVERY)

    def _listen(self) -> socket.socket:
        """Bind the API server's socket: the wanted port, or any when it is taken."""
        for port in (self.settings.port, 0):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                listener.close()
                continue
            listener.listen(1024)
            return listener
        raise Ended("there is no free port on 127.0.0.1")

    def _tokens(self) -> dict[str, str]:
        """New tokens, or those of an earlier start with these data: copies of its kubeconfig stay valid."""
        file = self.folder / "tokens.csv"
        found = components.read_token_file(file.read_text()) if file.is_file() else {}
        return {who: found.get(who) or secrets.token_urlsafe(32) for who in components.USERS}

    def _write_configuration(self, tokens: dict[str, str]) -> None:
        server, ca = f"https://127.0.0.1:{self.port}", self.layout.ca.read_bytes()
        _write(self.folder / "tokens.csv", components.token_file(tokens))
        _write(self.folder / "audit-policy.json", components.audit_policy())
        for who, token in tokens.items():
            file = self.layout.kubeconfig if who == components.ADMIN else self.layout.component_kubeconfig(who)
            _write(
                file, components.kubeconfig(name=f"localplane-{self.settings.name}", server=server, ca=ca, token=token)
            )

    def _spawn(
        self, name: str, argv: Sequence[str], *, environment: dict[str, str] | None = None, inherit: Sequence[int] = ()
    ) -> None:
        """Start a component in the plane's folder, with a small environment, bound to the supervisor's life."""
        small = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
        with self.layout.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=small | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._lock, *inherit),
                preexec_fn=self._die_with_supervisor,  # noqa: PLW1509 - the supervisor has one thread
            )

    def _die_with_supervisor(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self._pid:
            os._exit(1)  # it died before it was asked for


def _usable(api: Api) -> bool:
    """Whether Pods can be placed: the node is ready and untainted, and the default service account exists."""
    try:
        node = api.get("/api/v1/nodes/node-1") or {}
        account = api.get("/api/v1/namespaces/default/serviceaccounts/default")
    except (OSError, HTTPException):
        return False
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not node["spec"].get("taints") and account is not None


def _write(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)


def _wait_quietly(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_ETCD_GRACE)
    except subprocess.TimeoutExpired:
        return


def _last_words(log: Path) -> str:
    """The last line of a log that says something, cut to a sentence's length."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E", "F", "Error", "error", "panic"))]
    return (errors or lines or ["it printed nothing"])[-1][:400]


def _report(descriptor: int, message: dict[str, object]) -> None:
    """Tell the one who waits; nobody may be left to listen."""
    try:
        os.write(descriptor, json.dumps(message).encode() + b"\n")
        os.close(descriptor)
    except OSError:
        return


def main(argv: Sequence[str]) -> int:
    """The program: HOME NAME REPORT_FD OWNER_FD LOCK_FD."""
    home, name, report, owner, lock = argv
    os.umask(0o077)
    os.truncate(int(lock), 0)
    os.write(int(lock), str(os.getpid()).encode())
    return _supervise(Layout(Path(home), name), int(report), int(owner), int(lock))


def _supervise(layout: Layout, report: int, owner: int, lock: int) -> int:
    supervisor = Supervisor(layout, owner, lock)
    error = ""
    try:
        supervisor.bring_up()
        _write(layout.folder / "port", str(supervisor.port))
        _report(report, {"port": supervisor.port})
        supervisor.watch()
    except Ended as ended:
        error = ended.error
    except (TautError, OSError, HTTPException) as failure:
        error = str(failure)
    finally:
        supervisor.tear_down()
    if error:
        print(error, file=sys.stderr)
        _report(report, {"error": error})
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
