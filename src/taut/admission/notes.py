"""What is noted in the store of what was set up in clusters."""

from __future__ import annotations


def note_of(cluster: str) -> str:
    """The note that says which configuration was made in a cluster."""
    return f"admission registered in {cluster}"
