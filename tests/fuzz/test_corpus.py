"""What once broke a parser breaks it no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.kept import CORPUS, kept
from fuzz.parsers import PARSERS, hold

FILES = [(folder.name, file) for folder in sorted(CORPUS.iterdir()) for file in kept(folder.name)]


@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{name}/{file.name}" for name, file in FILES])
def test_a_kept_input(name: str, file: Path) -> None:
    hold(name, file.read_bytes())


def test_every_folder_is_a_parsers() -> None:
    assert {name for name, _ in FILES} <= PARSERS.keys()
