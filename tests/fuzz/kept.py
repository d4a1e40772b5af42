"""The kept corpus: inputs that once were too much for a parser, one file each, and those that reach far into it."""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


def kept(parser: str) -> list[Path]:
    """The files for one parser, in a stable order."""
    return sorted(file for file in (CORPUS / parser).glob("*") if file.is_file())
