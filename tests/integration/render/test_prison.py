"""The worker's prison, tried from inside: environment, network, other folders, memory, processes, time.

The probes run through the functions that start every worker; only what the worker does with a job is replaced, in the probe's own process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from taut.model.errors import RenderError
from taut.prison.forking import Nursery
from taut.prison.limits import Limits
from taut.prison.pool import Worker
from taut.prison.walls import Prison
from taut.render.wire import InFile, Job, JsonnetTask, OutDocument
from taut.render.workers import RENDERING, run_job

pytestmark = pytest.mark.integration

LAUNCHER = """
import sys
from taut.prison import nursery
from taut.render import worker
from taut.render.wire import OutDocument, Reply

def run(job, root, held):
    room = {"root": root, "held": held}
    exec((root / "probe.py").read_text(), room)
    return Reply(documents=[OutDocument("probe", 0, room.get("result"))])

worker._run = run
sys.exit(nursery.main(sys.argv[1:]))
"""


class Inside:
    """A worker that runs what it is given."""

    def __init__(self, worker: Worker, nursery: Nursery, limits: Limits) -> None:
        self.worker = worker
        self.nursery = nursery
        self.limits = limits

    async def run(self, code: str, **files: bytes) -> Any:
        probe = InFile("probe.py", textwrap.dedent(code).encode())
        given = [probe, *(InFile(name, data) for name, data in files.items())]
        reply = await run_job(self.worker, Job(given, [], JsonnetTask((), ()), self.limits))
        assert not reply.error, reply.error
        (document,) = reply.documents
        assert isinstance(document, OutDocument)
        return document.body


LIMITS = Limits(wall_seconds=20, memory_mb=300, processes=40, open_files=200, file_bytes=1 << 20)


async def start(*, namespaces: bool = True, limits: Limits = LIMITS, marker: str = "") -> Inside:
    nursery = Nursery(RENDERING, ("-c", LAUNCHER + f"# {marker}\n"))
    _nurseries.append(nursery)
    return Inside(await Worker.start(Prison(limits=limits, namespaces=namespaces), nursery), nursery, limits)


_nurseries: list[Nursery] = []


@pytest.fixture(autouse=True)
async def no_nursery_is_left() -> AsyncIterator[None]:
    yield
    while _nurseries:
        await _nurseries.pop().close()


@pytest.fixture(params=["namespaces", "landlock"])
async def inside(request: pytest.FixtureRequest) -> AsyncIterator[Inside]:
    """A prisoner, once behind all walls and once where namespaces are refused."""
    made = await start(namespaces=request.param == "namespaces")
    yield made
    await made.worker.kill("done")


@pytest.fixture
async def walled() -> AsyncIterator[Inside]:
    made = await start()
    yield made
    await made.worker.kill("done")


async def test_the_prison_says_what_holds(walled: Inside) -> None:
    held = walled.worker.held
    assert held.complete, held.describe()
    assert held.files == "closed"
    assert held.network == "none"
    assert held.processes == "none"


async def test_without_namespaces_it_says_so() -> None:
    made = await start(namespaces=False)
    try:
        held = made.worker.held
        assert not held.complete
        assert held.namespaces == ()
        assert "namespaces" not in held.describe()
        assert "Landlock" in held.describe()
        if os.geteuid() == 0:
            assert "number of processes" in held.describe()
    finally:
        await made.worker.kill("done")


async def test_the_environment_is_empty(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAUT_TEST_SECRET", "visible?")
    names = await inside.run("import os; result = sorted(os.environ)")
    assert set(names) <= {"LC_CTYPE"}


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/hostname",
        "/proc/self/environ",
        "/root",
        "/sys/kernel",
        "/var/log",
        os.path.abspath(__file__),
    ],
)
async def test_other_files_cannot_be_read(inside: Inside, path: str) -> None:
    answer = await inside.run(f"""
        import os
        try:
            result = os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}).read()
        except OSError as error:
            result = "refused"
    """)
    assert answer == "refused"


async def test_a_file_outside_that_anybody_may_read_is_not_there(inside: Inside, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    secret.chmod(0o644)
    answer = await inside.run(f"""
        try:
            result = open({str(secret)!r}).read()
        except OSError as error:
            result = type(error).__name__
    """)
    assert answer in {"FileNotFoundError", "PermissionError"}


async def test_only_the_work_folder_can_be_written(inside: Inside, tmp_path: Path) -> None:
    answer = await inside.run(f"""
        import os, sysconfig
        def attempt(path):
            try:
                with open(path, "w") as file:
                    file.write("x")
                return "written"
            except OSError:
                return "refused"
        places = ["/x", "/tmp/x", sysconfig.get_path("purelib") + "/x.py", "/usr/lib/x", {str(tmp_path / "x")!r}, "/dev/shm/x"]
        result = [attempt(p) for p in places] + [attempt(str(root / "inside"))]
    """)
    assert answer == ["refused"] * 6 + ["written"]


async def test_the_work_folder_is_empty_again_for_the_next_job(inside: Inside) -> None:
    await inside.run("(root.parent / 'left').write_text('a secret'); (root / 'deep').mkdir()")
    names = await inside.run("import os; result = sorted(os.listdir(root.parent)) + sorted(os.listdir(root))")
    assert names == ["job", "probe.py"]


async def test_nothing_can_be_connected_to(inside: Inside) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = threading.Event()

        def accept() -> None:
            server.settimeout(20)
            try:
                server.accept()[0].close()
                taken.set()
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        answer = await inside.run(f"""
            import socket
            try:
                socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5).close()
                result = "connected"
            except OSError:
                result = "refused"
        """)
        assert answer == "refused"
        assert not taken.is_set()


async def test_there_is_no_network_at_all(walled: Inside) -> None:
    answer = await walled.run("""
        import socket
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                udp.sendto(b"x", ("192.0.2.1", 53))
                sent = "sent"
            except OSError:
                sent = "refused"
        try:
            socket.getaddrinfo("example.org", 80)
            name = "found"
        except OSError:
            name = "refused"
        result = [[n for _, n in socket.if_nameindex()], sent, name]
    """)
    assert answer == [["lo"], "refused", "refused"]


async def test_no_other_process_exists(walled: Inside) -> None:
    answer = await walled.run(f"""
        import os
        try:
            os.kill({os.getpid()}, 0)
            seen = "seen"
        except OSError:
            seen = "gone"
        result = [seen, os.getpid() < 10, os.path.exists("/proc")]
    """)
    assert answer == ["gone", True, False]


async def test_it_has_no_rights_to_get_out(walled: Inside) -> None:
    answer = await walled.run("""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        def refused(call):
            try:
                call()
                return False
            except OSError:
                return True
        def mount():
            if libc.mount(b"none", str(root).encode(), b"tmpfs", 0, None) != 0:
                raise OSError
        result = [refused(lambda: os.chroot(str(root))), refused(mount), refused(lambda: os.unshare(os.CLONE_NEWUSER)),
                  refused(lambda: os.mknod(str(root / "d"), 0o20600, os.makedev(1, 1))), refused(lambda: os.setuid(1))]
    """)
    assert answer == [True] * 5


async def test_memory_that_python_asks_for_is_bounded(inside: Inside) -> None:
    answer = await inside.run("""
        try:
            taken = bytearray(400 * 1024 * 1024)
            result = "given"
        except MemoryError:
            result = "refused"
    """)
    assert answer == "refused"


async def test_memory_by_another_way_gets_it_killed(inside: Inside) -> None:
    with pytest.raises(RenderError, match="300 MB of memory"):
        await inside.run("""
            import os
            while True:
                if os.fork() == 0:
                    taken = [bytearray(60 * 1024 * 1024) for _ in range(2)]
                    for part in taken:
                        part[:] = b"x" * len(part)
                    while True:
                        pass
        """)


async def test_processes_are_bounded(walled: Inside) -> None:
    answer = await walled.run("""
        import os, signal
        children = []
        try:
            for _ in range(500):
                child = os.fork()
                if child == 0:
                    signal.pause()
                children.append(child)
            result = "no bound"
        except OSError:
            result = len(children) < 60
        for child in children:
            os.kill(child, signal.SIGKILL)
    """)
    assert answer is True


async def test_too_many_processes_get_it_killed_where_root_is_exempt() -> None:
    made = await start(namespaces=False)
    with pytest.raises(RenderError, match="more than 40 processes"):
        await made.run("""
            import os, signal
            for _ in range(400):
                if os.fork() == 0:
                    signal.pause()
            signal.pause()
        """)
    assert not made.worker.alive


async def test_files_and_descriptors_are_bounded(inside: Inside) -> None:
    answer = await inside.run("""
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            (root / "big").write_bytes(b"x" * (2 << 20))
            size = "no bound"
        except OSError:
            size = "bounded"
        opened = []
        try:
            while len(opened) < 1000:
                opened.append(open(root / "probe.py"))
            count = "no bound"
        except OSError:
            count = "bounded"
        result = [size, count]
    """)
    assert answer == ["bounded", "bounded"]


@pytest.mark.parametrize("namespaces", [True, False])
async def test_time_is_bounded_and_nothing_is_left(namespaces: bool) -> None:
    marker = uuid.uuid4().hex
    made = await start(namespaces=namespaces, limits=Limits(wall_seconds=1.5), marker=marker)
    with pytest.raises(RenderError, match=r"longer than 1\.5 s"):
        await made.run("""
            import os
            for _ in range(3):
                os.fork()
            while True:
                pass
        """)
    assert not made.worker.alive
    assert not _running(marker, made)


@pytest.mark.parametrize("namespaces", [True, False])
async def test_a_child_that_leaves_the_group_dies_with_the_worker(namespaces: bool) -> None:
    marker = uuid.uuid4().hex
    made = await start(namespaces=namespaces, marker=marker)
    await made.run("""
        import os, signal
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pause()
            os._exit(0)
        os.wait()
    """)
    assert _running(marker, made)
    await made.worker.kill("done")
    assert not _running(marker, made)


async def test_computing_is_bounded() -> None:
    made = await start(limits=Limits(wall_seconds=60, cpu_seconds=1))
    with pytest.raises(RenderError, match="computed for more than 1 s"):
        await made.run("while True: pass")


async def test_a_crash_names_what_was_said(walled: Inside) -> None:
    with pytest.raises(RenderError, match=r"crashed \(code 3\): the reason"):
        await walled.run("""
            import os
            os.write(2, b"the reason")
            os._exit(3)
        """)


def _running(marker: str, made: Inside) -> list[str]:
    """The processes with the marker in their command line that still run, without the nursery (the dead that nobody has collected yet do
    not count either).
    """
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line and int(process.name) != made.nursery.pid:
                found.append(process.name)
    return found


WITHOUT_NAMESPACES = """
import asyncio, os, sys
from pathlib import Path
os.unshare(os.CLONE_NEWUSER)
Path("/proc/sys/user/max_user_namespaces").write_text("0")
from taut.model.application import Source
from taut.render.engine import RenderEngine, RenderJob, RenderSource
from taut.render.worktree import snapshot

async def main():
    async with RenderEngine() as engine:
        source = RenderSource(Source(path="."), snapshot(Path(sys.argv[1])))
        rendered = await engine.render(RenderJob("app", "ns", (source,)))
        print([m.name for m in rendered.manifests], engine.held.describe())

asyncio.run(main())
"""


def test_where_namespaces_are_forbidden_it_renders_with_what_is_left_and_says_so(tmp_path: Path) -> None:
    """In a user namespace that allows no further ones, as in many containers."""
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: c\nversion: 1.0.0\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n")
    command = [sys.executable, "-c", WITHOUT_NAMESPACES, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "['made'] files closed, network no TCP, other processes visible" in done.stdout
    assert "refused: namespaces:" in done.stdout
