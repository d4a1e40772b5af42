"""How a client on the same machine finds a running taut: a small file beside its store, and a pointer in the user's runtime folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from taut.model.errors import StoreError, Where


class Announcement(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Where a taut listens. `store` is the path of its store, `pid` its process."""

    server: str
    token_file: str
    store: str
    pid: int


def runtime_folder() -> Path:
    """`taut` below XDG_RUNTIME_DIR, or below ~/.cache where there is none."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return (Path(base) if base else Path.home() / ".cache") / "taut"


def announce(announcement: Announcement) -> list[Path]:
    """Write both files (mode 0600); their paths come out, for `withdraw`. Raises StoreError when the one beside the store fails."""
    data = msgspec.json.format(msgspec.json.encode(announcement)) + b"\n"
    store = Path(announcement.store)
    beside = store.with_name("taut.json")
    try:
        _write(beside, data)
    except OSError as error:
        raise StoreError(
            f"The file that tells clients where taut listens cannot be written: {error.strerror}",
            where=Where(file=str(beside)),
            advice="let the user that runs taut write to the store's folder",
        ) from error
    written = [beside]
    pointer = runtime_folder() / f"{hashlib.sha256(str(store).encode()).hexdigest()[:16]}.json"
    try:
        pointer.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(pointer, data)
        written.append(pointer)
    except OSError:
        # A machine without a home: clients still find taut by --server, or beside the store.
        pass
    return written


def withdraw(paths: list[Path], pid: int) -> None:
    """Delete what was announced by this process; what another taut wrote meanwhile stays."""
    for path in paths:
        found = read(path)
        if found is not None and found.pid == pid:
            path.unlink(missing_ok=True)


def read(path: Path) -> Announcement | None:
    """An announcement; None when there is none, or it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Announcement)
    except (OSError, msgspec.DecodeError):
        return None


def running() -> list[Announcement]:
    """What the pointers say about processes that are alive."""
    found = [read(path) for path in sorted(runtime_folder().glob("*.json"))]
    return [a for a in found if a is not None and alive(a.pid)]


def alive(pid: int) -> bool:
    """Whether a process with this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(path: Path, data: bytes) -> None:
    """Replace a file as a whole: a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    draft.replace(path)
