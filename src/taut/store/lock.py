"""One taut per store: an advisory lock on a file beside it, released by the kernel when the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from taut.model.errors import StoreError, Where


class StoreLock:
    """Holds the lock from construction to `release`.

    Raises StoreError when another process holds it, naming that process. The lock file stays behind on purpose: deleting it
    while another process waits on it would let two processes lock two different files.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"taut's store cannot be locked: {error.strerror}",
                where=Where(file=str(self._path)),
                advice="check that the folder exists and that the user that runs taut may write to it",
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreError(
                f"Another taut ({who}) uses this store",
                where=Where(file=str(store)),
                advice="stop it first, or give this one its own store",
            ) from error
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            # The number is for the error message of the next process only; on a full disk the lock still holds.
            pass

    def release(self) -> None:
        """Let the next process in. Harmless when called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
