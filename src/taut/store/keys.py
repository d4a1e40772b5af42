"""Sealing: what the store keeps of secrets is encrypted, and whether two are equal is told by a keyed HMAC.

The key file holds 32 random bytes with mode 0600. Three keys are derived from it (HKDF-SHA256, RFC 5869), so that one use
tells nothing about another: values are sealed with AES-256-GCM, names of cached values and comparisons use HMAC-SHA256.
When the key file is exchanged (`store.rotation`), the two of HMAC stay what they were, sealed in the store: what was compared with them
lies in clusters as well (notes on workloads), and would otherwise be written anew.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taut.model.errors import StoreError, Where

KEY_BYTES = 32
_NONCE_BYTES = 12


class Keyring:
    """The keys of one store, derived from its key file's 32 bytes; `identities` stand in for those of HMAC, where an earlier key file had others."""

    def __init__(self, secret: bytes, identities: bytes = b"") -> None:
        self._secret = secret
        self._cipher = AESGCM(_derive(secret, b"taut seal v1"))
        self.identities = identities or _derive(secret, b"taut compare v1") + _derive(secret, b"taut names v1")
        self._compare, self._names = self.identities[:KEY_BYTES], self.identities[KEY_BYTES:]

    @property
    def check(self) -> str:
        """Ties a store to its key file: nothing but that file gives it."""
        return hmac.digest(_derive(self._secret, b"taut compare v1"), b"taut store", "sha256").hex()

    def identified(self, identities: bytes) -> Keyring:
        """The same key file, with the keys of HMAC that an earlier one had."""
        return Keyring(self._secret, identities)

    def seal(self, value: bytes, context: str) -> bytes:
        """Encrypt `value`. `context` says what it is (it is authenticated): sealed bytes cannot be moved elsewhere."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """The value that was sealed with the same context. Raises StoreError when the key, the context or a byte differs."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise StoreError(
                "A sealed record of taut's store cannot be read: the key file is another one, or the record was changed",
                where=Where(object=context),
                advice="put the key file back that belongs to this store",
            ) from error

    def mac(self, value: bytes) -> str:
        """A keyed HMAC (hex): equal values, equal texts, and nothing else can be learnt from it."""
        return hmac.digest(self._compare, value, "sha256").hex()

    def name(self, key: str) -> bytes:
        """The name under which something called `key` is cached, which tells nothing about `key`."""
        return hmac.digest(self._names, key.encode(), "sha256")


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


def load_keyring(path: Path, *, new: bool) -> Keyring:
    """Read the key file at `path`; with `new` it is made when it is missing.

    Raises StoreError when it is missing, unreadable, open to others, or no key.
    """
    try:
        if not path.exists():
            if not new:
                raise StoreError(
                    "The key file of this store is missing",
                    where=Where(file=str(path)),
                    advice="restore it from a backup, or move the store aside with `taut store set-aside`",
                )
            make_key(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise StoreError(
                f"The key file may be read by others (mode {mode:04o})",
                where=Where(file=str(path)),
                advice=f"run `chmod 600 {path}`",
            )
        secret = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"The key file cannot be read or made: {error.strerror}",
            where=Where(file=str(path)),
            advice="let the user that runs taut read it, and write to its folder",
        ) from error
    if len(secret) != KEY_BYTES:
        raise StoreError(
            f"The key file holds {len(secret)} bytes instead of {KEY_BYTES}",
            where=Where(file=str(path)),
            advice="restore it from a backup, or delete it and set the store aside with `taut store set-aside`",
        )
    return Keyring(secret)


def make_key(path: Path) -> None:
    """Write a new key under another name first: a crash never leaves half a key behind. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # link fails when the file exists meanwhile: the first key wins, whoever made it.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
