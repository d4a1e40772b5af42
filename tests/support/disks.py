"""Disks of a test's own: one that can be filled, and one that can turn read-only while files on it are open. Both need the right to mount."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A tmpfs of some megabytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte of room."""
        try:
            with self._filler.open("ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free(self) -> None:
        """Let there be room again."""
        self._filler.unlink()


class FallibleDisk:
    """An ext4 file system in a file."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image

    def abort(self) -> None:
        """Turn read-only at once, as after an error of the disk: files that are open cannot be written any more either."""
        _run("mount", "-o", "remount,abort", str(self.folder))

    def repair(self) -> None:
        """Take it out, check it, and put it back. Nothing on it may be open."""
        _run("umount", str(self.folder))
        subprocess.run(["e2fsck", "-fy", str(self._image)], capture_output=True, check=False)
        _run("mount", "-o", "loop", str(self._image), str(self.folder))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounted on `folder`, which is made. Skips the test, and says why, where nothing can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount(["-t", "tmpfs", "-o", f"size={megabytes}m", "taut-test", str(folder)], "a small tmpfs")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def fallible_disk(image: Path, folder: Path, megabytes: int) -> Iterator[FallibleDisk]:
    """The same for a disk that can fail; `image` is the file that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(megabytes * 2**20)
    try:
        _run("mkfs.ext4", "-q", str(image))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"an ext4 file system cannot be made here: {error}")
    _mount(["-o", "loop", str(image), str(folder)], "a file system in a file")
    try:
        yield FallibleDisk(image, folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(arguments: list[str], what: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{what} cannot be mounted here: {done.stderr.strip()}")


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
