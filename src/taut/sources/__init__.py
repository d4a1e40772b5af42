"""Where manifests come from: Git, Helm repositories, OCI registries. Everything becomes a snapshot with a Git tree."""

from taut.sources.service import RemoteBase, SourceLimits, Sources

__all__ = ["RemoteBase", "SourceLimits", "Sources"]
