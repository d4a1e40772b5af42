"""The prison of a worker, entered from inside it: what it can see, reach and use, and what of that really holds.

Three walls, each as far as the system permits: namespaces (its own small read-only file system, no network, no other processes),
Landlock (the same rules for files and TCP, kept by another part of the kernel, and the fallback where namespaces are refused), and
resource limits. Nothing is skipped silently: `Held` says what holds, and the parent shows it.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import msgspec

from taut.prison import kernel, landlock, namespaces
from taut.prison.limits import Limits

WORK = "/taut.work"
TOOLS = "/taut.tools"


class Prison(msgspec.Struct, frozen=True, kw_only=True):
    """How a prison is built. `tools` are programs that can be run inside, by name; `folders` are shown read-only where they are; `work` is the folder used without namespaces, and
    `in_memory` whether it is in memory.
    """

    limits: Limits = Limits()
    tools: dict[str, str] = {}
    folders: tuple[str, ...] = ()
    namespaces: bool = True
    landlock: bool = True
    work: str = ""
    in_memory: bool = False
    parent: int = 0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in a prison. `namespaces` and `landlock` are None where they are not in force, with the reason in `refused`."""

    namespaces: tuple[str, ...] = ()
    landlock: int = 0
    user: int = 0
    refused: tuple[str, ...] = ()
    work: str = WORK
    tools: dict[str, str] = {}
    in_memory: bool = False
    """Whether nothing that is written in the work folder can reach a disk."""

    @property
    def network(self) -> str:
        """`none`, `no TCP`, or `open`."""
        if "net" in self.namespaces:
            return "none"
        return "no TCP" if self.landlock >= 4 else "open"

    @property
    def files(self) -> str:
        """`closed` when nothing but the work folder, Python and the tools can be read, else `open`."""
        return "closed" if "mnt" in self.namespaces or self.landlock else "open"

    @property
    def processes(self) -> str:
        """`none` when no other process can be seen, else `visible`."""
        return "none" if "pid" in self.namespaces else "visible"

    @property
    def complete(self) -> bool:
        """Whether everything that was meant to hold does."""
        return self.network == "none" and self.files == "closed" and self.processes == "none"

    def describe(self) -> str:
        """One line for people: what holds, and what was refused and why."""
        walls = ["namespaces " + "+".join(self.namespaces)] if self.namespaces else []
        walls += [f"Landlock {self.landlock}"] if self.landlock else []
        text = f"files {self.files}, network {self.network}, other processes {self.processes} ({', '.join(walls) or 'no walls'})"
        return text + (f"; refused: {'; '.join(self.refused)}" if self.refused else "")


def readable() -> list[str]:
    """The folders and files that a worker needs to read: Python, the packages, the shared libraries of the system."""
    paths = [p for p in sys.path if p and os.path.isabs(p)]
    paths += ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"]
    paths += [str(p) for p in Path(sys.base_prefix, "lib").glob("libpython*")]
    found: list[str] = []
    for path in sorted({os.path.normpath(p) for p in paths if os.path.exists(p)}, key=lambda p: (p.count("/"), p)):
        if not any(
            os.path.realpath(path).startswith(os.path.realpath(f) + "/") and path.startswith(f + "/") for f in found
        ):
            found.append(path)
    return found


def enter(prison: Prison) -> Held:
    """Go in, for good. Returns in the process that is inside; with namespaces that is a grandchild, and its ancestors only wait.

    Raises OSError when what is permitted fails half way: then nothing may run.
    """
    refused: list[str] = []
    spaces: tuple[str, ...] = ()
    tools = dict(prison.tools)
    work = prison.work
    if prison.namespaces:
        inside = {name: f"{TOOLS}/{name}" for name in prison.tools}
        files = {inside[name]: path for name, path in prison.tools.items()}
        shown = namespaces.Shown((*readable(), *prison.folders), files, WORK, prison.limits.input_bytes * 2)
        reason = namespaces.refusal(shown)
        if reason:
            refused.append(f"namespaces: {reason}")
        else:
            spaces, minor = namespaces.enter(shown, prison.parent)
            refused += minor
            tools, work = inside, WORK
    if not spaces:
        namespaces.end_with(prison.parent)
        kernel.adopt_orphans()
    return _confine(prison, spaces, work, tools, refused)


def _confine(prison: Prison, spaces: tuple[str, ...], work: str, tools: dict[str, str], refused: list[str]) -> Held:
    abi = 0
    if prison.landlock:
        abi = landlock.restrict([*readable(), *prison.folders, *tools.values(), "/dev/urandom"], [work, "/dev/null"])
        if not abi:
            refused.append("Landlock: this kernel has none")
    kernel.no_new_privileges()
    if spaces or os.geteuid() == 0:
        kernel.drop_capabilities()
    limit(prison.limits)
    if not spaces and os.geteuid() == 0:
        refused.append("number of processes: root is exempt, they are watched from outside")
    os.chdir(work)
    return Held(
        namespaces=spaces,
        landlock=abi,
        user=os.geteuid(),
        refused=tuple(refused),
        work=work,
        tools=tools,
        in_memory=bool(spaces) or prison.in_memory,
    )


def limit(limits: Limits) -> None:
    """Set the resource limits of this process and its children."""
    megabytes = limits.memory_mb * 1024 * 1024
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, megabytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_MEMLOCK, 65536),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def limit_cpu(seconds: int) -> None:
    """Let this process and its children compute for `seconds` more; the kernel ends what goes on. Called before each job."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    bound = int(used.ru_utime + used.ru_stime) + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
