"""Letting somebody change a plain text in their editor, so that it never reaches a disk and never outlives the command."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import click

from taut.model.errors import BadInput, TautError

_PRIVATE = 0o600
_PREFIX = "taut-edit-"
_LEFT = re.compile(rf"{_PREFIX}(\d+)-")
_ENDS = (signal.SIGTERM, signal.SIGHUP)


class _EndedError(BaseException):
    """A signal wants this process to end; no `except Exception` keeps it from cleaning up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def edited[T](text: bytes, file: Path, use: Callable[[bytes], T]) -> T | None:
    """What `use` makes of the text that came out of the editor; None when nothing was changed.

    What `use` refuses (BadInput) can be mended on a terminal: the editor opens again with the text as it was left. Raises BadInput where there is
    none, or no editor, and TautError when the editor fails.
    """
    command = _editor()
    with _signals_end_it(), _private_folder() as folder:
        place = folder / f"plain{file.suffix}"
        place.touch(mode=_PRIVATE)
        place.write_bytes(text)
        while True:
            _run([*command, str(place)])
            changed = place.read_bytes()
            if changed == text:
                return None
            try:
                return use(changed)
            except BadInput as error:
                told = BadInput(error.what, where=replace(error.where, file=str(file)), advice=error.advice)
                if not _on_terminal():
                    raise told from None
                click.echo(str(told), err=True)
                click.echo("Press Enter to go back to the editor, or Ctrl-C to throw the changes away.", err=True)
                if not sys.stdin.readline():
                    raise told from None


def _editor() -> list[str]:
    for name in ("SOPS_EDITOR", "VISUAL", "EDITOR"):
        if os.environ.get(name):
            return shlex.split(os.environ[name])
    if not _on_terminal():
        raise BadInput(
            "there is no terminal for an editor", advice="name a program that edits by $EDITOR, or use a terminal"
        )
    found = next((e for e in ("vi", "nano") if shutil.which(e)), None)
    if found is None:
        raise BadInput("there is no editor", advice="name one by $EDITOR")
    return [found]


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _run(command: list[str]) -> None:
    """The editor has the terminal: Ctrl-C in it is meant for it alone."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: that the editor would inherit
    try:
        with subprocess.Popen(command) as editor:
            try:
                code = editor.wait()
            except BaseException:
                editor.kill()
                raise
    except OSError as error:
        raise BadInput(f"the editor {command[0]} cannot be started: {error.strerror}", advice="see $EDITOR") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise TautError(f"the editor ended with {code}", advice="nothing was changed")


@contextlib.contextmanager
def _signals_end_it() -> Generator[None]:
    """SIGTERM and SIGHUP end the command as an error does: after everything was put away."""

    def end(number: int, _: FrameType | None) -> None:
        raise _EndedError(number)

    before = {number: signal.signal(number, end) for number in _ENDS}
    try:
        yield
    except _EndedError as ended:
        sys.exit(128 + ended.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _private_folder() -> Generator[Path]:
    """A folder in memory that nobody else can read, gone with everything in it at the end. What killed processes left behind goes first."""
    memory = _memory()
    _sweep(memory)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=memory))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path:
    for place in (os.environ.get("XDG_RUNTIME_DIR") or "", "/dev/shm"):  # noqa: S108 (checked to be in memory; a private folder is made there)
        if place and _in_memory(Path(place)):
            return Path(place)
    raise BadInput(
        "there is no file system in memory where the plain text could lie",
        advice="mount a tmpfs on /dev/shm, or name one by XDG_RUNTIME_DIR",
    )


def _in_memory(folder: Path) -> bool:
    """Whether a folder can be written, and lies in a tmpfs."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return False
    here = folder.resolve()
    at = {m[1]: m[2] for m in mounts if here.is_relative_to(m[1])}
    return bool(at) and at[max(at, key=len)] in {"tmpfs", "ramfs"} and os.access(here, os.W_OK)


def _sweep(memory: Path) -> None:
    for left in memory.glob(f"{_PREFIX}*"):
        found = _LEFT.match(left.name)
        with contextlib.suppress(OSError):
            mine = not left.is_symlink() and left.stat().st_uid == os.geteuid()
            if found and mine and not Path(f"/proc/{found[1]}").exists():
                shutil.rmtree(left, ignore_errors=True)
