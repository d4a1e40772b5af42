"""What can be wrong with an encrypted file."""

from __future__ import annotations

from taut.model.errors import BadInput


class SopsError(BadInput):
    """A file that cannot be decrypted or encrypted; says which, why, and what to do. Never holds a value."""


class NoKeyError(SopsError):
    """No key is here that fits a file, which may be whole."""
