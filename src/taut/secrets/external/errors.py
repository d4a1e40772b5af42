"""Why a value could not be had."""

from __future__ import annotations

from taut.model.errors import TautError


class SecretError(TautError):
    """A store or a value cannot be used now: it is tried again, and what was there stays. The text never holds a value or a token."""


class NoValueError(SecretError):
    """The store answers that there is no such value."""
