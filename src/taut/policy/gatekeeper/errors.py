"""What can be wrong with a template, a constraint or a mutator."""

from __future__ import annotations


class GatekeeperError(Exception):
    """It cannot be used, or not be judged; the text says why, for people."""
