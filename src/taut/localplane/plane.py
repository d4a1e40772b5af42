"""Starting, stopping and listing control planes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from taut.localplane.building import Progress, build, to_stderr
from taut.localplane.components import SERVER_NAMES, Settings
from taut.localplane.paths import Layout, checked_name, default_home
from taut.model.errors import BadInput, TautError

_STOP_DEADLINE = 20.0
_POLL = 0.02


class PlaneState(StrEnum):
    """What a control plane does."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"


@dataclass(slots=True)
class Plane:
    """One control plane of this user. A context manager: leaving it stops the plane."""

    name: str
    state: PlaneState
    kubeconfig: Path
    """The administrator's kubeconfig (0600)."""
    ca: Path
    """The certificate (PEM) that verifies the server."""
    server: str
    """The API server's URL; empty while there is none."""
    audit_log: Path | None
    """One JSON line for each request, when the audit log was asked for."""
    folder: Path
    keep: bool
    pid: int = 0
    """Of the supervisor; 0 when stopped."""
    home: Path = field(default_factory=default_home)
    owner: int = field(default=-1, repr=False)
    """The descriptor whose closing ends the plane; -1 when it is nobody's or another process's."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    """The supervisor, when this process started it."""

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return str(json.loads(self.kubeconfig.read_text())["users"][0]["user"]["token"])

    def stop(self) -> None:
        """Stop it and wait until its processes are gone. Stopping twice is no error."""
        if _running(Layout(self.home, self.name)):
            stop(self.name, home=self.home)
        _close(self.owner)
        if self.process is not None:
            self.process.wait()
        self.owner, self.process, self.state = -1, None, PlaneState.STOPPED

    def client_certificate(self, user: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
        """Issue a client certificate for `user` in `groups`; the answer is the paths of certificate and key (PEM, 0600)."""
        from taut.localplane.certificates import issue

        layout = Layout(self.home, self.name)
        stem = "".join(c if c.isalnum() else "-" for c in user)
        certificate, key = layout.folder / f"client-{stem}.crt", layout.folder / f"client-{stem}.key"
        issue(layout.ca, layout.ca_key, certificate=certificate, key=key, common_name=user, organizations=groups)
        return certificate, key

    def __enter__(self) -> Plane:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    name: str = "dev",
    *,
    audit: bool = False,
    keep: bool = False,
    detached: bool = False,
    home: Path | None = None,
    apiserver_args: Sequence[str] = (),
    progress: Progress = to_stderr,
) -> Plane:
    """Start the control plane `name` (its programs are built first when they are not there) and wait until Pods can run.

    It ends with this process, however this process ends, unless it is `detached`: then it runs until `stop`. With `keep` its
    data outlive it, and the next start goes on with them; else everything goes when it stops.
    Raises BadInput for a bad name or when kept data would be lost, TautError when it runs already or does not come up.
    """
    layout = _layout(name, home)
    binaries = build(progress=progress)
    lock = _take_lock_from_the_dying(layout)
    if lock is None:
        raise TautError(f"the control plane {name} runs already", advice=f"`taut localplane stop {name}` ends it")
    try:
        port = _prepare(layout, keep=keep)
        settings = Settings(name, str(binaries.folder), audit, keep, port, tuple(apiserver_args))
        _write_settings(layout, settings)
        process, owner = _launch(layout, lock, detached=detached)
    finally:
        # The supervisor and its components have the lock open too: it is free when the last of them is gone.
        os.close(lock)
    plane = _describe(layout)
    plane.owner, plane.process = owner, process
    return plane


def stop(name: str, *, home: Path | None = None) -> None:
    """Stop the control plane `name` and wait until its processes are gone. Raises TautError when there is none that runs."""
    layout = _layout(name, home)
    if not _running(layout):
        known = "" if layout.folder.is_dir() else " (there is none of that name)"
        raise TautError(
            f"the control plane {name} does not run{known}", advice="`taut localplane list` shows what there is"
        )
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = _supervisor_pid(layout)
        if pid:
            os.kill(pid, number)
        if _wait_until_gone(layout):
            return
    raise TautError(
        f"the control plane {name} does not stop", advice=f"look for processes that work in {layout.folder}"
    )


def planes(*, home: Path | None = None) -> list[Plane]:
    """All control planes in name order, running or stopped."""
    home = (home or default_home()).absolute()
    names = sorted(f.parent.name for f in home.glob("*/settings.json"))
    return [_describe(Layout(home, name)) for name in names]


def get(name: str, *, home: Path | None = None) -> Plane:
    """The control plane `name`. Raises TautError when there is none."""
    layout = _layout(name, home)
    if not layout.settings.is_file():
        raise TautError(f"there is no control plane {name}", advice=f"`taut localplane start {name}` makes one")
    return _describe(layout)


def delete(name: str, *, home: Path | None = None) -> None:
    """Stop the control plane `name` if it runs, and throw its data away. Raises TautError when there is none."""
    layout = _layout(name, home)
    if not layout.folder.is_dir():
        raise TautError(f"there is no control plane {name}")
    if _running(layout):
        stop(name, home=home)
    lock = _take_lock(layout)
    if lock is None:
        raise TautError(f"the control plane {name} was started again meanwhile")
    try:
        shutil.rmtree(layout.folder, ignore_errors=True)
    finally:
        os.close(lock)


def _layout(name: str, home: Path | None) -> Layout:
    """The files of the control plane `name`. Raises BadInput for a bad name."""
    return Layout((home or default_home()).absolute(), checked_name(name))


def _take_lock(layout: Layout) -> int | None:
    """Take the plane's lock, as a descriptor that holds it; None when somebody has it."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _take_lock_from_the_dying(layout: Layout) -> int | None:
    """Take the plane's lock; when its supervisor was killed, wait until the kernel has ended the components too."""
    deadline = time.monotonic() + _STOP_DEADLINE
    while (lock := _take_lock(layout)) is None:
        if _supervisor_pid(layout) or time.monotonic() > deadline:
            return None
        time.sleep(_POLL)
    return lock


