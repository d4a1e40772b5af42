"""A picture of what a command prints in a terminal: `python docs/pictures/terminal.py OUT.svg COLUMNS COMMAND…`.

The command runs in a pseudo-terminal, so its colours are those that a person sees.
"""

from __future__ import annotations

import io
import os
import pty
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text


def printed(argv: list[str], columns: int) -> str:
    """What the command writes to a terminal of that width."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)  # noqa: S606 (the command is the caller's own)
    ioctl(master, TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.waitpid(pid, 0)
    return b"".join(parts).decode(errors="replace").replace("\r\n", "\n")


def main(out: str, columns: str, *argv: str) -> None:
    """Write the picture."""
    width = int(columns)
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(argv)}", style="bold"))
    console.print(Text.from_ansi(printed(list(argv), width)))
    Path(out).write_text(console.export_svg(title="taut"))


if __name__ == "__main__":
    main(*sys.argv[1:])
