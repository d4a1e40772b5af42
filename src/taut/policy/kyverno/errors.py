"""What can be wrong with a rule."""

from __future__ import annotations


class PolicyError(Exception):
    """A rule that cannot be judged; the text says why, for people."""


class NotResolvedError(PolicyError):
    """A variable that leads to nothing. In a condition it is null; elsewhere the rule is in error."""
