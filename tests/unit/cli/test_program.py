"""The program itself, as a process: pipes, colours, terminals, signals, completion."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from support.memory_backend import DB, OPS_WEB, Running, plan
from taut.model.health import HealthStatus

TAUT = [sys.executable, "-m", "taut.cli.main"]
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE = 60.0


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TAUT, *args], capture_output=True, text=True, check=False, env={**os.environ, **env}, timeout=PATIENCE
    )


class Terminal:
    """A program on a pseudo-terminal: what it shows, and what is typed."""

    def __init__(self, *args: str, **env: str) -> None:
        self._fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*TAUT, *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30", **env},
        )
        os.close(theirs)
        self.raw = b""

    def until(self, text: str) -> bytes:
        """Read until `text` is shown (colours do not count)."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in ESCAPES.sub(b"", self.raw):
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} was not shown: {self.raw!r}"
            if select.select([self._fd], [], [], left)[0]:
                self.raw += self._read() or b"<end>"
        return self.raw

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def end(self) -> int:
        """Wait for the program to end; its exit code comes out."""
        while data := self._read():
            self.raw += data
        os.close(self._fd)
        return self.process.wait(PATIENCE)

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, 65536)
        except OSError:
            return b""  # Linux says EIO when the program has closed its side.


def test_a_pipe_gets_whole_lines_without_colour(server: Running) -> None:
    long = "x" * 500
    server.backend.apps[DB] = msgspec.structs.replace(server.backend.apps[DB], message=long)
    done = run("status", COLUMNS="40")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert long in done.stdout


def test_a_terminal_gets_colour_and_no_more_than_fits(server: Running) -> None:
    terminal = Terminal("status", COLUMNS="90")
    assert terminal.end() == 0
    assert b"\x1b[" in terminal.raw
    plain = ESCAPES.sub(b"", terminal.raw).decode().splitlines()
    assert all(len(line) <= 90 for line in plain)
    assert any(line.endswith("…") for line in plain)


def test_no_color_is_obeyed(server: Running) -> None:
    terminal = Terminal("status", NO_COLOR="1")
    assert terminal.end() == 0
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m", terminal.raw)


def test_a_reader_that_has_enough_is_no_error(server: Running) -> None:
    reader = f"{sys.executable} -m taut.cli.main status -o json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", reader], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[", "")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("status",), 0),
        (("get", "nothing"), 2),
        (("diff", "db"), 3),
        (("sync", "ops/web", "--dry-run"), 4),
        (("approve", "ops/web", "--plan", "0" * 8), 1),
        (("status", "--no-such-option"), 2),
        (("status", "-o", "xml"), 2),
        (("nonsense",), 2),
        (("get",), 2),
        (("--help",), 0),
    ],
)
def test_exit_codes(server: Running, args: tuple[str, ...], code: int) -> None:
    done = run(*args)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) is (code in (1, 2))


def test_a_mistyped_command_is_guessed() -> None:
    assert "Did you mean status" in run("statsu").stderr


@pytest.mark.parametrize(("typed", "code"), [(plan(OPS_WEB).hash[:8], 0), ("12345678", 4), ("", 4)])
def test_deleting_data_is_confirmed_with_the_hash(server: Running, typed: str, code: int) -> None:
    terminal = Terminal("approve", "ops/web")
    terminal.until("digits of the plan's hash")
    terminal.type(typed + "\n")
    assert terminal.end() == code
    assert "PersistentVolumeClaim shop/data" in terminal.raw.decode()
    assert bool(server.backend.calls) is (code == 0)


def test_watch_follows_until_it_is_ended(server: Running) -> None:
    terminal = Terminal("status", "--watch")
    terminal.until("4 applications")
    terminal.until("Live.")
    server.put(
        msgspec.structs.replace(server.backend.apps[DB], health=HealthStatus.DEGRADED, message="the disk is full")
    )
    terminal.until("the disk is full")
    before = terminal.raw
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0
    assert "the disk is full" in ESCAPES.sub(b"", terminal.raw[len(before) :]).decode(), "the last picture stays"


def test_watch_in_a_pipe_is_one_line_a_change(server: Running) -> None:
    process = subprocess.Popen([*TAUT, "status", "--watch"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(4)]
    assert "db  Healthy  Succeeded  main@1a2b3c4d\n" in first
    server.put(msgspec.structs.replace(server.backend.apps[DB], drift=2))
    assert process.stdout.readline() == "db  Drifted  Succeeded  main@1a2b3c4d\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    process.stdout.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_TAUT_COMPLETE" in done.stdout
    if shell == "bash":
        checked = subprocess.run(["bash", "-n"], input=done.stdout, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def complete(words: str, position: int) -> list[str]:
    done = run(_TAUT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(position))
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_names_are_completed_by_the_server(server: Running) -> None:
    assert complete("taut get ", 2) == ["api", "db", "ops/web", "shop/web"]
    assert complete("taut sync op", 2) == ["ops/web"]
    assert complete("taut sync prod/s", 2) == ["prod/shop/api", "prod/shop/web"]
    assert complete("taut ref", 1) == ["refresh"]


def test_completion_without_a_server_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    done = run(_TAUT_COMPLETE="bash_complete", COMP_WORDS="taut get ", COMP_CWORD="2")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_the_store_is_verified_and_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "taut.db"
    assert run("store", "verify", str(path)).returncode == 2
    assert run("store", "set-aside", str(path)).returncode == 1
    code = "import asyncio, sys\nfrom pathlib import Path\nfrom taut.store.store import Store\n"
    code += "async def main():\n    s = Store.open(Path(sys.argv[1]))\n    await s.audit('a', 'b', 'c')\n    await s.close()\n"
    subprocess.run([sys.executable, "-c", code + "asyncio.run(main())", str(path)], check=True)
    assert run("store", "verify", str(path)).stdout == "The store is whole, and so is its audit.\n"
    path.write_bytes(b"nothing of use" * 1000)
    broken = run("store", "verify", str(path))
    assert broken.returncode == 1
    assert "set-aside" in broken.stderr
    assert run("store", "set-aside", str(path)).returncode == 0
    assert not path.exists()


def test_starting_up_imports_only_what_the_command_needs() -> None:
    code = "import sys; from taut.cli.ending import run_command; from taut.cli.main import cli; run_command(cli, ['version'])\n"
    code += (
        "print([m for m in ('rich', 'starlette', 'uvicorn', 'aiohttp', 'cryptography', 'pygit2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
