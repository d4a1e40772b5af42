"""A real forge: Gitea, built from its Go module."""

from servers.forge.server import Forge, build_forge, start_forge

__all__ = ["Forge", "build_forge", "start_forge"]
