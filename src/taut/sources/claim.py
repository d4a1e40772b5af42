"""Who works in a folder: the first process that claims it is alone there until it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class DirectoryClaim:
    """Claims a folder by a lock that the system takes back when the process ends. `alone` is False when somebody else has it."""

    def __init__(self, directory: Path) -> None:
        descriptor = os.open(directory / "claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._descriptor: int | None = descriptor
        self.alone = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.alone = False
            self.release()

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