def _running(layout: Layout) -> bool:
    """Whether any process of the plane lives."""
    if not layout.lock.is_file():
        return False
    lock = _take_lock(layout)
    if lock is not None:
        os.close(lock)
    return lock is None


def _wait_until_gone(layout: Layout) -> bool:
    deadline = time.monotonic() + _STOP_DEADLINE
    while _running(layout):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _supervisor_pid(layout: Layout) -> int:
    """The process id of the plane's supervisor, 0 when it is gone. An id that was given to another program meanwhile does not count."""
    try:
        pid = int(layout.lock.read_text() or "0")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    return pid if b"taut.localplane.supervisor" in command else 0


def _prepare(layout: Layout, *, keep: bool) -> int:
    """Make the plane's folder and credentials, or find those of an earlier start. The answer is the port it had (0: none)."""
    previous = _settings(layout)
    if previous is not None and previous.keep and not keep:
        raise BadInput(
            f"the control plane {layout.name} has data that are kept, and a start without keeping them would throw them away",
            advice=f"start it with --keep, or delete it first: `taut localplane delete {layout.name}`",
        )
    if not (previous and previous.keep):
        shutil.rmtree(layout.folder, ignore_errors=True)
    layout.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (layout.folder / "server.key").is_file():
        _make_credentials(layout)
    port = layout.folder / "port"
    try:
        number = int(port.read_text())
        port.unlink()
    except (OSError, ValueError):
        return 0
    return number


def _make_credentials(layout: Layout) -> None:
    from taut.localplane import certificates

    certificates.make_key_pair(layout.folder / "sa.key", layout.folder / "sa.pub")
    certificates.make_ca(layout.ca, layout.ca_key, f"localplane {layout.name} CA")
    server = layout.folder / "server.crt"
    key = layout.folder / "server.key"
    certificates.issue(
        layout.ca, layout.ca_key, certificate=server, key=key, common_name="kube-apiserver", addresses=SERVER_NAMES
    )


def _write_settings(layout: Layout, settings: Settings) -> None:
    descriptor = os.open(layout.settings, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(settings.to_json())


def _launch(layout: Layout, lock: int, *, detached: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Start the supervisor, and wait for its report. The answer is its process and the descriptor whose closing ends it (-1: none)."""
    report_read, report_write = os.pipe()
    owner_read, owner_write = (-1, -1) if detached else os.pipe()
    try:
        process = _spawn_supervisor(layout, report_write, owner_read, lock)
    finally:
        _close(report_write, owner_read)
    error = "it was given up"
    try:
        with os.fdopen(report_read, "rb") as report:
            error = _failure(report.readline(), layout)
    finally:
        if error:
            _close(owner_write)
            process.terminate()
            process.wait()
    if error:
        raise TautError(f"the control plane {layout.name} did not come up: {error}")
    return process, owner_write


def _spawn_supervisor(layout: Layout, report: int, owner: int, lock: int) -> subprocess.Popen[bytes]:
    """Start `taut.localplane.supervisor` in a session of its own, with this process's taut, whatever the working folder is."""
    program = [
        "-P",
        "-m",
        "taut.localplane.supervisor",
        str(layout.home),
        layout.name,
        str(report),
        str(owner),
        str(lock),
    ]
    packages = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([packages, *filter(None, [os.environ.get("PYTHONPATH")])])
    with open(layout.log("supervisor"), "ab", opener=partial(os.open, mode=0o600)) as log:
        return subprocess.Popen(
            [sys.executable, *program],
            cwd=layout.home,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[fd for fd in (report, owner, lock) if fd >= 0],
            start_new_session=True,
        )


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)


def _failure(report: bytes, layout: Layout) -> str:
    """What the supervisor's report says went wrong; empty when nothing did."""
    if not report:
        log = layout.log("supervisor")
        words = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        return words[-1] if words else "its supervisor ended without a word"
    return str(json.loads(report).get("error", ""))


def _settings(layout: Layout) -> Settings | None:
    """The settings of the last start; None when there are none that can be read."""
    try:
        return Settings.from_json(layout.settings.read_text())
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _describe(layout: Layout) -> Plane:
    settings = _settings(layout) or Settings(layout.name, "")
    port = layout.folder / "port"
    running = _running(layout)
    serving = running and port.is_file()
    state = PlaneState.RUNNING if serving else PlaneState.STARTING if running else PlaneState.STOPPED
    return Plane(
        name=layout.name,
        state=state,
        kubeconfig=layout.kubeconfig,
        ca=layout.ca,
        server=f"https://127.0.0.1:{port.read_text()}" if serving else "",
        audit_log=layout.audit_log if settings.audit else None,
        folder=layout.folder,
        keep=settings.keep,
        pid=_supervisor_pid(layout) if running else 0,
        home=layout.home,
    )
