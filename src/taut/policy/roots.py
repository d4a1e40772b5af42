"""How far the files that a test names may lie from it: a repository is hostile, and its tests are no way to read other files."""

from __future__ import annotations

from pathlib import Path

_UP = 3


def root_of(folder: Path) -> Path:
    """The working copy around a folder; without one the current folder, if it is around it; else three folders up."""
    here = folder.resolve()
    start = here if here.is_dir() else here.parent
    for each in (start, *start.parents):
        if (each / ".git").exists():
            return each
    current = Path.cwd().resolve()
    if start.is_relative_to(current) and current != Path("/"):
        return current
    return ([start, *start.parents])[min(_UP, len(start.parents))]
