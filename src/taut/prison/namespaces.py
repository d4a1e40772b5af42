"""Namespaces: a process gets its own users, mounts, processes, network and IPC, and sees only what is mounted for it.

The order matters. Sources are opened as the old user in the new mount namespace, users are mapped by a helper outside, mounts are made, the root is changed, and only then does the process fork into the new process namespace. Nothing here runs after a Go library is loaded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from taut.prison import kernel

_SPACES = {
    "user": os.CLONE_NEWUSER,
    "mnt": os.CLONE_NEWNS,
    "pid": os.CLONE_NEWPID,
    "net": os.CLONE_NEWNET,
    "ipc": os.CLONE_NEWIPC,
    "uts": os.CLONE_NEWUTS,
}
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be seen inside: `readable` at the same paths, `files` (path inside → outside), and `work`, an empty folder in memory."""

    readable: tuple[str, ...]
    files: Mapping[str, str]
    work: str
    work_bytes: int


def refusal(shown: Shown) -> str:
    """Why namespaces cannot be used here; empty when they can. All of it is tried, in a child that ends at once."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            _build_root(_leave(shown), shown)
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return os.strerror(code) if 0 < code < 255 else "the attempt failed" if code else ""


def enter(shown: Shown, parent: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Enter new namespaces. Returns, in a grandchild, their names and what was refused; the processes between wait for it and end as it does.

    `parent` is the process that started this one: without it there is nothing to do, and this one ends.

    Raises OSError when something is not permitted.
    """
    sources = _leave(shown)
    end_with(parent)
    refused = _build_root(sources, shown)
    for _, descriptor in sources:
        os.close(descriptor)
    _become_child()
    _become_child()
    return tuple(_SPACES), refused


def end_with(parent: int) -> None:
    """Have this process end when `parent` does, also when it already did. 0 stands for any."""
    kernel.die_with_parent()
    if parent and os.getppid() != parent:
        os._exit(0)


def _all() -> int:
    flags = 0
    for flag in _SPACES.values():
        flags |= flag
    return flags


def _open_all(readable: Iterable[str], files: Mapping[str, str]) -> list[tuple[str, int]]:
    wanted = (
        [(path, path) for path in readable]
        + list(files.items())
        + [("/dev/null", "/dev/null"), ("/dev/urandom", "/dev/urandom")]
    )
    opened: list[tuple[str, int]] = []
    for inside, outside in wanted:
        opened.append((inside, os.open(outside, os.O_PATH | os.O_CLOEXEC)))
    return opened


def _outside_ids(paths: list[str]) -> tuple[int, int]:
    """Whom the worker is outside its namespace: as root somebody without any rights, if what it needs is readable for everybody."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    samples = [*paths, __file__, os.__file__]
    for path in samples:
        mode = os.stat(path).st_mode if os.path.exists(path) else 0o777
        if mode & 0o004 == 0 or (stat.S_ISDIR(mode) and mode & 0o001 == 0):
            return 0, 0
    return _NOBODY, _NOBODY


def _leave(shown: Shown) -> list[tuple[str, int]]:
    """Leave the outer namespaces; a helper that stays outside maps the users, because only it may map another's.

    What is to be shown is opened between: already in the new mount namespace, and still with the rights of the old user.
    """
    user, group = _outside_ids([*shown.readable, *shown.files.values()])
    if os.geteuid() == 0:
        os.setgroups([])
    ready = os.pipe()
    me = os.getpid()
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            os.close(ready[1])
            if os.read(ready[0], 1):
                _map_users(me, user, group)
                code = 0
        finally:
            os._exit(code)
    os.close(ready[0])
    os.unshare(_all() & ~os.CLONE_NEWPID)
    sources = _open_all(shown.readable, shown.files)
    os.write(ready[1], b"x")
    os.close(ready[1])
    if os.waitpid(helper, 0)[1] != 0:
        raise OSError("the users of the namespace could not be mapped")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.unshare(os.CLONE_NEWPID)
    return sources


def _map_users(process: int, user: int, group: int) -> None:
    base = Path("/proc", str(process))
    if os.geteuid() != 0:
        (base / "setgroups").write_text("deny")
    (base / "uid_map").write_text(f"0 {user} 1")
    (base / "gid_map").write_text(f"0 {group} 1")


def _build_root(sources: list[tuple[str, int]], shown: Shown) -> tuple[str, ...]:
    """Make the small file system and go into it. Returns what was refused and can be done without."""
    refused: tuple[str, ...] = ()
    try:
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    except OSError as error:
        refused = (f"forbidding namespaces inside: {error.strerror}",)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    root = next(d for d in ("/tmp", "/var", "/mnt", "/home", "/opt") if os.path.isdir(d))  # noqa: S108 (hidden by the mount)
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    for path, descriptor in sources:
        _show(root, path, descriptor)
    os.makedirs(root + shown.work, mode=0o700)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", root + shown.work, "tmpfs", flags, f"size={shown.work_bytes},mode=700")
    kernel.change_root(root)
    kernel.make_read_only("/", recursive=False)
    return refused


def _show(root: str, path: str, descriptor: int) -> None:
    """Show what `descriptor` holds at `path` below `root`, read-only."""
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    kernel.mount(f"/proc/self/fd/{descriptor}", target, "", kernel.MS_BIND | kernel.MS_REC)
    kernel.make_read_only(target, recursive=True, devices=stat.S_ISCHR(mode))


def _become_child() -> None:
    """Fork; go on in the child, while the parent waits for it and ends as it did."""
    child = os.fork()
    if child == 0:
        kernel.die_with_parent()
        return
    while True:
        done, status = os.waitpid(-1, 0)
        if done == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
