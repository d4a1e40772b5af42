"""What is noted in the store of the policy reports in clusters."""

from __future__ import annotations


def scan_note(cluster: str) -> str:
    """The note that says whose reports were written in a cluster."""
    return f"policy reports in {cluster}"
