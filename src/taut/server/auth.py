"""The administrator's token: whoever holds it may do everything that the API offers. It lives in a file of mode 0600 beside the store."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from taut.model.errors import StoreError, Where


def load_token(path: Path) -> str:
    """Read the token, made at first use. Raises StoreError when the file cannot be used or others may read it."""
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            "The token file cannot be read or made",
            where=Where(file=str(path)),
            advice="let the user that runs taut read and write it; deleting it makes a new token",
        ) from error
    if mode & 0o077:
        raise StoreError(
            f"The token file may be read by others (mode {mode:04o})",
            where=Where(file=str(path)),
            advice=f"run `chmod 600 {path}`; delete it to get a new token",
        )
    if len(token) < 32:
        raise StoreError(
            "The token file holds no token", where=Where(file=str(path)), advice="delete it; taut makes a new one"
        )
    return token


def _create(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
