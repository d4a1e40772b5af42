"""`taut status --watch` on a terminal, while something happens."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.conftest import Scene
from integration.loop.harness import application, config_map, deployment, yaml
from support.program import DEADLINE, TAUT, Program

pytestmark = pytest.mark.integration

ESCAPE = re.compile(rb"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[=>78]")
COLOUR = re.compile(rb"\x1b\[(?:[0-9]+;)*(?:3[0-7]|9[0-7]|38|48)(?:;[0-9]+)*m")
ROWS, COLUMNS = 20, 110


class Screen:
    """A terminal: what a program writes, and what a person sees of it (moves, erasures; colours do not matter here)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.raw = b""
        self.frames: list[str] = []
        """Every picture that was drawn completely: what was there when the next one began."""
        self._seen = 0
        self._cells: list[list[str]] = [[" "] * COLUMNS for _ in range(ROWS)]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        """What is seen now."""
        return "\n".join("".join(row).rstrip() for row in self._cells)

    def until(self, *words: str) -> str:
        """Read until all these words were seen at once, after what earlier calls have seen."""
        deadline = time.monotonic() + DEADLINE
        while True:
            for number, frame in enumerate([*self.frames[self._seen :], self.text]):
                if all(word in frame for word in words):
                    self._seen += number
                    return frame
            left = deadline - time.monotonic()
            assert left > 0, f"{words} were not seen in:\n" + "\n".join(self.frames[self._seen :])
            assert self.read(left), f"it ended before {words} were seen:\n{self.text}"

    def read(self, seconds: float) -> bool:
        """Take in what comes next; False at the end."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            return False
        self.raw += data
        self._draw(data)
        return bool(data)

    def _draw(self, data: bytes) -> None:
        at = 0
        for found in ESCAPE.finditer(data):
            self._write(data[at : found.start()].decode(errors="replace"))
            at = found.end()
            self._move((found[1] or b"").decode(), (found[2] or b"").decode())
        self._write(data[at:].decode(errors="replace"))

    def _move(self, numbers: str, what: str) -> None:
        count = int(numbers) if numbers.isdigit() else 1
        if what == "H":
            self.frames.append(self.text)
            row, _, column = numbers.partition(";")
            self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
        elif what == "A":
            self._row = max(0, self._row - count)
        elif what == "J" and numbers == "2":
            self._cells = [[" "] * COLUMNS for _ in range(ROWS)]
        elif what == "K":
            start = 0 if numbers == "2" else self._column
            self._cells[self._row][start:] = [" "] * (COLUMNS - start)

    def _write(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self._column = 0
            elif character == "\n":
                self._row = min(self._row + 1, ROWS - 1)
            elif character >= " " and self._column < COLUMNS:
                self._cells[self._row][self._column] = character
                self._column += 1


@contextmanager
def watching(taut: Program, **environment: str) -> Iterator[tuple[Screen, subprocess.Popen[bytes]]]:
    """`taut status --watch` on a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {k: v for k, v in taut.environment.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [TAUT, "status", "--watch"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**env, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    try:
        yield Screen(ours), process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_sync_is_watched_calmly(scene: Scene) -> None:
    slow = deployment("slow", **{"localplane.taut.dev/ready-after": "3s"})
    scene.declare(application("web"), application("api"), files={"apps/web/a.yaml": yaml(config_map("a"))})
    scene.repo.commit({"apps/api/a.yaml": yaml(config_map("b"))})
    with scene.taut as taut:
        taut.synced("web", "api")
        with watching(taut) as (screen, process):
            screen.until("2 applications", "✓ web", "✓ api", "Live. Ctrl-C ends it.")
            shown = len(screen.frames)
            scene.push({"apps/web/slow.yaml": yaml(slow)}, "something slow")
            screen.until("◐ web", "Progressing", "1 Deploying")
            screen.until("✓ web", "2 Healthy")
            for frame in screen.frames[shown:]:
                assert "2 applications" in frame, f"the screen was empty for a moment:\n{frame}"
                assert "api" in frame
            assert COLOUR.search(screen.raw), "it is coloured"
            process.send_signal(signal.SIGINT)
            while screen.read(DEADLINE):
                pass
            assert process.wait(DEADLINE) == 0
            assert b"\x1b[?1049l" in screen.raw, "the terminal is given back"
            assert b"\x1b[?25h" in screen.raw, "with its cursor"
            after = ESCAPE.sub(b"", screen.raw.rpartition(b"\x1b[?1049l")[2]).decode()
            assert "✓ web" in after, "the last picture stays"


def test_no_colour_where_none_is_wanted(scene: Scene) -> None:
    scene.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a"))})
    with scene.taut as taut:
        taut.synced("web")
        with watching(taut, NO_COLOR="1") as (screen, process):
            screen.until("✓ web", "Live.")
            scene.change("configmaps", "a", {"data": {"a": "2"}})
            taut.until(lambda: len(taut.json("drift")) == 1, "noticed")
            process.send_signal(signal.SIGINT)
            while screen.read(DEADLINE):
                pass
            assert process.wait(DEADLINE) == 0
            assert not COLOUR.search(screen.raw)


def test_a_taut_that_goes_and_comes_is_said(scene: Scene) -> None:
    scene.declare(application("web"), files={"apps/web/a.yaml": yaml(config_map("a"))})
    scene.taut.start()
    scene.taut.synced("web")
    port = scene.taut.server.rpartition(":")[2]
    with watching(scene.taut) as (screen, _):
        screen.until("✓ web", "Live.")
        scene.taut.stop()
        screen.until("Not live since", "Trying again", "✓ web")
        file = scene.taut.config_file
        file.write_text(file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        scene.taut.start()
        screen.until("✓ web", "Live.")
